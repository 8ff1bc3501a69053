from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ssl_bench import data, registry
from ssl_bench.errors import DataError
from ssl_bench.registry import DATASETS

PAGE = Path(__file__).parents[2] / "docs" / "add_a_data_set.md"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The page's example as a module of another package."""
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    (tmp_path / "flowers_elsewhere.py").write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "flowers_elsewhere"
    sys.modules.pop("flowers_elsewhere", None)
    DATASETS.module_dict.pop("flowers102", None)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for name in ("aster", "rose"):
            path = tmp_path / "flowers102" / split / name / "1.jpg"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (5, 5)).save(path)
    return tmp_path


def check(flowers: Path) -> None:
    assert "flowers102" in data.names()
    test = data.open_dataset("flowers102", "test", flowers)
    assert test.classes == ("aster", "rose")
    assert list(test.samples) == ["test/aster/1.jpg", "test/rose/1.jpg"]
    with pytest.raises(DataError, match="unknown split of data set flowers102 'val'"):
        data.open_dataset("flowers102", "val", flowers)


def test_the_example_of_the_page_by_import(module: str, flowers: Path) -> None:
    assert "flowers102" not in data.names()
    __import__(module)  # what custom_imports does
    check(flowers)


def test_the_example_of_the_page_by_entry_point(
    module: str, flowers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        def load(self) -> Any:
            return __import__(module)

    groups = {"ssl_bench.data": [Point()]}
    monkeypatch.setattr(registry, "entry_points", lambda group: groups.get(group, []))
    check(flowers)


def test_data_sets_of_openmmlab_are_not_taken_for_ours() -> None:
    from mmengine.registry import DATASETS as ROOT

    class Foreign:
        pass

    ROOT.register_module(name="ForeignDataset", module=Foreign)
    DATASETS.register_module(name="OursOnly", module=Foreign)
    try:
        assert "ForeignDataset" not in data.names()
        assert "OursOnly" not in data.names()  # it is no ImageDataset
        with pytest.raises(DataError, match="unknown data set 'ForeignDataset'"):
            data.open_dataset("ForeignDataset", "train")
    finally:
        ROOT.module_dict.pop("ForeignDataset")
        DATASETS.module_dict.pop("OursOnly")


def test_roots_may_be_text(flowers: Path, module: str) -> None:
    __import__(module)

    assert len(data.open_dataset("flowers102", "train", str(flowers))) == 2
    assert data.find_root("flowers102", str(flowers)) == flowers / "flowers102"

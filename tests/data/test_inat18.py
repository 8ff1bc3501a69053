from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench import data
from ssl_bench.data.inat18 import INat18, read_annotations
from ssl_bench.errors import DataError

# Ids are in no order and those of categories are not those of the folders' names.
TRAIN = {
    7: ("Aves/2761/a.jpg", 2),
    3: ("Plantae/7477/b.jpg", 0),
    9: ("Fungi/1/c.jpg", 1),
}
VAL = {20: ("Plantae/7477/d.jpg", 0), 11: ("Aves/2761/e.jpg", 2)}
BY_SPLIT = {"train": TRAIN, "val": VAL}


def official(images: dict[int, tuple[str, int]]) -> dict[str, Any]:
    """The official form; annotations have ids and an order of their own."""
    return {
        "info": {"year": 2018},
        "images": [
            {"id": i, "file_name": f"train_val2018/{name}", "license": 3, "width": 8}
            for i, (name, _) in images.items()
        ],
        "annotations": [
            {"id": 100 - i, "image_id": i, "category_id": label}
            for i, (_, label) in sorted(images.items())
        ],
    }


def rewrite(root: Path, content: Any, split: str = "train") -> Path:
    path = root / f"{split}2018.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "iNaturalist2018"
    for split, images in BY_SPLIT.items():
        for name, _ in images.values():
            path = root / "train_val2018" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
        rewrite(root, official(images), split)
    return root


def write_lists(root: Path, prefix: str = "") -> None:
    (root / "meta").mkdir()
    for split, images in BY_SPLIT.items():
        lines = [f"{prefix}{name} {label}\n" for name, label in images.values()]
        (root / "meta" / f"{split}.txt").write_text("".join(lines))


def test_annotations_are_joined_by_the_image(root: Path) -> None:
    train, val = INat18(root, "train"), INat18(root, "val")

    assert list(train.samples) == [
        "train_val2018/Aves/2761/a.jpg",
        "train_val2018/Plantae/7477/b.jpg",
        "train_val2018/Fungi/1/c.jpg",
    ]
    assert train.targets.tolist() == [2, 0, 1]
    assert val.targets.tolist() == [0, 2]
    assert train.classes == val.classes == ("Plantae/7477", "Fungi/1", "Aves/2761")
    assert len(train.fingerprint()) == 64
    data.check_pair(train, val)


@pytest.mark.parametrize("prefix", ["", "train_val2018/"])
def test_lists_are_the_same_data(root: Path, prefix: str) -> None:
    expected = {split: INat18(root, split) for split in BY_SPLIT}
    write_lists(root, prefix)
    for split in BY_SPLIT:
        (root / f"{split}2018.json").unlink()

    for split, other in expected.items():
        found = INat18(root, split)
        assert list(found.samples) == list(other.samples)
        assert found.fingerprint() == other.fingerprint()
        assert found.classes == other.classes


def test_lists_come_before_annotations(root: Path) -> None:
    write_lists(root)
    rewrite(root, "no JSON")

    assert INat18(root, "train").targets.tolist() == [2, 0, 1]


def test_as_many_as_there_are_take_no_time(tmp_path: Path) -> None:
    # Nested loops would take 10^10 steps.
    count = 100_000
    order = np.random.RandomState(0).permutation(count).tolist()
    images = {i: (f"a/{i % 8142}/{i}.jpg", i % 8142) for i in order}

    samples, targets = read_annotations(rewrite(tmp_path, official(images)))

    assert targets.tolist() == [i % 8142 for i in order]
    assert samples[17] == f"train_val2018/a/{order[17] % 8142}/{order[17]}.jpg"


def changed(**entries: Any) -> dict[str, Any]:
    return {**official(TRAIN), **entries}


IMAGE = {"id": 3, "file_name": "Aves/1/a.jpg"}
LABEL = {"image_id": 3, "category_id": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no JSON, or not all of it"),
        ('{"images": [', "is no JSON, or not all of it"),
        ([1], "has no list of annotations"),
        ({"images": []}, "has no list of annotations"),
        (changed(images=None), "has no list of images"),
        (changed(images=[], annotations=[]), "has no image; get"),
        (changed(annotations=[]), "3 images have no annotation: train_val2018/Aves"),
        (changed(images=[IMAGE]), "2 annotations are of images that it lacks: 7, 9"),
        (changed(images=[IMAGE, IMAGE], annotations=[LABEL]), "1 images have no"),
        (
            changed(annotations=[LABEL, {**LABEL, "category_id": 4}]),
            "image 3 is of category 0 and of 4",
        ),
        (changed(annotations=[{"image_id": 3}]), "'category_id' of an entry is None"),
        (changed(annotations=[{**LABEL, "image_id": "3"}]), "'image_id' .* is '3'"),
        (
            changed(annotations=[{**LABEL, "category_id": -1}]),
            "-1 is not between 0 and",
        ),
        (changed(annotations=[{**LABEL, "category_id": 8142}]), "8142 is not between"),
        (changed(annotations=[7]), "'image_id' of an entry is None"),
        (changed(images=[{"id": 3}]), "'file_name' of an entry is None"),
        (changed(images=[{**IMAGE, "file_name": "/x.jpg"}]), "is absolute"),
        (
            changed(images=[{**IMAGE, "file_name": "a/../../x.jpg"}]),
            "leaves the folder",
        ),
    ],
)
def test_files_that_are_refused(root: Path, content: Any, message: str) -> None:
    path = rewrite(root, content)

    with pytest.raises(DataError, match=message) as caught:
        INat18(root, "train")
    assert str(path) in str(caught.value)


def test_labels_of_something_else(root: Path) -> None:
    write_lists(root)
    path = root / "meta" / "val.txt"
    path.write_text("Aves/2761/e.jpg 8142\n")

    with pytest.raises(DataError, match=rf"{path} has the label 8142.*0 to 8141"):
        INat18(root, "val")


def test_neither_lists_nor_annotations(root: Path) -> None:
    (root / "val2018.json").unlink()

    with pytest.raises(
        DataError, match=r"neither meta/val.txt nor val2018.json; expec"
    ):
        INat18(root, "val")
    (root / "train2018.json").unlink()
    rewrite(root, official(VAL), "val")
    assert INat18(root, "val").classes == ("Plantae/7477", "1", "Aves/2761")


def test_where_it_is_found(root: Path, tmp_path: Path) -> None:
    assert data.find_root("inat18", tmp_path) == root
    assert data.find_root("inat18", root) == root

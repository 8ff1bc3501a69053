from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from ssl_bench import data
from ssl_bench.data import digit_scenes, scenes
from ssl_bench.errors import DataError
from tests.data.fake_devkit import write_devkit

STYLE_FOLDERS = {"imagenet": "imagenet", "voc": "VOCdevkit", "coco": "coco"}


def write_tiny(
    root: Path, *, seed: int, styles: Any, counts: Any = None, progress: Any = None
) -> None:
    """Stand in for the generator: one image a split, published by a rename."""
    for style in styles:
        with (root / "calls").open("a") as file:
            file.write(f"{style} {seed} {os.getpid()}\n")
        beside = root / f".{style}.{os.getpid()}"
        for split, name in (("train", "0_zero/a.JPEG"), ("val", "b.JPEG")):
            path = beside / split / name
            path.parent.mkdir(parents=True)
            Image.new("RGB", (96, 96)).save(path)
            (beside / "meta").mkdir(exist_ok=True)
            (beside / "meta" / f"{split}.txt").write_text(f"{name} 0\n")
        if progress is not None:
            progress(1, 1)
        time.sleep(0.2)
        beside.rename(root / STYLE_FOLDERS[style])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scenes, "generate", write_tiny)
    return tmp_path / "cache" / f"digit-scenes-v{scenes.VERSION}-seed0"


def test_made_once_on_first_use_and_said(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"not in .* yet; .*knn --dataset digit-scenes"):
        data.find_root("digit-scenes")

    train = data.open_dataset("digit-scenes", "train")
    said = capsys.readouterr()
    val = data.open_dataset("digit-scenes", "val")

    assert "making the bundled digit-scenes" in said.err
    assert str(cache) in said.err
    assert said.out == ""
    assert capsys.readouterr().err == ""
    assert (cache / "calls").read_text() == f"imagenet 0 {os.getpid()}\n"
    assert data.find_root("digit-scenes") == train.root == cache / "imagenet"
    assert (train.bundled, train.transform_name) == (True, "small")
    assert val[0][0].size == (96, 96)


def test_styles_are_made_one_by_one(cache: Path) -> None:
    for style in ("voc", "imagenet", "voc"):
        assert digit_scenes.ensure(style) == cache / STYLE_FOLDERS[style]
    assert digit_scenes.ensure("coco", seed=4).parent.name.endswith("-seed4")

    calls = (cache / "calls").read_text().splitlines()
    assert [line.split()[0] for line in calls] == ["voc", "imagenet"]


def make(barrier: Any) -> None:
    barrier.wait()
    digit_scenes.ensure("imagenet")


def test_two_processes_at_once_do_the_work_once(cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=make, args=(barrier,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len((cache / "calls").read_text().splitlines()) == 1


def test_what_a_killed_process_left_is_not_taken(cache: Path) -> None:
    (cache / ".imagenet.123" / "meta").mkdir(parents=True)

    train = data.open_dataset("digit-scenes", "train")

    assert train.root == cache / "imagenet"


def test_a_given_root_is_used_and_never_filled(cache: Path, tmp_path: Path) -> None:
    given = tmp_path / "mine"
    given.mkdir()
    with pytest.raises(DataError, match=r"digit-scenes is not under .*mine"):
        data.open_dataset("digit-scenes", "train", given)
    assert list(given.iterdir()) == []
    (given / "digit-scenes").mkdir()
    write_tiny(given / "digit-scenes", seed=9, styles=("imagenet",))

    for root in (given, given / "digit-scenes"):
        train = data.open_dataset("digit-scenes", "train", root)
        assert train.root == given / "digit-scenes" / "imagenet"
    assert not cache.exists()


def test_a_wrong_option_makes_nothing(cache: Path) -> None:
    with pytest.raises(DataError, match="unknown split"):
        data.open_dataset("digit-scenes", "tst")
    assert not cache.exists()


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "file"))

    with pytest.raises(DataError, match="Not a directory; set SSL_BENCH_CACHE"):
        data.open_dataset("digit-scenes", "train")


def test_a_full_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scenes, "generate", full)

    with pytest.raises(DataError, match="No space left on device; set SSL_BENCH_CACHE"):
        data.open_dataset("digit-scenes", "train")


def test_the_real_generator_is_read(tmp_path: Path) -> None:
    counts = scenes.SceneCounts(imagenet_train=20, imagenet_val=10)
    scenes.generate(tmp_path, seed=1, counts=counts, styles=("imagenet",))

    train, val = (
        data.open_dataset("digit-scenes", split, tmp_path) for split in ("train", "val")
    )

    assert (len(train), len(val), len(train.classes)) == (20, 10, 10)
    assert train[0][0].size == (96, 96)
    data.check_pair(train, val)
    assert data.open_dataset("imagenet", "val", tmp_path).bundled


# ------------------------------------------------------------ several labels an image


def write_tiny_voc(
    root: Path, *, seed: int, styles: Any, counts: Any = None, progress: Any = None
) -> None:
    """Stand in for the generator: VOC style, one handwritten list a split."""
    with (root / "calls").open("a") as file:
        file.write(f"{' '.join(styles)} {seed}\n")
    write_devkit(root)
    (root / "VOCdevkit" / scenes.MANIFEST).write_text("{}")


def test_the_voc_style_is_made_on_first_use(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenes, "generate", write_tiny_voc)
    with pytest.raises(DataError, match=r"not in .*digit-scenes.* yet; .*--styles voc"):
        data.find_root("digit-scenes", several=True)
    with pytest.raises(DataError, match="unknown split of data set digit-scenes"):
        data.open_dataset("digit-scenes", "train", several=True)
    assert not cache.exists()

    train, test = (
        data.open_dataset("digit-scenes", split, several=True)
        for split in ("trainval", "test")
    )

    assert "making the bundled digit-scenes (voc)" in capsys.readouterr().err
    assert (cache / "calls").read_text() == "voc 0\n"
    assert train.root == cache / "VOCdevkit" / "VOC2007"
    assert data.find_root("digit-scenes", several=True) == train.root
    assert (train.name, train.bundled, train.transform_name) == (
        "digit-scenes",
        True,
        "small",
    )
    assert test.targets.tolist() == [[1, 0, 1], [0, -1, 0]]
    # The style with one label an image is not made of it.
    with pytest.raises(DataError, match="not in"):
        data.find_root("digit-scenes")


def test_a_given_root_of_the_voc_style_is_never_filled(
    cache: Path, tmp_path: Path
) -> None:
    given = tmp_path / "mine"
    given.mkdir()
    for root in (given, tmp_path / "gone"):
        with pytest.raises(DataError, match=r"digit-scenes .*VOCdevkit/VOC2007"):
            data.open_dataset("digit-scenes", "test", root, several=True)
    assert list(given.iterdir()) == []
    home = write_devkit(given / "digit-scenes")

    for root in (given, given / "digit-scenes"):
        test = data.open_dataset("digit-scenes", "test", root, several=True)
        assert test.root == home
    assert not cache.exists()


def test_the_real_scenes_agree_with_their_annotations(tmp_path: Path) -> None:
    counts = scenes.SceneCounts(voc_trainval=20, voc_test=10)
    scenes.generate(tmp_path, seed=1, counts=counts, styles=("voc",))

    for split, count in (("trainval", 20), ("test", 10)):
        found = data.open_dataset("digit-scenes", split, tmp_path, several=True)
        assert found.targets.shape == (count, 10)
        assert found.classes == tuple(sorted(scenes.CLASSES))
        assert found[0][0].size == (160, 160)
        for path, targets in zip(found.samples, found.targets, strict=True):
            xml = found.root / "Annotations" / Path(path).with_suffix(".xml").name
            shown = ElementTree.parse(xml).findall("object")
            for name, target in zip(found.classes, targets.tolist(), strict=True):
                hard = [
                    item.findtext("difficult") == "1"
                    for item in shown
                    if item.findtext("name") == name
                ]
                assert target == (0 if not hard else -1 if all(hard) else 1)
        assert data.open_dataset("voc07", split, tmp_path).bundled

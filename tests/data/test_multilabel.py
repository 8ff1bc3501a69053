from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench import data
from ssl_bench.data import scenes
from ssl_bench.errors import DataError

TRAIN = "image,red,big\na.png,1,0\nmore/b.png,-1,1\nc.png,0,0\n"
VAL = "image,red,big\nd.png,0,1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "more").mkdir()
    for name in ("a.png", "more/b.png", "c.png", "d.png"):
        Image.new("RGB", (7, 5), (200, 10, 10)).save(tmp_path / name)
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "val.csv").write_text(VAL)
    return tmp_path


def opened(root: Path, split: str = "train") -> data.ImageDataset:
    return data.open_dataset("multilabel", split, root)


def test_paths_labels_and_classes(root: Path) -> None:
    train, val = opened(root), opened(root, "val")

    assert train.classes == val.classes == ("red", "big")
    assert list(train.samples) == ["a.png", "more/b.png", "c.png"]
    assert train.targets.dtype == np.int8
    assert train.targets.tolist() == [[1, 0], [-1, 1], [0, 0]]
    assert val.targets.tolist() == [[0, 1]]
    assert (train.own, train.bundled, train.transform_name) == (True, False, "squash")
    assert train[1][0].size == (7, 5)
    data.check_pair(train, val)


def test_spreadsheets_write_it_so(root: Path) -> None:
    text = '\ufeffimage,red,"big, or huge"\r\n"a.png", 1,0 \r\n\r\n,,\r\nc.png,-1,1\r\n'
    (root / "train.csv").write_text(text, newline="", encoding="utf-8")
    (root / "val.csv").unlink()  # not needed to open train

    train = opened(root)

    assert train.classes == ("red", "big, or huge")
    assert list(train.samples) == ["a.png", "c.png"]
    assert train.targets.tolist() == [[1, 0], [-1, 1]]


def test_one_class_is_enough(root: Path) -> None:
    for split in ("train", "val"):
        (root / f"{split}.csv").write_text("image,red\na.png,1\n")

    assert opened(root).targets.shape == (1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file is empty; the first line must read 'image,<class>"),
        ("\n\n", "line 1: the file is empty"),
        ("image,red,big\n", "lists no image"),
        ("a.png,1,0\n", "line 1: the header is missing, the line begins with 'a.png'"),
        ("Image,red,big\n", "line 1: the header is missing"),
        ("image\na.png\n", "line 1: the header names no class"),
        ("image,red,\n", "line 1: column 3 has no class name"),
        ("image,red,red\n", "line 1: red is the name of more than one column"),
        ("image,red,big\na.png,1\n", "line 2: 2 values where the header has 3"),
        ("image,red,big\n\na.png,1,0,1\n", "line 3: 4 values where the header has 3"),
        ("image,red,big\na.png,1,2\n", "line 2: the label '2' of class big"),
        ("image,red,big\na.png,,0\n", "line 2: the label '' of class red"),
        ("image,red,big\na.png,1.0,0\n", "line 2: the label '1.0' of class red"),
        (TRAIN + "a.png,1,0\n", "line 5: the image 'a.png' stands in line 2 already"),
        (TRAIN + "./more//b.png,1,0\n", "line 5: the image .* in line 3 already"),
        ("image,red,big\n/tmp/a.png,1,0\n", "line 2: the path '/tmp/a.png' is abs"),
        ("image,red,big\nx/../../a.png,1,0\n", r"line 2: the path .* with '\.\.'"),
        ("image,red,big\n,1,0\n", "line 2: the path of the image is empty"),
        ("image,red,big\na\0.png,1,0\n", "line 2: the path .* has a zero byte"),
        ('image,red,big\n"a".png,1,0\n', r"line 2: .*comma-separated values"),
        ('image,red,big\n"a.png,1,0\n', r"line 2: .*comma-separated values"),
    ],
)
def test_bad_files_are_named_with_their_line(
    root: Path, text: str, message: str
) -> None:
    path = root / "train.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        opened(root)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_utf_8(root: Path) -> None:
    content = "image,red,big\nc.png,1,0\ncaf\xe9.png,1,0\n".encode("latin-1")
    (root / "train.csv").write_bytes(content)

    with pytest.raises(DataError, match=r"train\.csv, line 3: byte 0xe9 is not UTF-8"):
        opened(root)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,red", "1 classes are in one of them only: big"),
        ("image,red,big,tall", "1 classes are in one of them only: tall"),
        ("image,big,red", "class 1 is 'red' here and 'big' there"),
    ],
)
def test_both_files_name_the_same_classes(
    root: Path, header: str, message: str
) -> None:
    (root / "val.csv").write_text(f"{header}\n")

    with pytest.raises(DataError, match=rf"differ from those of val\.csv: {message}"):
        opened(root)


def test_val_needs_the_classes_of_train(root: Path) -> None:
    (root / "train.csv").unlink()

    with pytest.raises(DataError, match=r"cannot read .*/train\.csv: No such file"):
        opened(root, "val")


def test_the_bundled_scenes_stay_marked(root: Path) -> None:
    (root / scenes.MANIFEST).write_text("{}")

    assert opened(root).bundled

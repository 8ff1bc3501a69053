"""Boxes of VOC: two years in one split, and every kind of bad annotation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from ssl_bench.data import dense
from ssl_bench.data.dense import VocBoxes
from ssl_bench.data.dense_voc import Annotation, Box, read_boxes
from ssl_bench.errors import DataError

SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"


def thing(
    name: str = "cat", box: tuple[float, ...] = (1, 1, 40, 30), difficult: int = 0
) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inside = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<part><name>head</name><bndbox>{inside}</bndbox></part>"
        f"<bndbox>{inside}</bndbox></object>"
    )


def add(home: Path, part: str, name: str, body: str = SIZE + thing()) -> None:
    """Add an image to a list of a year."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(home / "JPEGImages" / f"{name}.jpg")
    text = f"<annotation>{body}</annotation>"
    (home / "Annotations" / f"{name}.xml").write_text(text)
    with (home / "ImageSets" / "Main" / f"{part}.txt").open("a") as file:
        file.write(f"{name}\n")


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit"
    add(root / "VOC2007", "trainval", "000005")
    add(root / "VOC2007", "trainval", "000001", SIZE + thing("dog"))
    add(root / "VOC2007", "test", "000002")
    add(root / "VOC2012", "trainval", "2008_000002", SIZE + thing("person"))
    return root


def opened(root: Path) -> tuple[VocBoxes, VocBoxes]:
    splits = dense.open_splits("detect", "voc0712", root, seed=0)
    train, test = splits["train"], splits["test"]
    assert isinstance(train, VocBoxes)
    assert isinstance(test, VocBoxes)
    return train, test


def test_what_is_opened(devkit: Path) -> None:
    train, test = opened(devkit)

    assert (train.name, len(train), len(test)) == ("voc0712", 3, 1)
    assert train.split == "VOC2007 trainval + VOC2012 trainval"
    assert test.split == "VOC2007 test"
    assert train.years == (
        (devkit / "VOC2007", "trainval"),
        (devkit / "VOC2012", "trainval"),
    )
    assert test.years == ((devkit / "VOC2007", "test"),)
    assert (len(train.classes), train.classes[0], train.classes[-1]) == (
        20,
        "aeroplane",
        "tvmonitor",
    )
    assert train.image_files()[2] == devkit / "VOC2012/JPEGImages/2008_000002.jpg"
    assert dense.check(train) == dense.check(test) == []
    assert opened(devkit.parent)[0] == train
    assert not (train.bundled or train.own)


def test_identity_follows_labels_not_the_place(devkit: Path, tmp_path: Path) -> None:
    train = opened(devkit)[0]
    there = tmp_path / "elsewhere"
    shutil.copytree(devkit, there)
    assert opened(there)[0].fingerprint() == train.fingerprint()
    assert train.limited(2).fingerprint() != train.fingerprint()
    assert train.limited(2).image_files() == train.image_files()[:2]

    path = there / "VOC2012" / "Annotations" / "2008_000002.xml"
    path.write_text(path.read_text().replace("person", "sheep"))
    assert opened(there)[0].fingerprint() != train.fingerprint()
    assert opened(there)[1].fingerprint() == opened(devkit)[1].fingerprint()


def test_boxes_are_read(devkit: Path) -> None:
    body = SIZE + thing("cat", (2, 3.5, 10, 20)) + thing("dog", (1, 1, 1, 1), 1)
    add(devkit / "VOC2007", "test", "9", body)
    assert read_boxes(devkit / "VOC2007" / "Annotations" / "9.xml") == Annotation(
        (40, 30),
        (Box("cat", False, (2, 3.5, 10, 20)), Box("dog", True, (1, 1, 1, 1))),
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "000005\n000001\n000005\n",
            "line 3: the image 000005 stands in line 1 already",
        ),
        ("000005 1\n", "line 1: '000005 1' has a space"),
        ("a/000005\n", "line 1: the id 'a/000005' has a path separator"),
        (
            "../000005\n",
            "line 1, names the file '../000005'; a name is a relative path",
        ),
        ("\n", "lists no image; unpack VOCtrainval_06-Nov-2007.tar"),
    ],
)
def test_lists_that_are_wrong(devkit: Path, lines: str, said: str) -> None:
    path = devkit / "VOC2007" / "ImageSets" / "Main" / "trainval.txt"
    path.write_text(lines)
    with pytest.raises(DataError, match=said) as caught:
        opened(devkit)
    assert str(path) in str(caught.value)


def test_not_there(devkit: Path, tmp_path: Path) -> None:
    shutil.rmtree(devkit / "VOC2012")
    with pytest.raises(
        DataError, match=r"cannot read .*VOC2012/.*trainval.txt.*unpack"
    ):
        opened(devkit)
    with pytest.raises(
        DataError, match=r"voc0712 is not under .*; expected layout: VOC"
    ):
        opened(devkit / "VOC2007")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (thing(), "annotations have no size, first VOC2007/Annotations/x.xml"),
        (
            SIZE + thing("lion"),
            "annotations name an unknown class, first 'lion' in VOC2007/Annotations/x",
        ),
        (
            SIZE + thing(box=(5, 5, 4, 9)),
            "annotations have a box without width or height, first "
            "VOC2007/Annotations/x.xml with cat at [5.0, 5.0, 4.0, 9.0]",
        ),
        (
            SIZE + thing(box=(1, 1, 42, 30)),
            "annotations have a box that leaves the image, first "
            "VOC2007/Annotations/x.xml with cat at [1.0, 1.0, 42.0, 30.0] of 40 x 30",
        ),
        (SIZE + thing(box=(1, -1, 40, 30)), "a box that leaves the image"),
        (SIZE + "<object><name>cat</name></object>", "object 1 has no box of four"),
        (
            SIZE + thing().replace(">40<", ">wide<"),
            "object 1 has no box of four numbers",
        ),
        ("<size>", "annotations cannot be read, first"),
    ],
)
def test_one_problem(devkit: Path, body: str, said: str) -> None:
    add(devkit / "VOC2007", "trainval", "x", body)
    (sentence,) = dense.check(opened(devkit)[0])
    assert sentence.startswith(f"{devkit}: 1 of 4 annotations")
    assert said in sentence


@pytest.mark.parametrize("side", ["0", "40.5", "wide", ""])
def test_a_size_that_is_none(devkit: Path, side: str) -> None:
    body = SIZE.replace("40", side) + thing()
    add(devkit / "VOC2007", "trainval", "x", body)
    (sentence,) = dense.check(opened(devkit)[0])
    assert "1 of 4 annotations have no size" in sentence


def test_blanks_in_names_and_lists(devkit: Path) -> None:
    add(devkit / "VOC2007", "trainval", "x", SIZE + thing(" cat"))
    path = devkit / "VOC2012" / "ImageSets" / "Main" / "trainval.txt"
    path.write_text("2008_000002 \n\n")
    lines, names = dense.check(opened(devkit)[0])
    assert lines.startswith(f"{path}: 2 of 2 lines are blank or have blanks around")
    assert "first '2008_000002 '; take the blanks out" in lines
    assert "1 of 4 annotations name an unknown class, first ' cat' in" in names


def test_a_box_of_one_pixel_or_from_0_is_none(devkit: Path) -> None:
    body = SIZE + thing(box=(0, 0, 41, 31)) + thing(box=(7, 7, 7, 7))
    add(devkit / "VOC2007", "trainval", "x", body)
    assert dense.check(opened(devkit)[0]) == []


def test_counts_are_of_all(devkit: Path) -> None:
    for number in range(3):
        add(devkit / "VOC2007", "trainval", f"x{number}", SIZE + thing("lion") * 2)
    (sentence,) = dense.check(opened(devkit)[0])
    assert "3 of 6 annotations name an unknown class" in sentence


def test_files_that_are_missing(devkit: Path) -> None:
    (devkit / "VOC2007" / "JPEGImages" / "000001.jpg").unlink()
    (devkit / "VOC2012" / "Annotations" / "2008_000002.xml").unlink()
    images, annotations = dense.check(opened(devkit)[0])
    assert "1 of 3 images are missing, first VOC2007/JPEGImages/000001.jpg" in images
    assert "1 of 3 annotations cannot be read, first cannot read" in annotations
    with pytest.raises(DataError, match="2 files of data set voc0712"):
        opened(devkit)[0].fingerprint()


def test_a_document_type_is_refused(devkit: Path) -> None:
    path = devkit / "VOC2007" / "Annotations" / "000005.xml"
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    (sentence,) = dense.check(opened(devkit)[0])
    assert f"{path} has <!DOCTYPE, which no annotation needs" in sentence


def test_no_object_to_learn(devkit: Path) -> None:
    add(devkit / "VOC2007", "test", "y", SIZE + thing(difficult=1))
    test = opened(devkit)[1]
    assert dense.check(test) == []
    path = devkit / "VOC2007" / "Annotations" / "000002.xml"
    path.write_text(f"<annotation>{SIZE}</annotation>")
    (sentence,) = dense.check(test)
    assert "none of the 2 images has an object that is not difficult" in sentence

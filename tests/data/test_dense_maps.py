"""Label maps: the layouts they come in, identity, and every kind of bad input."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_bench.data import dense, scenes
from ssl_bench.data.dense import LabelMaps
from ssl_bench.data.dense_maps import bit_palette
from ssl_bench.data.scene_layouts import SceneCounts
from ssl_bench.errors import DataError

LISTS = "ImageSets/Segmentation"


def image(path: Path, size: tuple[int, int] = (6, 4), turned: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size)
    exif = picture.getexif()
    if turned:
        exif[0x0112] = 6
    picture.save(path, exif=exif)


def label_map(path: Path, values: Sequence[int], mode: str = "P") -> None:
    """Write a map of 6 x 4: first ``values``, then the first of them again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = [*values, *[values[0]] * (24 - len(values))]
    picture = Image.fromarray(np.array(flat, dtype=np.uint8).reshape(4, 6))
    if mode == "P":
        picture.putpalette([*range(256)] * 3)
    (picture if mode == "P" else picture.convert(mode)).save(path)


def add(
    home: Path,
    part: str,
    name: str,
    values: Sequence[int] = (0, 1),
    folder: str = "SegmentationClass",
    ending: str = ".jpg",
) -> None:
    """Add an image to a list in VOC's layout."""
    image(home / "JPEGImages" / f"{name}{ending}")
    label_map(home / folder / f"{name}.png", values)
    (home / LISTS).mkdir(parents=True, exist_ok=True)
    with (home / LISTS / f"{part}.txt").open("a") as file:
        file.write(f"{name}\n")


def opened(name: str, root: Path) -> tuple[LabelMaps, LabelMaps]:
    splits = dense.open_splits("segment", name, root, seed=0)
    train, test = splits["train"], splits["test"]
    assert isinstance(train, LabelMaps)
    assert isinstance(test, LabelMaps)
    return train, test


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of the user's own: three classes, JPEG and PNG images."""
    root = tmp_path / "mine"
    add(root, "train", "a", (0, 2, 255))
    add(root, "train", "b.1", (1,), ending=".png")
    add(root, "val", "c", (0,))
    return root


# ------------------------------------------------------------------------------- folder
def test_a_folder(own: Path) -> None:
    train, test = opened("folder", own)

    assert (train.name, train.split, test.split) == ("folder", "train", "val")
    assert (len(train), len(test)) == (2, 1)
    assert train.classes == test.classes == ("class_0", "class_1", "class_2")
    assert train.pairs == (
        (own / "JPEGImages/a.jpg", own / "SegmentationClass/a.png"),
        (own / "JPEGImages/b.1.png", own / "SegmentationClass/b.1.png"),
    )
    assert (train.own, train.bundled) == (True, False)
    assert (train.ignore, train.reduce_zero_label) == (255, False)
    assert dense.check(train) == dense.check(test) == []


def test_classes_are_named_by_a_file(own: Path) -> None:
    (own / "classes.txt").write_text("sky\ntraffic light\n\nroad\nsea\n")
    train, test = opened("folder", own)
    assert train.classes == test.classes == ("sky", "traffic light", "road", "sea")
    assert train.palette is not None
    assert len(train.palette) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a\nb\na\n", "names the class 'a' twice"),
        (b"\n\n", "names 0 classes; write one a line"),
        (b"\xff\xfe", "cannot read .*classes.txt"),
    ],
)
def test_classes_that_cannot_be_read(own: Path, text: bytes, said: str) -> None:
    (own / "classes.txt").write_bytes(text)
    with pytest.raises(DataError, match=said):
        opened("folder", own)


def test_classes_that_cannot_be_counted(own: Path) -> None:
    for name in ("a", "b.1"):
        label_map(own / "SegmentationClass" / f"{name}.png", (255,))
    with pytest.raises(
        DataError, match=r"has a value besides 255, so that .*classes.txt"
    ):
        opened("folder", own)
    (own / "SegmentationClass" / "a.png").write_text("no picture")
    with pytest.raises(
        DataError, match=r"cannot count the classes in .*a.png .*mend it"
    ):
        opened("folder", own)


def test_identity_follows_labels_and_files_not_the_place(
    own: Path, tmp_path: Path
) -> None:
    train = opened("folder", own)[0]
    before = train.fingerprint()
    there = tmp_path / "elsewhere"
    shutil.copytree(own, there)
    assert opened("folder", there)[0].fingerprint() == before
    assert train.limited(1).fingerprint() != before
    for change in ({"ignore": 0}, {"reduce_zero_label": True}, {"classes": ("a", "b")}):
        assert dataclasses.replace(train, **change).fingerprint() != before  # type: ignore[arg-type]

    label_map(there / "SegmentationClass" / "a.png", (0, 1, 2, 255))
    assert opened("folder", there)[0].fingerprint() != before
    assert opened("folder", there)[1].fingerprint() != before
    shutil.copy(own / "SegmentationClass/a.png", there / "SegmentationClass/a.png")
    with (there / "JPEGImages" / "a.jpg").open("ab") as file:
        file.write(b"0")
    assert opened("folder", there)[0].fingerprint() != before


def test_a_limit_takes_the_first(own: Path) -> None:
    train = opened("folder", own)[0].limited(1)
    assert len(train) == len(train.pairs) == 1
    assert train.image_files() == [own / "JPEGImages/a.jpg"]
    assert len(train.limited(5)) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a\nb.1\na\n", "line 3: the image a stands in line 1 already"),
        ("/a\n", "line 1, names the file '/a'; a name is a relative path"),
        ("..\n", r"line 1, names the file '\.\.'"),
        ("", "lists no image"),
    ],
)
def test_lists_that_are_wrong(own: Path, lines: str, said: str) -> None:
    (own / LISTS / "train.txt").write_text(lines)
    with pytest.raises(DataError, match=said):
        opened("folder", own)


def test_not_there(own: Path) -> None:
    (own / LISTS / "val.txt").unlink()
    with pytest.raises(DataError, match=r"cannot read .*val.txt: No such file"):
        opened("folder", own)
    with pytest.raises(DataError, match=r"folder is not under .*JPEGImages/<id>.jpg"):
        opened("folder", own / "JPEGImages")
    assert dense.names("segment") == [
        "ade20k",
        "cityscapes",
        "digit-scenes",
        "folder",
        "voc12aug",
    ]
    with pytest.raises(DataError, match="unknown data set for segment 'coco'"):
        opened("coco", own)


# ------------------------------------------------------------------------ what is found
def problem_of(own: Path) -> str:
    (own / "classes.txt").write_text("x\ny\nz\n")
    (sentence,) = dense.check(opened("folder", own)[0])
    assert sentence.startswith(str(own))
    return sentence


def test_values_beyond_the_classes(own: Path) -> None:
    label_map(own / "SegmentationClass" / "a.png", (0, 3, 7, 255))
    said = "1 of 2 label maps have values beyond 2, first SegmentationClass/a.png with "
    assert f"{said}3, 7; correct" in problem_of(own)


def test_values_beyond_the_classes_counted_in_training(own: Path) -> None:
    label_map(own / "SegmentationClass" / "c.png", (0, 3))
    train, test = opened("folder", own)
    assert dense.check(train) == []
    (sentence,) = dense.check(test)
    assert "1 of 1 label maps have values beyond 2" in sentence


def test_zero_is_none_where_it_is_taken_off(own: Path) -> None:
    (own / "classes.txt").write_text("x\ny\n")
    train = dataclasses.replace(opened("folder", own)[0], reduce_zero_label=True)
    assert dense.check(train) == []
    label_map(own / "SegmentationClass" / "a.png", (0, 3))
    (sentence,) = dense.check(train)
    assert "have values beyond 2" in sentence


def test_another_size(own: Path) -> None:
    image(own / "JPEGImages" / "a.jpg", (4, 6))
    said = "another size than their image, first SegmentationClass/a.png of 6 x 4 for "
    assert f"{said}4 x 6" in problem_of(own)
    # Turned by its camera, it is 6 x 4 as it is seen.
    image(own / "JPEGImages" / "a.jpg", (4, 6), turned=True)
    assert dense.check(opened("folder", own)[0]) == []


@pytest.mark.parametrize("mode", ["RGB", "1", "LA"])
def test_another_mode(own: Path, mode: str) -> None:
    label_map(own / "SegmentationClass" / "a.png", (0, 1), mode)
    said = (
        f"1 of 2 label maps cannot be used, first {own}/SegmentationClass/a.png of mode"
    )
    assert f"{said} {mode}" in problem_of(own)


def test_files_that_cannot_be_read(own: Path) -> None:
    path = own / "SegmentationClass" / "a.png"
    path.write_bytes(path.read_bytes()[:60])
    assert f"1 of 2 label maps cannot be used, first {path} (" in problem_of(own)
    label_map(path, (0,))
    image_path = own / "JPEGImages" / "b.1.png"
    image_path.write_text("no picture")
    assert f"1 of 2 images cannot be read, first {image_path} (" in problem_of(own)


def test_files_that_are_missing(own: Path) -> None:
    (own / "classes.txt").write_text("x\ny\nz\n")
    add(own, "train", "d", (1,))
    (own / "JPEGImages" / "a.jpg").unlink()
    (own / "SegmentationClass" / "b.1.png").unlink()
    train = opened("folder", own)[0]
    images, maps = dense.check(train)
    assert "1 of 3 images are missing, first JPEGImages/a.jpg" in images
    assert "1 of 3 label maps are missing, first SegmentationClass/b.1.png" in maps
    with pytest.raises(DataError, match="2 files of data set folder"):
        train.fingerprint()


def test_no_pixel_of_a_class(own: Path) -> None:
    (own / "classes.txt").write_text("x\ny\nz\n")
    for name in ("a", "b.1"):
        label_map(own / "SegmentationClass" / f"{name}.png", (255,))
    (sentence,) = dense.check(opened("folder", own)[0])
    assert (
        "none of the 2 label maps has a pixel of a class; values from 0 to 2"
        in sentence
    )


# ----------------------------------------------------------------------------- voc12aug
@pytest.fixture
def voc(tmp_path: Path) -> Path:
    home = tmp_path / "VOCdevkit" / "VOC2012"
    add(home, "train", "2007_000032", (0, 20, 255))
    add(home, "aug", "2008_000002", (0, 5), folder="SegmentationClassAug")
    add(home, "val", "2007_000033", (0, 1))
    return home


def test_voc12aug(voc: Path) -> None:
    train, test = opened("voc12aug", voc.parent.parent)

    assert (train.root, train.split, test.split) == (voc, "train", "val")
    assert [labels.parent.name for _, labels in train.pairs] == [
        "SegmentationClass",
        "SegmentationClassAug",
    ]
    assert (len(train.classes), train.classes[:2]) == (21, ("background", "aeroplane"))
    assert (train.classes[15], train.classes[20]) == ("person", "tvmonitor")
    assert test.pairs == (
        (voc / "JPEGImages/2007_000033.jpg", voc / "SegmentationClass/2007_000033.png"),
    )
    assert dense.check(train) == dense.check(test) == []
    assert opened("voc12aug", voc) == opened("voc12aug", voc.parent) == (train, test)


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        (
            "aug",
            "2007_000033",
            "1 images stand in val.txt and in aug.txt, first 2007_0000",
        ),
        ("aug", "2007_000032", "stand in train.txt and in aug.txt"),
        ("val", "2007_000032", "stand in train.txt and in val.txt"),
    ],
)
def test_an_image_in_two_lists(voc: Path, part: str, name: str, said: str) -> None:
    with (voc / LISTS / f"{part}.txt").open("a") as file:
        file.write(f"{name}\n")
    with pytest.raises(DataError, match=said):
        opened("voc12aug", voc)


def test_the_augmented_list_is_to_be_made(voc: Path) -> None:
    (voc / LISTS / "aug.txt").unlink()
    with pytest.raises(DataError, match=r"aug.txt: No such .*prepare_voc12aug.py ROOT"):
        opened("voc12aug", voc)


def test_the_colours_of_voc() -> None:
    # The kit's colour map: aeroplane, bicycle, ..., person, ..., tvmonitor, void.
    colours = bit_palette(256)
    assert colours[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert colours[15] == (192, 128, 128)
    assert colours[20] == (0, 64, 128)
    assert colours[255] == (224, 224, 192)


# --------------------------------------------------------------------------- cityscapes
def test_cityscapes(tmp_path: Path) -> None:
    root = tmp_path / "cityscapes"
    for split, city in (("train", "ulm"), ("train", "jena"), ("val", "bonn")):
        name = f"{city}_000000_000019"
        image(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        path = root / "gtFine" / split / city / f"{name}_gtFine_labelTrainIds.png"
        label_map(path, (0, 18, 255), mode="L")

    train, test = opened("cityscapes", tmp_path)

    assert (train.split, len(train), len(test), train.root) == ("train", 2, 1, root)
    assert train.pairs[0] == (
        root / "leftImg8bit/train/jena/jena_000000_000019_leftImg8bit.png",
        root / "gtFine/train/jena/jena_000000_000019_gtFine_labelTrainIds.png",
    )
    assert (len(train.classes), train.classes[0], train.classes[18]) == (
        19,
        "road",
        "bicycle",
    )
    assert train.palette is not None
    assert (len(train.palette), train.palette[13]) == (19, (0, 0, 142))
    assert dense.check(train) == dense.check(test) == []

    path = test.pairs[0][1]
    path.rename(path.with_name("bonn_000000_000019_gtFine_labelIds.png"))
    with pytest.raises(
        DataError, match=r"make them .* python tools/prepare_cityscapes"
    ):
        opened("cityscapes", root)
    shutil.rmtree(root / "leftImg8bit" / "val")
    with pytest.raises(
        DataError, match=r"leftImg8bit/val has no .*unpack leftImg8bit_"
    ):
        opened("cityscapes", root)


# ------------------------------------------------------------------------------- ade20k
@pytest.fixture
def ade(tmp_path: Path) -> Path:
    root = tmp_path / "ADEChallengeData2016"
    for split, name in (("training", "train"), ("validation", "val")):
        image(root / "images" / split / f"ADE_{name}_00000001.jpg")
        path = root / "annotations" / split / f"ADE_{name}_00000001.png"
        label_map(path, (0, 1, 150), mode="L")
    return root


def info(names: dict[int, str]) -> str:
    rows = [f"{n}\t0.1\t10\t1\t1\t{names.get(n, f'thing {n}')}" for n in range(1, 151)]
    return "\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows, ""])


def test_ade20k(ade: Path) -> None:
    train, test = opened("ade20k", ade.parent)

    assert (train.split, test.split, train.root) == ("training", "validation", ade)
    assert train.pairs == (
        (
            ade / "images/training/ADE_train_00000001.jpg",
            ade / "annotations/training/ADE_train_00000001.png",
        ),
    )
    assert (train.reduce_zero_label, train.ignore, train.palette) == (True, 255, None)
    assert (len(train.classes), train.classes[0], train.classes[149]) == (
        150,
        "class_1",
        "class_150",
    )
    assert dense.check(train) == dense.check(test) == []
    label_map(test.pairs[0][1], (0, 151), mode="L")
    assert "values beyond 150" in dense.check(test)[0]
    label_map(test.pairs[0][1], (0, 255), mode="L")
    assert "has a pixel of a class; values from 1 to 150" in dense.check(test)[0]


def test_the_names_of_ade20k(ade: Path) -> None:
    names = {1: "wall", 2: "building, edifice", 3: "screen, silver", 4: "screen, crt"}
    (ade / "objectInfo150.txt").write_text(info(names))
    classes = opened("ade20k", ade)[0].classes
    assert classes[:5] == (
        "wall",
        "building",
        "screen, silver",
        "screen, crt",
        "thing 5",
    )

    (ade / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n")
    with pytest.raises(DataError, match="names 1 classes, where each of 1 to 150"):
        opened("ade20k", ade)


def test_ade20k_without_images(ade: Path) -> None:
    (ade / "images" / "validation" / "ADE_val_00000001.jpg").unlink()
    with pytest.raises(DataError, match="validation has no image; unpack ADEChallenge"):
        opened("ade20k", ade)
    shutil.rmtree(ade / "images")
    with pytest.raises(DataError, match=r"cannot list .*images/training"):
        opened("ade20k", ade)


# ------------------------------------------------------------------------- digit-scenes
def test_digit_scenes(tmp_path: Path) -> None:
    home = tmp_path / "digit-scenes"
    counts = SceneCounts(voc_trainval=3, voc_test=2)
    scenes.generate(home, counts=counts, styles=("voc",))

    train, test = opened("digit-scenes", home)

    assert (train.split, test.split, len(train), len(test)) == (
        "trainval",
        "test",
        3,
        2,
    )
    assert train.root == home / "VOCdevkit" / "VOC2007"
    assert (len(train.classes), train.classes[:2]) == (11, ("background", "zero"))
    assert train.bundled
    assert dense.check(train) == dense.check(test) == []
    assert opened("digit-scenes", tmp_path)[0] == train


def test_digit_scenes_are_made_without_a_root(monkeypatch: pytest.MonkeyPatch) -> None:
    small = SceneCounts(voc_trainval=2, voc_test=2)
    monkeypatch.setattr(scenes, "SceneCounts", lambda: small)
    splits: dict[str, Any] = dense.open_splits("segment", "digit-scenes", None, seed=3)
    assert [len(split) for split in splits.values()] == [2, 2]
    assert all(split.bundled for split in splits.values())

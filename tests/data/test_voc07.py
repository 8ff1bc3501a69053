from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_bench import data
from ssl_bench.data import scenes
from ssl_bench.data.voc07 import KNOWN, Voc07
from ssl_bench.errors import DataError
from tests.data.fake_devkit import write_devkit


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


def lists(home: Path) -> Path:
    return home / "ImageSets" / "Main"


def opened(home: Path, split: str = "trainval") -> data.ImageDataset:
    return data.open_dataset("voc07", split, home)


def test_labels_classes_and_order(home: Path) -> None:
    train, test = opened(home), opened(home, "test")

    assert train.classes == test.classes == ("bus", "cow", "sheep")
    assert list(train.samples) == [
        "JPEGImages/000005.jpg",
        "JPEGImages/000007.jpg",
        "JPEGImages/000009.jpg",
    ]
    assert train.targets.dtype == np.int8
    # By hand from the lists: 1 is 1, -1 is 0, 0 (difficult) is -1; bus, cow, sheep.
    assert train.targets.tolist() == [[0, 1, 0], [-1, 0, 1], [0, 0, 0]]
    assert test.targets.tolist() == [[1, 0, 1], [0, -1, 0]]
    image, target, index = train[1]
    assert (image.size, target.tolist(), index) == ((20, 15), [-1, 0, 1], 1)
    assert (train.transform_name, train.bundled, train.own) == ("squash", False, False)


def test_the_list_sets_the_order_not_the_class_files(home: Path) -> None:
    (lists(home) / "trainval.txt").write_text("000009\n000005\n000007\n")

    train = opened(home)

    assert train.samples[0] == "JPEGImages/000009.jpg"
    assert train.targets.tolist() == [[0, 0, 0], [0, 1, 0], [-1, 0, 1]]


def test_line_ends_and_blank_lines(home: Path) -> None:
    before = opened(home).targets.tolist()
    for path in lists(home).glob("[!.]*trainval.txt"):
        text = path.read_text().replace("\n", "\r\n") + "\r\n\r\n"
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert opened(home).targets.tolist() == before


@pytest.mark.parametrize("place", ["above", "VOCdevkit", "VOC2007", "inside", "bare"])
def test_every_folder_on_the_way_is_taken(
    home: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"above": home.parents[1], "VOCdevkit": home.parent}.get(place, home)
    expected = home
    if place == "inside":
        monkeypatch.chdir(home)
        given = expected = Path()
    if place == "bare":  # VOC2007 alone in a folder of another name
        given = home.parents[1] / "data"
        expected = given / "VOC2007"
        given.mkdir()
        home.rename(expected)

    assert data.find_root("voc07", given) == expected
    assert len(data.open_dataset("voc07", "test", given)) == 2


def test_the_bundled_scenes_stay_marked_under_this_name(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.parent / scenes.MANIFEST).write_text("{}")

    assert opened(home).bundled
    monkeypatch.chdir(home)
    assert Voc07(Path(), "test").bundled
    assert not Voc07.bundled


def test_a_missing_image_is_named_by_the_fingerprint(home: Path) -> None:
    (home / "JPEGImages" / "000007.jpg").unlink()

    with pytest.raises(DataError, match=r"1 of the 3 images .*000007\.jpg"):
        opened(home).fingerprint()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cow_trainval", "000005  2\n000007 -1\n000009 -1\n", "line 1: the label '2'"),
        ("cow_trainval", "000005  1\n000007 +1\n000009 -1\n", "line 2: the label '.1'"),
        ("cow_trainval", "000005  1\n\n000007\n", "line 3: '000007' has 1 fields"),
        ("cow_trainval", "000005 1 1\n", "line 1: '000005 1 1' has 3 fields"),
        ("cow_trainval", "000005  1\n", r"lacks 2 images \(000007, 000009\)"),
        ("cow_trainval", "", r"lacks 3 images \(000005, 000007, 000009\)"),
        (
            "cow_trainval",
            "000005 1\n000007 1\n000009 1\n000011 1\n000013 1\n",
            r"has more than the list: 2 images \(000011, 000013\)",
        ),
        (
            "cow_trainval",
            "000005 1\n000007 1\n000009 1\n000007 1\n",
            "line 4: image 000007 stands in line 2 already",
        ),
        ("trainval", "000005\n000007\n000005\n", "line 3: image 000005 .* line 1"),
        ("trainval", "000005\n000007 1\n", "line 2: '000007 1' has 2 fields"),
        ("trainval", "\n \n", "lists no image"),
        ("trainval", "../000005\n", r"line 1: the id '\.\./000005' has a path sep"),
        ("trainval", "a\\b\n", r"line 1: the id .* has a path separator"),
        ("trainval", "000005\0\n", r"line 1: the id .* has a path separator"),
    ],
)
def test_bad_lists_are_named_with_line_and_value(
    home: Path, name: str, text: str, message: str
) -> None:
    path = lists(home) / f"{name}.txt"
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        opened(home)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("gone", "split", "message"),
    [
        ("cow_test.txt", "test", r"lacks 1 of the class files of test: cow_test\.txt"),
        ("cow_trainval.txt", "test", r"class files of trainval: cow_trainval\.txt"),
        ("*_test.txt", "test", r"lacks 3 .* of test: bus_test\.txt, cow_test\.txt"),
        ("*_trainval.txt", "trainval", r"has no <class>_trainval\.txt"),
        ("trainval.txt", "trainval", r"cannot read .*/trainval\.txt: No such file"),
    ],
)
def test_missing_lists(home: Path, gone: str, split: str, message: str) -> None:
    for path in lists(home).glob(gone):
        path.unlink()

    with pytest.raises(DataError, match=message) as caught:
        opened(home, split)

    assert "prepare_voc07.py" in str(caught.value)


def test_images_without_lists(home: Path) -> None:
    shutil.rmtree(home / "ImageSets")

    with pytest.raises(DataError, match=r"cannot list .*ImageSets/Main: No such file"):
        opened(home)


def test_the_known_figures_fit_together() -> None:
    test = KNOWN.positives["test"]

    assert len(test) == 20
    assert list(test) == sorted(test)
    assert sum(KNOWN.images.values()) == 9963  # so says the development kit
    assert KNOWN.images["test"] == 4952
    assert KNOWN.positives["trainval"] == {"sheep": 96}

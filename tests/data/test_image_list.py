from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench.data.image_list import ImageDataset, PathList, check_pair
from ssl_bench.errors import DataError


class Listed(ImageDataset):
    """A data set of whatever it is given."""

    name = "listed"
    folders = ("listed",)
    layout = "anything"

    def __init__(self, root: Path, split: str, paths: list[str], targets: Any) -> None:
        self.root, self.split = root, split
        self.samples = PathList(paths)
        self.targets = np.asarray(targets)
        many = self.targets.ndim == 2
        count = self.targets.shape[1] if many else int(self.targets.max()) + 1
        self.classes = tuple(f"c{i}" for i in range(count))


def labelled(targets: Any, split: str = "train") -> Listed:
    targets = np.asarray(targets)
    paths = [f"{i:03}.png" for i in range(len(targets))]
    return Listed(Path("/nowhere"), split, paths, targets)


def counts(part: ImageDataset) -> list[int]:
    return np.bincount(part.targets, minlength=len(part.classes)).tolist()


def test_path_list_is_a_sequence_of_strings() -> None:
    texts = ["a/b.png", "", "ü/日本.jpg", "x" * 300, os.fsdecode(b"raw\xff.png")]

    paths = PathList(texts)

    assert list(paths) == texts
    assert (len(paths), paths[-1], paths[2]) == (5, texts[-1], texts[2])
    assert list(paths[1:4:2]) == texts[1:4:2]
    assert "ü/日本.jpg" in paths
    for index in (5, -6):
        with pytest.raises(IndexError):
            paths[index]
    assert list(PathList([])) == []


def test_fingerprint_by_hand(tmp_path: Path) -> None:
    # Sorted by path: (a/y, 3 bytes, label 1) before (b, 2 bytes, label 0).
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "y").write_bytes(b"xyz")
    (tmp_path / "b").write_bytes(b"uv")
    dataset = Listed(tmp_path, "train", ["b", "a/y"], [0, 1])
    bare = hashlib.sha256(b"a/y\x003\x001\nb\x002\x000\n")
    y, b = (hashlib.sha256(t).hexdigest().encode() for t in (b"xyz", b"uv"))
    full = hashlib.sha256(b"a/y\x003\0" + y + b"\x001\nb\x002\0" + b + b"\x000\n")

    assert dataset.fingerprint() == bare.hexdigest()
    assert dataset.fingerprint(contents=True) == full.hexdigest()


def test_fingerprint_does_not_see_times_and_roots(tmp_path: Path) -> None:
    digests = set()
    for number, place in enumerate(("one", "two/three")):
        root = tmp_path / place
        root.mkdir(parents=True)
        (root / "a").write_bytes(b"x")
        os.utime(root / "a", (number, number))
        digests.add(Listed(root, "train", ["a"], [0]).fingerprint())

    assert len(digests) == 1


def test_multi_label_fingerprint_follows_every_label(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    rows = ([1, 0], [1, -1], [0, 1])

    digests = {Listed(tmp_path, "train", ["a"], [row]).fingerprint() for row in rows}

    assert len(digests) == 3


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    paths = ["here", *(f"gone{i}" for i in range(5))]
    dataset = Listed(tmp_path, "train", paths, [0] * 6)

    for contents in (False, True):
        with pytest.raises(DataError) as caught:
            dataset.fingerprint(contents)
        assert str(caught.value) == (
            "5 of the 6 images of data set listed (train) are missing below "
            f"{tmp_path}: gone0, gone1, gone2 and 2 more; restore them, or correct the "
            "list"
        )
    with pytest.raises(DataError, match=r"gone0: the file does not exist"):
        dataset.image(1)


def test_an_unreadable_file_is_named_when_contents_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    with pytest.raises(DataError, match=f"cannot read {tmp_path}/a: Is a directory"):
        Listed(tmp_path, "train", ["a"], [0]).fingerprint(contents=True)


def test_more_images_than_one_chunk(tmp_path: Path) -> None:
    count = 9001
    paths = [f"{i}" for i in range(count)]
    for path in paths:
        (tmp_path / path).touch()
    expected = "".join(f"{p}\x000\x000\n" for p in sorted(paths))

    found = Listed(tmp_path, "train", paths, [0] * count).fingerprint()

    assert found == hashlib.sha256(expected.encode()).hexdigest()


@pytest.mark.parametrize(
    ("have", "limit", "expected"),
    [
        ([5, 5, 5], 9, [3, 3, 3]),
        ([1, 5, 5], 9, [1, 4, 4]),  # what a small class lacks, the others give
        ([1, 2, 90], 10, [1, 2, 7]),
        ([5, 0, 5], 4, [2, 0, 2]),
    ],
)
def test_balance_by_hand(have: list[int], limit: int, expected: list[int]) -> None:
    dataset = labelled(np.repeat(np.arange(3), have))

    for seed in range(5):
        assert counts(dataset.subset(limit, seed)) == expected


def test_the_odd_ones_are_drawn() -> None:
    dataset = labelled(np.repeat(np.arange(4), 10))

    found = {tuple(counts(dataset.subset(6, seed))) for seed in range(40)}

    # 1 each and two more: every one of the 6 pairs of classes is drawn sometimes.
    assert all(sorted(c) == [1, 1, 2, 2] for c in found)
    assert len(found) == 6


def test_every_image_is_drawn_as_often_as_its_class_mates() -> None:
    dataset = labelled([0] * 10)
    hits = np.zeros(10)
    for seed in range(2000):
        for path in dataset.subset(3, seed).samples:
            hits[int(path[:3])] += 1

    # Expectation 600 each; the standard deviation of one is sqrt(2000 * .3 * .7) = 20.
    assert np.abs(hits - 600).max() < 100


def test_a_draw_is_the_same_for_ever() -> None:
    # Dealt out by hand from RandomState(0), the stream numpy promises to keep (NEP 19):
    # permutation(20), a queue a class, permutation(3) for the turns, one image a turn.
    dataset = labelled(np.arange(20) % 3)

    found = list(dataset.subset(4, 0).samples)

    assert found == ["001.png", "006.png", "008.png", "018.png"]


def test_several_labels_an_image_balance_by_the_rarest() -> None:
    # Class 1 has one image, class 0 all ten: the image of class 1 has to come.
    targets = np.zeros((12, 2), np.int8)
    targets[:10, 0] = 1
    targets[4, 1] = 1
    targets[11] = -1  # difficult everywhere: positive for nothing
    dataset = labelled(targets)

    for seed in range(10):
        part = dataset.subset(3, seed)
        assert (part.targets == 1).any(axis=0).all()
        assert "004.png" in part.samples


def test_check_pair() -> None:
    train = labelled([0, 1, 2])
    check_pair(train, labelled([0, 2], "val"))
    with pytest.raises(DataError) as caught:
        check_pair(labelled([0, 2]), labelled([0, 1, 3], "val"))
    assert str(caught.value).startswith(
        "data set listed: 2 classes are only in val, not in train: c1, c3; "
    )


def test_check_pair_of_several_labels_an_image() -> None:
    train = labelled(np.array([[1, -1], [1, 0]], np.int8))

    check_pair(train, labelled(np.array([[1, -1]], np.int8), "val"))
    with pytest.raises(DataError, match="only in val, not in train: c1;"):
        check_pair(train, labelled(np.array([[1, 1]], np.int8), "val"))

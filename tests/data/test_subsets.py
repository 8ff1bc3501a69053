from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ssl_bench import data
from ssl_bench.data.folder import Folder
from ssl_bench.data.image_list import ImageDataset
from ssl_bench.data.imagenet import ImageNet
from ssl_bench.data.subsets import draw_fraction, list_text, read_subset
from ssl_bench.errors import DataError


def targets(*counts: int) -> NDArray[np.int64]:
    """Labels of so many images a class, mixed."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.RandomState(0).permutation(labels).astype(np.int64)


# -------------------------------------------------------------------------------- draw
@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        # 13, 13 and 7.32 of ImageNet's class sizes; 0.5 and 1.5 are rounded up.
        ((1300, 1300, 732), 0.01, (13, 13, 7)),
        ((50, 150, 149), 0.01, (1, 2, 1)),
        ((1300, 732), 0.1, (130, 73)),
        ((1, 5, 14, 15, 25), 0.1, (1, 1, 1, 2, 3)),
        ((3, 3, 3), 0.5, (2, 2, 2)),
        ((100, 0, 100), 0.29, (29, 0, 29)),  # 0.29 * 100 is 28.999999999999996
        ((50, 50), 0.29, (15, 15)),  # 14.499999999999998 stands for 14.5
    ],
)
def test_every_class_gives_its_share(
    counts: tuple[int, ...], fraction: float, expected: tuple[int, ...]
) -> None:
    labels = targets(*counts)

    found = draw_fraction(labels, fraction, seed=3)

    assert np.bincount(labels[found], minlength=len(counts)).tolist() == list(expected)
    assert found.dtype == np.int64
    assert (np.diff(found) > 0).all()


def test_the_draw_follows_its_seed_and_nothing_else() -> None:
    labels = targets(40, 40, 40)
    state: Any = np.random.get_state()

    draws = [draw_fraction(labels, 0.1, seed).tolist() for seed in (0, 0, 1, 2)]

    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3
    after: Any = np.random.get_state()
    assert np.array_equal(after[1], state[1])
    assert after[2:] == state[2:]


def test_the_draw_by_its_definition() -> None:
    labels = np.array([1, 0, 1, 1, 0, 1, 0, 0, 1, 1], dtype=np.int64)
    # Class 0 has the images 1, 4, 6, 7, and half of them is 2; class 1 has the
    # images 0, 2, 3, 5, 8, 9, and half of them is 3.
    first = np.random.RandomState([8, 0]).permutation([1, 4, 6, 7])[:2]
    second = np.random.RandomState([8, 1]).permutation([0, 2, 3, 5, 8, 9])[:3]

    found = draw_fraction(labels, 0.5, seed=8)

    assert found.tolist() == sorted([*first.tolist(), *second.tolist()])


def test_every_image_has_its_chance() -> None:
    labels = targets(10, 30)
    count = np.zeros(40)
    for seed in range(400):
        count[draw_fraction(labels, 0.1, seed)] += 1

    # One of ten and three of thirty: each is drawn 40 times of 400, deviation 6.
    assert np.abs(count - 40).max() < 4.5 * 6


@pytest.mark.parametrize(
    ("images", "fraction", "least"),
    [(99, 0.01, 100), (9, 0.1, 10), (48, 1 / 49, 49), (2, 0.4, 3), (0, 0.5, 2)],
)
def test_too_few_images(images: int, fraction: float, least: int) -> None:
    labels = np.zeros(images, dtype=np.int64)

    with pytest.raises(DataError) as caught:
        draw_fraction(labels, fraction, 0)

    text = str(caught.value)
    assert f"of {images} images is less than one; it takes {least} images" in text
    assert "--cfg-options fraction=" in text
    assert len(draw_fraction(np.zeros(least, dtype=np.int64), fraction, 0)) == 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fractions_that_are_none(fraction: float) -> None:
    with pytest.raises(DataError, match=r"is not between 0 and 1; 1 % is 0.01"):
        draw_fraction(targets(50), fraction, 0)


def test_several_labels_an_image() -> None:
    with pytest.raises(DataError, match="these have several; take a data set with one"):
        draw_fraction(np.zeros((50, 3), dtype=np.int8), 0.5, 0)


# -------------------------------------------------------------------------------- read
WNIDS = ("n01440764", "n01443537")


@pytest.fixture
def train(tmp_path: Path) -> ImageDataset:
    """Six images, 0 to 2 of the first class and 3 to 5 of the second."""
    root = tmp_path / "imagenet"
    lines = []
    for label, wnid in enumerate(WNIDS):
        for number in range(3):
            path = root / "train" / wnid / f"{wnid}_{number}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path)
            lines.append(f"{wnid}/{path.name} {label}\n")
    (root / "meta").mkdir()
    (root / "meta" / "train.txt").write_text("".join(lines))
    return ImageNet(root, "train")


def listed(train: ImageDataset, content: str | bytes) -> Path:
    path = train.root / "1percent.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "n01443537_1.JPEG\nn01440764_2.JPEG\n",
        "n01443537/n01443537_1.JPEG\nn01440764/n01440764_2.JPEG\n",
        "n01443537/n01443537_1.JPEG 1\nn01440764/n01440764_2.JPEG 0\n",
        "train/n01443537/n01443537_1.JPEG 1\nn01440764_2.JPEG 0",
        # Labels of another order: those of the data set are used.
        "n01443537_1.JPEG 917\nn01440764_2.JPEG  3\n",
        b"\xef\xbb\xbfn01443537_1.JPEG\r\n\r\n  n01440764_2.JPEG  \r\n\r\n",
    ],
)
def test_lists_in_every_form(train: ImageDataset, content: str | bytes) -> None:
    found = read_subset(train, listed(train, content))

    assert found.tolist() == [2, 4]
    part = train.select(found)
    assert part.targets.tolist() == [0, 1]
    assert [Path(path).name for path in part.samples] == [
        "n01440764_2.JPEG",
        "n01443537_1.JPEG",
    ]


def test_names_with_blanks_and_numbers(tmp_path: Path) -> None:
    for name in ("a 1.png", "b 2.png", "c"):
        path = tmp_path / "train" / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path.with_suffix(".png"))
    photos = Folder(tmp_path, "train")

    assert read_subset(photos, listed(photos, "b 2.png\na 1.png 0\n")).tolist() == [
        0,
        1,
    ]


def test_names_that_are_not_there(train: ImageDataset) -> None:
    wrong = [f"n09999999_{number}.JPEG" for number in range(5)]
    path = listed(train, "\n".join([*wrong, "n01440764_2.JPEG"]))

    with pytest.raises(DataError) as caught:
        read_subset(train, path)

    assert str(caught.value) == (
        f"{path} has 5 names that are not among the 6 images of data set imagenet "
        f"(train): {', '.join(wrong[:3])} and 2 more; take the list that belongs to "
        "this data set, or complete the data"
    )


def test_names_that_stand_there_twice(train: ImageDataset) -> None:
    path = listed(train, "n01440764_2.JPEG\nn01440764/n01440764_2.JPEG 0\n")

    with pytest.raises(DataError, match=rf"{path} has 1 names twice: n01440764/n0144"):
        read_subset(train, path)


def test_names_of_several_images(tmp_path: Path) -> None:
    for label in "ab":
        path = tmp_path / "train" / label / "1.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(path)
    photos = Folder(tmp_path, "train")

    with pytest.raises(
        DataError, match=r"1 names that several images .*: 1.png; write"
    ):
        read_subset(photos, listed(photos, "1.png\n"))
    assert read_subset(photos, listed(photos, "b/1.png\n")).tolist() == [1]


@pytest.mark.parametrize("content", ["", "\n \r\n"])
def test_empty_lists(train: ImageDataset, content: str) -> None:
    path = listed(train, content)

    with pytest.raises(DataError, match=rf"{path} lists no image; a line reads"):
        read_subset(train, path)


def test_lists_that_are_not_there(train: ImageDataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone.txt: No such file"):
        read_subset(train, tmp_path / "gone.txt")


def test_what_is_written_is_read_again(train: ImageDataset) -> None:
    text = list_text(train, [4, 0])

    assert text == "n01443537/n01443537_1.JPEG 1\nn01440764/n01440764_0.JPEG 0\n"
    path = listed(train, text)
    assert read_subset(train, path).tolist() == [0, 4]
    again = data.open_dataset("imagenet", "train", train.root, list_file=path.name)
    assert again.targets.tolist() == [1, 0]
    assert list(again.samples) == [train.samples[4], train.samples[0]]

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ssl_bench import data
from ssl_bench.data.places205 import Places205
from ssl_bench.errors import DataError

IMAGES = "data/vision/torralba/deeplearning/images256"
LISTS = "trainvalsplit_places205"
TRAIN = [("a/abbey/1.jpg", 0), ("a/alley/2.jpg", 1), ("w/water/pool/3.jpg", 2)]
VAL = [("a/alley/4.jpg", 1), ("a/abbey/5.jpg", 0)]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The two archives, unpacked in one folder."""
    root = tmp_path / "Places205"
    for split, lines in (("train", TRAIN), ("val", VAL)):
        text = "".join(f"{name} {label}\n" for name, label in lines)
        write(root / LISTS / f"{split}_places205.csv", text)
        for name, _ in lines:
            save(root / IMAGES / name)
    return root


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    """MMSelfSup's layout, with a flat folder for val."""
    root = tmp_path / "meta-layout"
    flat = [(name.rpartition("/")[2], label) for name, label in VAL]
    for split, lines in (("train", TRAIN), ("val", flat)):
        text = "".join(f"{name} {label}\n" for name, label in lines)
        write(root / "meta" / f"{split}.txt", text)
        for name, _ in lines:
            save(root / split / name)
    return root


def test_the_distributed_layout(own: Path) -> None:
    train, val = Places205(own, "train"), Places205(own, "val")

    assert list(train.samples) == [f"{IMAGES}/{name}" for name, _ in TRAIN]
    assert train.targets.tolist() == [0, 1, 2]
    assert list(val.samples) == [f"{IMAGES}/a/alley/4.jpg", f"{IMAGES}/a/abbey/5.jpg"]
    assert val.targets.tolist() == [1, 0]
    assert train.classes == val.classes == ("a/abbey", "a/alley", "w/water/pool")
    assert len(train.fingerprint()) == 64
    data.check_pair(train, val)


def test_the_layout_of_mmselfsup(meta: Path) -> None:
    train, val = Places205(meta, "train"), Places205(meta, "val")

    assert list(train.samples) == [f"train/{name}" for name, _ in TRAIN]
    assert list(val.samples) == ["val/4.jpg", "val/5.jpg"]
    assert train.classes == val.classes == ("a/abbey", "a/alley", "w/water/pool")
    assert len(val.fingerprint()) == 64


def test_lists_of_openselfsup_come_before_those_without_labels(meta: Path) -> None:
    (meta / "meta" / "train.txt").write_text("a/abbey/1.jpg\n")
    (meta / "meta" / "train_labeled.txt").write_text("a/abbey/1.jpg 0\n")

    assert list(Places205(meta, "train").samples) == ["train/a/abbey/1.jpg"]


def test_paths_that_begin_with_the_images_folder(own: Path) -> None:
    text = "".join(f"{IMAGES}/{name} {label}\n" for name, label in TRAIN)
    write(own / LISTS / "train_places205.csv", text)

    train = Places205(own, "train")

    assert list(train.samples) == [f"{IMAGES}/{name}" for name, _ in TRAIN]
    assert train.classes[1] == "a/alley"


def test_labels_of_something_else(own: Path) -> None:
    write(own / LISTS / "val_places205.csv", "a/abbey/5.jpg 204\na/alley/4.jpg 1\n")
    assert len(Places205(own, "val").classes) == 205

    write(own / LISTS / "val_places205.csv", "a/abbey/5.jpg 205\n")
    with pytest.raises(
        DataError, match=r"val_places205.csv has the label 205.*0 to 204"
    ):
        Places205(own, "val")


@pytest.mark.parametrize("layout", ["own", "meta"])
def test_a_list_that_is_not_there(layout: str, request: pytest.FixtureRequest) -> None:
    root: Path = request.getfixturevalue(layout)
    name = f"{LISTS}/val_places205.csv" if layout == "own" else "meta/val.txt"
    (root / name).unlink()

    with pytest.raises(DataError, match=f"cannot read .*{name}: No such file"):
        Places205(root, "val")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/abbey/1.jpg,0", "'a/abbey/1.jpg,0' has no label"),
        ("../x.jpg 0", "leaves the folder"),
        ("/x.jpg 0", "is absolute"),
    ],
)
def test_a_bad_line_is_named(own: Path, line: str, message: str) -> None:
    path = own / LISTS / "train_places205.csv"
    path.write_text(f"a/abbey/1.jpg 0\n{line}\n")

    with pytest.raises(DataError, match=rf"{path}, line 2: .*{message}"):
        Places205(own, "train")


def test_where_it_is_found(own: Path, tmp_path: Path) -> None:
    assert data.find_root("places205", tmp_path) == own
    own.rename(tmp_path / "places205")
    assert data.find_root("places205", tmp_path) == tmp_path / "places205"

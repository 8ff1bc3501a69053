from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ssl_bench import data
from ssl_bench.data.imagenet import ImageNet
from ssl_bench.errors import DataError

WNIDS = ("n01440764", "n01443537", "n15075141")


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Lists whose labels are not in the order of the folders' names."""
    root = tmp_path / "imagenet"
    (root / "meta").mkdir(parents=True)
    train = [
        (f"{WNIDS[2]}/a.JPEG", 0),
        (f"{WNIDS[0]}/b c.JPEG", 1),
        (f"{WNIDS[1]}/d.JPEG", 2),
    ]
    val = [("v1.JPEG", 2), ("v2.JPEG", 0)]
    for split, lines in (("train", train), ("val", val)):
        for name, _ in lines:
            image(root / split / name)
        text = "".join(f"{name} {label}\n" for name, label in lines)
        (root / "meta" / f"{split}.txt").write_text(text)
    return root


def rewrite(root: Path, text: str | bytes, name: str = "train") -> Path:
    path = root / "meta" / f"{name}.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lists(lists: Path) -> None:
    train, val = ImageNet(lists, "train"), ImageNet(lists, "val")

    assert list(train.samples) == [
        f"train/{WNIDS[2]}/a.JPEG",
        f"train/{WNIDS[0]}/b c.JPEG",  # split at the last space
        f"train/{WNIDS[1]}/d.JPEG",
    ]
    assert train.targets.tolist() == [0, 1, 2]
    assert list(val.samples) == ["val/v1.JPEG", "val/v2.JPEG"]
    assert val.targets.tolist() == [2, 0]
    for split in (train, val):
        assert split.classes == (WNIDS[2], WNIDS[0], WNIDS[1])
        split.fingerprint()
    data.check_pair(train, val)


def test_class_folders_without_meta(tmp_path: Path) -> None:
    for wnid in WNIDS:
        image(tmp_path / "train" / wnid / "1.JPEG")
    image(tmp_path / "val" / WNIDS[1] / "2.JPEG")

    val = ImageNet(tmp_path, "val")

    assert val.classes == WNIDS
    assert list(val.samples) == [f"val/{WNIDS[1]}/2.JPEG"]
    assert val.targets.tolist() == [1]


def test_class_only_in_val(lists: Path, tmp_path: Path) -> None:
    rewrite(lists, "v1.JPEG 7\n", "val")
    with pytest.raises(DataError, match=r"only in val, not in train: 7;"):
        data.check_pair(ImageNet(lists, "train"), ImageNet(lists, "val"))

    image(tmp_path / "train" / WNIDS[0] / "1.JPEG")
    image(tmp_path / "val" / WNIDS[1] / "2.JPEG")
    with pytest.raises(DataError, match=f"the training images have not: {WNIDS[1]};"):
        ImageNet(tmp_path, "val")


def test_flat_val_without_meta(tmp_path: Path) -> None:
    image(tmp_path / "train" / WNIDS[0] / "1.JPEG")
    image(tmp_path / "val" / "2.JPEG")

    with pytest.raises(DataError, match=r"val has no class folders \(1 images without"):
        ImageNet(tmp_path, "val")


def test_no_val_folder(tmp_path: Path) -> None:
    image(tmp_path / "train" / WNIDS[0] / "1.JPEG")

    with pytest.raises(DataError, match=r"has no val/ folder; expected layout: meta"):
        ImageNet(tmp_path, "val")


def test_openselfsup_lists_come_first(lists: Path) -> None:
    rewrite(lists, "n01440764/b c.JPEG\n")  # OpenSelfSup's train.txt has no labels
    rewrite(lists, f"{WNIDS[0]}/b c.JPEG 0\n", "train_labeled")

    assert list(ImageNet(lists, "train").samples) == [f"train/{WNIDS[0]}/b c.JPEG"]


def test_another_list(lists: Path) -> None:
    rewrite(lists, f"{WNIDS[1]}/d.JPEG 2\n", "train_1percent")

    part = data.open_dataset(
        "imagenet", "train", lists, list_file="meta/train_1percent.txt"
    )

    assert list(part.samples) == [f"train/{WNIDS[1]}/d.JPEG"]
    assert part.classes == ImageNet(lists, "train").classes
    with pytest.raises(DataError, match=r"cannot read .*gone.txt: No such file"):
        data.open_dataset("imagenet", "train", lists, list_file="meta/gone.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.JPEG", "'a.JPEG' has no label"),
        (" 3", "'3' has no label"),
        ("a.JPEG cat", "the label 'cat' is not a whole number"),
        ("a.JPEG 1.0", "the label '1.0' is not a whole number"),
        ("a.JPEG 1_0", "the label '1_0' is not a whole number"),
        ("a.JPEG ٣", "the label '٣' is not a whole number"),
        ("a.JPEG\t3", "has no label"),
        ("my cat.JPEG", "the label 'cat.JPEG' is not"),
        ("a.JPEG -1", "the label -1 is negative"),
        ("a.JPEG 99999999999", "the label 99999999999 is beyond"),
        ("/etc/passwd 1", "the path '/etc/passwd' is absolute"),
        ("a/../../b.JPEG 1", "the path 'a/../../b.JPEG' leaves the folder"),
    ],
)
def test_a_bad_line_is_named(lists: Path, line: str, message: str) -> None:
    path = rewrite(lists, f"good.JPEG 0\n\n{line}\nbad too\n")

    with pytest.raises(DataError) as caught:
        ImageNet(lists, "train")

    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert message in str(caught.value)
    assert "a line reads 'folder/file.JPEG label'" in str(caught.value)


def test_lists_of_other_systems(lists: Path) -> None:
    # A byte order mark, Windows line ends, a blank line, no newline at the end.
    rewrite(lists, b"\xef\xbb\xbfn1/a..b.JPEG 0\r\n\r\nn2/\xff.JPEG  1")

    train = ImageNet(lists, "train")

    assert list(train.samples) == [
        "train/n1/a..b.JPEG",
        os.fsdecode(b"train/n2/\xff.JPEG"),
    ]
    assert train.classes == ("n1", "n2")


def test_empty_and_missing_lists(lists: Path) -> None:
    path = rewrite(lists, "\n  \n")
    with pytest.raises(DataError, match=f"{path} lists no image"):
        ImageNet(lists, "train")
    (lists / "meta" / "val.txt").unlink()
    with pytest.raises(DataError, match=r"cannot read .*val.txt: No such file"):
        ImageNet(lists, "val")


def test_listed_but_missing(lists: Path) -> None:
    (lists / "val" / "v2.JPEG").unlink()

    with pytest.raises(
        DataError, match=r"1 of the 2 images .* missing .*: val/v2.JPEG;"
    ):
        ImageNet(lists, "val").fingerprint()


def test_classes_without_one_folder_each_go_by_number(lists: Path) -> None:
    rewrite(lists, "n1/a.JPEG 0\nn1/b.JPEG 1\n")
    assert ImageNet(lists, "train").classes == ("0", "1")
    rewrite(lists, "a.JPEG 0\nn1/b.JPEG 2\n")
    assert ImageNet(lists, "train").classes == ("0", "1", "n1")
    (lists / "meta" / "train.txt").unlink()
    assert ImageNet(lists, "val").classes == ("0", "1", "2")


def test_bundled_scenes_are_no_imagenet(lists: Path) -> None:
    assert not ImageNet(lists, "train").bundled
    (lists / "digit-scenes.json").write_text("{}")
    assert ImageNet(lists, "train").bundled
    assert not ImageNet.bundled

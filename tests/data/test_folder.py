from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from ssl_bench import data
from ssl_bench.data.folder import Folder
from ssl_bench.errors import DataError


def image(path: Path, kind: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, format=kind or "PNG")


def test_the_same_list_as_torchvision(tmp_path: Path) -> None:
    names = ["cat/2.png", "cat/10.jpg", "cat/a/1.png", "cat/a.png", "cat/a/b/1.png"]
    names += ["Dog/x.JPEG", "dog/é.bmp", "dog 2/1.webp", "a-b/1.tif", "a/1.ppm"]
    for name in names:
        image(tmp_path / "train" / name)
    reference = ImageFolder(str(tmp_path / "train"))

    found = Folder(tmp_path, "train")

    assert list(found.classes) == reference.classes
    expected = [(Path(path), label) for path, label in reference.samples]
    paths = [tmp_path / path for path in found.samples]
    assert list(zip(paths, found.targets.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    "suffix", ["jpg", "jpeg", "png", "bmp", "gif", "webp", "ppm", "tif", "tiff", "JpG"]
)
def test_extensions(tmp_path: Path, suffix: str) -> None:
    kinds = {"jpg": "JPEG", "tif": "TIFF"}
    kind = kinds.get(suffix.lower(), suffix.upper())
    image(tmp_path / "train" / "a" / f"1.{suffix}", kind)

    assert Folder(tmp_path, "train")[0][0].size == (4, 4)


def test_hidden_and_other_files_do_not_count(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/.2.png", "a/._1.png", ".git/1.png", "a/.cache/1.png"):
        image(tmp_path / "train" / name)
    (tmp_path / "train" / "a" / "Thumbs.db").touch()
    (tmp_path / "train" / "README.txt").touch()

    found = Folder(tmp_path, "train")

    assert (found.classes, list(found.samples)) == (("a",), ["train/a/1.png"])


def test_test_stands_in_for_val(tmp_path: Path) -> None:
    image(tmp_path / "train" / "a" / "1.png")
    image(tmp_path / "test" / "a" / "2.png")
    assert list(Folder(tmp_path, "val").samples) == ["test/a/2.png"]
    image(tmp_path / "val" / "a" / "3.png")
    assert list(Folder(tmp_path, "val").samples) == ["val/a/3.png"]


def test_classes_are_those_of_train(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        image(tmp_path / "train" / name / "1.png")
    image(tmp_path / "val" / "c" / "1.png")

    val = Folder(tmp_path, "val")

    assert (val.classes, val.targets.tolist()) == (("a", "b", "c"), [2])
    data.check_pair(Folder(tmp_path, "train"), val)


def test_classes_only_in_val_are_listed(tmp_path: Path) -> None:
    image(tmp_path / "train" / "cat" / "1.png")
    for name in ("cat", "cow", "dog"):
        image(tmp_path / "val" / name / "1.png")

    with pytest.raises(
        DataError, match=r"2 classes .* have not: cow, dog; give train/"
    ):
        Folder(tmp_path, "val")


def test_empty_class_folders_are_listed(tmp_path: Path) -> None:
    image(tmp_path / "train" / "cat" / "1.png")
    for name in ("cow", "dog"):
        (tmp_path / "train" / name).mkdir()
    (tmp_path / "train" / "cow" / "1.txt").touch()

    with pytest.raises(
        DataError, match=r"train has 2 class folders .*: cow, dog; fill"
    ):
        Folder(tmp_path, "train")


def test_images_without_a_label(tmp_path: Path) -> None:
    image(tmp_path / "train" / "1.png")
    image(tmp_path / "train" / "0.png")

    with pytest.raises(DataError) as caught:
        Folder(tmp_path, "train")

    assert str(caught.value) == (
        f"{tmp_path}/train has no class folders (2 images without a label, 0.png "
        "first); put the images of each class into a folder of its own: "
        "train/<class>/*.jpg"
    )


def test_no_train_and_no_val(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train has no class folders \(empty\)"):
        data.open_dataset("folder", "train", tmp_path)
    image(tmp_path / "train" / "a" / "1.png")
    with pytest.raises(
        DataError, match="has no val/ folder; expected layout: train/<c"
    ):
        data.open_dataset("folder", "val", tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match="val has no class folders"):
        data.open_dataset("folder", "val", tmp_path)


def test_symbolic_links(tmp_path: Path) -> None:
    image(tmp_path / "store" / "x" / "1.png")
    train = tmp_path / "data" / "train"
    train.mkdir(parents=True)
    (train / "a").symlink_to(tmp_path / "store" / "x")
    (train / "b").mkdir()
    (train / "b" / "2.png").symlink_to(tmp_path / "store" / "x" / "1.png")
    (train / "b" / "round").symlink_to(train / "b")  # does not go on for ever

    found = Folder(tmp_path / "data", "train")

    assert list(found.samples) == ["train/a/1.png", "train/b/2.png"]
    found.fingerprint(contents=True)


def test_a_dangling_link_is_a_missing_image(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "1.png").symlink_to(tmp_path / "gone.png")

    with pytest.raises(DataError, match=r"1 of the 1 images .* missing"):
        Folder(tmp_path, "train").fingerprint()


def test_any_number_of_classes(tmp_path: Path) -> None:
    for label in range(120):
        image(tmp_path / "train" / f"{label:03}" / "1.png")

    found = Folder(tmp_path, "train")

    assert found.targets.tolist() == list(range(120))

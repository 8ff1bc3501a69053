"""The ``tools/prepare_*.py`` that check folders and write lists."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_bench import data
from ssl_bench.cli import commands, prepare
from ssl_bench.data import list_check, subset_lists
from ssl_bench.data.imagenet import ImageNet
from ssl_bench.errors import DataError

TOOLS = Path(__file__).parents[1] / "tools"
WNIDS = ("n01", "n02", "n03")
Output = pytest.CaptureFixture[str]


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def states(text: str) -> dict[str, tuple[str, str]]:
    """Return (expected, found) of the lines of a table that are marked as wrong."""
    rows = re.findall(r"^WRONG +(\S.*?) {2,}(\S+) +(\S+)$", text, re.MULTILINE)
    return {what: (expected, found) for what, expected, found in rows}


def expect(
    monkeypatch: pytest.MonkeyPatch, known: str, images: Mapping[str, int], classes: int
) -> None:
    """Let the tools expect a tiny data set."""
    small = replace(getattr(list_check, known), images=images, classes=classes)
    monkeypatch.setattr(list_check, known, small)


def modified(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


# ---------------------------------------------------------------------------- imagenet
@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders in both splits, no lists: 3 x 2 and 3 x 1 images."""
    expect(monkeypatch, "IMAGENET", {"train": 6, "val": 3}, 3)
    root = tmp_path / "imagenet"
    for wnid in WNIDS:
        for number in range(2):
            save(root / "train" / wnid / f"{wnid}_{number}.JPEG")
        save(root / "val" / wnid / f"val_{wnid}.JPEG")
    return root


def test_lists_are_written_of_class_folders(folders: Path, capsys: Output) -> None:
    before = {s: ImageNet(folders, s).fingerprint() for s in ("train", "val")}

    code = prepare.prepare_imagenet([str(folders)])

    assert code == 0
    printed = capsys.readouterr()
    assert f"wrote {folders}/meta/train.txt" in printed.err
    assert f"complete: --dataset imagenet --data-root {folders}" in printed.out
    assert (folders / "meta" / "train.txt").read_text() == (
        "n01/n01_0.JPEG 0\nn01/n01_1.JPEG 0\nn02/n02_0.JPEG 1\nn02/n02_1.JPEG 1\n"
        "n03/n03_0.JPEG 2\nn03/n03_1.JPEG 2\n"
    )
    assert (folders / "meta" / "val.txt").read_text() == (
        "n01/val_n01.JPEG 0\nn02/val_n02.JPEG 1\nn03/val_n03.JPEG 2\n"
    )
    # The same data as before, now read from the lists.
    assert {s: ImageNet(folders, s).fingerprint() for s in before} == before


def test_what_is_there_is_left_alone(folders: Path, capsys: Output) -> None:
    assert prepare.prepare_imagenet([str(folders.parent)]) == 0
    before = modified(folders)
    capsys.readouterr()

    assert prepare.prepare_imagenet([str(folders)]) == 0

    assert modified(folders) == before
    assert "wrote" not in capsys.readouterr().err


def test_labels_follow_the_list_that_is_there(folders: Path) -> None:
    # Labels in another order than that of the folders' names.
    meta = folders / "meta"
    meta.mkdir()
    order = {"n01": 2, "n02": 0, "n03": 1}
    lines = [f"{w}/{w}_{n}.JPEG {order[w]}\n" for w in WNIDS for n in range(2)]
    (meta / "train_labeled.txt").write_text("".join(lines))

    assert prepare.prepare_imagenet([str(folders)]) == 0

    assert (meta / "val.txt").read_text() == (
        "n01/val_n01.JPEG 2\nn02/val_n02.JPEG 0\nn03/val_n03.JPEG 1\n"
    )
    assert not (meta / "train.txt").exists()
    data.check_pair(ImageNet(folders, "train"), ImageNet(folders, "val"))


def test_a_list_that_says_no_labels_of_folders(folders: Path, capsys: Output) -> None:
    (folders / "meta").mkdir()
    path = folders / "meta" / "train.txt"
    path.write_text("n01/n01_0.JPEG 0\nn01/n01_1.JPEG 1\n")

    assert prepare.prepare_imagenet([str(folders)]) == 1

    text = capsys.readouterr().err
    assert f"{path} gives images of n01/ the labels 0 and 1" in text
    assert not (folders / "meta" / "val.txt").exists()


def test_a_flat_val_folder_has_no_labels(folders: Path, capsys: Output) -> None:
    for wnid in WNIDS:
        path = folders / "val" / wnid / f"val_{wnid}.JPEG"
        path.rename(folders / "val" / path.name)
        path.parent.rmdir()

    assert prepare.prepare_imagenet([str(folders)]) == 1

    text = capsys.readouterr().out
    assert states(text) == {"val images with labels": ("readable", "not")}
    plain = " ".join(text.split())
    assert f"cannot read {folders}/meta/val.txt" in plain
    assert "to do: unpack ILSVRC2012_img_val.tar into val/, and either put the" in plain
    assert f"and then: python tools/prepare_imagenet.py {folders}" in plain
    assert (folders / "meta" / "train.txt").is_file()


def test_every_deviation_is_listed(folders: Path, capsys: Output) -> None:
    assert prepare.prepare_imagenet([str(folders)]) == 0
    capsys.readouterr()
    (folders / "meta" / "val.txt").write_text("n01/val_n01.JPEG 0\nn03/gone.JPEG 3\n")
    os.remove(folders / "train" / "n02" / "n02_1.JPEG")  # noqa: PTH107

    assert prepare.prepare_imagenet([str(folders)]) == 1

    text = capsys.readouterr().out
    assert states(text) == {
        "train image files": ("6", "5"),
        "val images": ("3", "2"),
        "val classes": ("3", "2"),
        "val image files": ("2", "1"),
    }
    assert "train image files: train/n02/n02_1.JPEG missing" in text
    assert "val image files: val/n03/gone.JPEG missing" in text
    assert "labels 1, 2 have no image; labels 3 are beyond them" in text
    assert text.index("ILSVRC2012_img_train.tar") < text.index("ILSVRC2012_img_val.tar")


def test_the_figures_of_complete_copies() -> None:
    # protocols.md and the data sets' own papers.
    assert list_check.IMAGENET.images == {"train": 1281167, "val": 50000}
    assert list_check.PLACES205.images == {"train": 2448873, "val": 20500}
    assert list_check.INAT18.images == {"train": 437513, "val": 24426}
    figures = (list_check.IMAGENET, list_check.PLACES205, list_check.INAT18)
    assert [known.classes for known in figures] == [1000, 205, 8142]
    for known in (list_check.CIFAR10, list_check.CIFAR100):
        assert known.images == {"train": 50000, "val": 10000}


@pytest.mark.parametrize("name", ["imagenet", "places205", "inat18", "cifar"])
def test_nothing_there(name: str, tmp_path: Path) -> None:
    tool = TOOLS / f"prepare_{name}.py"

    done = subprocess.run(
        [sys.executable, tool, tmp_path], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"prepare_{name}.py: error: there is n")
    assert str(tmp_path) in line
    assert "unpack" in line
    assert ".tar" in line


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: Output) -> None:
    assert prepare.prepare_imagenet([str(tmp_path / "gone")]) == 1
    assert f"there is no ImageNet in {tmp_path}/gone" in capsys.readouterr().err


def test_a_wrong_command_line(capsys: Output) -> None:
    for tool in (prepare.prepare_imagenet, prepare.prepare_imagenet_subsets):
        assert tool(["a", "b"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_cannot_be_written(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(folders / "meta"))

    monkeypatch.setattr(Path, "mkdir", refuse)

    assert prepare.prepare_imagenet([str(folders)]) == 1
    assert f"cannot write {folders}/meta/train.txt" in capsys.readouterr().err
    assert not (folders / "meta").exists()


def test_the_tools_are_no_commands() -> None:
    assert "prepare" not in commands()


# ---------------------------------------------------------------------------- subsets
@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A train list of two classes with 150 and 50 images; none of them is a file."""
    root = tmp_path / "imagenet"
    (root / "meta").mkdir(parents=True)
    names = [f"n01/n01_{n}.JPEG 0" for n in range(150)]
    names += [f"n02/n02_{n}.JPEG 1" for n in range(50)]
    (root / "meta" / "train.txt").write_text("\n".join(names) + "\n")
    parts = (
        subset_lists.Part("1percent", 0.01, 2),
        subset_lists.Part("10percent", 0.1, 3),
    )
    monkeypatch.setattr(subset_lists, "PARTS", parts)
    return root


def test_drawn_lists_say_that_they_are_not_official(
    listed: Path, capsys: Output
) -> None:
    assert prepare.prepare_imagenet_subsets([str(listed), "--seed", "4"]) == 0

    printed = capsys.readouterr()
    # 0.01 * 150 = 1.5 and 0.01 * 50 = 0.5, rounded up: 2 + 1; 15 + 5.
    for name, counts in (("1percent", [2, 1]), ("10percent", [15, 5])):
        path = listed / "meta" / f"train_{name}.txt"
        assert f"{path}: {sum(counts)} images" in printed.out
        assert f"{path} is not the official list, as {path.parent}/" in printed.err
        part = ImageNet(listed, "train", list_file=f"meta/{path.name}")
        assert np.bincount(part.targets).tolist() == counts
        assert all(line.count(" ") == 1 for line in path.read_text().splitlines())
        origin = path.with_name(f"train_{name}.origin.txt").read_text()
        assert "not the official images" in origin
        assert f"{sum(counts)} were drawn class by class from seed 4" in origin
        assert not subset_lists.is_official(path)


def test_the_same_seed_draws_the_same(listed: Path) -> None:
    path = listed / "meta" / "train_10percent.txt"
    seen = []
    for seed in ("0", "0", "1"):
        arguments = [str(listed), "--seed", seed, "--replace"]
        assert prepare.prepare_imagenet_subsets(arguments) == 0
        seen.append(path.read_text())

    assert seen[0] == seen[1] != seen[2]


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "imagenet_subsets"
    folder.mkdir()
    (folder / "1percent.txt").write_text("n02_7.JPEG\nn01_3.JPEG\n")
    (folder / "10percent.txt").write_text("n01_9.JPEG\nn01_8.JPEG\nn02_1.JPEG\n")
    return folder


def test_official_lists_get_folders_and_labels(
    listed: Path, official: Path, capsys: Output
) -> None:
    arguments = [str(listed), "--official", str(official)]

    assert prepare.prepare_imagenet_subsets(arguments) == 0

    assert capsys.readouterr().err == ""
    path = listed / "meta" / "train_1percent.txt"
    assert path.read_text() == "n01/n01_3.JPEG 0\nn02/n02_7.JPEG 1\n"
    assert subset_lists.is_official(path)
    assert (
        "Made of 1percent.txt (2 images"
        in (listed / "meta" / "train_1percent.origin.txt").read_text()
    )
    ten = (listed / "meta" / "train_10percent.txt").read_text()
    assert ten == "n01/n01_8.JPEG 0\nn01/n01_9.JPEG 0\nn02/n02_1.JPEG 1\n"


def test_lists_that_are_there_are_left(
    listed: Path, official: Path, capsys: Output
) -> None:
    prepare.prepare_imagenet_subsets([str(listed)])
    before = modified(listed)
    capsys.readouterr()

    arguments = [str(listed), "--official", str(official)]
    assert prepare.prepare_imagenet_subsets(arguments) == 0

    text = capsys.readouterr().err
    assert modified(listed) == before
    assert "is there and is left as it is; --replace writes it anew" in text
    assert "train_1percent.txt is not the official list" in text
    assert prepare.prepare_imagenet_subsets([*arguments, "--replace"]) == 0
    assert subset_lists.is_official(listed / "meta" / "train_1percent.txt")


def test_an_official_list_of_another_length(
    listed: Path, official: Path, capsys: Output
) -> None:
    (official / "1percent.txt").write_text("n02_7.JPEG\n")
    (official / "10percent.txt").unlink()

    arguments = [str(listed), "--official", str(official)]
    assert prepare.prepare_imagenet_subsets(arguments) == 0

    text = capsys.readouterr().err
    assert "1percent.txt names 1 images, and SimCLR's 2; numbers on it are" in text
    assert not (listed / "meta" / "train_10percent.txt").exists()
    path = listed / "meta" / "train_1percent.txt"
    assert not subset_lists.is_official(path)
    origin = path.with_name("train_1percent.origin.txt").read_text()
    assert "not the official images: SimCLR's list has 2" in origin
    assert "Made of 1percent.txt (1 images" in origin
    # It is said again, as long as it is there.
    assert prepare.prepare_imagenet_subsets(arguments) == 0
    assert "train_1percent.txt is not the official list" in capsys.readouterr().err
    (official / "1percent.txt").write_text("n02_7.JPEG\nn01_3.JPEG\n")
    assert prepare.prepare_imagenet_subsets([*arguments, "--replace"]) == 0
    assert subset_lists.is_official(path)


def test_an_official_list_that_does_not_fit(
    listed: Path, official: Path, capsys: Output
) -> None:
    (official / "1percent.txt").write_text("n09_7.JPEG\n")

    arguments = [str(listed), "--official", str(official)]
    assert prepare.prepare_imagenet_subsets(arguments) == 1

    text = capsys.readouterr().err
    assert "has 1 names that are not among the 200 images" in text
    assert not (listed / "meta" / "train_1percent.txt").exists()


def test_an_official_folder_without_lists(
    listed: Path, tmp_path: Path, capsys: Output
) -> None:
    arguments = [str(listed), "--official", str(tmp_path)]

    assert prepare.prepare_imagenet_subsets(arguments) == 1
    text = capsys.readouterr().err
    assert "holds neither 1percent.txt nor 10percent.txt; get them from" in text


def test_class_folders_without_a_list(folders: Path, capsys: Output) -> None:
    assert prepare.prepare_imagenet_subsets([str(folders)]) == 1

    text = capsys.readouterr().err
    assert f"write it first: python tools/prepare_imagenet.py {folders}" in text
    assert not (folders / "meta").exists()


def test_the_lengths_of_simclrs_lists() -> None:
    # protocols.md, section 5.
    assert [(p.name, p.images) for p in subset_lists.PARTS] == [
        ("1percent", 12811),
        ("10percent", 128116),
    ]


# --------------------------------------------------------------- inat18 and places205
def test_lists_of_inat18(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    expect(monkeypatch, "INAT18", {"train": 2, "val": 1}, 2)
    root = tmp_path / "iNaturalist2018"
    names = {"train": {5: ("Aves/1/a.jpg", 1), 2: ("Fungi/0/b.jpg", 0)}}
    names["val"] = {8: ("Fungi/0/c.jpg", 0)}
    for split, images in names.items():
        content = {
            "images": [
                {"id": i, "file_name": f"train_val2018/{name}"}
                for i, (name, _) in images.items()
            ],
            "annotations": [
                {"image_id": i, "category_id": label}
                for i, (_, label) in sorted(images.items())
            ],
        }
        for name, _ in images.values():
            save(root / "train_val2018" / name)
        (root / f"{split}2018.json").write_text(json.dumps(content))

    code = prepare.prepare_inat18([str(root)])

    printed = capsys.readouterr()
    assert code == 1
    assert states(printed.out) == {"val classes": ("2", "1")}
    assert (root / "meta/train.txt").read_text() == "Aves/1/a.jpg 1\nFungi/0/b.jpg 0\n"
    assert (root / "meta/val.txt").read_text() == "Fungi/0/c.jpg 0\n"
    before = modified(root)
    prepare.prepare_inat18([str(root)])
    assert modified(root) == before


def test_places205_is_only_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    expect(monkeypatch, "PLACES205", {"train": 2, "val": 2}, 2)
    root = tmp_path / "Places205"
    images = root / "data/vision/torralba/deeplearning/images256"
    lists = root / "trainvalsplit_places205"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        names = [f"a/abbey/{split}.jpg", f"a/alley/{split}.jpg"]
        for name in names:
            save(images / name)
        text = "".join(f"{name} {label}\n" for label, name in enumerate(names))
        (lists / f"{split}_places205.csv").write_text(text)
    before = modified(root)

    assert prepare.prepare_places205([str(root)]) == 0
    assert modified(root) == before
    (images / "a/abbey/val.jpg").unlink()
    capsys.readouterr()
    assert prepare.prepare_places205([str(root)]) == 1
    text = capsys.readouterr().out
    assert states(text) == {"val image files": ("2", "1")}
    assert "imagesPlaces205_resize.tar.gz" in text


# ------------------------------------------------------------------------------- cifar
def write_cifar(folder: Path, names: Mapping[str, int], key: str, meta: str) -> None:
    folder.mkdir()
    for name, count in names.items():
        labels = [n % 2 for n in range(count)]
        content = {"data": np.zeros((count, 3072), np.uint8), key: labels}
        (folder / name).write_bytes(pickle.dumps(content))
    content = {key.removesuffix("s").replace("label", "label_names"): ["cat", "dog"]}
    (folder / meta).write_bytes(pickle.dumps(content))


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    expect(monkeypatch, "CIFAR10", {"train": 10, "val": 2}, 2)
    expect(monkeypatch, "CIFAR100", {"train": 4, "val": 2}, 2)
    ten = {f"data_batch_{n}": 2 for n in range(1, 6)} | {"test_batch": 2}
    write_cifar(tmp_path / "cifar-10-batches-py", ten, "labels", "batches.meta")
    hundred = {"train": 4, "test": 2}
    write_cifar(tmp_path / "cifar-100-python", hundred, "fine_labels", "meta")
    return tmp_path


def test_cifar_checks_all_that_is_there(cifar: Path, capsys: Output) -> None:
    assert prepare.prepare_cifar([str(cifar)]) == 0
    text = capsys.readouterr().out
    assert "complete: --dataset cifar10 " in text
    assert "complete: --dataset cifar100 " in text

    (cifar / "cifar-100-python" / "test").unlink()
    assert prepare.prepare_cifar([str(cifar)]) == 1
    text = capsys.readouterr().out
    assert "complete: --dataset cifar10 " in text
    assert states(text) == {"val images with labels": ("readable", "not")}
    assert "lacks test;" in " ".join(text.split())
    assert "unpack cifar-100-python.tar.gz there" in text
    assert prepare.prepare_cifar([str(cifar), "--dataset", "cifar10"]) == 0


def test_cifar_that_is_asked_for_and_not_there(cifar: Path, capsys: Output) -> None:
    (cifar / "cifar-100-python").rename(cifar / "elsewhere")

    assert prepare.prepare_cifar([str(cifar)]) == 0
    assert prepare.prepare_cifar([str(cifar), "--dataset", "cifar100"]) == 1
    assert "there is no CIFAR-100 in" in capsys.readouterr().err
    with pytest.raises(DataError):
        list_check.home(cifar, list_check.CIFAR100)

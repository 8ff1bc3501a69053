"""The tools that prepare COCO, the augmented VOC 2012 and Cityscapes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ssl_bench.cli import commands, prepare_dense
from ssl_bench.data import dense, dense_report

TOOLS = Path(__file__).parents[1] / "tools"
Output = pytest.CaptureFixture[str]


def states(text: str) -> dict[str, tuple[str, str]]:
    """Return (expected, found) of the lines of a table that are marked as wrong."""
    rows = re.findall(r"^WRONG +(\S.*?) {2,}(\S+) +(\S+)$", text, re.MULTILINE)
    return {what: (expected, found) for what, expected, found in rows}


def expect(monkeypatch: pytest.MonkeyPatch, known: str, train: int, test: int) -> None:
    """Let a tool expect a tiny data set."""
    small = replace(getattr(dense_report, known), images=(train, test))
    monkeypatch.setattr(dense_report, known, small)


def save(path: Path, values: object = 0, kind: str = ".jpg") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.broadcast_to(np.array(values, dtype=np.uint8), (2, 4))
    Image.fromarray(array.copy()).save(path)


def modified(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def values(path: Path) -> list[list[int]]:
    with Image.open(path) as image:
        rows: list[list[int]] = np.asarray(image).tolist()
    return rows


# --------------------------------------------------------------------------------- coco
@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    expect(monkeypatch, "COCO", 2, 1)
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train2017", 2), ("val2017", 1)):
        names = [f"{number}.jpg" for number in range(count)]
        for name in names:
            save(root / split / name)
        content = {
            "images": [
                {"id": i, "file_name": name, "width": 4, "height": 2}
                for i, name in enumerate(names)
            ],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 0,
                    "category_id": 1,
                    "bbox": [0, 0, 2, 2],
                    "area": 4,
                }
            ],
            "categories": [{"id": 1, "name": "cat"}],
        }
        path = root / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content))
    return root


def test_coco_is_only_checked(coco: Path, capsys: Output) -> None:
    before = modified(coco)

    assert prepare_dense.prepare_coco([str(coco.parent)]) == 0

    text = capsys.readouterr().out
    assert text.startswith(f"COCO 2017 in {coco}\n")
    assert f"complete: --dataset coco --data-root {coco} can be used" in text
    assert modified(coco) == before


def test_every_deviation_of_coco(
    coco: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    expect(monkeypatch, "COCO", 118287, 1)
    (coco / "val2017" / "0.jpg").unlink()

    assert prepare_dense.prepare_coco([str(coco)]) == 1

    text = capsys.readouterr().out
    assert states(text) == {
        "train2017 images": ("118,287", "2"),
        "val2017 problems": ("0", "1"),
    }
    plain = " ".join(text.split())
    assert f"val2017 problems: {coco}/val2017: 1 of 1 images are missing" in plain
    assert "unpack train2017.zip, val2017.zip and annotations_trainval2017.zip" in plain
    assert f"and then: python tools/prepare_coco.py {coco}" in plain


def test_coco_without_an_annotation_file(coco: Path, capsys: Output) -> None:
    path = coco / "annotations" / "instances_val2017.json"
    path.write_text("{")
    assert prepare_dense.prepare_coco([str(coco)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"prepare_coco.py: error: {path} is no JSON: ")
    path.unlink()
    assert prepare_dense.prepare_coco([str(coco)]) == 1
    assert f"there is no {path}; unpack train2017.zip" in capsys.readouterr().err


# ----------------------------------------------------------------------------- voc12aug
@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOC 2012 with one image in train, one in val; two more in the other data set."""
    expect(monkeypatch, "VOC12AUG", 3, 1)
    home = tmp_path / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name in ("a", "b", "c", "d"):
        save(home / "JPEGImages" / f"{name}.jpg")
    for part, name in (("train", "a"), ("val", "b")):
        (lists / f"{part}.txt").write_text(f"{name}\n")
        save(home / "SegmentationClass" / f"{name}.png", 1)
    return home


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Maps of the two images of VOC's own lists too, which are not taken."""
    folder = tmp_path / "downloads" / "benchmark_RELEASE"
    (folder / "dataset" / "cls").mkdir(parents=True)
    for number, name in enumerate(("d", "c", "b", "a")):
        classes = np.zeros((2, 4), dtype=np.uint8)
        classes[1, 3] = 20 - number
        content = {"GTcls": {"Segmentation": classes, "Boundaries": np.zeros((20, 1))}}
        savemat(folder / "dataset" / "cls" / f"{name}.mat", content)
    return folder


def test_the_augmented_list_is_made(voc: Path, release: Path, capsys: Output) -> None:
    arguments = [str(voc.parent.parent), "--aug", str(release)]

    assert prepare_dense.prepare_voc12aug(arguments) == 0

    printed = capsys.readouterr()
    lists, maps = voc / "ImageSets" / "Segmentation", voc / "SegmentationClassAug"
    assert f"wrote 2 label maps into {maps}" in printed.err
    assert f"wrote {lists}/aug.txt with 2 images" in printed.err
    assert f"complete: --dataset voc12aug --data-root {voc}" in printed.out
    assert (lists / "aug.txt").read_text() == "c\nd\n"
    assert sorted(path.name for path in maps.iterdir()) == ["c.png", "d.png"]
    assert values(maps / "d.png") == [[0, 0, 0, 0], [0, 0, 0, 20]]
    assert values(maps / "c.png") == [[0, 0, 0, 0], [0, 0, 0, 19]]
    with Image.open(maps / "d.png") as image:
        assert (image.mode, image.convert("RGB").getpixel((3, 1))) == (
            "P",
            (0, 64, 128),
        )
    # A second run finds everything, without the other data set.
    before = modified(voc)
    assert prepare_dense.prepare_voc12aug([str(voc)]) == 0
    assert modified(voc) == before
    assert "wrote" not in capsys.readouterr().err
    assert len(dense.open_splits("segment", "voc12aug", voc, 0)["train"]) == 3


def test_the_release_is_found_beside(voc: Path, release: Path) -> None:
    release.rename(voc.parent / "VOCaug")
    assert prepare_dense.prepare_voc12aug([str(voc)]) == 0


def test_maps_that_are_there_are_listed(voc: Path, capsys: Output) -> None:
    for name in ("a", "b", "c", "d"):  # as others distribute them
        save(voc / "SegmentationClassAug" / f"{name}.png", 3)
    assert prepare_dense.prepare_voc12aug([str(voc)]) == 0
    lists = voc / "ImageSets" / "Segmentation"
    assert (lists / "aug.txt").read_text() == "c\nd\n"
    assert "label maps into" not in capsys.readouterr().err


def test_one_map_is_missing(voc: Path, release: Path, capsys: Output) -> None:
    assert prepare_dense.prepare_voc12aug([str(voc), "--aug", str(release)]) == 0
    path = voc / "SegmentationClassAug" / "d.png"
    body = path.read_bytes()
    path.unlink()
    capsys.readouterr()

    assert prepare_dense.prepare_voc12aug([str(voc)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"1 label maps are not in {path.parent}: d; download benchmark.tgz" in line

    above = str(release.parent)
    assert prepare_dense.prepare_voc12aug([str(voc), "--aug", above]) == 0
    assert path.read_bytes() == body

    (release / "dataset" / "cls" / "d.mat").unlink()
    path.unlink()
    assert prepare_dense.prepare_voc12aug([str(voc), "--aug", above]) == 1
    assert f", nor in {release}/dataset/cls: d.mat; down" in capsys.readouterr().err


def test_nothing_to_make_the_list_of(voc: Path, tmp_path: Path, capsys: Output) -> None:
    assert prepare_dense.prepare_voc12aug([str(voc)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "aug.txt is missing, and" in line
    assert "download benchmark.tgz" in line
    assert "--aug DIR" in line
    assert prepare_dense.prepare_voc12aug([str(voc), "--aug", str(tmp_path)]) == 1
    assert f"{tmp_path} has no dataset/cls/ with .mat files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"GTinst": np.zeros(3)}, "cannot read GTcls.Segmentation of"),
        ({"GTcls": {"Segmentation": np.full((2, 4), 21)}}, "has values from 21 to 21"),
        (
            {"GTcls": {"Segmentation": np.full((2, 4), 0.5)}},
            "has values from 0.5 to 0.5",
        ),
        ({"GTcls": {"Segmentation": "text"}}, "no map of numbers"),
    ],
)
def test_a_mat_file_that_is_none(
    voc: Path, release: Path, content: dict[str, object], said: str, capsys: Output
) -> None:
    path = release / "dataset" / "cls" / "d.mat"
    savemat(path, content)
    assert prepare_dense.prepare_voc12aug([str(voc), "--aug", str(release)]) == 1
    (*_, line) = capsys.readouterr().err.splitlines()
    assert said in line
    assert str(path) in line
    assert not (voc / "ImageSets" / "Segmentation" / "aug.txt").exists()
    path.write_bytes(b"no mat file")
    assert prepare_dense.prepare_voc12aug([str(voc), "--aug", str(release)]) == 1
    assert "unpack benchmark.tgz again" in capsys.readouterr().err


# --------------------------------------------------------------------------- cityscapes
@pytest.fixture
def cityscapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    expect(monkeypatch, "CITYSCAPES", 1, 1)
    root = tmp_path / "cityscapes"
    for split, city in (("train", "ulm"), ("val", "bonn")):
        name = f"{city}_000000_000019"
        save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        ids = [[0, 7, 8, 33], [34 - 1, 9, 24, 26]]
        save(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
    return root


def test_train_ids_are_made(cityscapes: Path, capsys: Output) -> None:
    assert prepare_dense.prepare_cityscapes([str(cityscapes.parent)]) == 0

    printed = capsys.readouterr()
    assert f"wrote 2 label maps below {cityscapes}/gtFine" in printed.err
    assert f"complete: --dataset cityscapes --data-root {cityscapes}" in printed.out
    folder = cityscapes / "gtFine" / "train" / "ulm"
    # unlabeled, road, sidewalk, bicycle; bicycle, parking, person, car
    assert values(folder / "ulm_000000_000019_gtFine_labelTrainIds.png") == [
        [255, 0, 1, 18],
        [18, 255, 11, 13],
    ]
    before = modified(cityscapes)
    assert prepare_dense.prepare_cityscapes([str(cityscapes)]) == 0
    assert modified(cityscapes) == before
    assert "wrote" not in capsys.readouterr().err


def test_all_ids(cityscapes: Path) -> None:
    from ssl_bench.data.dense_cityscapes import train_ids

    # The classes that count, in the order of their train ids (Cordts et al. 2016).
    counted = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    table = train_ids().tolist()
    assert [table[number] for number in counted] == list(range(19))
    assert {table[n] for n in range(256) if n not in counted} == {255}


@pytest.mark.parametrize("value", [34, 254])
def test_a_map_of_other_ids(cityscapes: Path, value: int, capsys: Output) -> None:
    path = cityscapes / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    save(path, value)
    assert prepare_dense.prepare_cityscapes([str(cityscapes)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path} has the value {value}; a map of ids has one byte a pixel" in line
    path.write_text("no picture")
    assert prepare_dense.prepare_cityscapes([str(cityscapes)]) == 1
    assert f"cannot read {path}" in capsys.readouterr().err


def test_half_of_cityscapes(cityscapes: Path, capsys: Output) -> None:
    path = cityscapes / "gtFine/val/bonn/bonn_000000_000019_gtFine_labelIds.png"
    path.unlink()
    assert prepare_dense.prepare_cityscapes([str(cityscapes)]) == 1
    assert "gtFine/val has no <city>/*_gtFine_label" in capsys.readouterr().err


# ------------------------------------------------------------------------------- all
@pytest.mark.parametrize("name", ["coco", "voc12aug", "cityscapes"])
def test_nothing_there(name: str, tmp_path: Path) -> None:
    tool = TOOLS / f"prepare_{name}.py"

    done = subprocess.run(
        [sys.executable, tool, tmp_path], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"prepare_{name}.py: error: there is no ")
    assert str(tmp_path) in line
    assert "unpack " in line


def test_a_wrong_command_line(capsys: Output) -> None:
    for tool in (
        prepare_dense.prepare_coco,
        prepare_dense.prepare_voc12aug,
        prepare_dense.prepare_cityscapes,
    ):
        assert tool(["a", "b"]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_cannot_be_written(
    cityscapes: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)

    assert prepare_dense.prepare_cityscapes([str(cityscapes)]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert not list(cityscapes.rglob("*labelTrainIds*"))
    assert not list(cityscapes.rglob("*.tmp"))


def test_the_figures_of_complete_copies() -> None:
    assert dense_report.COCO.images == (118287, 5000)
    assert dense_report.VOC12AUG.images == (10582, 1449)
    assert dense_report.CITYSCAPES.images == (2975, 500)


def test_the_tools_are_no_commands() -> None:
    assert "prepare_dense" not in commands()

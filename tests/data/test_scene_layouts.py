"""The three layouts, read back by parsers that share nothing with the writer."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data import digits, scene_layouts, scene_picture, scenes
from ssl_bench.data.scene_picture import Instance
from ssl_bench.data.scenes import SceneCounts

FEW = SceneCounts(
    imagenet_train=30,
    imagenet_val=20,
    voc_trainval=41,
    voc_test=20,
    coco_train=12,
    coco_val=8,
)
NAMES = [
    *("zero", "one", "two", "three", "four"),
    *("five", "six", "seven", "eight", "nine"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("layouts") / "scenes"
    scenes.generate(place, seed=11, counts=FEW)
    return place


def lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") and "\r" not in text
    return text.splitlines()


# --------------------------------------------------------------------------- ImageNet


@pytest.mark.parametrize(("split", "count"), [("train", 30), ("val", 20)])
def test_imagenet_lists_name_every_picture(root: Path, split: str, count: int) -> None:
    home = root / "imagenet"
    rows = [line.rsplit(" ", 1) for line in lines(home / f"meta/{split}.txt")]
    on_disk = {
        str(path.relative_to(home / split)) for path in (home / split).rglob("*.JPEG")
    }
    assert {path for path, _ in rows} == on_disk
    assert len(rows) == count
    labels = [int(label) for _, label in rows]
    assert np.bincount(labels).tolist() == [count // 10] * 10
    for path, label in rows:
        with Image.open(home / split / path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 96))
        if split == "train":
            assert path.split("/")[0] == f"{label}_{NAMES[int(label)]}"
    if split == "train":  # class folders sort as their labels do
        assert labels == sorted(labels)
        folders = sorted(path.name for path in (home / "train").iterdir())
        assert [int(name[0]) for name in folders] == list(range(10))


def test_samples_list_agrees_with_the_labels_and_is_disjoint(root: Path) -> None:
    home = root / "imagenet/meta"
    sample = dict(row.rsplit(" ", 1) for row in lines(home / "samples.txt"))
    truth = digits.load().labels
    seen = {}
    for split in ("train", "val"):
        rows = [line.rsplit(" ", 1) for line in lines(home / f"{split}.txt")]
        ids = [int(sample.pop(f"{split}/{path}")) for path, _ in rows]
        assert truth[ids].tolist() == [int(label) for _, label in rows]
        seen[split] = set(ids)
    assert not sample
    assert not seen["train"] & seen["val"]


def test_no_style_shows_a_sample_in_both_of_its_splits() -> None:
    train, val = (
        {int(i) for pool in pools for i in pool}
        for pools in scene_layouts.sample_pools(11)
    )
    assert len(train) + len(val) == 1797 and not train & val
    for plan in (
        scene_layouts.plan_imagenet,
        scene_layouts.plan_voc,
        scene_layouts.plan_coco,
    ):
        for split, allowed in ((0, train), (1, val)):
            for index in range(30):
                scene = plan(11, split, index)
                used = {digit.sample for digit in scene.digits}
                used |= {scrap.digit.sample for scrap in scene.scraps}
                assert used <= allowed


def test_every_sample_is_rendered_several_times_by_default() -> None:
    pools, _ = scene_layouts.sample_pools(scenes.DEFAULT_SEED)
    count = SceneCounts().imagenet_train
    shown = [scene_layouts.imagenet_sample(pools, index) for index in range(count)]
    assert set(shown) == {int(i) for pool in pools for i in pool}
    assert np.unique(shown, return_counts=True)[1].min() >= 4


# -------------------------------------------------------------------------------- VOC


def voc_objects(home: Path, name: str) -> list[dict[str, Any]]:
    tree = ElementTree.parse(home / f"Annotations/{name}.xml").getroot()
    assert tree.tag == "annotation"
    assert tree.findtext("folder") == "VOC2007"
    assert tree.findtext("filename") == f"{name}.jpg"
    assert tree.findtext("segmented") == "1"
    size = [tree.findtext(f"size/{part}") for part in ("width", "height", "depth")]
    assert size == ["160", "160", "3"]
    found = []
    for item in tree.iter("object"):
        assert item.findtext("pose") == "Unspecified"
        assert item.findtext("truncated") in ("0", "1")
        edges = ("xmin", "ymin", "xmax", "ymax")
        found.append(
            {
                "name": item.findtext("name"),
                "difficult": int(item.findtext("difficult") or "?"),
                "box": tuple(int(item.findtext(f"bndbox/{e}") or "?") for e in edges),
            }
        )
    return found


def test_voc_splits(root: Path) -> None:
    home = root / "VOCdevkit/VOC2007"
    for kind in ("Main", "Segmentation"):
        parts = {
            part: lines(home / f"ImageSets/{kind}/{part}.txt")
            for part in ("train", "val", "trainval", "test")
        }
        sizes = {part: len(ids) for part, ids in parts.items()}
        assert sizes == {"train": 21, "val": 20, "trainval": 41, "test": 20}
        assert sorted(parts["train"] + parts["val"]) == parts["trainval"]
        assert not set(parts["trainval"]) & set(parts["test"])
        everything = sorted(parts["trainval"] + parts["test"])
        for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
            assert sorted(p.stem for p in (home / folder).iterdir()) == everything
    with Image.open(home / "JPEGImages/000001.jpg") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (160, 160))


def test_voc_class_lists_follow_the_annotations(root: Path) -> None:
    home = root / "VOCdevkit/VOC2007"
    seen = set()
    for part in ("train", "val", "trainval", "test"):
        ids = lines(home / f"ImageSets/Main/{part}.txt")
        objects = {name: voc_objects(home, name) for name in ids}
        for title in NAMES:
            rows = lines(home / f"ImageSets/Main/{title}_{part}.txt")
            # As in VOC: the sign stands in a column of its own.
            assert all(row[6] == " " and row[7:] in (" 1", "-1", " 0") for row in rows)
            assert [row[:6] for row in rows] == ids
            for row in rows:
                hard = [o["difficult"] for o in objects[row[:6]] if o["name"] == title]
                want = -1 if not hard else (0 if all(hard) else 1)
                assert int(row[6:]) == want
                seen.add(want)
    assert seen == {-1, 0, 1}


def test_voc_masks_and_boxes_agree(root: Path) -> None:
    home = root / "VOCdevkit/VOC2007"
    counted = 0
    for name in lines(home / "ImageSets/Segmentation/trainval.txt"):
        with Image.open(home / f"SegmentationClass/{name}.png") as image:
            assert image.mode == "P"
            palette = image.getpalette() or []
            # The first colours of VOC: black, maroon, green, olive; 255 is ivory.
            assert palette[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
            assert palette[-3:] == [224, 224, 192]
            classes = np.asarray(image)
        with Image.open(home / f"SegmentationObject/{name}.png") as image:
            objects = np.asarray(image)
        assert ((classes == 255) == (objects == 255)).all()
        assert set(np.unique(classes)) <= {*range(11), 255}
        found = voc_objects(home, name)
        assert found
        for number, item in enumerate(found, start=1):
            if item["difficult"]:
                assert not (objects == number).any()
                continue
            rows, columns = np.nonzero(objects == number)
            box = (columns.min(), rows.min(), columns.max(), rows.max())
            assert tuple(int(edge) + 1 for edge in box) == item["box"]
            label = NAMES.index(item["name"]) + 1
            assert (classes[objects == number] == label).all()
            counted += 1
    assert counted > 80


def square(label: int, side: int, visible: float) -> Instance:
    mask = np.zeros((160, 160), bool)
    mask[10 : 10 + side, 20 : 20 + side] = True
    return Instance(label, mask, (20, 10, 20 + side, 10 + side), visible)


@pytest.mark.parametrize(
    ("side", "visible", "expected"),
    [(20, 0.6, False), (19, 1.0, True), (60, 0.59, True), (60, 1.0, False)],
)
def test_a_digit_too_small_or_too_covered_is_difficult(
    side: int, visible: float, expected: bool
) -> None:
    assert scene_layouts.difficult(square(3, side, visible)) is expected


def test_label_zero_means_nothing_but_difficult_ones() -> None:
    easy, hard = square(4, 40, 1.0), square(4, 10, 1.0)
    assert scene_layouts.voc_label([], 4) == -1
    assert scene_layouts.voc_label([square(5, 40, 1.0)], 4) == -1
    assert scene_layouts.voc_label([hard, hard], 4) == 0
    assert scene_layouts.voc_label([hard, easy], 4) == 1


def test_border_is_one_pixel_around_and_a_difficult_digit_is_void() -> None:
    image, _ = scene_layouts.voc_masks([square(6, 30, 1.0)], 160)
    classes = np.asarray(image)
    assert (classes == 7).sum() == 30 * 30
    assert (classes == 255).sum() == 32 * 32 - 30 * 30
    assert (classes[9:41, 19:51] > 0).all()
    image, objects = scene_layouts.voc_masks([square(6, 15, 1.0)], 160)
    for part in (image, objects):
        assert (np.asarray(part) == 255).sum() == 17 * 17


def test_default_counts_leave_enough_positives_of_every_class() -> None:
    counts = SceneCounts()
    assert counts.imagenet_train >= 4000 and counts.imagenet_val >= 1000
    assert counts.voc_trainval >= 600 and counts.voc_test >= 600
    assert counts.coco_train >= 400 and counts.coco_val >= 150
    table = np.array(
        [
            [scene_layouts.voc_label(found, label) for label in range(10)]
            for found in (
                scene_picture.instances(
                    scene_layouts.plan_voc(scenes.DEFAULT_SEED, 0, index)
                )
                for index in range(counts.voc_trainval)
            )
        ]
    )
    assert (table == 1).sum(0).min() >= 110
    assert (table[0::2] == 1).sum(0).min() >= 55  # train
    assert (table[1::2] == 1).sum(0).min() >= 55  # val
    assert (table == 0).sum(0).min() >= 10


# ------------------------------------------------------------------------------- COCO


def decode(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """Decode run lengths one pixel at a time, down the columns."""
    height, width = segmentation["size"]
    mask = np.zeros((height, width), bool)
    place, value = 0, False
    for run in segmentation["counts"]:
        for _ in range(run):
            mask[place % height, place // height] = value
            place += 1
        value = not value
    assert place == height * width
    return mask


@pytest.mark.parametrize(("split", "count"), [("train2017", 12), ("val2017", 8)])
def test_coco_boxes_and_masks(root: Path, split: str, count: int) -> None:
    home = root / "coco"
    content = json.loads((home / f"annotations/instances_{split}.json").read_text())
    titles = {row["id"]: row["name"] for row in content["categories"]}
    assert titles == dict(enumerate(NAMES, start=1))
    images = {row["id"]: row for row in content["images"]}
    assert len(images) == count
    files = {row["file_name"] for row in content["images"]}
    assert files == {path.name for path in (home / split).iterdir()}
    for number, row in images.items():
        assert row["file_name"] == f"{number:012d}.jpg"
        with Image.open(home / split / row["file_name"]) as image:
            assert image.size == (row["width"], row["height"]) == (160, 160)
    ids = [row["id"] for row in content["annotations"]]
    assert len(set(ids)) == len(ids)
    taken = {number: np.zeros((160, 160), int) for number in images}
    for row in content["annotations"]:
        assert row["iscrowd"] == 0 and row["category_id"] in titles
        mask = decode(row["segmentation"])
        assert row["area"] == mask.sum() > 0
        rows, columns = np.nonzero(mask)
        x, y, width, height = row["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())
        taken[row["image_id"]] += mask
    # Visible pixels only: no pixel belongs to two digits; every picture has some.
    assert all(owners.max() == 1 for owners in taken.values())
    per_image = np.bincount([row["image_id"] for row in content["annotations"]])
    assert set(per_image[sorted(images)]) <= {2, 3, 4, 5}


def test_coco_ids_are_unique_over_both_splits(root: Path) -> None:
    parts = [
        json.loads((root / f"coco/annotations/instances_{split}.json").read_text())
        for split in ("train2017", "val2017")
    ]
    for kind in ("images", "annotations"):
        ids = [row["id"] for part in parts for row in part[kind]]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([[0, 0, 1], [0, 1, 1]], [3, 3]),
        ([[1, 0, 0], [0, 0, 1]], [0, 1, 4, 1]),
        ([[0, 0, 0], [0, 0, 0]], [6]),
        ([[1, 1, 1], [1, 1, 1]], [0, 6]),
    ],
)
def test_run_lengths_by_hand(rows: list[list[int]], counts: list[int]) -> None:
    found = scene_layouts.run_lengths(np.array(rows, bool))
    assert found == {"size": [2, 3], "counts": counts}

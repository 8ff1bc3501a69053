"""Scenes of digits written in the layouts of ImageNet, PASCAL VOC 2007 and COCO 2017.

    imagenet   meta/{train,val}.txt, train/<class>/*.JPEG, val/*.JPEG
    voc        VOC2007/{JPEGImages, Annotations, ImageSets, SegmentationClass, …}
    coco       annotations/instances_{train,val}2017.json, train2017/, val2017/

Readers of the real data sets read these unchanged. Two things are added: ``meta/
samples.txt`` says which handwritten sample an ImageNet-style picture shows (never its
label), and VOC's third label, 0, has a rule that can be checked (``difficult``).
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssl_bench.data import digits
from ssl_bench.data import scene_picture as picture
from ssl_bench.data.scene_picture import Instance, Scene

Advance = Callable[[], None]

VAL_SHARE = 0.25  # of the handwritten samples; every second split is drawn from these
SMALL_PX = 20  # a digit whose larger side is shorter is difficult
COVERED = 0.6  # so is one of which a smaller share can be seen
CUT = 0.95  # below this visible share VOC's "truncated" is set
VOID = 255
JPEG = {"quality": 92, "subsampling": 0}

# First number of a generator's path; the second is the split, the third the image.
_SAMPLES, _IMAGENET, _VOC, _COCO = range(4)


@dataclass(frozen=True)
class SceneCounts:
    """How many pictures of each split are made.

    Attributes:
        imagenet_train: one digit each, 96 px.
        imagenet_val: the same, of other handwritten samples.
        voc_trainval: two to five digits each, 160 px.
        voc_test: the same, of other handwritten samples.
        coco_train: as ``voc_trainval``.
        coco_val: as ``voc_test``.
    """

    imagenet_train: int = 6000
    imagenet_val: int = 1000
    voc_trainval: int = 700
    voc_test: int = 700
    coco_train: int = 480
    coco_val: int = 160


@functools.cache
def sample_pools(seed: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Return the handwritten samples by class, for training and for validation.

    Args:
        seed: of the data set.

    Returns:
        Two lists of ten arrays of sample ids; no id is in both. All styles use the same
        two parts, so a backbone trained on ``imagenet/train`` has met no digit of any
        second split.
    """
    rng = picture.generator(seed, _SAMPLES)
    return digits.split(digits.load().labels, rng, VAL_SHARE)


def scrap_pool(pools: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the samples that scraps are cut from: a strip of a one would be a one."""
    one = digits.CLASSES.index("one")
    return np.concatenate([pool for label, pool in enumerate(pools) if label != one])


def class_folder(label: int) -> str:
    """Return the ImageNet-style folder of a class: it sorts as its label does."""
    return f"{label}_{digits.CLASSES[label]}"


# --------------------------------------------------------------------------- ImageNet


def imagenet_sample(pools: Sequence[NDArray[np.int64]], index: int) -> int:
    """Return the handwritten sample of picture ``index``: classes take turns."""
    pool = pools[index % len(pools)]
    return int(pool[(index // len(pools)) % len(pool)])


def plan_imagenet(seed: int, split: int, index: int) -> Scene:
    """Plan one ImageNet-style picture.

    Args:
        seed: of the data set.
        split: 0 for train, 1 for val.
        index: number of the picture within its split.

    Returns:
        A scene of one digit.
    """
    pools = sample_pools(seed)[split]
    rng = picture.generator(seed, _IMAGENET, split, index)
    sample = imagenet_sample(pools, index)
    return picture.plan_single(rng, sample, scrap_pool(pools))


def write_imagenet(
    root: Path, seed: int, counts: SceneCounts, advance: Advance
) -> None:
    """Write the ImageNet style below ``root``; ``advance`` is called once a picture."""
    samples: list[str] = []
    for split, name, count in (
        (0, "train", counts.imagenet_train),
        (1, "val", counts.imagenet_val),
    ):
        rows: list[tuple[str, int]] = []
        for index in range(count):
            scene = plan_imagenet(seed, split, index)
            label = scene.digits[0].label
            if split == 0:
                folder = class_folder(label)
                path = f"{folder}/{folder}_{index:06d}.JPEG"
            else:
                path = f"val_{index:08d}.JPEG"
            _save_jpeg(scene, root / name / path)
            rows.append((path, label))
            samples.append(f"{name}/{path} {scene.digits[0].sample}")
            advance()
        if split == 0:
            rows.sort()
        _write_lines(root / f"meta/{name}.txt", (f"{p} {label}" for p, label in rows))
    _write_lines(root / "meta/samples.txt", samples)


# -------------------------------------------------------------------------------- VOC


def difficult(instance: Instance) -> bool:
    """Tell whether a digit is too small or too covered to be counted."""
    left, top, right, bottom = instance.box
    small = max(right - left, bottom - top) < SMALL_PX
    return small or instance.visible < COVERED


def plan_voc(seed: int, split: int, index: int) -> Scene:
    """Plan one VOC-style picture (split 0 for trainval, 1 for test)."""
    return _plan_crowd(seed, _VOC, split, index)


def voc_id(split: int, index: int) -> str:
    """Return a VOC id: odd ones are trainval, even ones test."""
    return f"{2 * index + split + 1:06d}"


def voc_label(found: Sequence[Instance], label: int) -> int:
    """Return 1 for a class that is there, 0 if all of it is difficult, else -1."""
    hard = [difficult(item) for item in found if item.label == label]
    if not hard:
        return -1
    return 0 if all(hard) else 1


def write_voc(root: Path, seed: int, counts: SceneCounts, advance: Advance) -> None:
    """Write ``VOC2007`` below ``root``; ``advance`` is called once a picture."""
    home = root / "VOC2007"
    labels: dict[str, dict[str, list[int]]] = {
        name: {} for name in ("train", "val", "trainval", "test")
    }
    for split, count in ((0, counts.voc_trainval), (1, counts.voc_test)):
        for index in range(count):
            scene = plan_voc(seed, split, index)
            found = picture.instances(scene)
            name = voc_id(split, index)
            _save_jpeg(scene, home / f"JPEGImages/{name}.jpg")
            _write(home / f"Annotations/{name}.xml", _voc_xml(name, scene.size, found))
            for kind, image in zip(
                ("SegmentationClass", "SegmentationObject"),
                voc_masks(found, scene.size),
                strict=True,
            ):
                _make(home / kind)
                image.save(home / kind / f"{name}.png")
            row = [voc_label(found, label) for label in range(len(digits.CLASSES))]
            for part in (
                ("test",) if split else ("trainval", ("train", "val")[index % 2])
            ):
                labels[part][name] = row
            advance()
    for part, rows in labels.items():
        for kind in ("Main", "Segmentation"):
            _write_lines(home / f"ImageSets/{kind}/{part}.txt", rows)
        for label, title in enumerate(digits.CLASSES):
            lines = (f"{name} {row[label]:2d}" for name, row in rows.items())
            _write_lines(home / f"ImageSets/Main/{title}_{part}.txt", lines)


def voc_masks(found: Sequence[Instance], size: int) -> tuple[Image.Image, Image.Image]:
    """Paint the two segmentations of a scene.

    Args:
        found: what can be seen of each digit.
        size: side of the scene in pixels.

    Returns:
        Palette pictures by class (0 background, 1 zero … 10 nine) and by object (1, 2
        …). As in VOC, 255 marks the one-pixel border around each digit, and the whole
        of a difficult one.
    """
    classes = np.zeros((size, size), np.uint8)
    objects = np.zeros((size, size), np.uint8)
    for number, item in enumerate(found, start=1):
        classes[item.mask] = VOID if difficult(item) else item.label + 1
        objects[item.mask] = VOID if difficult(item) else number
    border = _grown(classes > 0) & (classes == 0)
    pictures = []
    for values in (classes, objects):
        values[border] = VOID
        image = Image.fromarray(values)
        image.putpalette(_palette())
        pictures.append(image)
    return pictures[0], pictures[1]


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with its eight neighbours added."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    grown = rows.copy()
    grown[:, 1:] |= rows[:, :-1]
    grown[:, :-1] |= rows[:, 1:]
    return grown


def _palette() -> list[int]:
    """Return VOC's colours: the bits of the number, dealt out to red, green, blue."""
    colours = []
    for number in range(256):
        parts = [0, 0, 0]
        for bit in range(8):
            parts[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        colours += parts
    return colours


def _voc_xml(name: str, size: int, found: Iterable[Instance]) -> str:
    rows = [
        "<annotation>",
        "\t<folder>VOC2007</folder>",
        f"\t<filename>{name}.jpg</filename>",
        "\t<source><database>digit-scenes</database></source>",
        f"\t<size><width>{size}</width><height>{size}</height><depth>3</depth></size>",
        "\t<segmented>1</segmented>",
    ]
    for item in found:
        left, top, right, bottom = item.box
        rows += [
            "\t<object>",
            f"\t\t<name>{digits.CLASSES[item.label]}</name>",
            "\t\t<pose>Unspecified</pose>",
            f"\t\t<truncated>{int(item.visible < CUT)}</truncated>",
            f"\t\t<difficult>{int(difficult(item))}</difficult>",
            # One-based, and the last pixel belongs to the box.
            f"\t\t<bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
            f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>",
            "\t</object>",
        ]
    return "\n".join([*rows, "</annotation>", ""])


# ------------------------------------------------------------------------------- COCO


def plan_coco(seed: int, split: int, index: int) -> Scene:
    """Plan one COCO-style picture (split 0 for train2017, 1 for val2017)."""
    return _plan_crowd(seed, _COCO, split, index)


def write_coco(root: Path, seed: int, counts: SceneCounts, advance: Advance) -> None:
    """Write the COCO style below ``root``; ``advance`` is called once a picture."""
    for split, name, count in (
        (0, "train2017", counts.coco_train),
        (1, "val2017", counts.coco_val),
    ):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(count):
            scene = plan_coco(seed, split, index)
            number = 2 * index + split + 1
            path = f"{number:012d}.jpg"
            _save_jpeg(scene, root / name / path)
            images.append(
                {
                    "id": number,
                    "file_name": path,
                    "width": scene.size,
                    "height": scene.size,
                }
            )
            annotations += _coco_objects(number, picture.instances(scene))
            advance()
        content = {
            "info": {"description": "digit-scenes", "version": "1.0", "year": 2017},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [
                {"id": label + 1, "name": title, "supercategory": "digit"}
                for label, title in enumerate(digits.CLASSES)
            ],
        }
        _write(root / f"annotations/instances_{name}.json", json.dumps(content))


def _coco_objects(image: int, found: Iterable[Instance]) -> Iterator[dict[str, Any]]:
    for place, item in enumerate(found):
        left, top, right, bottom = item.box
        yield {
            "id": 10 * image + place,
            "image_id": image,
            "category_id": item.label + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": int(item.mask.sum()),
            "iscrowd": 0,
            "segmentation": run_lengths(item.mask),
        }


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Return COCO's uncompressed run lengths: by columns, beginning with zeros.

    Args:
        mask: (H, W) bool.

    Returns:
        ``{"size": [H, W], "counts": [zeros, ones, zeros, …]}``.
    """
    flat = mask.ravel(order="F").astype(np.int8)
    turns = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    edges = itertools.pairwise([0, *turns, flat.size])
    counts = [end - start for start, end in edges]
    return {"size": list(mask.shape), "counts": counts}


# ------------------------------------------------------------------------------ files


def _plan_crowd(seed: int, style: int, split: int, index: int) -> Scene:
    pools = sample_pools(seed)[split]
    rng = picture.generator(seed, style, split, index)
    return picture.plan_crowd(rng, pools, scrap_pool(pools))


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _save_jpeg(scene: Scene, path: Path) -> None:
    _make(path.parent)
    picture.paint(scene).save(path, "JPEG", **JPEG)


def _write(path: Path, text: str) -> None:
    _make(path.parent)
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    _write(path, "".join(f"{line}\n" for line in lines))

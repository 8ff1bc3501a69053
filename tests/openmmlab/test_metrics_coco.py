"""COCO's AP of boxes and masks, against hands and pycocotools run by hand."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.openmmlab.built import CLASSES, found_by, instances, metric

pytestmark = pytest.mark.filterwarnings("ignore")

CATEGORIES = (3, 7, 20)
"""COCO's ids have gaps; labels have none."""

SIZE = 128


def annotation(number: int, image: int, label: int, box: Any, **more: Any) -> Any:
    left, top, width, height = box
    corners = [(left, top), (left + width, top)]
    corners += [(left + width, top + height), (left, top + height)]
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORIES[label],
        "bbox": list(box),
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[float(v) for corner in corners for v in corner]],
        **more,
    }


def write(path: Path, annotations: list[Any], images: int = 3) -> Path:
    path.write_text(
        json.dumps(
            {
                "images": [
                    {"id": 10 + i, "width": SIZE, "height": SIZE, "file_name": f"{i}"}
                    for i in range(images)
                ],
                "annotations": annotations,
                "categories": [
                    {"id": number, "name": name}
                    for number, name in zip(CATEGORIES, CLASSES, strict=True)
                ],
            }
        )
    )
    return path


TRUTHS = [
    annotation(1, 10, 0, (10, 10, 20, 20)),
    annotation(2, 10, 0, (60, 60, 40, 40)),
    annotation(3, 11, 0, (30, 5, 99, 99)),
    annotation(4, 11, 1, (0, 0, 50, 30)),
    annotation(5, 10, 1, (5, 70, 16, 16), iscrowd=0),
    annotation(6, 12, 0, (40, 40, 30, 30)),
]
"""Small, medium and large cats, two dogs, no owl."""

GUESSES = [
    # Image, label, score and left, top, width, height.
    (10, 0, 0.9, (12, 10, 20, 20)),
    (10, 0, 0.8, (60, 62, 41, 37)),
    (10, 0, 0.7, (90, 10, 20, 20)),
    (11, 0, 0.95, (32, 8, 90, 90)),
    (11, 1, 0.6, (0, 0, 36, 30)),
    (11, 1, 0.65, (1, 60, 44, 33)),
    (10, 1, 0.5, (5, 70, 16, 14)),
    (12, 0, 0.4, (44, 40, 30, 30)),
]


def filled(box: Any) -> NDArray[np.uint8]:
    picture = np.zeros((SIZE, SIZE), np.uint8)
    left, top, width, height = box
    picture[top : top + height, left : left + width] = 1
    return picture


def coco_samples(
    guesses: Sequence[Any], images: Sequence[int], masks: Any = None
) -> list[dict[str, Any]]:
    samples = []
    for image in images:
        own = [guess for guess in guesses if guess[0] == image]
        boxes = [(x, y, x + w, y + h) for _, _, _, (x, y, w, h) in own]
        predicted = instances(
            boxes, [g[1] for g in own], scores=torch.tensor([g[2] for g in own])
        )
        if masks is not None:
            drawn = [masks(g[3]) for g in own]
            shape = (len(drawn), SIZE, SIZE)
            predicted["masks"] = torch.from_numpy(
                np.array(drawn, np.uint8).reshape(shape).astype(bool)
            )
        samples.append(
            {
                "img_id": image,
                "ori_shape": (SIZE, SIZE),
                "pred_instances": predicted,
            }
        )
    return samples


def by_pycocotools(
    path: Path, guesses: Sequence[Any], kind: str, images: list[int], masks: Any = None
) -> tuple[list[float], dict[str, float]]:
    """Run COCO's own code with its own 100 detections an image."""
    results: list[dict[str, Any]] = []
    for image, label, score, box in guesses:
        one: dict[str, Any] = {
            "image_id": image,
            "category_id": CATEGORIES[label],
            "score": float(torch.tensor(score)),
        }
        if kind == "bbox":
            one["bbox"] = list(box)
        else:
            one["segmentation"] = rle.encode(np.asfortranarray(masks(box)))
        results.append(one)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        run = COCOeval(truth, truth.loadRes(results), kind)
        run.params.imgIds = images
        run.evaluate()
        run.accumulate()
        run.summarize()
    classes = {}
    for index, name in enumerate(CLASSES):
        there = run.eval["precision"][:, :, index, 0, 2]
        there = there[there > -1]
        classes[name] = 100 * float(there.mean()) if there.size else float("nan")
    return [100 * float(value) for value in run.stats[:6]], classes


ENDS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def test_boxes_against_pycocotools(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.json", TRUTHS)
    made = metric("CocoPrecision", ann_file=str(path), metric=["bbox"])
    values = found_by(made, coco_samples(GUESSES, (10, 11, 12)))
    expected, classes = by_pycocotools(path, GUESSES, "bbox", [10, 11, 12])
    assert list(values) == [f"coco/bbox_{end}" for end in ENDS]
    assert list(values.values()) == pytest.approx(expected, abs=1e-9)
    assert len(set(expected)) == 6, "each is told from the others"
    assert min(expected) > 0
    assert max(expected) < 100 or expected[1] == 100
    assert made.classwise_AP == {"bbox": pytest.approx(classes, nan_ok=True)}
    assert np.isnan(classes["owl"])
    assert expected[0] == pytest.approx(np.mean([classes["cat"], classes["dog"]]))


def test_box_ap_by_hand(tmp_path: Path) -> None:
    """62 of 100 pixels: right at 0.5, 0.55 and 0.6, wrong at seven thresholds."""
    path = write(tmp_path / "truth.json", [annotation(1, 10, 0, (0, 0, 10, 10))], 1)
    made = metric("CocoPrecision", ann_file=str(path), metric=["bbox"])
    half = torch.tensor([[0.0, 0, 6.2, 10]])
    (sample,) = coco_samples([(10, 0, 0.9, (0, 0, 10, 10))], [10])
    sample["pred_instances"]["bboxes"] = half
    values = found_by(made, [sample])
    assert values["coco/bbox_AP"] == pytest.approx(30)
    assert values["coco/bbox_AP50"] == pytest.approx(100)
    assert values["coco/bbox_AP75"] == 0
    assert values["coco/bbox_APs"] == pytest.approx(30)
    assert np.isnan(values["coco/bbox_APm"])
    assert np.isnan(values["coco/bbox_APl"])


def test_only_the_images_that_were_looked_at_count(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.json", TRUTHS)
    made = metric("CocoPrecision", ann_file=str(path), metric=["bbox"])
    few = [guess for guess in GUESSES if guess[0] in (10, 11)]
    values = found_by(made, coco_samples(few, (10, 11)))
    expected, classes = by_pycocotools(path, few, "bbox", [10, 11])
    assert list(values.values()) == pytest.approx(expected, abs=1e-9)
    whole, _ = by_pycocotools(path, few, "bbox", [10, 11, 12])
    assert whole[0] < expected[0], "the third image has a cat that nobody looked for"
    assert made.classwise_AP["bbox"]["cat"] == pytest.approx(classes["cat"])


def test_nothing_found_is_zero_and_not_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.json", TRUTHS)
    made = metric("CocoPrecision", ann_file=str(path), metric=["bbox", "segm"])
    samples = coco_samples([], (10, 11, 12), masks=filled)
    values = found_by(made, samples)
    assert set(values) == {f"coco/{k}_{end}" for k in ("bbox", "segm") for end in ENDS}
    assert set(values.values()) == {0.0}
    for kind in ("bbox", "segm"):
        classes = made.classwise_AP[kind]
        assert classes["cat"] == classes["dog"] == 0
        # As where something is found: what is not there is no number.
        assert np.isnan(classes["owl"])


def test_masks_against_pycocotools(tmp_path: Path) -> None:
    path = write(tmp_path / "truth.json", TRUTHS)

    def thin(box: Any) -> NDArray[np.uint8]:
        """A frame, where nothing is: few pixels in a box that is not small."""
        if box[:2] != (1, 60):
            return filled(box)
        left, top, width, height = box
        return filled(box) - filled((left + 2, top + 2, width - 4, height - 4))

    made = metric("CocoPrecision", ann_file=str(path), metric=["bbox", "segm"])
    values = found_by(made, coco_samples(GUESSES, (10, 11, 12), masks=thin))
    boxes, _ = by_pycocotools(path, GUESSES, "bbox", [10, 11, 12])
    masks, classes = by_pycocotools(path, GUESSES, "segm", [10, 11, 12], thin)
    assert list(values.values()) == pytest.approx(boxes + masks, abs=1e-9)
    # The frame has the area of its pixels: a small thing, in front of the small dog.
    assert thin((1, 60, 44, 33)).sum() < 32 * 32 < 44 * 33
    assert values["coco/segm_APs"] < values["coco/bbox_APs"]
    assert made.classwise_AP["segm"] == pytest.approx(classes, nan_ok=True)


def test_truths_that_come_with_the_images(tmp_path: Path) -> None:
    """As VOC's do, which has no file of COCO's; crowds are not asked for."""
    truths = [*TRUTHS, annotation(7, 11, 1, (60, 90, 30, 30), iscrowd=1)]
    path = write(tmp_path / "truth.json", truths)
    made = metric("CocoPrecision", metric=["bbox"])
    samples = coco_samples(GUESSES, (10, 11, 12))
    for sample in samples:
        sample["instances"] = [
            {
                "bbox": [x, y, x + w, y + h],
                "bbox_label": CATEGORIES.index(truth["category_id"]),
                "ignore_flag": truth["iscrowd"],
            }
            for truth in truths
            if truth["image_id"] == sample["img_id"]
            for x, y, w, h in [truth["bbox"]]
        ]
    values = found_by(made, samples)
    expected, classes = by_pycocotools(path, GUESSES, "bbox", [10, 11, 12])
    assert list(values.values()) == pytest.approx(expected, abs=1e-9)
    assert made.classwise_AP["bbox"] == pytest.approx(classes, nan_ok=True)

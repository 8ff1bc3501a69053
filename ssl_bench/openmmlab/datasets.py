"""Our splits as OpenMMLab's data sets and metrics, with the recipe's transforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_bench.data.dense import CocoSplit, DenseSplit, LabelMaps, VocBoxes
from ssl_bench.errors import ConfigError
from ssl_bench.openmmlab.fitting import pipeline_of

# Source: MMDetection 3.x, configs/_base_/datasets/coco_instance.py.
_FILTER = {"filter_empty_gt": True, "min_size": 32}


def enter(config: Any, splits: Mapping[str, DenseSplit], where: str) -> None:
    """Put both splits into a recipe, in place of its own data sets.

    Args:
        config: the recipe; changed.
        splits: ``train`` and ``test``.
        where: the recipe's name, for messages.

    Raises:
        ConfigError: where recipe and labels do not fit.
    """
    if splits["train"].classes != splits["test"].classes:
        raise ConfigError(
            [
                f"{where}: train has the classes {', '.join(splits['train'].classes)}; "
                f"test has {', '.join(splits['test'].classes)}"
            ]
        )
    for role, loader in (("train", "train_dataloader"), ("test", "val_dataloader")):
        own = config[loader].dataset
        split = splits[role]
        config[loader].dataset = _dataset(split, role, pipeline_of(own), _filter(own))
    config.test_dataloader = config.val_dataloader
    config.val_evaluator = _evaluator(config, splits["test"])
    config.test_evaluator = config.val_evaluator


def has_masks(config: Any) -> bool:
    """Say whether a detection recipe learns masks."""
    return bool(config.model.get("roi_head", {}).get("mask_head"))


def leave_out_masks(config: Any, splits: Mapping[str, DenseSplit]) -> bool:
    """Take the mask head out of a recipe for data that have boxes only.

    Args:
        config: the recipe; changed.
        splits: ``train`` and ``test``.

    Returns:
        Whether there was a head that the data cannot teach.
    """
    taught = all(isinstance(s, CocoSplit) and s.masks for s in splits.values())
    if taught or not has_masks(config):
        return False
    config.model.type = "FasterRCNN"
    config.model.roi_head.mask_head = None
    config.model.roi_head.mask_roi_extractor = None
    for loader in ("train_dataloader", "val_dataloader"):
        for step in pipeline_of(config[loader].dataset):
            if step["type"] == "LoadAnnotations":
                step["with_mask"] = False
    return True


def _filter(dataset: Any) -> dict[str, Any]:
    inner = dataset
    while "filter_cfg" not in inner:
        deeper = inner.get("dataset") or next(iter(inner.get("datasets", ())), None)
        if deeper is None:
            return dict(_FILTER)
        inner = deeper
    return dict(inner["filter_cfg"])


def _dataset(
    split: DenseSplit, role: str, pipeline: list[Any], chosen: dict[str, Any]
) -> dict[str, Any]:
    train = role == "train"
    if isinstance(split, LabelMaps):
        for step in pipeline:
            if step["type"] == "LoadAnnotations":
                step["reduce_zero_label"] = split.reduce_zero_label
        return {
            "type": "ImagesAndMaps",
            "role": role,
            "pipeline": pipeline,
            "test_mode": not train,
        }
    shared: dict[str, Any] = {"pipeline": pipeline, "test_mode": not train}
    if train:
        shared["filter_cfg"] = chosen
    if isinstance(split, CocoSplit):
        if split.limit is not None:
            shared["indices"] = split.limit
        return {
            "type": "CocoDataset",
            "ann_file": str(split.annotations),
            "data_prefix": {"img": str(split.images)},
            "metainfo": {"classes": split.classes},
            **shared,
        }
    assert isinstance(split, VocBoxes)
    left = split.limit
    years = []
    for year, part in split.years:
        # MMDetection puts its root before what is not absolute.
        folder = year.resolve()
        own = dict(shared)
        if left is not None:
            if left <= 0:
                break
            own["indices"] = left
        listed = folder / "ImageSets" / "Main" / f"{part}.txt"
        if left is not None:
            left -= len(listed.read_text("utf-8").split())
        years.append(
            {
                "type": "VOCDataset",
                "data_root": str(folder.parent),
                "ann_file": str(listed),
                "data_prefix": {"sub_data_root": f"{folder.name}/"},
                "metainfo": {"classes": split.classes},
                **own,
            }
        )
    if len(years) == 1:
        return years[0]
    return {"type": "ConcatDataset", "ignore_keys": ["dataset_type"], "datasets": years}


def _evaluator(config: Any, split: DenseSplit) -> dict[str, Any]:
    own = config.val_evaluator
    if isinstance(split, LabelMaps):
        return {"type": "ClassIoU", "iou_metrics": ["mIoU"]}
    if own.type in ("VOCMetric", "VocPrecision"):
        return {
            "type": "VocPrecision",
            "metric": "mAP",
            "iou_thrs": list(own.iou_thrs),
            "eval_mode": own.eval_mode,
        }
    return {
        "type": "CocoPrecision",
        "ann_file": str(split.annotations) if isinstance(split, CocoSplit) else None,
        "metric": ["bbox", "segm"] if has_masks(config) else ["bbox"],
    }

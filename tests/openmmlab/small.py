"""Scenes of a few pictures, and requests that train on them for a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_bench.data import scenes
from ssl_bench.features import Extraction

ARCH = "resnet18-w8"
TRAIN, TEST = 8, 4
COUNTS = scenes.SceneCounts(
    imagenet_train=0,
    imagenet_val=0,
    voc_trainval=TRAIN,
    voc_test=TEST,
    coco_train=TRAIN,
    coco_val=TEST,
)
STEPS = {"train_cfg.max_iters": 3, "train_cfg.val_interval": 3}
RECIPES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "c4": ("detect", "faster-rcnn_c4_digit-scenes", STEPS),
    "fpn": ("detect", "mask-rcnn_fpn_digit-scenes", {"train_cfg.max_epochs": 1}),
    "fcn": ("segment", "fcn-d8_digit-scenes", STEPS),
    "upernet": ("segment", "vit_upernet_digit-scenes", STEPS),
    "linear": ("segment", "linear-head_digit-scenes", STEPS),
}
"""Protocol, recipe and what makes it short, by what it has in the middle."""

VIT = "vit_w64_d6_patch16_160"


def write_scenes(root: Path) -> Path:
    """Write the scenes with boxes, masks and label maps."""
    scenes.generate(root, counts=COUNTS, styles=("voc", "coco"))
    return root


def request(which: str, root: Path, work_dir: Path, **more: Any) -> dict[str, Any]:
    """Return what `suite.evaluate` is asked."""
    _, config, short = RECIPES[which]
    options = {
        "train_dataloader.batch_size": 2,
        "auto_scale_lr.base_batch_size": 2,
        "train_dataloader.dataset.filter_cfg.min_size": 1,
        **short,
        **more.pop("options", {}),
    }
    if RECIPES[which][0] == "segment":
        del options["train_dataloader.dataset.filter_cfg.min_size"]
    return {
        "pretrain": "none",
        "arch": ARCH,
        "config": config,
        "dataset": "digit-scenes",
        "data_root": root,
        "work_dir": work_dir,
        "extraction": Extraction(device="cpu", workers=0),
        "options": options,
        **more,
    }

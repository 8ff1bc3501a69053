"""Recipes as they are shipped, and the models that they become, made small."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import nn

from ssl_bench import backbones
from ssl_bench.backbones import Backbone
from ssl_bench.openmmlab import applying, fitting, offered, reading, stack

SMALL = {
    "resnet": "resnet18-w8",
    "maps": "swin_e8_d2-2-2-2_h1-1-2-2_patch4_window4_128",
    "tokens": "vit_w64_d6_patch16_160",
    "any": "vit_w64_d6_patch16_160",
}
"""A network of every kind that recipes are for."""

DETECT = tuple(reading.recipes("detect"))
SEGMENT = tuple(reading.recipes("segment"))
FPN, C4 = "mask-rcnn_fpn_digit-scenes", "faster-rcnn_c4_digit-scenes"
FCN, LINEAR = "fcn-d8_digit-scenes", "linear-head_digit-scenes"
UPERNET = "vit_upernet_digit-scenes"


CLASSES = ("cat", "dog", "owl")
"""Of what a metric is given; there is no owl."""


def facts(**more: Any) -> applying.Facts:
    """Return what the smallest machine says."""
    given = {
        "processes": 1,
        "device": "cpu",
        "dtype": "fp32",
        "workers": None,
        "seed": 0,
        "deterministic": False,
        "short": 1.0,
        "work_dir": "work",
    }
    return applying.Facts(**{**given, **more})


@functools.cache
def _read(name: str) -> Any:
    protocol = "detect" if name in DETECT else "segment"
    return reading.read_recipe(reading.recipes(protocol)[name], {})


def recipe(name: str) -> Any:
    """Return a shipped recipe, the caller's own copy."""
    return copy.deepcopy(_read(name))


def steps(dataset: Any) -> dict[str, Any]:
    """Return the transforms of a data set in a recipe by type."""
    return {step["type"]: step for step in fitting.pipeline_of(dataset)}


def fitted(name: str, backbone: Backbone, classes: int = 3) -> Any:
    """Return a recipe with a model for this network."""
    return fitting.fit(recipe(name), backbone, classes, name)


def network(name: str, seed: int = 0) -> Backbone:
    """Return a small network of the kind that a recipe is for."""
    return backbones.build(SMALL[_read(name).backbones], seed)


def model(config: Any, backbone: Backbone | None = None) -> nn.Module:
    """Build a model by the real packages, with weights drawn as they draw them."""
    protocol = "detect" if "roi_head" in config.model else "segment"
    stack.register(protocol)
    MMLogger.get_instance("mmengine").setLevel("ERROR")
    if backbone is not None:
        offered.offer_backbone(backbone)
    if protocol == "detect":
        from mmdet.registry import MODELS
    else:
        from mmseg.registry import MODELS
    built: nn.Module = MODELS.build(copy.deepcopy(config.model))
    built.init_weights()
    return built


def small_model(name: str, backbone: Backbone) -> Any:
    """Build a recipe's model for three classes and a single process."""
    config = fitted(name, backbone)
    return model(applying.apply(config, facts(), name).config, backbone)


def metric(name: str, **arguments: Any) -> Any:
    """Make one of our metrics for three classes."""
    for protocol in ("detect", "segment"):
        stack.register(protocol)
    import mmdet.registry
    import mmseg.registry

    home = mmseg.registry if name == "ClassIoU" else mmdet.registry
    made = home.METRICS.build({"type": name, **arguments})
    made.dataset_meta = {"classes": CLASSES}
    return made


def found_by(made: Any, samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what a metric finds of samples."""
    # In two batches, as a loop would give them.
    made.process({}, samples[:1])
    if samples[1:]:
        made.process({}, samples[1:])
    values: dict[str, float] = made.evaluate(len(samples))
    return values


def instances(boxes: Any, labels: Any, **more: Any) -> dict[str, Any]:
    """Return boxes and labels as MMDetection has them."""
    return {
        "bboxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        **more,
    }

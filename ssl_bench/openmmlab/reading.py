"""Recipes of detection and segmentation: read, named, and checked.

A recipe is an ordinary config of MMDetection or MMSegmentation with a few keys more:
``protocol``, ``dataset``, ``backbones`` (which networks its neck takes), ``default``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_bench.config import read_config
from ssl_bench.errors import ConfigError, unknown
from ssl_bench.openmmlab import stack
from ssl_bench.resources import config_names, find_config
from ssl_bench.versions import installed_version

KINDS = {
    "resnet": "a plain ResNet of depth 18, 34, 50, 101 or 152 with the 7x7 stem",
    "maps": "a network of four maps (layer1 to layer4), as Swin and ConvNeXt are",
    "tokens": "a plain transformer (ViT, BEiT, DINOv3)",
    "any": "any network",
}
"""What ``backbones`` of a recipe may be."""

OWN_KEYS = ("protocol", "dataset", "backbones", "default")

# Source: MMSelfSup 0.x, configs/benchmarks/mmdetection/ and mmsegmentation/.
KNOWN_NAMES: Mapping[str, str] = {
    "faster_rcnn_r50_c4_mstrain_24k_voc0712": "faster-rcnn_r50-c4_ms-24k_voc0712",
    "mask_rcnn_r50_c4_mstrain_1x_coco": "mask-rcnn_r50-c4_ms-1x_coco",
    "mask_rcnn_r50_c4_mstrain_2x_coco": "mask-rcnn_r50-c4_ms-2x_coco",
    "mask_rcnn_r50_fpn_mstrain_1x_coco": "mask-rcnn_r50_fpn_ms-1x_coco",
    "mask_rcnn_r50_fpn_mstrain_2x_coco": "mask-rcnn_r50_fpn_ms-2x_coco",
    "fcn_r50-d8_512x512_20k_voc12aug": "fcn_r50-d8_4xb4-20k_voc12aug-512x512",
    "fcn_r50-d8_769x769_40k_cityscapes": "fcn_r50-d8_4xb2-40k_cityscapes-769x769",
}
"""Names that older tools gave the same recipes."""


def recipes(protocol: str) -> dict[str, Path]:
    """Return the shipped recipes of a protocol by name."""
    return {
        name: path
        for name, path in config_names().items()
        if path.parent.name == protocol
    }


def resolve(name: str, protocol: str) -> tuple[str, Path]:
    """Return the name and the path of a recipe, asked for by name or path.

    Raises:
        BenchError: with the nearest names of the protocol where there is none.
    """
    bare = name.removesuffix(".py")
    known = KNOWN_NAMES.get(bare, name)
    a_name = "/" not in name and not Path(name).exists()
    if a_name and known.removesuffix(".py") not in config_names():
        raise ConfigError([unknown(f"recipe of {protocol}", name, recipes(protocol))])
    path = find_config(known)
    return path.stem, path


def read_recipe(path: Path, options: Mapping[str, Any]) -> Any:
    """Read a recipe, with the configs of OpenMMLab that it inherits.

    Args:
        path: of the config.
        options: overrides, dotted.

    Raises:
        ConfigError: where it cannot be read.
    """
    with _packages():
        return read_config(path, options)


def complaints(config: Any, where: str, protocol: str) -> list[str]:
    """Return what is wrong with the keys that are ours, and what is missing."""
    import mmengine.optim  # noqa: F401 - fills the registry
    from mmengine.registry import OPTIMIZERS

    found = []
    optimizer = str(config.get("optim_wrapper", {}).get("optimizer", {}).get("type"))
    if OPTIMIZERS.get(optimizer) is None:
        known = OPTIMIZERS.module_dict
        found.append(f"{where}: {unknown('optimizer', optimizer, known)}")
    if config.get("protocol", protocol) != protocol:
        found.append(
            f"{where}: it is a config of {config.protocol!r}, not of {protocol!r}"
        )
    kind = config.get("backbones", "any")
    if kind not in KINDS:
        found.append(f"{where}: {unknown('value of backbones', str(kind), KINDS)}")
    needed = ("model", "train_dataloader", "val_dataloader", "optim_wrapper")
    missing = [key for key in (*needed, "train_cfg") if key not in config]
    return found + [f"{where} has no {key}" for key in missing]


def fitting_recipe(protocol: str, dataset: str, kind: str) -> str:
    """Return the recipe that is taken where none is named.

    Args:
        protocol: ``detect`` or ``segment``.
        dataset: name of the data set; another one's recipe serves a folder.
        kind: of the network: ``resnet``, ``maps`` or ``tokens``.

    Raises:
        ConfigError: where none fits, with those that there are.
    """
    known = _offers(protocol)
    published = {"detect": "coco", "segment": "voc12aug"}[protocol]
    for wanted in (dataset, published, "ade20k"):
        for backbones in (kind, "maps") if kind == "resnet" else (kind,):
            for name, offer in known.items():
                if offer == (True, wanted, backbones):
                    return name
    raise ConfigError(
        [
            f"no recipe of {protocol} is for {KINDS[kind]} on {dataset}; name one of: "
            f"{', '.join(known)}"
        ]
    )


@functools.cache
def _offers(protocol: str) -> dict[str, tuple[bool, str, str]]:
    """Return of every shipped recipe whether it may be taken, its data and networks."""
    found = {}
    for name, path in recipes(protocol).items():
        config = read_recipe(path, {})
        found[name] = (
            bool(config.get("default")),
            str(config.dataset),
            str(config.backbones),
        )
    return found


@contextlib.contextmanager
def _packages() -> Iterator[None]:
    """Let ``mmseg::`` find the maintained fork, whose distribution has another name."""
    from mmengine.config import utils

    known = dict(utils.MODULE2PACKAGE)
    for module, names in stack.MODULES.items():
        there = [name for name in names if installed_version(name) is not None]
        if there:
            utils.MODULE2PACKAGE[module] = there[0]
    try:
        yield
    finally:
        utils.MODULE2PACKAGE.clear()
        utils.MODULE2PACKAGE.update(known)

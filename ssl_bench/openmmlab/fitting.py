"""A recipe's model, made to fit the backbone and the classes.

The numbers that follow from the network (depth, widths, strides, statistics of its
images) stand in no recipe: they are read off the loaded backbone. Pure: configs in,
config out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_bench import backbones
from ssl_bench.backbones import Backbone
from ssl_bench.backbones.backbone import PATCH_MEAN
from ssl_bench.backbones.resnet import DEPTHS
from ssl_bench.backbones.resnet_blocks import LAYERS
from ssl_bench.backbones.token_backbone import TokenBackbone
from ssl_bench.errors import ConfigError
from ssl_bench.openmmlab.reading import KINDS

_OPENMMLAB_DEPTHS = (18, 34, 50, 101, 152)
_PLAIN = {
    "stem": "7x7",
    "avg_down": False,
    "groups": 1,
    "base_width": 64,
    "sobel": False,
    "style": "pytorch",
    "stem_relu": True,
}
"""What a ResNet has to be for OpenMMLab's class to compute the same."""

# Source: MMSegmentation, configs/_base_/models/upernet_{mae,beit}.py: blocks 4, 6, 8
#     and 12 of 12, and 8, 12, 16 and 24 of 24.
_SIXTHS = (2, 3, 4, 6)


def kind_of(backbone: Backbone) -> str:
    """Return which recipes a network fits, as in ``resnet``: a key of `KINDS`."""
    if plain_depth(backbone) is not None:
        return "resnet"
    if isinstance(backbone, TokenBackbone):
        return "tokens"
    return "maps" if set(LAYERS) <= backbone.dims.keys() else "any"


def plain_depth(backbone: Backbone) -> int | None:
    """Return the depth of a ResNet that OpenMMLab has too, else None."""
    try:
        spec = backbones.parse(backbone.arch)
    except Exception:
        return None
    options = spec.options
    if spec.family != "resnet" or any(options[k] != v for k, v in _PLAIN.items()):
        return None
    if options["stem_widths"] != (options["width"],):
        return None
    for depth in _OPENMMLAB_DEPTHS:
        if DEPTHS[depth] == (options["blocks"], options["bottleneck"]):
            return depth
    return None


def fit(config: Any, backbone: Backbone, classes: int, where: str) -> Any:
    """Return the recipe with a model for this network and so many classes.

    Args:
        config: the recipe, which stays as it is.
        backbone: the loaded network.
        classes: of the data, background included for segmentation.
        where: the recipe's name, for messages.

    Raises:
        ConfigError: where the neck cannot take the network's taps.
    """
    config = copy.deepcopy(config)
    kind = _kind_of_recipe(config, where)
    own = kind_of(backbone)
    fits = own == kind or kind == "any" or (kind == "maps" and own == "resnet")
    if not fits:
        taps = ", ".join(backbone.dims)
        raise ConfigError(
            [
                f"{where} takes {KINDS[kind]}, and {backbone.arch} is "
                f"{KINDS.get(own, 'none')}, with the taps {taps}; leave CONFIG out to "
                "take the recipe that fits, or name one"
            ]
        )
    model = config.model
    model.backbone.init_cfg = None  # ours are placed, none is fetched
    if "pretrained" in model:
        model.pretrained = None
    # Our own network turns the channels itself where it has to.
    _statistics(model, backbone, turned=kind == "resnet")
    if kind == "resnet":
        widths = _fit_resnet(model, backbone)
    else:
        widths = _fit_taps(model, backbone, where)
    if "roi_head" in model:
        _fit_detector(model, widths, classes)
    else:
        _fit_segmentor(model, widths, classes)
    if isinstance(backbone, TokenBackbone):
        _fit_patches(config, backbone.patch)
    return config


def _kind_of_recipe(config: Any, where: str) -> str:
    """Return what the recipe takes; one of the user's own may not say so.

    Raises:
        ConfigError: for a backbone that a checkpoint of ours cannot fill.
    """
    kind, own = config.get("backbones"), config.model.backbone.get("type")
    if own == "BackboneTaps":
        return str(kind or "any")
    if str(own).startswith("ResNet"):
        return str(kind or "resnet")
    raise ConfigError(
        [
            f"{where}: model.backbone is a {own}, which the checkpoint is not placed "
            "in; write model=dict(backbone=dict(_delete_=True, type='BackboneTaps'))"
        ]
    )


def _statistics(model: Any, backbone: Backbone, *, turned: bool) -> None:
    bgr = turned and bool(getattr(backbone, "bgr", False))
    order = -1 if bgr else 1
    mean, std = backbone.input.mean[::order], backbone.input.std[::order]
    if backbone.input.channels != 3:
        raise ConfigError([f"{backbone.arch} takes no colour images; detectors do"])
    model.data_preprocessor.mean = [round(255 * value, 6) for value in mean]
    model.data_preprocessor.std = [round(255 * value, 6) for value in std]
    model.data_preprocessor.bgr_to_rgb = not bgr


def _fit_resnet(model: Any, backbone: Backbone) -> list[int]:
    depth = plain_depth(backbone)
    assert depth is not None
    width = backbone.dims["stem"]
    model.backbone.depth, model.backbone.base_channels = depth, width
    model.backbone.stem_channels = width
    shared = model.get("roi_head", {}).get("shared_head")
    if shared is not None:
        shared.init_cfg = None
        shared.depth, shared.base_channels = depth, width
    return [backbone.dims[layer] for layer in LAYERS]


def _fit_taps(model: Any, backbone: Backbone, where: str) -> list[int]:
    if backbone.one_size:
        raise ConfigError([backbone.one_size])
    wanted = _wanted_taps(model, backbone)
    asked = model.backbone.get("taps")
    taps = [asked] if isinstance(asked, str) else list(asked or wanted)
    strange = [tap for tap in taps if tap not in backbone.dims]
    if strange or len(taps) != len(wanted):
        raise ConfigError(
            [
                f"{where}: model.backbone.taps={','.join(taps)}: its neck takes "
                f"{len(wanted)} out of {', '.join(backbone.dims)}, as in "
                f"{','.join(wanted)}"
            ]
        )
    model.backbone.taps = taps
    model.backbone.arch = backbone.arch
    return [backbone.dims[tap] for tap in taps]


def _wanted_taps(model: Any, backbone: Backbone) -> list[str]:
    several = (
        model.get("neck") is not None and model.neck.type != "SimpleFeaturePyramid"
    )
    several = several or model.get("decode_head", {}).get("type") == "UPerHead"
    if not isinstance(backbone, TokenBackbone):
        return list(LAYERS) if several else [_last_map(backbone)]
    depth = sum(name.startswith("block") for name in backbone.dims)
    if several:
        return [f"block{max(1, depth * part // 6)}" for part in _SIXTHS]
    inner: Any = backbone
    pooled = backbone.tap_pooling == PATCH_MEAN and hasattr(inner.fc_norm, "weight")
    return [f"block{depth}" if pooled else backbone.FINAL]


def _last_map(backbone: Backbone) -> str:
    return LAYERS[-1] if LAYERS[-1] in backbone.dims else backbone.FINAL


def _fit_detector(model: Any, widths: Sequence[int], classes: int) -> None:
    roi = model.roi_head
    if model.get("neck") is not None:
        _fit_neck(model.neck, widths)
    else:
        # C4: regions are cut out of the third stage, and the fourth is the shared head.
        third, fourth = widths[2], widths[3]
        model.rpn_head.in_channels = model.rpn_head.feat_channels = third
        roi.bbox_roi_extractor.out_channels = third
        roi.bbox_head.in_channels = fourth
        if roi.get("mask_head"):
            roi.mask_head.in_channels = fourth
    roi.bbox_head.num_classes = classes
    if roi.get("mask_head"):
        roi.mask_head.num_classes = classes


def _fit_segmentor(model: Any, widths: Sequence[int], classes: int) -> None:
    if model.get("neck") is not None:
        _fit_neck(model.neck, widths)
    for head in (model.decode_head, model.get("auxiliary_head")):
        if not head:
            continue
        head.num_classes = classes
        place = head.get("in_index", 0)
        several = head.get("type") == "UPerHead"
        head.in_channels = list(widths) if several else widths[place]
        if head.get("type") == "LinearHead":
            head.channels = head.in_channels


def _fit_neck(neck: Any, widths: Sequence[int]) -> None:
    if neck.type == "Feature2Pyramid":
        neck.embed_dim = widths[0]
        # Its own default too, but what is not written cannot be replaced in `applying`.
        neck.setdefault("norm_cfg", {"type": "SyncBN", "requires_grad": True})
    elif neck.type == "SimpleFeaturePyramid":
        neck.in_channels = widths[-1]
    else:
        neck.in_channels = list(widths)


def _fit_patches(config: Any, patch: int) -> None:
    """Let strides, padding and crops be those of a transformer's patches."""
    model = config.model
    if "roi_head" in model:
        strides = [patch / 4, patch / 2, patch, patch * 2, patch * 4]
        whole = [int(s) if s == int(s) else s for s in strides]
        model.rpn_head.anchor_generator.strides = whole
        for name in ("bbox_roi_extractor", "mask_roi_extractor"):
            if model.roi_head.get(name):
                model.roi_head[name].featmap_strides = whole[:-1]
        model.data_preprocessor.pad_size_divisor = 2 * patch
        return

    def whole_patches(size: Sequence[int]) -> tuple[int, ...]:
        return tuple(-(-int(edge) // patch) * patch for edge in size)

    model.data_preprocessor.size = whole_patches(model.data_preprocessor.size)
    if model.test_cfg.get("crop_size"):
        model.test_cfg.crop_size = whole_patches(model.test_cfg.crop_size)
    for step in pipeline_of(config.train_dataloader.dataset):
        if step["type"] == "RandomCrop":
            step["crop_size"] = whole_patches(step["crop_size"])
        elif step["type"] == "Pad" and "size" in step:
            step["size"] = whole_patches(step["size"])


def pipeline_of(dataset: Mapping[str, Any]) -> list[Any]:
    """Return the transforms of a data set in a recipe, however deep it is wrapped."""
    inner: Any = dataset
    while "pipeline" not in inner:
        inner = inner["dataset"] if "dataset" in inner else inner["datasets"][0]
    found: list[Any] = inner["pipeline"]
    return found

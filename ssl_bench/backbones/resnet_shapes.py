"""Read the architecture of a ResNet off the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.backbones.resnet_blocks import LAYERS

FOREIGN = {
    ".se.": "channel attention (SE or ECA blocks)",
    ".attn.": "attention in its blocks",
    ".aa.": "anti-aliasing filters",
    ".conv2.conv.": "selective or split kernels",
    ".convs.": "Res2Net's split convolutions",
}
"""Parts of names that belong to networks derived from ResNet."""


def read(state_dict: Mapping[str, Tensor]) -> dict[str, Any] | str:
    """Return the options of a ResNet, or the reason why these are not its weights.

    Args:
        state_dict: tensors in torchvision's names, timm's for deep stems.
    """
    stem = _stem(state_dict)
    if isinstance(stem, str):
        return stem
    for part, what in FOREIGN.items():
        if any(part in f".{name}" for name in state_dict if name.startswith("layer")):
            return f"it has {what}, which is not supported"
    if any(name.startswith("maxpool.") for name in state_dict):
        return "it has a convolution in place of the pooling, which is not supported"
    if not any(name.endswith("running_var") for name in state_dict):
        return "there are no running statistics; only batch norm is supported"
    blocks = tuple(_count(state_dict, layer) for layer in LAYERS)
    if 0 in blocks:
        return f"stages of {', '.join(map(str, blocks))} blocks are no ResNet"
    bottleneck = any(
        f"{layer}.{index}.conv3.weight" in state_dict
        for layer, count in zip(LAYERS, blocks, strict=True)
        for index in range(count)
    )
    width = _width(state_dict, bottleneck)
    if width is None:
        return "the width cannot be read from the batch norms of layer1 to layer4"
    inner = _inner(state_dict, width) if bottleneck else (1, 64)
    if isinstance(inner, str):
        return inner
    avg_down = any(".downsample.2." in name for name in state_dict)
    return {
        **stem,
        "blocks": blocks,
        "bottleneck": bottleneck,
        "width": width,
        "avg_down": avg_down,
        "groups": inner[0],
        "base_width": inner[1],
    }


def _stem(state_dict: Mapping[str, Tensor]) -> dict[str, Any] | str:
    """Return what the first convolutions say."""
    deep = "conv1.0.weight" in state_dict
    names = (
        [f"conv1.{index}.weight" for index in (0, 3, 6)] if deep else ["conv1.weight"]
    )
    for name in names:
        if name not in state_dict:
            return f"there is no {name}"
    if "conv2.weight" in state_dict:
        return "there is a conv2.weight beside conv1.weight, as in CLIP's ResNets"
    shapes = [tuple(state_dict[name].shape) for name in names]
    first = (*shapes[0], 0, 0, 0, 0)[:4]
    kernels = {3: "cifar", 7: "7x7"}
    if (
        first[1] not in (2, 3)
        or first[2] != first[3]
        or first[2] not in kernels
        or any(len(shape) != 4 or shape[2:] != (3, 3) for shape in shapes[1:])
        or (deep and first[2] != 3)
    ):
        return (
            f"{names[0]} has shape {shapes[0]}; a ResNet's is (width, 3, 7, 7), on "
            "colour images, (width, 2, 7, 7) on gradients or (width, 3, 3, 3)"
        )
    return {
        "stem": "deep" if deep else kernels[first[2]],
        "stem_widths": tuple(shape[0] for shape in shapes),
        "sobel": first[1] == 2,
    }


def _count(state_dict: Mapping[str, Tensor], layer: str) -> int:
    """Count the blocks of a stage."""
    return len({n.split(".")[1] for n in state_dict if n.startswith(f"{layer}.")})


def _width(state_dict: Mapping[str, Tensor], bottleneck: bool) -> int | None:
    """Return the width of the first stage: from any stage, as one may be damaged."""
    last, times = ("bn3", 4) if bottleneck else ("bn2", 1)
    for index, layer in enumerate(LAYERS):
        norm = state_dict.get(f"{layer}.0.{last}.weight")
        if norm is not None and norm.ndim == 1:
            width = norm.shape[0] // (times << index)
            return width or None
    return None


def _inner(state_dict: Mapping[str, Tensor], width: int) -> tuple[int, int] | str:
    """Return groups and base width of the bottlenecks, as torchvision counts them."""
    shapes = {
        index: tuple(tensor.shape)
        for index, layer in enumerate(LAYERS)
        if (tensor := state_dict.get(f"{layer}.0.conv2.weight")) is not None
        and tensor.ndim == 4
        and tensor.shape[1]
    }
    if not shapes:
        return "there is no conv2.weight in the first block of any stage"
    deepest = max(shapes)
    groups = max(shapes[deepest][0] // shapes[deepest][1], 1)
    planes = width << deepest
    base = -(-(shapes[deepest][0] // groups) * 64 // planes)
    for index, shape in shapes.items():
        expected = int((width << index) * (base / 64.0)) * groups
        if shape[:2] != (expected, expected // groups):
            return (
                f"layer{index + 1}.0.conv2.weight has shape {shape}, with {groups} "
                f"groups of base width {base} it would be "
                f"{(expected, expected // groups, 3, 3)}"
            )
    return groups, base

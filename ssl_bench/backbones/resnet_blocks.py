"""Stems and stages of a ResNet, in the names that torchvision and timm give them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

LAYERS = ("layer1", "layer2", "layer3", "layer4")
SOBEL = (
    ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)),
    ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
)
"""Kernels across and down the image.

Source: open-mmlab/mmselfsup@0.x:mmselfsup/models/utils/sobel.py.
"""


def stem(kind: str, channels: int, widths: tuple[int, ...], padding: int) -> nn.Module:
    """Build the convolutions before the first batch norm.

    Args:
        kind: ``7x7``; ``deep``, three 3x3 convolutions (timm's and MM's V1c and V1d);
            ``cifar``, one 3x3 convolution of stride 1.
        channels: of the image.
        widths: channels after each convolution.
        padding: of the CIFAR stem.
    """
    if kind == "7x7":
        return nn.Conv2d(channels, widths[0], 7, stride=2, padding=3, bias=False)
    if kind == "cifar":
        return nn.Conv2d(channels, widths[0], 3, padding=padding, bias=False)
    layers: list[nn.Module] = []
    for index, width in enumerate(widths):
        stride = 1 if index else 2
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers[:-2])


def stage(
    channels: int,
    planes: int,
    count: int,
    stride: int,
    *,
    bottleneck: bool,
    groups: int,
    base_width: int,
    avg_down: bool,
    caffe: bool,
) -> nn.Sequential:
    """Build one stage; its first block changes the size and the channels.

    Args:
        channels: that come in.
        planes: channels of the 3x3 convolutions of an ordinary block.
        count: number of blocks.
        stride: of the first block.
        bottleneck: whether 1x1 convolutions stand around the 3x3.
        groups: of the 3x3 convolution.
        base_width: 64 for ordinary blocks, as torchvision counts.
        avg_down: whether the shortcut averages before its 1x1 convolution.
        caffe: whether the first 1x1 convolution has the stride, not the 3x3.
    """
    block: Any = Bottleneck if bottleneck else BasicBlock
    more = {"groups": groups, "base_width": base_width}
    out = planes * block.expansion
    shortcut = None
    if stride != 1 or channels != out:
        shortcut = _shortcut(channels, out, stride, avg_down)
    first = block(channels, planes, stride, shortcut, **more)
    if caffe and bottleneck:
        first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    return nn.Sequential(first, *(block(out, planes, **more) for _ in range(count - 1)))


def sobel(images_BCHW: Tensor) -> Tensor:
    """Return the two gradients of the mean of the channels."""
    kernels = torch.tensor(
        SOBEL, dtype=images_BCHW.dtype, device=images_BCHW.device
    ).unsqueeze(1)
    grey = images_BCHW.mean(dim=1, keepdim=True)
    return nn.functional.conv2d(grey, kernels, padding=1)


def _shortcut(channels: int, out: int, stride: int, avg_down: bool) -> nn.Sequential:
    """Build what a block's input passes where its output has another shape."""
    if not avg_down:
        return nn.Sequential(
            nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )
    pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(
        pool if stride > 1 else nn.Identity(),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
    )

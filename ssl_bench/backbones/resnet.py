"""ResNet-18 to -152 of any base width, in torchvision's blocks and names.

Source: He et al., Deep Residual Learning, CVPR 2016; stride in the 3x3 convolution, as
in torchvision and MMSelfSup's ``style='pytorch'``. Taps: ``stem`` (convolution, batch
norm and ReLU, before the pooling), ``layer1`` to ``layer4``, and ``final``, which is
the last map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.weights import ArchSpec

FAMILY = "resnet"
EXAMPLES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
HIDDEN: tuple[str, ...] = ()

STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
PUBLISHED_WIDTH = 64
LAYERS = ("layer1", "layer2", "layer3", "layer4")


class ResNet(Backbone):
    """Compute the maps of a ResNet.

    Args:
        arch: its name.
        depth: 18, 34, 50, 101 or 152.
        width: channels of the stem; the stages have 1, 2, 4 and 8 times as many
            (times four again after a bottleneck).
    """

    def __init__(self, arch: str, *, depth: int, width: int) -> None:
        super().__init__()
        self.arch = arch
        block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.dims = {"stem": width}
        channels = width
        for index, (name, count) in enumerate(zip(LAYERS, STAGES[depth], strict=True)):
            stride = 2 if index else 1
            stage = _stage(block, channels, width << index, count, stride)
            self.add_module(name, stage)
            channels = (width << index) * block.expansion
            self.dims[name] = channels
        self.dims[self.FINAL] = channels
        self._initialise()

    def _initialise(self) -> None:
        """Draw the weights as torchvision does; batch norm starts as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out", nonlinearity="relu"
                )

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute maps (B, C, H, W); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        found: dict[str, Tensor] = {}
        map_BCHW = self.relu(self.bn1(self.conv1(self.prepare(images_BCHW))))
        if "stem" in left:
            found["stem"] = map_BCHW
            left.discard("stem")
        if left:
            map_BCHW = self.maxpool(map_BCHW)
        for name in LAYERS:
            if not left:
                break
            map_BCHW = self.get_submodule(name)(map_BCHW)
            if name in left:
                found[name] = map_BCHW
                left.discard(name)
        if self.FINAL in left:
            found[self.FINAL] = map_BCHW
        return found

    @torch.no_grad()
    def fold(self) -> None:
        """Fold every batch norm into the convolution before it."""
        for parent, conv, norm in list(_pairs(self)):
            _fold(parent.get_submodule(conv), parent.get_submodule(norm))
            setattr(parent, norm, nn.Identity())


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no ResNet."""
    found = re.fullmatch(r"resnet(\d+)(?:-w(\d+))?", arch)
    if not found or int(found[1]) not in STAGES:
        return None
    width = int(found[2] or PUBLISHED_WIDTH)
    return spec(depth=int(found[1]), width=width) if width > 0 else None


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return ResNet(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read depth and width off names and shapes.

    Args:
        state_dict: tensors in torchvision's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    stem = state_dict.get("conv1.weight")
    if stem is None:
        return "there is no conv1.weight"
    width, channels, *kernel = (*stem.shape, 0, 0)[:4]
    if channels != 3 or kernel != [7, 7]:
        return (
            f"conv1.weight has shape {tuple(stem.shape)}; a ResNet's is (width, 3, 7, "
            "7), on colour images"
        )
    counts = tuple(_blocks(state_dict, name) for name in LAYERS)
    bottleneck = "layer1.0.conv3.weight" in state_dict
    for depth, stages in STAGES.items():
        if counts == stages and bottleneck == (depth >= 50):
            return spec(depth=depth, width=width)
    kind = "bottleneck" if bottleneck else "basic"
    return (
        f"stages of {', '.join(map(str, counts))} {kind} blocks are none of ResNet-"
        f"{', -'.join(map(str, STAGES))}"
    )


def spec(*, depth: int, width: int) -> ArchSpec:
    """Name an architecture by its options."""
    suffix = "" if width == PUBLISHED_WIDTH else f"-w{width}"
    options = {"depth": depth, "width": width}
    return ArchSpec(FAMILY, f"resnet{depth}{suffix}", options)


def _blocks(state_dict: Mapping[str, Tensor], stage: str) -> int:
    """Count the blocks of a stage."""
    indices = {
        name.split(".")[1] for name in state_dict if name.startswith(f"{stage}.")
    }
    return len(indices)


def _stage(block: Any, channels: int, planes: int, count: int, stride: int) -> Any:
    """Build one stage; its first block changes the size and the channels."""
    shortcut = None
    out = planes * block.expansion
    if stride != 1 or channels != out:
        shortcut = nn.Sequential(
            nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )
    first = block(channels, planes, stride, shortcut)
    return nn.Sequential(first, *(block(out, planes) for _ in range(count - 1)))


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield every (parent, convolution, batch norm) of a ResNet."""
    for parent in network.modules():
        for index in "123":
            if hasattr(parent, f"bn{index}"):
                yield parent, f"conv{index}", f"bn{index}"
        shortcut = getattr(parent, "downsample", None)
        if isinstance(shortcut, nn.Module):
            yield shortcut, "0", "1"


def _fold(conv: nn.Module, norm: nn.Module) -> None:
    """Make ``conv`` compute ``norm(conv(x))``, with one rounding: out of float64."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - norm.running_mean.double() * scale
    folded = conv.weight.double() * scale[:, None, None, None]
    conv.weight = nn.Parameter(folded.to(conv.weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)

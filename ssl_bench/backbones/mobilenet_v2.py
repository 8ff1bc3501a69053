"""MobileNetV2 of any channels, in torchvision's blocks and names.

Source: Sandler et al., MobileNetV2, CVPR 2018. Taps: ``stem`` (stride 2), ``layer1`` to
``layer4``, the last maps of strides 4, 8, 16 and 32, and ``final``, the map after the
last 1x1 convolution.

Names: ``mobilenet_v2``; ``mobilenet_v2-x0.5`` for another width multiplier, by
torchvision's rounding; ``mobilenet_v2-c`` and nine numbers for any other channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from timm.layers import make_divisible
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops.misc import Conv2dNormActivation

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.batch_norm_folding import fold_sequences
from ssl_bench.backbones.weights import ArchSpec

FAMILY = "mobilenet_v2"
EXAMPLES = ("mobilenet_v2", "mobilenet_v2-x0.5", "mobilenet_v2-x1.4")
HIDDEN: tuple[str, ...] = ()

CHANNELS = (32, 16, 24, 32, 64, 96, 160, 320, 1280)
"""After the stem, each of the seven stages and the last convolution."""

BLOCKS = (1, 2, 3, 4, 3, 3, 1)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
EXPANSION = 6
"""Of the inner channels of a block, but for those of the first stage."""

STARTS = tuple(1 + sum(BLOCKS[:stage]) for stage in range(len(BLOCKS)))
"""Index of the first block of each stage among the ``features``."""

LAST = 1 + sum(BLOCKS)
TAPS = {0: "stem", 3: "layer1", 6: "layer2", 13: "layer3", 17: "layer4", LAST: "final"}
"""Tap after each of the ``features`` that has one."""

MULTIPLIERS = (1.0, 0.5, 0.75, 1.4, 0.35, 0.25, 1.3, 0.1, 1.2, 1.1, 2.0)
NAME = re.compile(r"mobilenet_v2(?:-x(\d+\.\d+)|-c(\d+(?:\.\d+){8}))?")


class MobileNetV2(Backbone):
    """Compute the maps of a MobileNetV2.

    Args:
        arch: its name.
        channels: after the stem, each of the seven stages and the last convolution.
    """

    def __init__(self, arch: str, *, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.arch = arch
        stem, *stages, last = channels
        layers: list[nn.Module] = [_convolution(3, stem, 3, 2)]
        before = stem
        for stage, width in enumerate(stages):
            for index in range(BLOCKS[stage]):
                stride = 1 if index else STRIDES[stage]
                expansion = EXPANSION if stage else 1
                layers.append(InvertedResidual(before, width, stride, expansion))
                before = width
        layers.append(_convolution(before, last, 1, 1))
        self.features = nn.Sequential(*layers)
        self.dims = {tap: channels[_stage(index)] for index, tap in TAPS.items()}
        self._initialise()

    def _initialise(self) -> None:
        """Draw the weights as torchvision does; batch norm starts as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute maps (B, C, H, W); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        found: dict[str, Tensor] = {}
        map_BCHW = self.prepare(images_BCHW)
        for index, layer in enumerate(self.features):
            if not left:
                break
            map_BCHW = layer(map_BCHW)
            tap = TAPS.get(index)
            if tap in left:
                found[tap] = map_BCHW
                left.discard(tap)
        return found

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it."""
        fold_sequences(self)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is none of these."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    if found[2]:
        channels = tuple(int(number) for number in found[2].split("."))
    else:
        channels = widened(float(found[1] or 1))
    made = spec(channels=channels)
    return made if made.name == arch and all(channels) else None


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return MobileNetV2(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read the channels off names and shapes.

    Args:
        state_dict: tensors in torchvision's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    stem = state_dict.get("features.0.0.weight")
    if stem is None:
        return "there is no features.0.0.weight"
    if stem.ndim != 4 or tuple(stem.shape[1:]) != (3, 3, 3):
        return (
            f"features.0.0.weight has shape {tuple(stem.shape)}; a MobileNetV2's is "
            "(width, 3, 3, 3), on colour images"
        )
    count = len({n.split(".")[1] for n in state_dict if n.startswith("features.")})
    if count != LAST + 1:
        return f"there are {count} features, a MobileNetV2 has {LAST + 1}"
    channels = [stem.shape[0]]
    for stage, start in enumerate(STARTS):
        last = "conv.3.weight" if stage else "conv.2.weight"
        norms = (f"features.{start + i}.{last}" for i in range(BLOCKS[stage]))
        norm = next((state_dict[name] for name in norms if name in state_dict), None)
        if norm is None or norm.ndim != 1:
            return f"features.{start}.{last} is not the batch norm of a block's end"
        channels.append(norm.shape[0])
    final = state_dict.get(f"features.{LAST}.1.weight")
    if final is None or final.ndim != 1:
        return f"features.{LAST}.1.weight is not the batch norm of the last convolution"
    return spec(channels=(*channels, final.shape[0]))


def spec(*, channels: tuple[int, ...]) -> ArchSpec:
    """Name an architecture by its channels."""
    same = (times for times in MULTIPLIERS if widened(times) == tuple(channels))
    times = next(same, None)
    name = "mobilenet_v2"
    if times is None:
        name += f"-c{'.'.join(map(str, channels))}"
    elif times != 1:
        name += f"-x{times}"
    return ArchSpec(FAMILY, name, {"channels": tuple(channels)})


def widened(times: float) -> tuple[int, ...]:
    """Return the channels of a width multiplier; the last layer never gets narrower."""
    scales = [times] * (len(CHANNELS) - 1) + [max(times, 1.0)]
    pairs = zip(CHANNELS, scales, strict=True)
    return tuple(make_divisible(channels * scale, 8) for channels, scale in pairs)


def _stage(index: int) -> int:
    """Return the place in ``CHANNELS`` of one of the ``features``."""
    if index == LAST:
        return len(CHANNELS) - 1
    return sum(start <= index for start in STARTS)


def _convolution(before: int, after: int, kernel: int, stride: int) -> nn.Module:
    made: nn.Module = Conv2dNormActivation(
        before, after, kernel, stride, activation_layer=nn.ReLU6
    )
    return made

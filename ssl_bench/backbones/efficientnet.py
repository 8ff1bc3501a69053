"""EfficientNet, the first and the second version, of any channels and depth; timm's.

Source: Tan and Le, EfficientNet, ICML 2019, and EfficientNetV2, ICML 2021; widths and
depths as timm's generators have them. Taps: ``stem`` (stride 2), ``layer1`` to
``layer4``, the last maps of strides 4, 8, 16 and 32, and ``final``, the map after the
last 1x1 convolution.

Names: ``efficientnet_b0``, ``efficientnetv2_s``, and ``tf_efficientnet_b0`` for weights
that came from TensorFlow: its padding and its eps, which no tensor shows. Other sizes
by blocks and channels, ``efficientnet_n1.1.1.1.1.1.1_c8.8.8.16.16.24.24.32.64``.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from timm.layers import make_divisible
from timm.models.efficientnet import EfficientNet as TimmEfficientNet
from timm.models.efficientnet import decode_arch_def
from torch import Tensor, nn

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.batch_norm_folding import fold_named
from ssl_bench.backbones.weights import ArchSpec

FAMILY = "efficientnet"
EXAMPLES = (
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b4",
    "efficientnetv2_s",
)
HIDDEN = ("tf",)
"""Options that the weights do not show: a name, a layout or a producer says them."""

STRIDES = (1, 2, 2, 2, 1, 2, 1)
TAPS = {1: "layer1", 2: "layer2", 4: "layer3"}
"""Tap after a stage; ``layer4`` is after the last, the sixth or the seventh."""

KERNELS = (3, 3, 5, 3, 5, 5, 3)
TF_EPS = 1e-3
FIRST = ((1, 2, 2, 3, 3, 4, 1), (32, 16, 24, 40, 80, 112, 192, 320, 1280))
"""Blocks and channels of B0."""

MULTIPLIERS = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
    "b8": (2.2, 3.6),
    "l2": (4.3, 5.3),
}
"""Of the channels and of the blocks of B0."""

SECOND = {
    "b0": ((1, 2, 2, 3, 5, 8), (32, 16, 32, 48, 96, 112, 192, 1280)),
    "b1": ((2, 3, 3, 4, 6, 9), (32, 16, 32, 48, 96, 112, 192, 1280)),
    "b2": ((2, 3, 3, 4, 6, 10), (32, 16, 32, 56, 104, 120, 208, 1408)),
    "b3": ((2, 3, 3, 5, 7, 12), (40, 16, 40, 56, 112, 136, 232, 1536)),
    "s": ((2, 4, 4, 6, 9, 15), (24, 24, 48, 64, 128, 160, 256, 1280)),
    "m": ((3, 5, 5, 7, 14, 18, 5), (24, 24, 48, 80, 160, 176, 304, 512, 1280)),
    "l": ((4, 7, 7, 10, 19, 25, 7), (32, 32, 64, 96, 192, 224, 384, 640, 1280)),
    "xl": ((4, 8, 8, 16, 24, 32, 8), (32, 32, 64, 96, 192, 256, 512, 640, 1280)),
}
"""Blocks and channels of the second version."""

NAME = re.compile(
    r"(?P<tf>tf_)?efficientnet(?P<v2>v2)?_(?:(?P<size>[a-z]\d?|xl)"
    r"|n(?P<blocks>\d+(?:\.\d+){5,6})_c(?P<channels>\d+(?:\.\d+){7,8}))"
)


class EfficientNet(Backbone, TimmEfficientNet):  # type: ignore[misc]
    """Compute the maps of an EfficientNet.

    Args:
        arch: its name.
        v2: whether the first stages have whole convolutions, as in version 2.
        blocks: number of blocks of each stage.
        channels: after the stem, each stage and the last convolution.
        tf: whether it pads as TensorFlow does, with the eps that goes with it.
    """

    def __init__(
        self,
        arch: str,
        *,
        v2: bool,
        blocks: tuple[int, ...],
        channels: tuple[int, ...],
        tf: bool,
    ) -> None:
        stem, *stages, last = channels
        TimmEfficientNet.__init__(
            self,
            decode_arch_def(_definition(v2, blocks, stages)),
            num_classes=0,
            num_features=last,
            stem_size=stem,
            fix_stem=True,
            round_chs_fn=int,
            pad_type="same" if tf else "",
            act_layer=nn.SiLU,
            norm_layer=functools.partial(nn.BatchNorm2d, eps=TF_EPS)
            if tf
            else nn.BatchNorm2d,
        )
        self.arch = arch
        self.kinds = _kinds(v2, len(blocks))
        self.taps = {**TAPS, len(blocks) - 1: "layer4"}
        self.dims = {"stem": stem}
        self.dims |= {tap: stages[stage] for stage, tap in self.taps.items()}
        self.dims[self.FINAL] = last

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute maps (B, C, H, W); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        found: dict[str, Tensor] = {}
        inner: Any = self
        map_BCHW = inner.bn1(inner.conv_stem(self.prepare(images_BCHW)))
        if "stem" in left:
            found["stem"] = map_BCHW
            left.discard("stem")
        for index, stage in enumerate(inner.blocks):
            if not left:
                break
            map_BCHW = stage(map_BCHW)
            tap = self.taps.get(index)
            if tap in left:
                found[tap] = map_BCHW
                left.discard(tap)
        if self.FINAL in left:
            found[self.FINAL] = inner.bn2(inner.conv_head(map_BCHW))
        return found

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the final tap, not timm's classifier output."""
        return Backbone.forward(self, images_BCHW)

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it; activations stay."""
        fold_named(self, [("conv_stem", "bn1"), ("conv_head", "bn2")])
        inner: Any = self
        for letters, stage in zip(self.kinds, inner.blocks, strict=True):
            fold_named(stage, _pairs(letters))


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is none of these."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    v2 = found["v2"] is not None
    if found["size"]:
        if found["size"] not in (SECOND if v2 else MULTIPLIERS):
            return None
        blocks, channels = _published(v2, found["size"])
    else:
        blocks, channels = _numbers(found["blocks"]), _numbers(found["channels"])
    if 0 in (*blocks, *channels) or len(channels) != len(blocks) + 2:
        return None
    if not v2 and len(blocks) != len(KERNELS):
        return None
    tf = found["tf"] is not None
    made = spec(v2=v2, blocks=blocks, channels=channels, tf=tf)
    return made if made.name == arch else None


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return EfficientNet(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read blocks and channels off names and shapes.

    Args:
        state_dict: tensors in timm's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    stem = state_dict.get("conv_stem.weight")
    if stem is None:
        return "there is no conv_stem.weight"
    if stem.ndim != 4 or tuple(stem.shape[1:]) != (3, 3, 3):
        return (
            f"conv_stem.weight has shape {tuple(stem.shape)}; an EfficientNet's is "
            "(width, 3, 3, 3), on colour images"
        )
    last = state_dict.get("bn2.weight")
    if last is None or last.ndim != 1:
        return "there is no bn2.weight, the batch norm of the last convolution"
    parts = {tuple(n.split(".")[1:4]) for n in state_dict if n[:7] == "blocks."}
    v2 = any(part[0] == "0" and part[2:] == ("conv",) for part in parts)
    blocks = [len({p[1] for p in parts if p[0] == str(s)}) for s in range(len(STRIDES))]
    if not blocks[-1] and v2:
        blocks.pop()
    if 0 in blocks:
        return f"stages of {', '.join(map(str, blocks))} blocks are no EfficientNet"
    for stage, letters in enumerate(_kinds(v2, len(blocks))):
        there = {part[2] for part in parts if part[0] == str(stage) and part[2:]}
        if there != _parts(letters):
            return (
                f"the blocks of stage {stage} have {', '.join(sorted(there))}, those "
                f"of an EfficientNet {', '.join(sorted(_parts(letters)))}"
            )
    channels = [stem.shape[0]]
    for stage, letters in enumerate(_kinds(v2, len(blocks))):
        norm = _pairs(letters)[-1][1]
        names = (f"blocks.{stage}.{i}.{norm}.weight" for i in range(blocks[stage]))
        found = next((state_dict[name] for name in names if name in state_dict), None)
        if found is None or found.ndim != 1:
            return f"blocks.{stage}.0.{norm}.weight is not the norm of a block's end"
        channels.append(found.shape[0])
    return spec(v2=v2, blocks=tuple(blocks), channels=(*channels, last.shape[0]))


def spec(
    *, v2: bool, blocks: tuple[int, ...], channels: tuple[int, ...], tf: bool = False
) -> ArchSpec:
    """Name an architecture by its options; see `EfficientNet`."""
    shape = (tuple(blocks), tuple(channels))
    sizes = (s for s in (SECOND if v2 else MULTIPLIERS) if _published(v2, s) == shape)
    numbers = f"n{'.'.join(map(str, blocks))}_c{'.'.join(map(str, channels))}"
    name = f"{'tf_' if tf else ''}efficientnet{'v2' if v2 else ''}_"
    options = {"v2": v2, "blocks": shape[0], "channels": shape[1], "tf": tf}
    return ArchSpec(FAMILY, name + next(sizes, numbers), options)


@functools.cache
def _published(v2: bool, size: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return blocks and channels of a published size."""
    if v2:
        return SECOND[size]
    wider, deeper = MULTIPLIERS[size]
    blocks, channels = FIRST
    return (
        tuple(math.ceil(count * deeper) for count in blocks),
        tuple(make_divisible(width * wider, 8) for width in channels),
    )


def _kinds(v2: bool, stages: int) -> tuple[str, ...]:
    """Return timm's letters of the blocks of every stage."""
    start = ("cn", "er", "er") if v2 else ("ds",)
    return start + ("ir",) * (stages - len(start))


def _definition(
    v2: bool, blocks: Sequence[int], channels: Sequence[int]
) -> list[list[str]]:
    """Return timm's text for the blocks of every stage."""
    made = []
    for stage, letters in enumerate(_kinds(v2, len(blocks))):
        kernel = 3 if v2 else KERNELS[stage]
        expansion = {"ds": 1, "cn": 1, "er": 4}.get(
            letters, 4 if stage == 3 and v2 else 6
        )
        more = {"cn": "_skip", "er": ""}.get(letters, "_se0.25")
        made.append(
            [
                f"{letters}_r{blocks[stage]}_k{kernel}_s{STRIDES[stage]}"
                f"_e{expansion}_c{channels[stage]}{more}"
            ]
        )
    return made


def _pairs(letters: str) -> list[tuple[str, str]]:
    """Return the convolutions of a block with their batch norms."""
    convolutions = {
        "cn": ("conv",),
        "ds": ("conv_dw", "conv_pw"),
        "er": ("conv_exp", "conv_pwl"),
        "ir": ("conv_pw", "conv_dw", "conv_pwl"),
    }[letters]
    return [(name, f"bn{index}") for index, name in enumerate(convolutions, start=1)]


def _parts(letters: str) -> set[str]:
    """Return the parts of a block that have tensors."""
    attention = {"se"} if letters in ("ds", "ir") else set()
    return {part for pair in _pairs(letters) for part in pair} | attention


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))

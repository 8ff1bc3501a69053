"""ResNets of any depth and width, in torchvision's blocks and names.

Source: He et al., Deep Residual Learning, CVPR 2016; Xie et al., Aggregated Residual
Transformations, CVPR 2017 (ResNeXt); Zagoruyko and Komodakis, Wide Residual Networks,
BMVC 2016; He et al., Bag of Tricks, CVPR 2019 (V1c and V1d, with timm's names). Taps:
``stem`` (convolution, batch norm and ReLU, before the pooling), ``layer1`` to
``layer4``, and ``final``, which is the last map.

Names: ``resnet50``, ``resnext50_32x4d``, ``wide_resnet50_2``; with a deep stem
``resnet50c``, and an averaging shortcut too ``resnet50d``; unpublished depths as
``resnet_bottleneck_1.2.1.1``. Then, where they differ: ``-b96`` base width, ``-w24``
width, ``-stem24.32.64`` widths of the stem, ``-avgdown``, ``-cifar`` (3x3 stem, no
pooling), ``-p2`` (its padding), ``-sobel`` (on two gradients of the grey image),
``-caffe`` (stride in the first 1x1 convolution), ``-bgr`` (order of the channels) and
``-linearstem`` (no ReLU in the stem).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ssl_bench.backbones import resnet_blocks
from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.batch_norm_folding import fold_named, fold_sequences
from ssl_bench.backbones.resnet_blocks import LAYERS
from ssl_bench.backbones.resnet_shapes import read
from ssl_bench.backbones.weights import ArchSpec

FAMILY = "resnet"
EXAMPLES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet50c",
    "resnet50d",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "wide_resnet50_2",
)
HIDDEN = ("style", "bgr", "padding", "stem_relu")
"""Options that the weights do not show: a name, a layout or a producer says them."""

DEPTHS: dict[int, tuple[tuple[int, ...], bool]] = {
    10: ((1, 1, 1, 1), False),
    14: ((1, 1, 1, 1), True),
    18: ((2, 2, 2, 2), False),
    26: ((2, 2, 2, 2), True),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
    200: ((3, 24, 36, 3), True),
}
"""Blocks of each stage, and whether they are bottlenecks, of the published depths."""

PUBLISHED_WIDTH = 64
NAME = re.compile(
    r"(?:resnet|resnext|wide_resnet)"
    r"(?:(?P<depth>\d+)|_(?P<kind>basic|bottleneck)_(?P<blocks>\d+\.\d+\.\d+\.\d+))"
    r"(?P<letter>[cd])?(?:_(?P<groups>\d+)x(?P<group>\d+)d|_(?P<times>\d+))?"
    r"(?:-b(?P<base>\d+))?(?:-w(?P<width>\d+))?(?:-stem(?P<stem>\d+(?:\.\d+\.\d+)?))?"
    r"(?P<avgdown>-avgdown)?(?P<cifar>-cifar)?(?:-p(?P<padding>\d+))?"
    r"(?P<sobel>-sobel)?(?P<caffe>-caffe)?(?P<bgr>-bgr)?(?P<linear>-linearstem)?"
)


class ResNet(Backbone):
    """Compute the maps of a ResNet.

    Args:
        arch: its name.
        blocks: number of blocks of each of the four stages.
        bottleneck: whether blocks are bottlenecks.
        width: channels of the first stage's 3x3 convolutions; the stages have 1, 2, 4
            and 8 times as many (times four again after a bottleneck).
        stem: ``7x7``, ``deep`` or ``cifar``.
        stem_widths: channels after each convolution of the stem.
        avg_down: whether shortcuts average before their convolution.
        groups: of the 3x3 convolutions of a bottleneck.
        base_width: of a group, where ``width`` is 64.
        sobel: whether the network sees two gradients in place of the colours.
        style: ``pytorch`` or ``caffe``, which has the stride in the first 1x1
            convolution of a bottleneck.
        bgr: whether the network was made for images in the order blue, green, red.
        padding: of the CIFAR stem.
        stem_relu: whether the stem ends in a ReLU.
    """

    def __init__(
        self,
        arch: str,
        *,
        blocks: Sequence[int],
        bottleneck: bool,
        width: int,
        stem: str,
        stem_widths: tuple[int, ...],
        avg_down: bool,
        groups: int,
        base_width: int,
        sobel: bool,
        style: str,
        bgr: bool,
        padding: int,
        stem_relu: bool,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.sobel = sobel
        self.bgr = bgr
        channels = stem_widths[-1]
        self.conv1 = resnet_blocks.stem(stem, 2 if sobel else 3, stem_widths, padding)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True) if stem_relu else nn.Identity()
        pooled = stem != "cifar"
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if pooled else nn.Identity()
        self.dims = {"stem": channels}
        for index, (name, count) in enumerate(zip(LAYERS, blocks, strict=True)):
            stage = resnet_blocks.stage(
                channels,
                width << index,
                count,
                2 if index else 1,
                bottleneck=bottleneck,
                groups=groups,
                base_width=base_width,
                avg_down=avg_down,
                caffe=style == "caffe",
            )
            self.add_module(name, stage)
            channels = (width << index) * (4 if bottleneck else 1)
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

    def prepare(self, images_BCHW: Tensor) -> Tensor:
        """Return the images as the first convolution takes them."""
        images_BCHW = super().prepare(images_BCHW)
        if self.bgr:
            images_BCHW = images_BCHW.flip(1)
        return resnet_blocks.sobel(images_BCHW) if self.sobel else images_BCHW

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

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it."""
        fold_named(self, [(f"conv{index}", f"bn{index}") for index in "123"])
        fold_sequences(self)


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return ResNet(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read the architecture off names and shapes.

    Args:
        state_dict: tensors in torchvision's names, timm's for deep stems.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    options = read(state_dict)
    return options if isinstance(options, str) else spec(**options)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no ResNet."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    blocks, bottleneck = _numbers(found["blocks"]), found["kind"] == "bottleneck"
    if found["depth"]:
        if int(found["depth"]) not in DEPTHS:
            return None
        blocks, bottleneck = DEPTHS[int(found["depth"])]
    groups, base_width = int(found["groups"] or 1), 64 * int(found["times"] or 1)
    stem = "deep" if found["letter"] else "cifar" if found["cifar"] else "7x7"
    width = int(found["width"] or PUBLISHED_WIDTH)
    widths = _numbers(found["stem"]) if found["stem"] else _stem_widths(stem, width)
    if 0 in (*blocks, width, groups, *widths) or width * base_width < 64:
        return None
    made = spec(
        blocks=blocks,
        bottleneck=bottleneck,
        width=width,
        stem=stem,
        stem_widths=widths,
        avg_down=found["letter"] == "d" or found["avgdown"] is not None,
        groups=groups,
        base_width=int(found["group"] or found["base"] or base_width),
        sobel=found["sobel"] is not None,
        style="caffe" if found["caffe"] else "pytorch",
        bgr=found["bgr"] is not None,
        padding=int(found["padding"] or 1),
        stem_relu=found["linear"] is None,
    )
    return made if made.name == arch else None


def spec(
    *,
    blocks: tuple[int, ...],
    bottleneck: bool,
    width: int,
    stem: str = "7x7",
    stem_widths: tuple[int, ...] | None = None,
    avg_down: bool = False,
    groups: int = 1,
    base_width: int = 64,
    sobel: bool = False,
    style: str = "pytorch",
    bgr: bool = False,
    padding: int = 1,
    stem_relu: bool = True,
) -> ArchSpec:
    """Name an architecture by its options; see `ResNet`.

    ``style`` says nothing about basic blocks, ``padding`` nothing about stems other
    than CIFAR's: there both are taken back to what they are elsewhere.
    """
    options = {
        "blocks": tuple(blocks),
        "bottleneck": bottleneck,
        "width": width,
        "stem": stem,
        "stem_widths": stem_widths or _stem_widths(stem, width),
        "avg_down": avg_down,
        "groups": groups,
        "base_width": base_width,
        "sobel": sobel,
        "style": style if bottleneck else "pytorch",
        "bgr": bgr,
        "padding": padding if stem == "cifar" else 1,
        "stem_relu": stem_relu,
    }
    return ArchSpec(FAMILY, _name(options), options)


def _name(options: dict[str, Any]) -> str:
    """Spell an architecture."""
    groups, base = options["groups"], options["base_width"]
    times = base // 64 if groups == 1 and base % 64 == 0 else 1
    name = "resnext" if groups > 1 else "wide_resnet" if times > 1 else "resnet"
    shape = (options["blocks"], options["bottleneck"])
    depth = next((d for d, known in DEPTHS.items() if known == shape), None)
    kind = "bottleneck" if options["bottleneck"] else "basic"
    name += str(depth) if depth else f"_{kind}_{_dotted(options['blocks'])}"
    deep = options["stem"] == "deep"
    name += ("d" if options["avg_down"] else "c") if deep else ""
    name += f"_{groups}x{base}d" if groups > 1 else f"_{times}" if times > 1 else ""
    width, widths = options["width"], options["stem_widths"]
    parts = {
        f"-b{base}": groups == 1 and base % 64,
        f"-w{width}": width != PUBLISHED_WIDTH,
        f"-stem{_dotted(widths)}": widths != _stem_widths(options["stem"], width),
        "-avgdown": options["avg_down"] and not deep,
        "-cifar": options["stem"] == "cifar",
        f"-p{options['padding']}": options["padding"] != 1,
        "-sobel": options["sobel"],
        "-caffe": options["style"] == "caffe",
        "-bgr": options["bgr"],
        "-linearstem": not options["stem_relu"],
    }
    return name + "".join(part for part, said in parts.items() if said)


def _stem_widths(stem: str, width: int) -> tuple[int, ...]:
    """Return the usual widths of a stem."""
    half = max(width // 2, 1)
    return (half, half, width) if stem == "deep" else (width,)


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (text or "0").split("."))


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))

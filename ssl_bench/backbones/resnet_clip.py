"""CLIP's ResNets: three convolutions in the stem, averages for strides, attention last.

Source: Radford et al., Learning Transferable Visual Models, ICML 2021; ``openai/CLIP``
``clip/model.py`` (``ModifiedResNet``), whose names these are. Taps: ``stem`` (after its
average pooling), ``layer1`` to ``layer4``, and ``final``: what the attention makes of
the last map, as a map of one pixel, or the last map itself where the weights have no
attention.

Names: ``clip_resnet50``, ``clip_resnet50x4``; others by blocks, width, outputs and
image size, ``clip_resnet_1.1.1.1-w8-o16_64``, and ``clip_resnet_1.1.1.1-w8`` without
attention.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.batch_norm_folding import fold_named, fold_sequences
from ssl_bench.backbones.resnet_blocks import LAYERS
from ssl_bench.backbones.weights import IMAGENET_INPUT, ArchSpec, InputSpec
from ssl_bench.errors import BenchError

FAMILY = "resnet_clip"
SIZES: dict[str, tuple[tuple[int, ...], int, int, int]] = {
    "clip_resnet50": ((3, 4, 6, 3), 64, 1024, 224),
    "clip_resnet101": ((3, 4, 23, 3), 64, 512, 224),
    "clip_resnet50x4": ((4, 6, 10, 6), 80, 640, 288),
    "clip_resnet50x16": ((6, 8, 18, 8), 96, 768, 384),
    "clip_resnet50x64": ((3, 15, 36, 10), 128, 1024, 448),
}
"""Blocks, width, outputs and image size of the published networks."""

EXAMPLES = tuple(SIZES)
HIDDEN: tuple[str, ...] = ()

STRIDE = 32
EXPANSION = 4
HEAD_WIDTH = 64
NAME = re.compile(r"clip_resnet_(\d+(?:\.\d+){3})-w(\d+)(?:-o(\d+)_(\d+))?")


class Block(nn.Module):
    """Compute a bottleneck that averages where others have a stride."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        out = planes * EXPANSION
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            parts["-1"] = nn.AvgPool2d(stride)
            parts["0"] = nn.Conv2d(channels, out, 1, bias=False)
            parts["1"] = nn.BatchNorm2d(out)
            self.downsample = nn.Sequential(parts)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return a map of four times as many channels as ``planes``."""
        inner = functional.relu(self.bn1(self.conv1(map_BCHW)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(self.avgpool(inner)))
        return functional.relu(inner + self.downsample(map_BCHW))


class AttentionPool(nn.Module):
    """Let the mean of a map ask all its pixels.

    Args:
        pixels: of the map.
        width: channels of the map.
        out: channels of the answer.
    """

    def __init__(self, pixels: int, width: int, out: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(
            torch.randn(pixels + 1, width) / math.sqrt(width)
        )
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, out)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return the answer as a map of one pixel."""
        tokens_BTD = map_BCHW.flatten(2).transpose(1, 2)
        mean_B1D = tokens_BTD.mean(dim=1, keepdim=True)
        tokens_BTD = torch.cat([mean_B1D, tokens_BTD], 1) + self.positional_embedding
        heads = [
            projection(tokens).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
            for projection, tokens in (
                (self.q_proj, tokens_BTD[:, :1]),
                (self.k_proj, tokens_BTD),
                (self.v_proj, tokens_BTD),
            )
        ]
        answer = functional.scaled_dot_product_attention(*heads)
        answer_B1D: Tensor = self.c_proj(answer.transpose(1, 2).flatten(2))
        return answer_B1D.transpose(1, 2).unsqueeze(-1)


class ClipResNet(Backbone):
    """Compute the maps of CLIP's ResNet.

    Args:
        arch: its name.
        blocks: number of blocks of each of the four stages.
        width: channels of the stem.
        out: channels that the attention puts out; 0 without attention.
        size: pixels of an image's edge that the attention was made for, or 0.
    """

    def __init__(
        self, arch: str, *, blocks: tuple[int, ...], width: int, out: int, size: int
    ) -> None:
        super().__init__()
        self.arch = arch
        self.size = size
        half = width // 2
        self.conv1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.dims = {"stem": width}
        channels = width
        for index, (name, count) in enumerate(zip(LAYERS, blocks, strict=True)):
            planes = width << index
            first = Block(channels, planes, 2 if index else 1)
            channels = planes * EXPANSION
            rest = (Block(channels, planes, 1) for _ in range(count - 1))
            self.add_module(name, nn.Sequential(first, *rest))
            self.dims[name] = channels
        self.dims[self.FINAL] = out or channels
        self.attnpool = None
        if out:
            self.attnpool = AttentionPool((size // STRIDE) ** 2, channels, out)
            self.input = InputSpec(IMAGENET_INPUT.mean, IMAGENET_INPUT.std, size=size)

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute maps (B, C, H, W); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        map_BCHW = self.prepare(images_BCHW)
        if self.FINAL in left:
            self._check_size(map_BCHW)
        found: dict[str, Tensor] = {}
        for index in "123":
            conv, norm = (
                self.get_submodule(f"{part}{index}") for part in ("conv", "bn")
            )
            map_BCHW = functional.relu(norm(conv(map_BCHW)))
        map_BCHW = self.avgpool(map_BCHW)
        if "stem" in left:
            found["stem"] = map_BCHW
            left.discard("stem")
        for name in LAYERS:
            if not left:
                break
            map_BCHW = self.get_submodule(name)(map_BCHW)
            if name in left:
                found[name] = map_BCHW
                left.discard(name)
        if self.FINAL in left:
            found[self.FINAL] = self.attnpool(map_BCHW) if self.attnpool else map_BCHW
        return found

    def fold(self) -> None:
        """Fold every batch norm into the convolution before it."""
        fold_named(self, [(f"conv{index}", f"bn{index}") for index in "123"])
        fold_sequences(self)

    def _check_size(self, images_BCHW: Tensor) -> None:
        height, width = images_BCHW.shape[2:]
        if self.size and (height, width) != (self.size, self.size):
            raise BenchError(
                f"{self.arch} has a positional embedding for images of {self.size} x "
                f"{self.size} pixels, these are {height} x {width}; choose a transform "
                f"that ends at {self.size} pixels"
            )


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is none of CLIP's."""
    if arch in SIZES:
        blocks, width, out, size = SIZES[arch]
        return spec(blocks=blocks, width=width, out=out, size=size)
    found = NAME.fullmatch(arch)
    if not found:
        return None
    blocks = tuple(int(part) for part in found[1].split("."))
    width, out, size = int(found[2]), int(found[3] or 0), int(found[4] or 0)
    if (
        0 in blocks
        or width < 2
        or width % 2
        or size % STRIDE
        or bool(out) != bool(size)
    ):
        return None
    made = spec(blocks=blocks, width=width, out=out, size=size)
    return made if made.name == arch else None


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return ClipResNet(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read blocks, width, outputs and image size off names and shapes.

    Args:
        state_dict: tensors in CLIP's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    stem = state_dict.get("conv3.weight")
    if stem is None or "conv1.weight" not in state_dict:
        return "there are no conv1.weight and conv3.weight"
    first = state_dict["conv1.weight"]
    if first.ndim != 4 or tuple(first.shape[1:]) != (3, 3, 3):
        return (
            f"conv1.weight has shape {tuple(first.shape)}; that of CLIP's ResNet is "
            "(half the width, 3, 3, 3), on colour images"
        )
    blocks = tuple(
        len({n.split(".")[1] for n in state_dict if n.startswith(f"{layer}.")})
        for layer in LAYERS
    )
    if 0 in blocks:
        return f"stages of {', '.join(map(str, blocks))} blocks are no ResNet"
    width = stem.shape[0]
    if not any(name.startswith("attnpool.") for name in state_dict):
        return spec(blocks=blocks, width=width, out=0, size=0)
    places = state_dict.get("attnpool.positional_embedding")
    last = state_dict.get("attnpool.c_proj.weight")
    if places is None or last is None or places.ndim != 2:
        return "its attention has no positional_embedding or no c_proj"
    edge = math.isqrt(max(places.shape[0] - 1, 0))
    if edge < 1 or edge * edge != places.shape[0] - 1:
        return (
            f"attnpool.positional_embedding has shape {tuple(places.shape)}: that is "
            "no square grid and a mean"
        )
    return spec(blocks=blocks, width=width, out=last.shape[0], size=edge * STRIDE)


def spec(*, blocks: tuple[int, ...], width: int, out: int, size: int) -> ArchSpec:
    """Name an architecture by its options; see `ClipResNet`."""
    shape = (tuple(blocks), width, out, size)
    options = dict(zip(("blocks", "width", "out", "size"), shape, strict=True))
    name = next((known for known, what in SIZES.items() if what == shape), None)
    if name is None:
        name = f"clip_resnet_{'.'.join(map(str, blocks))}-w{width}"
        name += f"-o{out}_{size}" if out else ""
    return ArchSpec(FAMILY, name, options)

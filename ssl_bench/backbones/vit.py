"""Vision transformers: timm's, in timm's names, of any patch and image size.

Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; DeiT for the tiny
and small sizes. Taps: ``block1`` to ``blockN`` (tokens after a block) and ``final``
(tokens after the last norm). The number of heads cannot be seen in the weights: a head
is 64 wide, unless the layout or the name says otherwise. MoCo v3's ViT-S has 12 heads
where DeiT's has 6, with the same shapes: ``vit_small_patch16_h12_224``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.weights import IMAGENET_INPUT, ArchSpec, InputSpec
from ssl_bench.errors import BenchError

FAMILY = "vit"
EXAMPLES = (
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "vit_large_patch16_224",
)
HIDDEN = ("heads",)
"""Options that the weights do not show: a name may say them, shapes cannot."""

SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}
"""Width and number of blocks."""

HEAD_WIDTH = 64
MLP_RATIO = 4
LAYER_SCALE_START = 1e-5
"""Any value switches layer scale on; the file's own values replace it."""

NAME = re.compile(
    r"vit_(tiny|small|base|large)_patch(\d+)(?:_reg(\d+))?(_gap)?(?:_h(\d+))?_(\d+)"
)


class ViT(Backbone, VisionTransformer):  # type: ignore[misc]
    """Compute the tokens of a vision transformer.

    Args:
        arch: its name.
        width: of a token.
        depth: number of blocks.
        heads: of each block.
        patch: pixels of an edge.
        size: pixels of an image's edge, a multiple of ``patch``.
        class_token: whether there is one; without it the feature is the patch mean.
        registers: number of register tokens.
        embed_prefix: whether the positional embedding covers the prefix tokens.
        layer_scale: whether each branch has a learnt scale.
    """

    def __init__(
        self,
        arch: str,
        *,
        width: int,
        depth: int,
        heads: int,
        patch: int,
        size: int,
        class_token: bool,
        registers: int,
        embed_prefix: bool,
        layer_scale: bool,
    ) -> None:
        VisionTransformer.__init__(
            self,
            img_size=size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=MLP_RATIO,
            init_values=LAYER_SCALE_START if layer_scale else None,
            class_token=class_token,
            no_embed_class=not embed_prefix,
            reg_tokens=registers,
            num_classes=0,
            global_pool="token" if class_token else "avg",
            fc_norm=False,
        )
        self.arch = arch
        self.input = InputSpec(IMAGENET_INPUT.mean, IMAGENET_INPUT.std, size=size)
        self.tap_pooling = "class_token" if class_token else "patch_mean"
        self.num_prefix_tokens = registers + class_token
        self.size = size
        self.dims = {f"block{index + 1}": width for index in range(depth)}
        self.dims[self.FINAL] = width

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute tokens (B, T, D); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        images_BCHW = self.prepare(images_BCHW)
        self._check_size(images_BCHW)
        found: dict[str, Tensor] = {}
        inner: Any = self
        tokens_BTD = inner._pos_embed(inner.patch_embed(images_BCHW))
        tokens_BTD = inner.norm_pre(tokens_BTD)
        for index, block in enumerate(inner.blocks, start=1):
            if not left:
                break
            tokens_BTD = block(tokens_BTD)
            if f"block{index}" in left:
                found[f"block{index}"] = tokens_BTD
                left.discard(f"block{index}")
        if self.FINAL in left:
            found[self.FINAL] = inner.norm(tokens_BTD)
        return found

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the tokens after the final norm, not timm's classifier output."""
        return Backbone.forward(self, images_BCHW)

    def _check_size(self, images_BCHW: Tensor) -> None:
        height, width = images_BCHW.shape[2:]
        if (height, width) != (self.size, self.size):
            raise BenchError(
                f"{self.arch} has a positional embedding for images of {self.size} x "
                f"{self.size} pixels, these are {height} x {width}; choose a transform "
                f"that ends at {self.size} pixels, for example --cfg-options "
                f"transform={'imagenet' if self.size == 224 else 'NAME'}"
            )


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no such ViT."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    width, depth = SIZES[found[1]]
    patch, registers, size = int(found[2]), int(found[3] or 0), int(found[6])
    heads = int(found[5] or width // HEAD_WIDTH)
    if not patch or not heads or not size or size % patch or width % heads:
        return None
    return spec(
        width=width,
        depth=depth,
        heads=heads,
        patch=patch,
        size=size,
        class_token=found[4] is None,
        registers=registers,
        embed_prefix=not registers,
        layer_scale=False,
    )


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return ViT(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read width, depth, patch and grid off names and shapes.

    Args:
        state_dict: tensors in timm's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    projection = state_dict.get("patch_embed.proj.weight")
    if projection is None:
        return "there is no patch_embed.proj.weight"
    positions = state_dict.get("pos_embed")
    if positions is None:
        return "there is no pos_embed, so the image size cannot be known"
    width, channels, patch, patch_w = (*projection.shape, 0, 0, 0, 0)[:4]
    if channels != 3 or not patch or patch != patch_w:
        return (
            f"patch_embed.proj.weight has shape {tuple(projection.shape)}; a ViT's is "
            "(width, 3, patch, patch), on colour images"
        )
    depth = len({k.split(".")[1] for k in state_dict if k.startswith("blocks.")})
    if (width, depth) not in SIZES.values():
        known = ", ".join(f"{n} {w} x {d}" for n, (w, d) in SIZES.items())
        return f"width {width} with {depth} blocks is none of {known}"
    hidden = state_dict.get("blocks.0.mlp.fc1.weight")
    if hidden is not None and tuple(hidden.shape) != (MLP_RATIO * width, width):
        return (
            f"blocks.0.mlp.fc1.weight has shape {tuple(hidden.shape)}, expected "
            f"{(MLP_RATIO * width, width)}"
        )
    class_token = "cls_token" in state_dict
    registers = state_dict["reg_token"].shape[1] if "reg_token" in state_dict else 0
    prefix = registers + class_token
    grid = _grid(positions, prefix, registers)
    if grid is None:
        return (
            f"pos_embed has shape {tuple(positions.shape)}: neither with nor without "
            f"{prefix} prefix tokens is that a square grid of width {width}"
        )
    return spec(
        width=width,
        depth=depth,
        heads=width // HEAD_WIDTH,
        patch=patch,
        size=grid[0] * patch,
        class_token=class_token,
        registers=registers,
        embed_prefix=grid[1],
        layer_scale="blocks.0.ls1.gamma" in state_dict,
    )


def _grid(positions: Tensor, prefix: int, registers: int) -> tuple[int, bool] | None:
    """Return the patches of an edge and whether prefix tokens have positions too.

    With registers, timm's own models leave the prefix tokens without a position; that
    reading is tried first there.
    """
    if positions.ndim != 3 or positions.shape[0] != 1:
        return None
    for embedded in (False, True) if registers else (True, False):
        patches = positions.shape[1] - (prefix if embedded else 0)
        edge = math.isqrt(max(patches, 0))
        if edge and edge * edge == patches:
            return edge, embedded
    return None


def spec(
    *,
    width: int,
    depth: int,
    heads: int,
    patch: int,
    size: int,
    class_token: bool,
    registers: int,
    embed_prefix: bool,
    layer_scale: bool,
) -> ArchSpec:
    """Name an architecture by its options."""
    kind = next(name for name, value in SIZES.items() if value == (width, depth))
    name = f"vit_{kind}_patch{patch}"
    name += f"_reg{registers}" if registers else ""
    name += "" if class_token else "_gap"
    name += f"_h{heads}" if heads != width // HEAD_WIDTH else ""
    options = {
        "width": width,
        "depth": depth,
        "heads": heads,
        "patch": patch,
        "size": size,
        "class_token": class_token,
        "registers": registers,
        "embed_prefix": embed_prefix,
        "layer_scale": layer_scale,
    }
    return ArchSpec(FAMILY, f"{name}_{size}", options)

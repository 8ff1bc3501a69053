"""DINOv3's transformers: rotary positions, register tokens, layer scale.

Source: Siméoni et al., DINOv3, 2025, and ``timm.models.eva``, whose names the tensors
have. Taps as those of a ViT. Key has no bias. There is no positional embedding: query
and key of the patches are turned by the place of their patch in the image, so that
images of any multiple of the patch are taken. The periods of the rotation follow from
the width of a head, but the official files hold them rounded to bfloat16; a file's own
are kept (``rope.periods``, a name that timm does not have).
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import torch
from timm.layers import LayerNorm
from timm.models.eva import Eva
from torch import Tensor, nn

from ssl_bench.backbones import vit_names
from ssl_bench.backbones.positional_embedding import Grid
from ssl_bench.backbones.token_backbone import (
    TokenBackbone,
    count_blocks,
    hidden_width,
    in_blocks,
    patch_edge,
)
from ssl_bench.backbones.vit_names import NORM
from ssl_bench.backbones.weights import IMAGENET_INPUT, ArchSpec

FAMILY = "dinov3"
EXAMPLES = ("dinov3_small_patch16_reg4", "dinov3_base_patch16_reg4")
HIDDEN = ("heads", "eps", "theta", "pooling")
"""Options that the weights do not show; heads only where they hold the periods."""

EPS = 1e-5
THETA = 100
LAYER_SCALE_START = 1e-5
NATIVE = 224
"""Pixels of an edge that the publication evaluates; only the refusal names it."""


@dataclass(frozen=True)
class Size:
    """Say what belongs to the name of a published size."""

    width: int
    depth: int
    heads: int


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "small": Size(384, 12, 6),
        "base": Size(768, 12, 12),
        "large": Size(1024, 24, 16),
        "huge": Size(1280, 32, 20),
        "7b": Size(4096, 40, 32),
    }
)

NAME = re.compile(
    rf"dinov3_(?:(?P<kind>{'|'.join(SIZES)})|w(?P<width>\d+)_d(?P<depth>\d+))"
    r"_patch(?P<patch>\d+)(?:_reg(?P<registers>\d+))?(?P<pool>_avg)?"
    r"(?:_h(?P<heads>\d+))?(?:_m(?P<hidden>\d+))?(?P<swiglu>_swiglu)?"
    r"(?P<nobias>_nobias)?(?P<unscaled>_noscale)?(?:_theta(?P<theta>\d+))?"
    r"(?:_eps(?P<eps>\d+))?"
)


class Rope(nn.Module):
    """Compute sine and cosine for every patch, always in float32.

    Args:
        head: width of a head.
        theta: base of the periods.
        kept: whether the periods are part of the state dict.
    """

    def __init__(self, head: int, theta: int, kept: bool) -> None:
        super().__init__()
        self.head, self.theta = head, theta
        self.periods: Tensor
        self.register_buffer("periods", torch.empty(head // 4), persistent=kept)
        self.init_non_persistent_buffers()

    def init_non_persistent_buffers(self) -> None:
        """Fill the periods: powers of the base from 1 towards the base."""
        exponents = torch.arange(0, 1, 4 / self.head, device=self.periods.device)
        self.periods.copy_(self.theta**exponents)

    def forward(self, grid: Grid) -> Tensor:
        """Return sine and cosine beside each other: (patches, 2 x width of a head).

        Coordinates are those of the patches' centres, from -1 to 1 on either axis.
        """
        axes = [
            2 * (torch.arange(n, device=self.periods.device) + 0.5) / n - 1
            for n in grid
        ]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
        angles = 2 * math.pi * places[:, :, None] / self.periods
        twice = angles.flatten(1).tile(2)
        return torch.cat([twice.sin(), twice.cos()], dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move, but keep the periods in float32."""
        before = self.periods
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.periods.dtype != before.dtype:
            self.periods = before.to(self.periods.device)
        return self


class DINOv3(TokenBackbone, Eva):  # type: ignore[misc]
    """Compute the tokens of a DINOv3.

    Args:
        arch: its name.
        width: of a token.
        depth: number of blocks.
        heads: of each block.
        hidden: inner width of the MLP.
        swiglu: whether the MLP is gated.
        patch: pixels of a patch's edge.
        registers: number of register tokens.
        layer_scale: whether each branch has a learnt scale.
        qkv_bias: whether query and value have a bias.
        periods: whether the periods of the rotation are part of the weights.
        pooling: ``class_token`` or ``patch_mean``.
        theta: base of the periods.
        eps: of the norms.
    """

    def __init__(
        self,
        arch: str,
        *,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        swiglu: bool,
        patch: int,
        registers: int,
        layer_scale: bool,
        qkv_bias: bool,
        periods: bool,
        pooling: str,
        theta: int,
        eps: float,
    ) -> None:
        Eva.__init__(
            self,
            img_size=patch,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            # timm cuts the product down to an integer: half a unit keeps it exact.
            mlp_ratio=(hidden + 0.5) / width,
            swiglu_mlp=swiglu,
            # Any multiple chooses the MLP whose gate is a layer of its own.
            swiglu_align_to=1,
            qkv_bias=qkv_bias,
            init_values=LAYER_SCALE_START if layer_scale else None,
            num_reg_tokens=registers,
            use_abs_pos_emb=False,
            rope_rotate_half=True,
            use_fc_norm=False,
            global_pool="token",
            num_classes=0,
            norm_layer=functools.partial(LayerNorm, eps=eps),
        )
        self.rope = Rope(width // heads, theta, periods)
        self.arch = arch
        self.input = IMAGENET_INPUT
        self.tap_pooling = pooling
        self.num_prefix_tokens = 1 + registers
        self.patch = patch
        self.grid = NATIVE // patch, NATIVE // patch
        self.describe(width, depth)

    def embed(
        self, images_BCHW: Tensor, grid: Grid
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return prefix tokens and patches, and the rotation of each patch."""
        inner: Any = self
        patches_BTD = self.patches(images_BCHW)
        prefix = [
            token.expand(len(patches_BTD), -1, -1)
            for token in (inner.cls_token, inner.reg_token)
            if token is not None
        ]
        return torch.cat([*prefix, patches_BTD], dim=1), {"rope": inner.rope(grid)}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load, and compute what is in no state dict on the device of the weights.

        A network that was built without memory has such buffers without memory too.
        """
        outcome = super().load_state_dict(state_dict, strict=strict, assign=assign)
        device = next(self.parameters()).device
        for module in self.modules():
            lost = [
                (name, buffer)
                for name, buffer in module.named_buffers(recurse=False)
                if buffer.is_meta
            ]
            for name, buffer in lost:
                setattr(module, name, torch.empty_like(buffer, device=device))
            if lost:
                module.init_non_persistent_buffers()  # type: ignore[operator]
        return outcome


def spec(**options: Any) -> ArchSpec:
    """Name an architecture by its options; those of `DINOv3`.

    Raises:
        BenchError: for options that no network can have.
    """
    width, depth, heads = options["width"], options["depth"], options["heads"]
    vit_names.check_heads(width, heads)
    kind = next(
        (
            name
            for name, size in SIZES.items()
            if (size.width, size.depth) == (width, depth)
        ),
        f"w{width}_d{depth}",
    )
    parts = [
        f"dinov3_{kind}_patch{options['patch']}",
        f"_reg{options['registers']}" if options["registers"] else "",
        vit_names.pool_suffix(options["pooling"], True, NORM),
        "" if heads == _usual_heads(width, depth) else f"_h{heads}",
        "" if options["hidden"] == 4 * width else f"_m{options['hidden']}",
        "_swiglu" if options["swiglu"] else "",
        "" if options["qkv_bias"] else "_nobias",
        "" if options["layer_scale"] else "_noscale",
        "" if options["theta"] == THETA else f"_theta{options['theta']:g}",
        vit_names.eps_suffix(options["eps"], EPS),
    ]
    return ArchSpec(FAMILY, "".join(parts), options)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no DINOv3."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    said = found.groupdict()
    width, depth = int(said["width"] or 0), int(said["depth"] or 0)
    if said["kind"]:
        width, depth = SIZES[said["kind"]].width, SIZES[said["kind"]].depth
    patch, theta = int(said["patch"]), int(said["theta"] or THETA)
    if not all((width, depth, patch, theta)):
        return None
    heads = int(said["heads"] or _usual_heads(width, depth))
    if not heads or width % heads or width // heads % 4:
        return None
    return spec(
        width=width,
        depth=depth,
        heads=heads,
        hidden=int(said["hidden"] or 4 * width),
        swiglu=said["swiglu"] is not None,
        patch=patch,
        registers=int(said["registers"] or 0),
        layer_scale=said["unscaled"] is None,
        qkv_bias=said["nobias"] is None,
        periods=False,
        pooling=vit_names.pooling_of((said["pool"] or "").lstrip("_"), NORM),
        theta=theta,
        eps=10.0 ** -int(said["eps"]) if said["eps"] else EPS,
    )


def build(spec: ArchSpec) -> DINOv3:
    """Build the network with random weights drawn from torch's generator."""
    return DINOv3(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read everything but the hidden options off names and shapes.

    Args:
        state_dict: tensors in timm's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    projection, inside = (
        state_dict.get("patch_embed.proj.weight"),
        in_blocks(state_dict),
    )
    if projection is None:
        return "there is no patch_embed.proj.weight"
    if "pos_embed" in state_dict:
        return "there is a pos_embed, and positions of these are rotary"
    if "cls_token" not in state_dict or not {"attn.qkv.weight", "norm1.bias"} <= inside:
        return "there are no class token and blocks.N.attn.qkv.weight"
    if any(name.endswith("relative_position_bias_table") for name in state_dict):
        return "there is a table of relative positions, and these are rotary"
    tokens = state_dict.get("reg_token")
    if tokens is None or tokens.ndim != 3 or not tokens.shape[1]:
        return "there are no register tokens, as every published one has them"
    patch = patch_edge(projection)
    if isinstance(patch, str):
        return patch
    width, depth = int(projection.shape[0]), count_blocks(state_dict)
    heads, periods = _usual_heads(width, depth), state_dict.get("rope.periods")
    if periods is not None:
        head = 4 * periods.numel()
        if not head or width % head:
            return f"{periods.numel()} periods do not divide the width of {width}"
        heads = width // head
    return spec(
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden_width(state_dict) or 4 * width,
        swiglu=any(name.startswith(("mlp.fc1_g.", "mlp.fc1_x.")) for name in inside),
        patch=patch,
        registers=int(tokens.shape[1]),
        layer_scale=bool({"gamma_1", "gamma_2"} & inside),
        qkv_bias=bool({"attn.q_bias", "attn.v_bias"} & inside),
        periods=periods is not None,
        pooling=vit_names.usual_pooling(True, NORM),
        theta=THETA,
        eps=EPS,
    )


def _published(width: int, depth: int) -> tuple[str, Size | None]:
    """Return the middle of a name, and the published size of that name."""
    for name, size in SIZES.items():
        if (size.width, size.depth) == (width, depth):
            return name, size
    return f"w{width}_d{depth}", None


def _usual_heads(width: int, depth: int) -> int:
    """Return the heads of a published size, or about one for 64 of the width."""
    size = _published(width, depth)[1]
    if size is not None:
        return size.heads
    return vit_names.divisor_near(width, vit_names.HEAD_WIDTH)

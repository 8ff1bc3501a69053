"""Vision transformers: timm's, in timm's names, of any size.

Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; DeiT for the tiny
and small sizes. Taps: ``block1`` to ``blockN`` (tokens after a block) and ``final``
(tokens after the last norm; where the mean of the patches is normed, prefix tokens and
that mean). What the weights do not show: the number of heads (a head is 64 wide, but
MoCo v3's ViT-S has 12 heads where DeiT's has 6, with the same shapes), the activation,
the epsilon of the norms, and whether the class token or the patch mean is the feature.

Images of any multiple of the patch are taken: the positions of the patches are
resampled bicubically, those of class and register tokens stay. Networks with registers
do it with antialiasing, all others without, as Hugging Face and DINOv2's code do; the
latter, like DINO's, also moves the scale by a tenth of a patch where there are no
registers, which is left out here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import LayerNorm, Mlp, SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ssl_bench.backbones import vit_names
from ssl_bench.backbones.positional_embedding import Grid, square
from ssl_bench.backbones.token_backbone import (
    TokenBackbone,
    count_blocks,
    has_module,
    hidden_width,
    in_blocks,
    norms_of,
    patch_edge,
)
from ssl_bench.backbones.vit_names import BOTH_NORMS, FC_NORM, NO_NORM
from ssl_bench.backbones.weights import IMAGENET_INPUT, ArchSpec, InputSpec

FAMILY = "vit"
EXAMPLES = (
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "vit_large_patch16_224",
)
HIDDEN = ("heads", "eps", "act", "pooling")
"""Options that the weights do not show: a name may say them, shapes cannot."""

LAYER_SCALE_START = 1e-5
"""Any value switches layer scale on; the file's own values replace it."""

OTHERS = ("attn.q_bias", "attn.relative_position_bias_table", "gamma_1")
"""What the blocks of BEiT and of DINOv3 have, and these do not."""


QK_NORM = ("attn.q_norm.", "attn.k_norm.")


class ViT(TokenBackbone, VisionTransformer):  # type: ignore[misc]
    """Compute the tokens of a vision transformer.

    Args:
        arch: its name.
        width: of a token.
        depth: number of blocks.
        heads: of each block.
        hidden: inner width of the MLP; of each half of a gated one.
        swiglu: whether the MLP is gated.
        patch: pixels of a patch's edge.
        size: pixels of an image's edge, or its height and width.
        class_token: whether there is one.
        registers: number of register tokens.
        embed_prefix: whether the positional embedding covers the prefix tokens.
        layer_scale: whether each branch has a learnt scale.
        pre_norm: whether the tokens are normed before the blocks (CLIP).
        qk_norm: whether query and key are normed.
        qkv_bias: whether query, key and value have a bias.
        norms: ``norm`` of the tokens, ``fcnorm`` after pooling, ``bothnorms``, or
            ``nonorm``.
        pooling: ``class_token`` or ``patch_mean``.
        act: activation of the MLP; a gated one always has SiLU.
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
        size: int | tuple[int, int],
        class_token: bool,
        registers: int,
        embed_prefix: bool,
        layer_scale: bool,
        pre_norm: bool,
        qk_norm: bool,
        qkv_bias: bool,
        norms: str,
        pooling: str,
        act: str,
        eps: float,
    ) -> None:
        norm_layer = functools.partial(LayerNorm, eps=eps)
        height, breadth = vit_names.pixels(size)
        VisionTransformer.__init__(
            self,
            img_size=(height, breadth),
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            # timm cuts the product down to an integer: half a unit keeps it exact.
            mlp_ratio=(hidden * (1 + swiglu) + 0.5) / width,
            mlp_layer=SwiGLUPacked if swiglu else Mlp,
            act_layer="silu" if swiglu else act,
            init_values=LAYER_SCALE_START if layer_scale else None,
            class_token=class_token,
            no_embed_class=not embed_prefix,
            reg_tokens=registers,
            pre_norm=pre_norm,
            qk_norm=qk_norm,
            qkv_bias=qkv_bias,
            num_classes=0,
            global_pool="token" if class_token else "avg",
            final_norm=norms != NO_NORM,
            fc_norm=norms == FC_NORM,
            norm_layer=norm_layer,
        )
        if norms == BOTH_NORMS:
            self.fc_norm = norm_layer(width)
        self.arch = arch
        native = height if height == breadth else None
        self.input = InputSpec(IMAGENET_INPUT.mean, IMAGENET_INPUT.std, size=native)
        self.tap_pooling = pooling
        self.num_prefix_tokens = registers + class_token
        self.patch = patch
        self.grid = height // patch, breadth // patch
        self.describe(width, depth)

    def embed(
        self, images_BCHW: Tensor, grid: Grid
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return patches with their positions behind the prefix tokens."""
        inner: Any = self
        tokens_BTD = self.patches(images_BCHW)
        count = len(tokens_BTD)
        positions_1TD = self.positions(
            grid,
            prefix=0 if inner.no_embed_class else self.num_prefix_tokens,
            antialias=inner.num_reg_tokens > 0,
        )
        prefix = [
            token.expand(count, -1, -1)
            for token in (inner.cls_token, inner.reg_token)
            if token is not None
        ]
        if inner.no_embed_class:
            tokens_BTD = torch.cat([*prefix, tokens_BTD + positions_1TD], dim=1)
        else:
            tokens_BTD = torch.cat([*prefix, tokens_BTD], dim=1) + positions_1TD
        return inner.norm_pre(tokens_BTD), {}


def spec(**options: Any) -> ArchSpec:
    """Name an architecture by its options; those of `ViT`.

    Raises:
        BenchError: for options that no network can have.
    """
    return ArchSpec(FAMILY, vit_names.named(options), options)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no such ViT."""
    options = vit_names.options_of(arch)
    return None if options is None else spec(**options)


def build(spec: ArchSpec) -> ViT:
    """Build the network with random weights drawn from torch's generator."""
    return ViT(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read everything but the hidden options off names and shapes.

    Args:
        state_dict: tensors in timm's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    projection = state_dict.get("patch_embed.proj.weight")
    if projection is None:
        return "there is no patch_embed.proj.weight"
    inside = in_blocks(state_dict)
    for foreign in OTHERS:
        if foreign in inside:
            return f"its blocks have {foreign}, as those of another family do"
    positions = state_dict.get("pos_embed")
    if positions is None:
        return "there is no pos_embed, so the image size cannot be known"
    patch = patch_edge(projection)
    if isinstance(patch, str):
        return patch
    width, depth = int(projection.shape[0]), count_blocks(state_dict)
    if not depth:
        return "there are no blocks.N."
    class_token = "cls_token" in state_dict
    registers = _registers(state_dict)
    prefix = registers + class_token
    found = _grid(positions, prefix, registers)
    if found is None:
        return (
            f"pos_embed has shape {tuple(positions.shape)}: neither with nor without "
            f"{prefix} prefix tokens is that a square grid of width {width}"
        )
    norms = norms_of(state_dict)
    if registers and not class_token and norms != FC_NORM:
        return "there are registers, but neither cls_token nor fc_norm"
    pre_norm = has_module(state_dict, "norm_pre.")
    if pre_norm and norms == NO_NORM:
        return (
            "there is a norm before the blocks and none after them, as in Perception "
            "Encoders, whose rotation of the positions no tensor shows"
        )
    layer_scale = bool({"ls1.gamma", "ls2.gamma"} & inside)
    qkv_bias = "attn.qkv.bias" in inside
    if norms == FC_NORM and not (class_token or registers or qkv_bias or layer_scale):
        return (
            "there are neither class token nor biases of query, key and value, as in "
            "networks whose norms stand after each branch (rpn), which look the same"
        )
    first = state_dict.get("blocks.0.mlp.fc1.weight")
    hidden = hidden_width(state_dict)
    swiglu = first is not None and hidden is not None and len(first) == 2 * hidden
    return spec(
        width=width,
        depth=depth,
        heads=vit_names.usual_heads(width, depth),
        hidden=hidden or vit_names.usual_hidden(width, depth, swiglu),
        swiglu=swiglu,
        patch=patch,
        size=found[0] * patch,
        class_token=class_token,
        registers=registers,
        embed_prefix=found[1],
        layer_scale=layer_scale,
        pre_norm=pre_norm,
        qk_norm=any(
            name.startswith(("attn.q_norm.", "attn.k_norm.")) for name in inside
        ),
        qkv_bias=qkv_bias,
        norms=norms,
        pooling=vit_names.usual_pooling(class_token, norms),
        act=vit_names.ACT,
        eps=vit_names.EPS,
    )


def _registers(state_dict: Mapping[str, Tensor]) -> int:
    registers = state_dict.get("reg_token")
    return (
        int(registers.shape[1]) if registers is not None and registers.ndim > 1 else 0
    )


def _grid(positions: Tensor, prefix: int, registers: int) -> tuple[int, bool] | None:
    """Return the patches of an edge and whether prefix tokens have positions too.

    With registers, timm's own models leave the prefix tokens without a position; that
    reading is tried first there.
    """
    if positions.ndim != 3 or positions.shape[0] != 1:
        return None
    for embedded in (False, True) if registers else (True, False):
        edge = square(positions.shape[1] - (prefix if embedded else 0))
        if edge:
            return edge, embedded
    return None

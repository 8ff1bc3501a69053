"""BEiT's transformers: biases of query and value alone, and relative positions.

Source: Bao et al., BEiT, ICLR 2022, and its second version; CAE's and MaskFeat's
encoders have the same blocks. Tensors have timm's names (``timm.models.beit``). Taps as
those of a ViT. The tables of relative positions are each block's own, or one that all
share (pre-training), or none where positions are added to the tokens instead (CAE).
Images of another size are taken: tables and positions are resampled bicubically.

Axes: B batch, T tokens, D width, H heads, N offsets between two tokens.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import LayerNorm
from timm.models.beit import Beit, gen_relative_position_index
from torch import Tensor, nn

from ssl_bench.backbones import vit_names
from ssl_bench.backbones.positional_embedding import (
    Grid,
    resized_table,
    square,
)
from ssl_bench.backbones.token_backbone import (
    TokenBackbone,
    count_blocks,
    hidden_width,
    in_blocks,
    norms_of,
    patch_edge,
)
from ssl_bench.backbones.vit_names import BOTH_NORMS, EPS, FC_NORM, NO_NORM, NORM
from ssl_bench.backbones.weights import IMAGENET_INPUT, ArchSpec, InputSpec

FAMILY = "beit"
EXAMPLES = ("beit_base_patch16_224", "beit_large_patch16_224")
HIDDEN = ("heads", "eps", "pooling")
"""Heads are shown by a table of relative positions only."""

OWN, SHARED, NONE = "own", "shared", "none"
"""Who has a table of relative positions: every block, all together, nobody."""

CLASS_OFFSETS = 3
"""Rows of a table that stand for the class token: to it, from it and within it."""

LAYER_SCALE_START = 0.1
TABLE = "relative_position_bias_table"

NAME = re.compile(
    rf"beit_(?:(?P<kind>{'|'.join(vit_names.SIZES)})|w(?P<width>\d+)_d(?P<depth>\d+))"
    r"_patch(?P<patch>\d+)(?:_(?P<pool>avg|cls))?(?:_h(?P<heads>\d+))?"
    r"(?:_m(?P<hidden>\d+))?(?P<positions>_abs)?(?:_(?P<table>shared|none)rel)?"
    r"(?P<unscaled>_noscale)?(?P<nobias>_nobias)?"
    r"(?:_(?P<norms>fcnorm|bothnorms|nonorm))?(?:_eps(?P<eps>\d+))?_(?P<size>\d+)"
)


@dataclass(frozen=True)
class Offsets:
    """Say between which tokens of a batch which offset lies.

    Attributes:
        native: grid that the tables were made for.
        grid: grid of the images.
        index_TT: row of a table by a pair of tokens.
        shared_HTT: bias that all blocks share.
    """

    native: Grid
    grid: Grid
    index_TT: Tensor
    shared_HTT: Tensor | None = None

    def bias(self, table_NH: Tensor) -> Tensor:
        """Return what is added to the attention of every pair of tokens (H, T, T)."""
        fitted_NH = resized_table(table_NH, self.native, self.grid, extra=CLASS_OFFSETS)
        return fitted_NH[self.index_TT].permute(2, 0, 1)


class RelativeAttention(nn.Module):
    """Attend with a bias for every offset.

    Args:
        width: of a token.
        heads: into which it is divided.
        qkv_bias: whether query and value have a bias.
        rows: of the table of relative positions; 0 for none.
    """

    def __init__(self, width: int, heads: int, qkv_bias: bool, rows: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        nn.init.trunc_normal_(self.qkv.weight, std=0.02)
        self.q_bias = nn.Parameter(torch.zeros(width)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(width)) if qkv_bias else None
        self.relative_position_bias_table = (
            nn.Parameter(torch.zeros(rows, heads)) if rows else None
        )
        self.proj = nn.Linear(width, width)
        nn.init.trunc_normal_(self.proj.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)

    def forward(self, tokens_BTD: Tensor, shared_rel_pos_bias: Offsets) -> Tensor:
        """Return the attended tokens; the second argument has the name timm gives."""
        offsets, bias = shared_rel_pos_bias, None
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = nn.functional.linear(tokens_BTD, self.qkv.weight, bias)
        count, tokens = qkv.shape[:2]
        parts = qkv.reshape(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        added = offsets.shared_HTT
        if self.relative_position_bias_table is not None:
            own = offsets.bias(self.relative_position_bias_table)
            added = own if added is None else own + added
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=added
        )
        attended: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return attended


class Table(nn.Module):
    """Hold the table of relative positions that all blocks share."""

    def __init__(self, rows: int, heads: int) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(rows, heads))


class BEiT(TokenBackbone, Beit):  # type: ignore[misc]
    """Compute the tokens of a BEiT.

    Args:
        arch: its name.
        width: of a token.
        depth: number of blocks.
        heads: of each block.
        hidden: inner width of the MLP.
        patch: pixels of a patch's edge.
        size: pixels of an image's edge.
        positions: whether positions are added to the tokens.
        table: who has a table of relative positions: ``own``, ``shared`` or ``none``.
        layer_scale: whether each branch has a learnt scale.
        qkv_bias: whether query and value have a bias.
        norms: as those of a ViT.
        pooling: ``class_token`` or ``patch_mean``.
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
        patch: int,
        size: int,
        positions: bool,
        table: str,
        layer_scale: bool,
        qkv_bias: bool,
        norms: str,
        pooling: str,
        eps: float,
    ) -> None:
        norm_layer = functools.partial(LayerNorm, eps=eps)
        Beit.__init__(
            self,
            img_size=size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            # timm cuts the product down to an integer: half a unit keeps it exact.
            mlp_ratio=(hidden + 0.5) / width,
            init_values=LAYER_SCALE_START if layer_scale else None,
            use_abs_pos_emb=positions,
            num_classes=0,
            use_fc_norm=norms == FC_NORM,
            norm_layer=norm_layer,
        )
        if norms == NO_NORM:
            self.norm = nn.Identity()
        if norms == BOTH_NORMS:
            self.fc_norm = norm_layer(width)
        self.grid = size // patch, size // patch
        rows = (2 * self.grid[0] - 1) * (2 * self.grid[1] - 1) + CLASS_OFFSETS
        self.rel_pos_bias = Table(rows, heads) if table == SHARED else None
        own_rows = rows if table == OWN else 0
        inner: Any = self
        for block in inner.blocks:
            block.attn = RelativeAttention(width, heads, qkv_bias, own_rows)
        self.arch = arch
        self.input = InputSpec(IMAGENET_INPUT.mean, IMAGENET_INPUT.std, size=size)
        self.tap_pooling = pooling
        self.num_prefix_tokens = 1
        self.patch = patch
        self.describe(width, depth)

    def embed(
        self, images_BCHW: Tensor, grid: Grid
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return the class token and the patches, and where they lie to another."""
        inner: Any = self
        patches_BTD = self.patches(images_BCHW)
        first = inner.cls_token.expand(len(patches_BTD), -1, -1)
        tokens_BTD = torch.cat([first, patches_BTD], dim=1)
        if inner.pos_embed is not None:
            tokens_BTD = tokens_BTD + self.positions(grid, prefix=1, antialias=False)
        index_TT = _index(grid, tokens_BTD.device)
        offsets = Offsets(self.grid, grid, index_TT)
        if inner.rel_pos_bias is not None:
            shared = offsets.bias(inner.rel_pos_bias.relative_position_bias_table)
            offsets = Offsets(self.grid, grid, index_TT, shared)
        return tokens_BTD, {"shared_rel_pos_bias": offsets}


@functools.lru_cache(maxsize=8)
def _index(grid: Grid, device: torch.device) -> Tensor:
    """Return the row of a table by a pair of tokens."""
    # What inference mode makes could not be used where gradients are wanted.
    with torch.inference_mode(False):
        index_TT: Tensor = gen_relative_position_index(grid, device=device)
    return index_TT


def spec(**options: Any) -> ArchSpec:
    """Name an architecture by its options; those of `BEiT`.

    Raises:
        BenchError: for options that no network can have.
    """
    width, depth, heads = options["width"], options["depth"], options["heads"]
    vit_names.check_heads(width, heads)
    usual_hidden = vit_names.usual_hidden(width, depth, swiglu=False)
    parts = [
        f"beit_{vit_names.published(width, depth)[0]}_patch{options['patch']}",
        vit_names.pool_suffix(options["pooling"], True, options["norms"]),
        "" if heads == vit_names.usual_heads(width, depth) else f"_h{heads}",
        "" if options["hidden"] == usual_hidden else f"_m{options['hidden']}",
        "_abs" if options["positions"] else "",
        "" if options["table"] == OWN else f"_{options['table']}rel",
        "" if options["layer_scale"] else "_noscale",
        "" if options["qkv_bias"] else "_nobias",
        "" if options["norms"] == NORM else f"_{options['norms']}",
        vit_names.eps_suffix(options["eps"], EPS),
        f"_{options['size']}",
    ]
    return ArchSpec(FAMILY, "".join(parts), options)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no such BEiT."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    said = found.groupdict()
    width, depth = vit_names.extent(said)
    patch, size = int(said["patch"]), int(said["size"])
    if not all((width, depth, patch, size)) or size % patch:
        return None
    heads = int(said["heads"] or vit_names.usual_heads(width, depth))
    positions, table = said["positions"] is not None, said["table"] or OWN
    if not heads or width % heads or (not positions and table == NONE):
        return None
    norms = said["norms"] or NORM
    return spec(
        width=width,
        depth=depth,
        heads=heads,
        hidden=int(said["hidden"] or vit_names.usual_hidden(width, depth, False)),
        patch=patch,
        size=size,
        positions=positions,
        table=table,
        layer_scale=said["unscaled"] is None,
        qkv_bias=said["nobias"] is None,
        norms=norms,
        pooling=vit_names.pooling_of(said["pool"], norms),
        eps=10.0 ** -int(said["eps"]) if said["eps"] else EPS,
    )


def build(spec: ArchSpec) -> BEiT:
    """Build the network with random weights drawn from torch's generator."""
    return BEiT(spec.name, **spec.options)


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
    inside, shared = in_blocks(state_dict), state_dict.get(f"rel_pos_bias.{TABLE}")
    biased = bool({"attn.q_bias", "attn.v_bias"} & inside)
    if not biased and f"attn.{TABLE}" not in inside and shared is None:
        return "there are neither q_bias and v_bias nor a table of relative positions"
    if "cls_token" not in state_dict or "reg_token" in state_dict:
        return "a BEiT has a class token and no registers"
    patch = patch_edge(projection)
    if isinstance(patch, str):
        return patch
    own = next((t for k, t in state_dict.items() if k.endswith(f"attn.{TABLE}")), None)
    table, absolute = (own if shared is None else shared), state_dict.get("pos_embed")
    edge = _edge(table, absolute)
    if edge is None:
        return "neither a table of relative positions nor pos_embed shows a square grid"
    width, depth = int(projection.shape[0]), count_blocks(state_dict)
    norms = norms_of(state_dict)
    heads = vit_names.usual_heads(width, depth)
    if table is not None:
        heads = int(table.shape[1])
    if not heads or width % heads:
        return f"width {width} does not divide into the {heads} heads of the table"
    return spec(
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden_width(state_dict) or vit_names.usual_hidden(width, depth, False),
        patch=patch,
        size=edge * patch,
        positions=absolute is not None,
        table=SHARED if shared is not None else NONE if own is None else OWN,
        layer_scale=bool({"gamma_1", "gamma_2"} & inside),
        qkv_bias=biased,
        norms=norms,
        pooling=vit_names.usual_pooling(True, norms),
        eps=EPS,
    )


def _edge(table: Tensor | None, positions: Tensor | None) -> int | None:
    """Return the patches of an image's edge."""
    if table is not None:
        if table.ndim != 2:
            return None
        offsets = square(table.shape[0] - CLASS_OFFSETS)
        return (offsets + 1) // 2 if offsets and offsets % 2 else None
    if positions is None or positions.ndim != 3:
        return None
    return square(positions.shape[1] - 1)

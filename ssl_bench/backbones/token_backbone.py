"""What all transformers of patch tokens share: the walk over the blocks, and the end.

Axes: B batch, T tokens (class and register tokens first, patches after them), D width.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.backbones.backbone import PATCH_MEAN, Backbone
from ssl_bench.backbones.positional_embedding import Grid, resized
from ssl_bench.backbones.vit_names import BOTH_NORMS, FC_NORM, NO_NORM, NORM
from ssl_bench.errors import BenchError

_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


class TokenBackbone(Backbone):
    """Compute tokens block by block.

    A family embeds the images and says what its blocks take beside the tokens. The
    modules ``patch_embed``, ``blocks``, ``norm`` and ``fc_norm`` have timm's names.

    Attributes:
        patch: pixels of a patch's edge.
        grid: patches of the images that the weights were made for.
    """

    patch: int
    grid: Grid
    _fitted: dict[tuple[Grid, torch.dtype, torch.device], Tensor]

    @abstractmethod
    def embed(
        self, images_BCHW: Tensor, grid: Grid
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return the tokens before the first block, and what every block is given."""

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute tokens (B, T, D); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        images_BCHW = self.prepare(images_BCHW)
        inner: Any = self
        tokens_BTD, given = self.embed(images_BCHW, self._grid_of(images_BCHW))
        found: dict[str, Tensor] = {}
        for index, block in enumerate(inner.blocks, start=1):
            if not left:
                break
            tokens_BTD = block(tokens_BTD, **given)
            if f"block{index}" in left:
                found[f"block{index}"] = tokens_BTD
                left.discard(f"block{index}")
        if self.FINAL in left:
            found[self.FINAL] = self._end(tokens_BTD)
        return found

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the final tokens, not a classifier's output."""
        return Backbone.forward(self, images_BCHW)

    def positions(self, grid: Grid, *, prefix: int, antialias: bool) -> Tensor:
        """Return the positional embedding of a grid.

        A copy for inference, whose weights stay as they are, keeps what it resampled.

        Args:
            grid: patches of the images.
            prefix: how many tokens before the patches have a position.
            antialias: see `resized`.
        """
        inner: Any = self
        own: Tensor = inner.pos_embed
        key = (grid, own.dtype, own.device)
        if key in self._fitted:
            return self._fitted[key]
        fitted = resized(own, self.grid, grid, prefix=prefix, antialias=antialias)
        if self._for_inference:
            self._fitted[key] = fitted
        return fitted

    def describe(self, width: int, depth: int) -> None:
        """Name the taps."""
        self._fitted = {}
        self.dims = {f"block{index + 1}": width for index in range(depth)}
        self.dims[self.FINAL] = width

    def patches(self, images_BCHW: Tensor) -> Tensor:
        """Return the projected patches (B, T, D), row by row."""
        inner: Any = self
        map_BDHW: Tensor = inner.patch_embed.proj(images_BCHW)
        return map_BDHW.flatten(2).transpose(1, 2)

    def _end(self, tokens_BTD: Tensor) -> Tensor:
        """Norm the tokens, or the mean of the patches where that is what is normed.

        The mean then stands for all patches, so that pooling returns it.
        """
        inner: Any = self
        tokens_BTD = inner.norm(tokens_BTD)
        if isinstance(inner.fc_norm, nn.Identity):
            return tokens_BTD
        if self.tap_pooling == PATCH_MEAN:
            count = self.num_prefix_tokens
            mean = tokens_BTD[:, count:].mean(dim=1, keepdim=True)
            tokens_BTD = torch.cat([tokens_BTD[:, :count], mean], dim=1)
        normed: Tensor = inner.fc_norm(tokens_BTD)
        return normed

    def _grid_of(self, images_BCHW: Tensor) -> Grid:
        """Return the patches of the images.

        Raises:
            BenchError: if the images do not divide into patches.
        """
        height, width = images_BCHW.shape[2:]
        if height % self.patch or width % self.patch or not height or not width:
            native = self.grid[0] * self.patch
            raise BenchError(
                f"{self.arch} divides images into patches of {self.patch} x "
                f"{self.patch} pixels, these are {height} x {width}; choose a "
                f"transform that ends at a multiple of {self.patch} pixels, best at "
                f"{native}, for example --cfg-options "
                f"transform={'imagenet' if native == 224 else 'NAME'}"
            )
        return height // self.patch, width // self.patch


def count_blocks(names: Iterable[str]) -> int:
    """Return the number of blocks that the names speak of, gaps included."""
    found = {int(m[1]) for name in names if (m := _BLOCK.fullmatch(name))}
    # A number far beyond the blocks that are there is damage, not depth.
    return min(max(found, default=-1) + 1, 2 * len(found))


def in_blocks(names: Iterable[str]) -> set[str]:
    """Return what the tensors of blocks are called inside of them.

    One block's tensors count for all, so that a tensor that one block lacks is missed
    and not taken for another architecture.
    """
    return {m[2] for name in names if (m := _BLOCK.fullmatch(name))}


def patch_edge(projection: Tensor) -> int | str:
    """Return pixels of a patch's edge, or why the projection is not a transformer's."""
    channels, patch, patch_w = (*projection.shape[1:], 0, 0, 0)[:3]
    if channels != 3 or not patch or patch != patch_w:
        return (
            f"patch_embed.proj.weight has shape {tuple(projection.shape)}; a ViT's is "
            "(width, 3, patch, patch), on colour images"
        )
    return int(patch)


def hidden_width(state_dict: Mapping[str, Tensor]) -> int | None:
    """Return the inner width of the first block's MLP; None if it has none."""
    second = state_dict.get("blocks.0.mlp.fc2.weight")
    return int(second.shape[1]) if second is not None and second.ndim == 2 else None


def has_module(state_dict: Mapping[str, Tensor], prefix: str) -> bool:
    """Tell whether a module has a tensor, be it only one of those that it needs."""
    return any(name.startswith(prefix) for name in state_dict)


def norms_of(state_dict: Mapping[str, Tensor]) -> str:
    """Return which norms there are after the last block."""
    tokens, pooled = (has_module(state_dict, name) for name in ("norm.", "fc_norm."))
    if tokens and pooled:
        return BOTH_NORMS
    if tokens or pooled:
        return NORM if tokens else FC_NORM
    return NO_NORM

"""Names of Swin transformers, and what their weights show of them.

Source: Liu et al., Swin Transformer, ICCV 2021, and Swin Transformer V2, CVPR 2022; the
names follow ``microsoft/Swin-Transformer`` and timm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from ssl_bench.backbones import vit_names
from ssl_bench.backbones.weights import ArchSpec

SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}
"""Channels of the stem, and blocks and heads of every stage."""

EPS = 1e-5
"""Of the norms, in the official networks; iBOT and EsViT have 1e-6."""

V2_WINDOW = 8
"""The window of a V2 where nothing says it: that of its published 256 pixel models."""

_NAME = re.compile(
    r"swin(v2)?_(?:(tiny|small|base|large)|e(\d+)_d([\d-]+)_h([\d-]+))"
    r"_patch(\d+)_window([\d-]+)(?:_pre([\d-]+))?(_ape)?"
    r"(?:_eps(\d+))?_(\d+)"
)


def resolutions(size: int, patch: int, stages: int) -> tuple[int, ...]:
    """Return the edge of every stage's map; an odd map is padded, then halved."""
    edges = [size // patch]
    while len(edges) < stages:
        edges.append((edges[-1] + 1) // 2)
    return tuple(edges)


def shrunk(window: int, edges: tuple[int, ...]) -> tuple[int, ...]:
    """Return the windows of the stages: none is larger than its map."""
    return tuple(min(window, edge) for edge in edges)


def filled(windows: Sequence[int], patch: int) -> int:
    """Return the size of images that windows show, as published networks have it.

    A window that is smaller than the first fills the map that shrank it; otherwise the
    last map is one window.
    """
    for stage, window in enumerate(windows):
        if window < windows[0]:
            return window * patch << stage
    return windows[-1] * patch << (len(windows) - 1)


def spec(
    *,
    version: int,
    embed: int,
    depths: tuple[int, ...],
    heads: tuple[int, ...],
    patch: int,
    windows: tuple[int, ...],
    size: int,
    pretrained: tuple[int, ...] = (),
    ape: bool = False,
    eps: float = EPS,
) -> ArchSpec:
    """Name an architecture by its options.

    Args:
        version: 1 or 2.
        embed: channels of the stem.
        depths: blocks of every stage.
        heads: of every stage.
        patch: pixels of an edge.
        windows: patches of a window's edge, by stage; or one number for all.
        size: pixels of an image's edge.
        pretrained: windows that a V2's coordinates are scaled by; empty for its own.
        ape: whether there is an absolute positional embedding.
        eps: of the norms.

    Raises:
        BenchError: if ``eps`` is no power of ten.
    """
    edges = resolutions(size, patch, len(depths))
    if len(windows) == 1:
        windows *= len(depths)
    windows = tuple(map(min, windows, edges))
    kind = next(
        (name for name, value in SIZES.items() if value == (embed, depths, heads)), None
    )
    if kind is None:
        kind = f"e{embed}_d{_join(depths)}_h{_join(heads)}"
    whole = windows == shrunk(max(windows), edges)
    name = f"swin{'v2' if version == 2 else ''}_{kind}_patch{patch}"
    name += f"_window{max(windows) if whole else _join(windows)}"
    name += f"_pre{_join(pretrained)}" if pretrained else ""
    name += "_ape" if ape else ""
    name += vit_names.eps_suffix(eps, EPS)
    options = {
        "version": version,
        "embed": embed,
        "depths": depths,
        "heads": heads,
        "patch": patch,
        "windows": windows,
        "size": size,
        "pretrained": pretrained,
        "ape": ape,
        "eps": eps,
    }
    return ArchSpec("swin", f"{name}_{size}", options)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no Swin."""
    found = _NAME.fullmatch(arch)
    if not found:
        return None
    v2, kind, embed, depths, heads, patch, windows, pretrained, ape, eps, size = (
        found.groups()
    )
    if kind:
        width, blocks, parts = SIZES[kind]
    else:
        width, blocks, parts = int(embed), _split(depths), _split(heads)
    edges = _split(windows)
    scales = _split(pretrained or "")
    if not _sound(width, blocks, parts, int(patch), edges, int(size)):
        return None
    if scales and (not v2 or len(scales) != len(blocks)):
        return None
    made = spec(
        version=2 if v2 else 1,
        embed=width,
        depths=blocks,
        heads=parts,
        patch=int(patch),
        windows=edges,
        size=int(size),
        pretrained=scales,
        ape=bool(ape),
        eps=10.0 ** -int(eps) if eps else EPS,
    )
    return made if made.name == arch else None


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read an architecture off names and shapes.

    The tables of a V1 show its windows, and a window that is smaller than the first
    shows the size of the images; otherwise the last map is taken to be one window, as
    in every published model. Nothing in a V2 shows its windows.

    Args:
        state_dict: tensors in timm's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    stem = state_dict.get("patch_embed.proj.weight")
    if stem is None or "layers.0.blocks.0.attn.qkv.weight" not in state_dict:
        return (
            "there is no patch_embed.proj.weight with layers.0.blocks.0.attn.qkv.weight"
        )
    if stem.ndim != 4 or stem.shape[1] != 3 or stem.shape[2] != stem.shape[3]:
        return f"patch_embed.proj.weight has shape {tuple(stem.shape)}"
    embed, patch = int(stem.shape[0]), int(stem.shape[2])
    depths = _depths(state_dict)
    version = 2 if "layers.0.blocks.0.attn.logit_scale" in state_dict else 1
    kind = "logit_scale" if version == 2 else "relative_position_bias_table"
    tables = [
        state_dict.get(f"layers.{stage}.blocks.0.attn.{kind}")
        for stage in range(len(depths))
    ]
    if not depths or 0 in depths:
        return "the stages have no consecutive blocks"
    heads, windows = [], []
    for stage, table in enumerate(tables):
        if table is None or table.ndim != (3 if version == 2 else 2):
            return f"stage {stage} has no attn.{kind} that shows its heads"
        heads.append(int(table.shape[0 if version == 2 else 1]))
        windows.append((math.isqrt(int(table.shape[0])) + 1) // 2)
    if version == 2:
        windows = [V2_WINDOW] * len(depths)
    positions = state_dict.get("absolute_pos_embed")
    if positions is None:
        size = filled(windows, patch)
    elif positions.ndim == 3:
        size = math.isqrt(int(positions.shape[1])) * patch
    else:
        return f"absolute_pos_embed has shape {tuple(positions.shape)}"
    if not _sound(embed, depths, tuple(heads), patch, tuple(windows), size):
        return (
            f"stages of {_join(depths)} blocks, {_join(heads)} heads and windows of "
            f"{_join(windows)} on {embed} channels make no Swin transformer"
        )
    return spec(
        version=version,
        embed=embed,
        depths=depths,
        heads=tuple(heads),
        patch=patch,
        windows=tuple(windows) if version == 1 else (V2_WINDOW,),
        size=size,
        ape=positions is not None,
    )


def _depths(state_dict: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Count the blocks of every stage."""
    found: dict[int, set[int]] = {}
    for name in state_dict:
        place = re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", name)
        if place:
            found.setdefault(int(place[1]), set()).add(int(place[2]))
    return tuple(len(found.get(stage, ())) for stage in range(len(found)))


def _sound(
    embed: int,
    depths: tuple[int, ...],
    heads: tuple[int, ...],
    patch: int,
    windows: tuple[int, ...],
    size: int,
) -> bool:
    """Tell whether the numbers fit together."""
    numbers = (embed, patch, size, *depths, *heads, *windows)
    if not depths or min(numbers, default=0) < 1 or size % patch:
        return False
    if len(heads) != len(depths) or len(windows) not in (1, len(depths)):
        return False
    edges = resolutions(size, patch, len(depths))
    if len(edges) != len(depths) or min(edges) < 1:
        return False
    return all((embed << stage) % count == 0 for stage, count in enumerate(heads)) and (
        len(windows) == 1 or all(w <= e for w, e in zip(windows, edges, strict=True))
    )


def _join(numbers: tuple[int, ...] | list[int]) -> str:
    return "-".join(map(str, numbers))


def _split(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-") if part)

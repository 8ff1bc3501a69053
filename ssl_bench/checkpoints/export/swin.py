"""Hand a Swin transformer of either version to OpenMMLab, timm or torchvision.

Source: mmpretrain/models/backbones/{swin_transformer,swin_transformer_v2}.py;
timm/models/{swin_transformer,swin_transformer_v2}.py;
torchvision/models/swin_transformer.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.backbones import ArchSpec
from ssl_bench.backbones.swin_names import EPS
from ssl_bench.checkpoints.export.plan import Plan, renaming

_ATTENTION = (
    r"((?:qkv|proj|cpb_mlp\.[02])\.(?:weight|bias)|relative_position_bias_table"
    r"|logit_scale|[qv]_bias)"
)
_BLOCK = r"layers\.(\d+)\.blocks\.(\d+)\."
_MM = [
    (r"absolute_pos_embed", r"\g<0>"),
    (r"patch_embed\.proj\.(.+)", r"patch_embed.projection.\1"),
    (r"patch_embed\.norm\.(.+)", r"patch_embed.norm.\1"),
    (_BLOCK + r"(norm[12])\.(.+)", r"stages.\1.blocks.\2.\3.\4"),
    (_BLOCK + rf"attn\.{_ATTENTION}", r"stages.\1.blocks.\2.attn.w_msa.\3"),
    (_BLOCK + r"mlp\.fc1\.(.+)", r"stages.\1.blocks.\2.ffn.layers.0.0.\3"),
    (_BLOCK + r"mlp\.fc2\.(.+)", r"stages.\1.blocks.\2.ffn.layers.1.\3"),
]
_EDGE = 2


def mm(spec: ArchSpec) -> Plan | str:
    """Return the plan for OpenMMLab's Swin transformers, or why they cannot hold it."""
    known = spec.options
    if known["eps"] != EPS:
        return f"its norms have an eps of {EPS}"
    if len(known["depths"]) != 4:
        return "its Swin transformers have four stages"
    arch: dict[str, Any] = {
        "embed_dims": known["embed"],
        "depths": list(known["depths"]),
        "num_heads": list(known["heads"]),
    }
    options: dict[str, Any] = {
        "arch": arch,
        "img_size": known["size"],
        "patch_size": known["patch"],
    }
    if known["ape"]:
        options["use_abs_pos_embed"] = True
    end = f"norm{len(known['depths']) - 1}"
    if known["version"] == 2:
        arch["extra_norm_every_n_blocks"] = 0
        options["window_size"] = list(known["windows"])
        if known["pretrained"]:
            options["pretrained_window_sizes"] = list(known["pretrained"])
        table = [*_MM, (r"layers\.(\d)\.downsample\.(.+)", r"stages.\1.downsample.\2")]
        build, naming = "mmpretrain.SwinTransformerV2", "mm_swin_v2"
    else:
        if len(set(known["windows"])) > 1:
            return "its Swin transformer has one window for all stages"
        options["window_size"] = known["windows"][0]
        # Merging ends a stage there, and begins one here.
        table = [
            *_MM,
            *(
                (rf"layers\.{n}\.downsample\.(.+)", rf"stages.{n - 1}.downsample.\1")
                for n in range(1, 4)
            ),
        ]
        build, naming = "mmpretrain.SwinTransformer", "mm_swin"
    rename = renaming([*table, (r"norm\.(.+)", rf"{end}.\1")])
    merged = ".downsample.reduction." if known["version"] == 2 else ".downsample."
    reshape = functools.partial(_by_channel, merged=merged)
    return Plan(build, options, rename, naming, reshape=reshape)


def _by_channel(name: str, tensor: Tensor, *, merged: str) -> Tensor:
    """Reorder what merging takes: the four pixels of a channel side by side.

    The norm of a V2 comes after the merging, so that it keeps its order.
    """
    if merged not in name:
        return tensor
    split = tensor.reshape(*tensor.shape[:-1], _EDGE, _EDGE, -1)
    return split.transpose(-1, -3).flatten(-3).contiguous()


def timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's Swin transformers, or why they cannot hold it."""
    known = spec.options
    if known["ape"]:
        return "its Swin transformers have no absolute positional embedding"
    options: dict[str, Any] = {
        "img_size": known["size"],
        "patch_size": known["patch"],
        "embed_dim": known["embed"],
        "depths": known["depths"],
        "num_heads": known["heads"],
        # Two bare numbers would be height and width.
        "window_size": tuple((edge, edge) for edge in known["windows"]),
        "num_classes": 0,
    }
    if known["eps"] != EPS:
        options["norm_layer"] = functools.partial(nn.LayerNorm, eps=known["eps"])
    if known["version"] == 1:
        return Plan("timm.models.swin_transformer.SwinTransformer", options)
    if known["pretrained"]:
        options["pretrained_window_sizes"] = known["pretrained"]
    return Plan("timm.models.swin_transformer_v2.SwinTransformerV2", options)


def torchvision(spec: ArchSpec) -> Plan | str:
    """Return the plan for torchvision's Swin transformer, or why it cannot hold it."""
    known = spec.options
    windows = set(known["windows"])
    if known["ape"]:
        return "its Swin transformer has no absolute positional embedding"
    if len(windows) > 1:
        return "its Swin transformer has one window for all stages"
    if known["pretrained"]:
        return "its coordinates are scaled by the network's own windows"
    window, second = windows.pop(), known["version"] == 2
    options: dict[str, Any] = {
        "patch_size": [known["patch"]] * 2,
        "embed_dim": known["embed"],
        "depths": list(known["depths"]),
        "num_heads": list(known["heads"]),
        "window_size": [window] * 2,
    }
    if known["eps"] != EPS:
        options["norm_layer"] = functools.partial(nn.LayerNorm, eps=known["eps"])
    if second:
        options |= {"block": "SwinTransformerBlockV2"}
        options |= {"downsample_layer": "PatchMergingV2"}
    stages = range(len(known["depths"]))
    table = [
        (r"norm\.(.+)", r"norm.\1"),
        (r"patch_embed\.proj\.(.+)", r"features.0.0.\1"),
        (r"patch_embed\.norm\.(.+)", r"features.0.2.\1"),
    ]
    for stage in stages:
        start, block = f"features.{2 * stage + 1}", rf"layers\.{stage}\.blocks\.(\d+)\."
        table += [
            (rf"layers\.{stage}\.downsample\.(.+)", rf"features.{2 * stage}.\1"),
            (block + r"(norm[12])\.(.+)", rf"{start}.\1.\2.\3"),
            (block + r"attn\.q_bias", rf"{start}.\1.attn.qkv.bias"),
            (block + r"attn\.v_bias", rf"{start}.\1.attn.v_bias"),
            (block + rf"attn\.{_ATTENTION}", rf"{start}.\1.attn.\2"),
            (block + r"mlp\.fc1\.(.+)", rf"{start}.\1.mlp.0.\2"),
            (block + r"mlp\.fc2\.(.+)", rf"{start}.\1.mlp.3.\2"),
        ]
    naming = "torchvision_swin_v2" if second else "torchvision_swin"
    return Plan(
        "torchvision.models.swin_transformer.SwinTransformer",
        options,
        renaming(table),
        naming,
        complete=functools.partial(_complete, window=window, second=second),
    )


def _complete(
    tensors: Mapping[str, Tensor], *, window: int, second: bool
) -> dict[str, Tensor]:
    """Join the biases, and add the tables that torchvision keeps in its files."""
    found = dict(tensors)
    for name in tensors:
        if name.endswith(".attn.v_bias"):
            joint = name.replace(".v_bias", ".qkv.bias")
            query, value = found[joint], found.pop(name)
            found[joint] = torch.cat([query, torch.zeros_like(query), value])
        if name.endswith(".attn.qkv.weight"):
            start = name.removesuffix("qkv.weight")
            found[f"{start}relative_position_index"] = positions(window)
            if second:
                found[f"{start}relative_coords_table"] = coordinates(window)
    return found


def positions(window: int) -> Tensor:
    """Return for every pair of patches of a window where its bias stands."""
    edge = torch.arange(window)
    place = torch.cartesian_prod(edge, edge)
    rows, columns = (place[:, None] - place[None, :] + window - 1).unbind(-1)
    return (rows * (2 * window - 1) + columns).flatten()


def coordinates(window: int) -> Tensor:
    """Return the log-spaced relative coordinates, 1 x rows x columns x 2."""
    edge = (
        torch.arange(1 - window, window, dtype=torch.float32) / max(window - 1, 1) * 8
    )
    steps = edge.sign() * (edge.abs() + 1).log2() / 3
    table = torch.cartesian_prod(steps, steps)
    return table.reshape(1, len(steps), len(steps), 2)

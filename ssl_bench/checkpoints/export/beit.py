"""Hand a BEiT to OpenMMLab or timm.

Source: mmpretrain/models/backbones/beit.py; timm/models/beit.py.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from ssl_bench.backbones import ArchSpec
from ssl_bench.backbones.beit import OWN, SHARED
from ssl_bench.backbones.vit_names import BOTH_NORMS, EPS, FC_NORM, NORM
from ssl_bench.checkpoints.export.plan import Plan, renaming
from ssl_bench.checkpoints.export.vit import CLASS_TOKEN, MM, mm_out, ratio

_MM_OWN = renaming(
    [
        (
            r"blocks\.(\d+)\.(gamma_[12]|attn\.(?:[qv]_bias|relative_position_bias_table))",
            r"layers.\1.\2",
        ),
        (r"rel_pos_bias\..+", r"\g<0>"),
    ]
)


def mm(spec: ArchSpec) -> Plan | str:
    """Return the plan for OpenMMLab's BEiTViT, or why it cannot hold the network."""
    known = spec.options
    if not known["qkv_bias"]:
        return "its BEiTViT has biases of query and value"
    options: dict[str, Any] = {
        "arch": {
            "embed_dims": known["width"],
            "num_layers": known["depth"],
            "num_heads": known["heads"],
            "feedforward_channels": known["hidden"],
        },
        "img_size": known["size"],
        "patch_size": known["patch"],
        "out_type": mm_out(known),
        "final_norm": known["norms"] in (NORM, BOTH_NORMS),
        "use_abs_pos_emb": known["positions"],
        "use_rel_pos_bias": known["table"] == OWN,
        "use_shared_rel_pos_bias": known["table"] == SHARED,
        "layer_scale_init_value": 0.1 if known["layer_scale"] else 0.0,
    }
    if known["eps"] != EPS:
        options["norm_cfg"] = {"type": "LN", "eps": known["eps"]}

    def rename(name: str) -> str | None:
        return _MM_OWN(name) or MM(name)

    return Plan("mmpretrain.BEiTViT", options, rename, "mm_beit")


def timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's Beit, or why it cannot hold the network."""
    known = spec.options
    if known["norms"] not in (NORM, FC_NORM):
        return "its Beit has one norm at the end, before the pooling or after it"
    if known["table"] not in (OWN, SHARED) or not known["qkv_bias"]:
        return "its Beit has relative positions and biases of query and value"
    average = known["pooling"] != CLASS_TOKEN
    options: dict[str, Any] = {
        "img_size": known["size"],
        "patch_size": known["patch"],
        "embed_dim": known["width"],
        "depth": known["depth"],
        "num_heads": known["heads"],
        "mlp_ratio": ratio(known["hidden"], known["width"]),
        "num_classes": 0,
        "global_pool": "avg" if average else "token",
        "use_fc_norm": known["norms"] == FC_NORM,
        "use_abs_pos_emb": known["positions"],
        f"use_{'shared_' if known['table'] == SHARED else ''}rel_pos_bias": True,
        "init_values": 1e-5 if known["layer_scale"] else None,
    }
    if known["eps"] != EPS:
        options["norm_layer"] = functools.partial(nn.LayerNorm, eps=known["eps"])
    return Plan("timm.models.beit.Beit", options)

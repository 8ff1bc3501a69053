"""Hand a DINOv3 transformer to timm, in whose names ours are.

Source: timm/models/eva.py.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from ssl_bench.backbones import ArchSpec
from ssl_bench.backbones.dinov3 import LAYER_SCALE_START, NATIVE
from ssl_bench.checkpoints.export.plan import Plan
from ssl_bench.checkpoints.export.vit import CLASS_TOKEN, ratio


def timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's Eva, or why it cannot hold the network."""
    known = spec.options
    if known["periods"]:
        return "its Eva computes the periods of the rotation, and this brings its own"
    options: dict[str, Any] = {
        # Any size will do: no tensor depends on it.
        "img_size": NATIVE // known["patch"] * known["patch"],
        "dynamic_img_size": True,
        "patch_size": known["patch"],
        "embed_dim": known["width"],
        "depth": known["depth"],
        "num_heads": known["heads"],
        "mlp_ratio": ratio(known["hidden"], known["width"]),
        "num_classes": 0,
        "global_pool": "token" if known["pooling"] == CLASS_TOKEN else "avg",
        "use_fc_norm": False,
        "qkv_bias": known["qkv_bias"],
        "num_reg_tokens": known["registers"],
        "init_values": LAYER_SCALE_START if known["layer_scale"] else None,
        "use_abs_pos_emb": False,
        "use_rot_pos_emb": True,
        "rope_type": "dinov3",
        "rope_temperature": known["theta"],
        "rope_rotate_half": True,
        "norm_layer": functools.partial(nn.LayerNorm, eps=known["eps"]),
    }
    if known["swiglu"]:
        options |= {"swiglu_mlp": True, "swiglu_align_to": 1}
    return Plan("timm.models.eva.Eva", options)

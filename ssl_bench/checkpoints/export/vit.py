"""Hand a vision transformer to OpenMMLab, timm or torchvision.

Source: mmpretrain/models/backbones/vision_transformer.py and its FFN modules;
torchvision/models/vision_transformer.py; timm/models/vision_transformer.py.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from ssl_bench.backbones import ArchSpec
from ssl_bench.backbones.vit_names import BOTH_NORMS, EPS, FC_NORM, NO_NORM, NORM
from ssl_bench.checkpoints.export.plan import Plan, renaming

CLASS_TOKEN = "class_token"
"""A backbone's ``tap_pooling``, where the class token is the feature."""

MM = renaming(
    [
        (r"cls_token|pos_embed", r"\g<0>"),
        (r"patch_embed\.proj\.(.+)", r"patch_embed.projection.\1"),
        (r"norm_pre\.(.+)", r"pre_norm.\1"),
        (r"norm\.(.+)", r"ln1.\1"),
        (r"fc_norm\.(.+)", r"ln2.\1"),
        (r"blocks\.(\d+)\.norm([12])\.(.+)", r"layers.\1.ln\2.\3"),
        (r"blocks\.(\d+)\.attn\.(qkv|proj)\.(.+)", r"layers.\1.attn.\2.\3"),
        (r"blocks\.(\d+)\.mlp\.fc1\.(.+)", r"layers.\1.ffn.layers.0.0.\2"),
        (r"blocks\.(\d+)\.mlp\.fc2\.(.+)", r"layers.\1.ffn.layers.1.\2"),
        (r"blocks\.(\d+)\.ls1\.gamma", r"layers.\1.attn.gamma1.weight"),
        (r"blocks\.(\d+)\.ls2\.gamma", r"layers.\1.ffn.gamma2.weight"),
    ]
)
MM_GATED = renaming(
    [
        (r"blocks\.(\d+)\.mlp\.fc1\.(.+)", r"layers.\1.ffn.w12.\2"),
        (r"blocks\.(\d+)\.mlp\.fc2\.(.+)", r"layers.\1.ffn.w3.\2"),
    ]
)
TORCHVISION = renaming(
    [
        (r"cls_token", "class_token"),
        (r"pos_embed", "encoder.pos_embedding"),
        (r"patch_embed\.proj\.(.+)", r"conv_proj.\1"),
        (r"norm\.(.+)", r"encoder.ln.\1"),
        *(
            (
                rf"blocks\.(\d+)\.{ours}(weight|bias)",
                rf"encoder.layers.encoder_layer_\1.{theirs}\2",
            )
            for ours, theirs in (
                (r"norm1\.", "ln_1."),
                (r"norm2\.", "ln_2."),
                (r"attn\.qkv\.", "self_attention.in_proj_"),
                (r"attn\.proj\.", "self_attention.out_proj."),
                (r"mlp\.fc1\.", "mlp.0."),
                (r"mlp\.fc2\.", "mlp.3."),
            )
        ),
    ]
)
_ACTS = {
    "quick_gelu": {"type": "mmpretrain.QuickGELU"},
    "gelu_tanh": {"type": "GELU", "approximate": "tanh"},
}


def mm(spec: ArchSpec) -> Plan | str:
    """Return the plan for OpenMMLab's VisionTransformer, or why it cannot hold it."""
    known = spec.options
    hidden, swiglu = known["hidden"], known["swiglu"]
    if known["registers"]:
        return "its VisionTransformer has no register tokens"
    if known["class_token"] and not known["embed_prefix"]:
        return "its positional embedding covers the class token"
    if known["qk_norm"]:
        return "its VisionTransformer does not norm query and key"
    if swiglu and hidden % 8:
        return "the inner width of its gated MLP is a multiple of 8"
    options: dict[str, Any] = {
        "arch": {
            "embed_dims": known["width"],
            "num_layers": known["depth"],
            "num_heads": known["heads"],
            # It takes two thirds of what a gated MLP is given.
            "feedforward_channels": (3 * hidden + 1) // 2 if swiglu else hidden,
        },
        "img_size": known["size"],
        "patch_size": known["patch"],
    }
    if not known["qkv_bias"]:
        options["qkv_bias"] = False
    if known["eps"] != EPS:
        options["norm_cfg"] = {"type": "LN", "eps": known["eps"]}
    if known["norms"] in (FC_NORM, NO_NORM):
        options["final_norm"] = False
    options["out_type"] = mm_out(known)
    if not known["class_token"]:
        options["with_cls_token"] = False
    if known["layer_scale"]:
        options["layer_scale_init_value"] = 1e-5
    layer: dict[str, Any] = {"ffn_type": "swiglu_fused"} if swiglu else {}
    if not swiglu and known["act"] in _ACTS:
        layer["act_cfg"] = _ACTS[known["act"]]
    if layer:
        options["layer_cfgs"] = layer
    if known["pre_norm"]:
        options["pre_norm"] = True

    def rename(name: str) -> str | None:
        return (MM_GATED(name) if swiglu else None) or MM(name)

    return Plan("mmpretrain.VisionTransformer", options, rename, "mm_vit")


def mm_out(known: Any) -> str:
    """Return the output whose mean, where it is a map, is our feature."""
    if known["norms"] in (FC_NORM, BOTH_NORMS):
        return "avg_featmap"
    return "cls_token" if known["pooling"] == CLASS_TOKEN else "featmap"


def torchvision(spec: ArchSpec) -> Plan | str:
    """Return the plan for torchvision's VisionTransformer, or why it cannot hold it."""
    known = spec.options
    wrong = {
        "register tokens": known["registers"],
        "no class token": not known["class_token"],
        "a class token without a position": not known["embed_prefix"],
        "layer scale": known["layer_scale"],
        "a gated MLP": known["swiglu"],
        "a norm before the blocks": known["pre_norm"],
        "norms of query and key": known["qk_norm"],
        "no bias of query, key and value": not known["qkv_bias"],
        "another norm at the end": known["norms"] != NORM,
        "another activation than GELU": known["act"] != "gelu",
        "images that are not square": not isinstance(known["size"], int),
    }
    found = [what for what, there in wrong.items() if there]
    if found:
        return f"its VisionTransformer is the plain one, and this has {found[0]}"
    options: dict[str, Any] = {
        "image_size": known["size"],
        "patch_size": known["patch"],
        "num_layers": known["depth"],
        "num_heads": known["heads"],
        "hidden_dim": known["width"],
        "mlp_dim": known["hidden"],
    }
    if known["eps"] != EPS:
        options["norm_layer"] = functools.partial(nn.LayerNorm, eps=known["eps"])
    return Plan(
        "torchvision.models.VisionTransformer", options, TORCHVISION, "torchvision_vit"
    )


def timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's VisionTransformer, or why it cannot hold it."""
    known = spec.options
    if known["norms"] == BOTH_NORMS:
        return "its VisionTransformer norms before the pooling or after it, not both"
    swiglu = known["swiglu"]
    average = known["pooling"] != CLASS_TOKEN
    options: dict[str, Any] = {
        "img_size": known["size"],
        "patch_size": known["patch"],
        "embed_dim": known["width"],
        "depth": known["depth"],
        "num_heads": known["heads"],
        "mlp_ratio": ratio(known["hidden"] * (1 + swiglu), known["width"]),
        "num_classes": 0,
        "global_pool": "avg" if average else "token",
        "fc_norm": known["norms"] == FC_NORM,
    }
    usual: dict[str, tuple[Any, Any]] = {
        "qkv_bias": (known["qkv_bias"], True),
        "qk_norm": (known["qk_norm"], False),
        "class_token": (known["class_token"], True),
        "no_embed_class": (not known["embed_prefix"], False),
        "reg_tokens": (known["registers"], 0),
        "pre_norm": (known["pre_norm"], False),
        "final_norm": (known["norms"] != NO_NORM, True),
        "init_values": (1e-5 if known["layer_scale"] else None, None),
        "act_layer": ("silu" if swiglu else known["act"], "gelu"),
    }
    options |= {
        key: value for key, (value, default) in usual.items() if value != default
    }
    if swiglu:
        from timm.layers import SwiGLUPacked

        options["mlp_layer"] = SwiGLUPacked
    if known["eps"] != EPS:
        options["norm_layer"] = functools.partial(nn.LayerNorm, eps=known["eps"])
    return Plan("timm.models.VisionTransformer", options)


def ratio(hidden: int, width: int) -> float:
    """Return a ratio that timm, which cuts the product down, takes for this width."""
    exact = hidden / width
    return exact if int(width * exact) == hidden else (hidden + 0.5) / width

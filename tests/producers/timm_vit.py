"""Files of timm's transformers, and official ones that are networks of timm's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import timm
from timm.layers import SwiGLUPacked
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tests.producers.example import Example, Pooled, drawn, example

IMAGE = 32
WIDTH = {"embed_dim": 128, "depth": 2, "num_heads": 2}
SMALL = {"img_size": IMAGE, "patch_size": 8, **WIDTH}

DINOV3 = {
    "use_rot_pos_emb": True,
    "use_abs_pos_emb": False,
    "rope_type": "dinov3",
    "rope_temperature": 100,
    "rope_rotate_half": True,
    "dynamic_img_size": True,
    "num_reg_tokens": 4,
    "init_values": 1e-5,
    "use_fc_norm": False,
    "global_pool": "token",
    "norm_layer": partial(nn.LayerNorm, eps=1e-5),
}


def pre_logits(network: Any) -> Callable[[Tensor], Tensor]:
    """Return what a network of timm gives its classifier."""
    return Pooled(
        network,
        lambda images: network.forward_head(
            network.forward_features(images), pre_logits=True
        ),
    )


def made(network: Any) -> tuple[Any, dict[str, Callable[[Tensor], Tensor]]]:
    return network.state_dict(), {"online": pre_logits(network)}


@example
def timm_vit_registers() -> Example:
    network = VisionTransformer(
        **SMALL, reg_tokens=4, no_embed_class=True, init_values=1e-5, num_classes=3
    )
    return Example("timm_vit", *made(drawn(network, 401)))


@example
def timm_vit_qk_norm_mean() -> Example:
    """The norm comes after the mean of the patches, without the class token."""
    network = VisionTransformer(
        **SMALL, qk_norm=True, qkv_bias=False, global_pool="avg", mlp_ratio=2.5
    )
    return Example("timm_vit", *made(drawn(network, 402)))


@example
def timm_vit_swiglu() -> Example:
    network = VisionTransformer(
        **SMALL, mlp_layer=SwiGLUPacked, act_layer=nn.SiLU, mlp_ratio=5.3125
    )
    return Example("timm_vit", *made(drawn(network, 404)))


@example
def mocov3_converted() -> Example:
    """``convert_to_deit.py``: flat names of DeiT, 12 heads at any width."""
    network = VisionTransformer(**{**SMALL, "embed_dim": 192, "num_heads": 12})
    tree = {"model": drawn(network, 405).state_dict()}
    networks = {"online": pre_logits(network)}
    return Example("timm_vit", tree, networks, options={"producer": "mocov3"})


@example
def deit_distilled() -> Example:
    network = timm.create_model(
        "deit_tiny_distilled_patch16_224",
        **{**SMALL, "num_classes": 3},
    )
    tree = {"model": drawn(network, 406).state_dict()}
    token = Pooled(network, lambda images: network.forward_features(images)[:, 0])
    return Example("timm_vit", tree, {"online": token})


@example
def older_layer_scales() -> Example:
    """DeiT III's and iBOT's own files call the layer scales otherwise."""
    network = VisionTransformer(**SMALL, init_values=1e-5)
    state = drawn(network, 407).state_dict()
    tree = {
        "model": {
            k.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): v
            for k, v in state.items()
        }
    }
    return Example("timm_vit", tree, {"online": pre_logits(network)})


@example
def dinov3_of_timm() -> Example:
    network = Eva(**SMALL, **DINOV3, num_classes=3)
    return Example("dinov3", *made(drawn(network, 423)))


@example
def beit_of_timm() -> Example:
    network = Beit(**SMALL, use_rel_pos_bias=True, init_values=0.1, global_pool="token")
    return Example("beit", *made(drawn(network, 434)))

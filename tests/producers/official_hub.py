"""Files of DINOv2, DINOv3 and BEiT as their own repositories write them.

Names and shapes come from the producers' own classes; the features are those of timm's
networks, loaded through timm's own conversion of these files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.models import beit as timm_beit
from timm.models import eva as timm_eva
from timm.models import vision_transformer as timm_vit
from torch import Tensor, nn

from tests.producers.example import Example, example, under
from tests.producers.keys import keyed

SMALL: dict[str, Any] = {"embed_dim": 128, "depth": 3, "num_heads": 2, "num_classes": 0}


def converted(
    network: nn.Module,
    state: Mapping[str, Tensor],
    convert: Callable[..., Mapping[str, Tensor]],
    keep: tuple[str, ...] = (),
) -> Callable[[Tensor], Tensor]:
    """Return the feature of timm's network with an official file's tensors.

    Args:
        network: timm's.
        state: as in the file.
        convert: timm's filter of such files.
        keep: what the network has and the file has not.
    """
    missing, unexpected = network.load_state_dict(
        convert(dict(state), network), strict=False
    )
    assert not unexpected
    assert set(missing) <= set(keep)
    network.eval()
    inner: Any = network
    return lambda images: inner.forward_head(
        inner.forward_features(images), pre_logits=True
    )


def dinov2(state: Mapping[str, Tensor], **options: Any) -> Callable[[Tensor], Tensor]:
    network = timm_vit.VisionTransformer(
        img_size=28, patch_size=14, init_values=1e-5, **SMALL, **options
    )
    return converted(network, state, timm_vit.checkpoint_filter_fn)


@example
def dinov2_hub() -> Example:
    """``dinov2_vits14_pretrain.pth``."""
    state = keyed("dinov2_official", 301, narrow=1)
    return Example("dinov2", state, {"online": dinov2(state)}, image=28)


@example
def dinov2_hub_giant_with_registers() -> Example:
    """``dinov2_vitg14_reg4_pretrain.pth``: gated MLPs, two thirds of 4 x 128 wide."""
    state = keyed("dinov2_official_giant", 302, narrow=1)
    network = dinov2(
        state,
        reg_tokens=4,
        no_embed_class=True,
        mlp_ratio=2 * 344 / 128,
        mlp_layer=timm_vit.SwiGLUPacked,
        act_layer=nn.SiLU,
    )
    return Example("dinov2", state, {"online": network}, image=28)


def dinov3_file(name: str, seed: int, at: str = "") -> dict[str, Tensor]:
    """Draw a file; rotary periods and the masks of biases are not random.

    The bias of the key is masked, so that it has no gradient and stays at zero.
    """
    state = keyed(name, seed, narrow=1)
    quarter = state[f"{at}rope_embed.periods"].numel()
    state[f"{at}rope_embed.periods"] = 100 ** (torch.arange(quarter) / quarter)
    mask = torch.tensor([1.0, 0.0, 1.0]).repeat_interleave(SMALL["embed_dim"])
    for key in state:
        if key.endswith("qkv.bias_mask"):
            state[key] = mask
        elif key.endswith("qkv.bias"):
            state[key] *= mask
    return state


def dinov3(state: Mapping[str, Tensor], **options: Any) -> Callable[[Tensor], Tensor]:
    network = timm_eva.Eva(
        img_size=32,
        patch_size=8,
        init_values=1e-5,
        rope_type="dinov3",
        rope_temperature=100,
        rope_rotate_half=True,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        num_reg_tokens=4,
        use_fc_norm=False,
        global_pool="token",
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        **SMALL,
        **options,
    )
    kept = [f"blocks.{n}.attn.k_bias" for n in range(SMALL["depth"])]
    return converted(network, state, timm_eva.checkpoint_filter_fn, tuple(kept))


@example
def dinov3_hub() -> Example:
    """``dinov3_vits16_pretrain_lvd1689m.pth``."""
    state = dinov3_file("dinov3_official", 311)
    return Example("dinov3", state, {"online": dinov3(state, qkv_bias=True)})


@example
def dinov3_hub_7b() -> Example:
    """Gated MLPs, no biases of the attention, a norm for small crops."""
    state = dinov3_file("dinov3_official_7b", 312)
    network = dinov3(
        state, qkv_bias=False, mlp_ratio=2, swiglu_mlp=True, swiglu_align_to=64
    )
    return Example("dinov3", state, {"online": network})


def beit(state: Mapping[str, Tensor], **options: Any) -> Callable[[Tensor], Tensor]:
    heads = ("lm_head.", "head.", "mask_token", "cls_pt_layers.")
    network = timm_beit.Beit(
        img_size=32,
        patch_size=8,
        init_values=0.1,
        use_abs_pos_emb=False,
        **SMALL,
        **options,
    )
    encoder = {key: v for key, v in state.items() if not key.startswith(heads)}
    return converted(network, encoder, timm_beit.checkpoint_filter_fn)


@example
def beit_pretraining() -> Example:
    """All blocks share the table of relative positions."""
    state = keyed("beit_official_pretrained", 321, narrow=1)
    network = beit(state, use_shared_rel_pos_bias=True, global_pool="token")
    tree = {"model": state, "optimizer": {"state": {}}, "epoch": 799}
    return Example("beit", tree, {"online": network})


@example
def beit_v2_pretraining() -> Example:
    """Two more blocks see the class token with early patches; they are left out."""
    state = keyed("beit_official_v2_pretrained", 322, narrow=1)
    network = beit(state, use_shared_rel_pos_bias=True, global_pool="token")
    tree = {"model": under("module.", state), "epoch": 1599}
    return Example("beit", tree, {"online": network})


@example
def beit_finetuned() -> Example:
    """Every block has a table, and the mean of the patches is normed."""
    state = keyed("beit_official_finetuned", 323, narrow=1)
    network = beit(state, use_rel_pos_bias=True, global_pool="avg")
    return Example("beit", {"module": state}, {"online": network})


@example
def data2vec_vision_training() -> Example:
    """BEiT's network and names; the average lies beside it."""
    online, ema = (keyed("beit_official_data2vec", s, narrow=1) for s in (324, 325))
    tree = {
        "model": online,
        "optimizer": {"state": {}},
        "epoch": 799,
        "scaler": {"scale": 65536.0},
        "model_ema": ema,
    }
    networks = {
        name: beit(state, use_shared_rel_pos_bias=True, global_pool="token")
        for name, state in (("online", online), ("ema", ema))
    }
    return Example("beit", tree, networks)

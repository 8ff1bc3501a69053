"""Files of MAE, I-JEPA and MaskFeat: an encoder that saw a part of the image.

Names and shapes of the tensors come from the producers' own classes, what lies beside
them from ``util/misc.py`` (MAE), ``src/train.py`` (I-JEPA) and
``slowfast/utils/checkpoint.py`` (MaskFeat).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from torch import Tensor

from tests.producers.example import Example, example, under
from tests.producers.keys import below, keyed
from tests.producers.plain_vit import feature

DECODER = ("decoder_", "mask_token")


def mae_file(model: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "model": model,
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "epoch": 799,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(model="mae_vit_base_patch16", mask_ratio=0.75),
    }


@example
def mae_pretraining() -> Example:
    state = keyed("mae", 241, narrow=1)
    networks = {"online": feature(below("", state, DECODER))}
    return Example("mae", mae_file(state), networks)


@example
def mae_pretrain_download() -> Example:
    """``mae_pretrain_vit_base.pth``: the encoder alone."""
    state = below("", keyed("mae", 242, narrow=1), DECODER)
    return Example("timm_vit", {"model": state}, {"online": feature(state)})


@example
def mae_finetuned() -> Example:
    """The norm of the patch mean takes the place of the tokens' norm."""
    state = keyed("mae_finetuned", 243, narrow=1)
    pooled = feature(below("", state, ("head.",)), global_pool="avg", fc_norm=True)
    return Example("timm_vit", mae_file(state), {"online": pooled})


@example
def ijepa_training() -> Example:
    encoder, target = (keyed("ijepa", seed, narrow=1) for seed in (251, 252))
    tree = {
        "encoder": under("module.", encoder),
        "predictor": under("module.", keyed("ijepa_predictor", 253, narrow=1)),
        "target_encoder": under("module.", target),
        "opt": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "scaler": None,
        "epoch": 300,
        "loss": 0.1,
        "batch_size": 128,
        "world_size": 16,
        "lr": 1e-3,
    }
    networks = {
        name: feature(state, class_token=False, global_pool="avg")
        for name, state in (("online", encoder), ("ema", target))
    }
    return Example("ijepa", tree, networks, "ema")


def maskfeat_file(model: dict[str, Tensor], config: str) -> dict[str, Any]:
    return {
        "epoch": 299,
        "model_state": model,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "cfg": config,
        "scaler_state": {"scale": 65536.0},
    }


@example
def maskfeat_pretraining() -> Example:
    """No norm behind the blocks: the prediction head begins with one."""
    state = keyed("maskfeat", 261, narrow=1)
    encoder = below("", state, ("hogs.", "pred_head.", "mask_token"))
    pooled = feature(encoder, global_pool="avg", final_norm=False)
    tree = maskfeat_file(state, "MVIT:\n  USE_MEAN_POOLING: false\nNUM_GPUS: 8\n")
    return Example("maskfeat", tree, {"online": pooled})


def maskfeat_norm_last() -> tuple[dict[str, Tensor], Callable[[Tensor], Tensor]]:
    state = keyed("maskfeat_finetuned", 262, narrow=1)
    encoder = below("", state, ("head.",))
    for name in ("weight", "bias"):
        encoder[f"fc_norm.{name}"] = encoder.pop(f"norm.{name}")
    return state, feature(encoder, global_pool="avg", fc_norm=True)


@example
def maskfeat_finetuned() -> Example:
    state, pooled = maskfeat_norm_last()
    tree = maskfeat_file(state, "MVIT:\n  USE_MEAN_POOLING: true\nNUM_GPUS: 8\n")
    return Example("maskfeat", tree, {"online": pooled})


@example
def maskfeat_finetuned_by_class_token() -> Example:
    state = keyed("maskfeat_finetuned", 263, narrow=1)
    tree = maskfeat_file(state, "MVIT:\n  USE_MEAN_POOLING: false\nNUM_GPUS: 8\n")
    network = feature(below("", state, ("head.",)))
    return Example("maskfeat", tree, {"online": network})

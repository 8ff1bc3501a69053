"""Files of DINO, EsViT, iBOT, DINOv2's training and MSN: a student and its teacher.

Names and shapes of the tensors come from the producers' own classes, what lies beside
them from their training scripts: ``main_dino.py``, ``main_ibot.py``,
``dinov2/train/train.py``, ``msn_train.py``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from tests.producers.example import Example, example, trunk, under
from tests.producers.keys import below, keyed
from tests.producers.official_hub import dinov3, dinov3_file
from tests.producers.plain_vit import feature
from tests.producers.small import resnet, resnet_feature

NO_HEADS = ("head.",)


def beside(**more: Any) -> dict[str, Any]:
    """Return what DINO and iBOT save next to their networks."""
    return {
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=8),
        "fp16_scaler": {"scale": 65536.0, "growth_factor": 2.0},
        **more,
    }


def backbone(state: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the feature of a backbone beside its head: the class token, normed."""
    found = below("backbone.", state)
    found.pop("masked_embed", None)
    return feature(found)


@example
def dino_training() -> Example:
    """The student is wrapped for several processes, the teacher is not."""
    student, teacher = (keyed("dino", seed, narrow=1) for seed in (201, 202))
    tree = {
        "student": under("module.", student),
        "teacher": teacher,
        **beside(dino_loss={"center": torch.ones(1, 48)}),
    }
    networks = {"online": backbone(student), "ema": backbone(teacher)}
    return Example("dino", tree, networks, "ema")


@example
def dino_teacher_alone() -> Example:
    teacher = keyed("dino", 203, narrow=1)
    alone = under("backbone.", below("backbone.", teacher))
    return Example("dino", {"teacher": alone}, {"ema": backbone(teacher)}, "ema")


@example
def msn_after_linear_evaluation() -> Example:
    """``linear_eval.py`` calls the encoder teacher, without projector and norm."""
    state = below("", keyed("msn", 208, narrow=1), ("fc.", "norm."))
    classifier = {"linear.weight": torch.ones(10, 128), "linear.bias": torch.ones(10)}
    tree = {"teacher": state, "classifier": classifier, "opt": {}, "epoch": 28}
    return Example("dino", tree, {"ema": feature(state, final_norm=False)}, "ema")


@example
def esvit_training() -> Example:
    """Two heads inside the network, which has no prefix."""
    student, teacher = (esvit(seed) for seed in (209, 210))
    tree = {
        "student": under("module.", student),
        "teacher": teacher,
        **beside(dino_loss={"center": torch.ones(1, 48)}),
    }
    networks = {
        name: feature(below("", state, ("head.", "head_dense.")))
        for name, state in (("online", student), ("ema", teacher))
    }
    return Example("dino", tree, networks, "ema")


def esvit(seed: int) -> dict[str, Tensor]:
    """Put DINO's network together as EsViT's ``main_esvit.py`` does."""
    state = keyed("dino", seed, narrow=1)
    head = below("head.", state)
    return {
        **below("backbone.", state),
        **under("head.", head),
        **under("head_dense.", head),
    }


@example
def dino_resnet_training() -> Example:
    """With batch norms the teacher is wrapped too."""
    head = under("head.", keyed("dino_bn_head", 204, narrow=1))
    student, teacher = (
        under("module.", {**under("backbone.", trunk(resnet(s).state_dict())), **head})
        for s in (205, 206)
    )
    tree = {"student": student, "teacher": teacher, **beside(dino_loss={})}
    networks = {
        "online": resnet_feature(resnet(205)),
        "ema": resnet_feature(resnet(206)),
    }
    return Example("dino", tree, networks, "ema")


@example
def esvit_resnet_training() -> Example:
    """A ResNet has a prefix, and both heads stand beside it."""
    head = keyed("dino_bn_head", 219, narrow=1)
    heads = {**under("head.", head), **under("head_dense.", head)}
    inner = under("backbone.", trunk(resnet(220).state_dict()))
    tree = {"teacher": under("module.", {**inner, **heads}), **beside()}
    networks = {"ema": resnet_feature(resnet(220))}
    return Example("dino", tree, networks, "ema")


@example
def dino_pretrain_download() -> Example:
    """``dino_deitsmall16_pretrain.pth``: the teacher's backbone, flat."""
    state = below("backbone.", keyed("dino", 207, narrow=1))
    return Example("timm_vit", state, {"online": feature(state)})


@example
def ibot_training() -> Example:
    student = keyed("ibot_student", 211, narrow=1)
    teacher = keyed("ibot_teacher", 212, narrow=1)
    center = {"center": torch.ones(1, 48), "center2": torch.ones(1, 1, 48)}
    tree = {
        "student": under("module.", student),
        "teacher": teacher,
        **beside(ibot_loss=center),
    }
    networks = {"online": backbone(student), "ema": backbone(teacher)}
    return Example("ibot", tree, networks, "ema")


@example
def ibot_teacher_alone() -> Example:
    teacher = keyed("ibot_teacher", 213, narrow=1)
    tree = {"teacher": teacher}
    return Example("ibot", tree, {"ema": backbone(teacher)}, "ema")


@example
def ibot_extracted_teacher() -> Example:
    """``checkpoint_teacher.pth``, as extract_backbone_weights.py writes it."""
    state = below("backbone.", keyed("ibot_teacher", 214, narrow=1))
    return Example("timm_vit", {"state_dict": state}, {"online": feature(state)})


def swin(state: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the feature of a Swin: the mean of the last map after the norm."""
    network = SwinTransformer(
        img_size=64,
        window_size=4,
        embed_dim=64,
        depths=(2, 2, 1, 1),
        num_heads=(2, 2, 4, 4),
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    found = below("", state, ("head.", "head_dense.", "masked_embed"))
    network.load_state_dict(checkpoint_filter_fn(found, network), strict=True)
    network.eval()
    return lambda images: network.forward_features(images).mean((1, 2))


@example
def ibot_swin_training() -> Example:
    student = keyed("ibot_swin_student", 215, narrow=1)
    teacher = keyed("ibot_swin_teacher", 216, narrow=1)
    tree = {
        "student": under("module.", student),
        "teacher": teacher,
        **beside(ibot_loss={}),
    }
    networks = {
        "online": swin(below("backbone.", student)),
        "ema": swin(below("backbone.", teacher)),
    }
    return Example("ibot", tree, networks, "ema", image=64)


@example
def esvit_swin_training() -> Example:
    """Its norms have an eps of 1e-6, where Swin's own code has 1e-5."""
    student, teacher = (keyed("esvit_swin", seed, narrow=1) for seed in (217, 218))
    tree = {"student": under("module.", student), "teacher": teacher, **beside()}
    networks = {"online": swin(student), "ema": swin(teacher)}
    return Example("dino", tree, networks, "ema", image=64)


def unchunked(state: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the feature of DINOv2's network; the second number counts the blocks."""
    found = {
        re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key): value
        for key, value in state.items()
        if key != "mask_token"
    }
    return feature(found, init_values=1e-5)


@example
def dinov2_teacher_checkpoint() -> Example:
    """``eval/training_12499/teacher_checkpoint.pth``, with chunked blocks."""
    teacher = keyed("dinov2_training_teacher", 221, narrow=1)
    networks = {"ema": unchunked(below("backbone.", teacher))}
    return Example("dinov2_training", {"teacher": teacher}, networks, "ema", image=28)


@example
def dinov2_training_model() -> Example:
    """The whole SSLMetaArch, as training without sharding saves it."""
    state = keyed("dinov2_training_model", 222, narrow=1)
    tree = {"model": state, "optimizer": {"state": {}}, "iteration": 12499}
    networks = {
        "online": unchunked(below("student.backbone.", state)),
        "ema": unchunked(below("teacher.backbone.", state)),
    }
    return Example("dinov2_training", tree, networks, "ema", image=28)


@example
def dinov3_teacher_checkpoint() -> Example:
    teacher = dinov3_file("dinov3_training_teacher", 223, at="backbone.")
    networks = {"ema": dinov3(below("backbone.", teacher), qkv_bias=True)}
    return Example("dinov2_training", {"teacher": teacher}, networks, "ema")


@example
def msn_training() -> Example:
    """Evaluated without the norm, which only its projector is behind."""
    encoder, target = (keyed("msn", seed, narrow=1) for seed in (231, 232))
    tree = {
        "encoder": under("module.", encoder),
        "opt": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "prototypes": torch.ones(16, 32),
        "target_encoder": under("module.", target),
        "epoch": 300,
        "loss": 4.2,
        "batch_size": 64,
        "world_size": 16,
        "lr": 1e-3,
        "temperature": 0.1,
    }
    networks = {
        name: feature(below("", state, ("fc.", "norm.")), final_norm=False)
        for name, state in (("online", encoder), ("ema", target))
    }
    return Example("msn", tree, networks, "ema")

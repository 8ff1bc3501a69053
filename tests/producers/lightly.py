"""Files of lightly's models, made of its own modules.

The attributes are those of its ``benchmarks/imagenet`` and
``examples/pytorch_lightning``; a LightningModule adds nothing to a state dict.
"""

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any

import timm
import torch
from lightly.loss import DINOLoss, IBOTPatchLoss
from lightly.models import ResNetGenerator
from lightly.models.modules import (
    MaskedVisionTransformerTIMM,
    MaskedVisionTransformerTorchvision,
    heads,
)
from lightly.models.modules.masked_autoencoder import MAEBackbone, MAEDecoder
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tests.producers.example import Example, Pooled, drawn, example
from tests.producers.small import IMAGE, resnet
from tests.producers.solo_learn import lightning

WIDTH = 128
"""Of the features of the small ResNet."""


class Module(nn.Module):
    """A model as its script composes it, attribute by attribute."""

    def __init__(self, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def numbered(seed: int, children: int = -1) -> nn.Module:
    return nn.Sequential(*list(copy.deepcopy(resnet(seed)).children())[:children])


def named(seed: int) -> nn.Module:
    network = copy.deepcopy(resnet(seed))
    network.fc = nn.Identity()
    return network


def classifier(width: int) -> nn.Module:
    return Module(classification_head=nn.Linear(width, 5))


def pooled(backbone: nn.Module) -> nn.Module:
    def forward(images: Tensor) -> Tensor:
        maps = backbone(images)
        return maps.mean((2, 3)) if maps.ndim == 4 else maps

    return Pooled(backbone, forward)


def file_of(model: nn.Module) -> dict[str, Any]:
    return lightning(model.state_dict())


@example
def lightly_simclr_numbered() -> Example:
    model = Module(
        backbone=numbered(21),
        projection_head=heads.SimCLRProjectionHead(WIDTH, 16, 8),
    )
    return Example("lightly", file_of(model), {"online": pooled(model.backbone)})


@example
def lightly_backbone_alone() -> Example:
    """Only Lightning's keys beside it tell that it is not OpenMMLab's."""
    model = Module(backbone=named(43))
    return Example("lightly", file_of(model), {"online": pooled(model.backbone)})


@example
def lightly_densecl_numbered() -> Example:
    """Without the pooling, and saved without Lightning."""
    model = Module(
        backbone=numbered(22, -2),
        projection_head_global=heads.DenseCLProjectionHead(WIDTH, 16, 8),
        projection_head_local=heads.DenseCLProjectionHead(WIDTH, 16, 8),
        backbone_momentum=numbered(23, -2),
        projection_head_global_momentum=heads.DenseCLProjectionHead(WIDTH, 16, 8),
        projection_head_local_momentum=heads.DenseCLProjectionHead(WIDTH, 16, 8),
    )
    networks = {
        "online": pooled(model.backbone.eval()),
        "ema": pooled(model.backbone_momentum.eval()),
    }
    return Example("lightly", model.state_dict(), networks)


@example
def lightly_byol() -> Example:
    model = Module(
        backbone=named(24),
        projection_head=heads.BYOLProjectionHead(WIDTH, 16, 8),
        prediction_head=heads.BYOLPredictionHead(8, 16, 8),
        teacher_backbone=named(25),
        teacher_projection_head=heads.BYOLProjectionHead(WIDTH, 16, 8),
        online_classifier=classifier(WIDTH),
    )
    networks = {
        "online": pooled(model.backbone),
        "ema": pooled(model.teacher_backbone),
    }
    return Example("lightly", file_of(model), networks)


@example
def lightly_moco_v2() -> Example:
    model = Module(
        backbone=named(26),
        projection_head=heads.MoCoProjectionHead(WIDTH, 16, 8),
        key_backbone=named(27),
        key_projection_head=heads.MoCoProjectionHead(WIDTH, 16, 8),
        online_classifier=classifier(WIDTH),
    )
    networks = {"online": pooled(model.backbone), "ema": pooled(model.key_backbone)}
    return Example("lightly", file_of(model), networks)


@example
def lightly_moco_v2_query() -> Example:
    """In its older benchmark ``backbone`` is the key encoder, and what it evaluates."""
    model = Module(
        backbone=named(28),
        projection_head=heads.MoCoProjectionHead(WIDTH, 16, 8),
        query_backbone=named(29),
        query_projection_head=heads.MoCoProjectionHead(WIDTH, 16, 8),
        online_classifier=classifier(WIDTH),
    )
    networks = {"online": pooled(model.query_backbone), "ema": pooled(model.backbone)}
    return Example("lightly", file_of(model), networks, "ema")


@example
def lightly_swav() -> Example:
    model = Module(
        backbone=named(30),
        projection_head=heads.SwaVProjectionHead(WIDTH, 16, 8),
        prototypes=heads.SwaVPrototypes(8, 12),
        online_classifier=classifier(WIDTH),
    )
    return Example("lightly", file_of(model), {"online": pooled(model.backbone)})


@functools.cache
def masked_timm(seed: int, **options: Any) -> Any:
    network = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=IMAGE,
        dynamic_img_size=True,
        weight_init="skip",
        **options,
    )
    return drawn(MaskedVisionTransformerTIMM(network), seed)


def dino_head() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of PyTorch, for weight_norm
        return heads.DINOProjectionHead(192, 16, 8, 12)


@example
def lightly_dino_transformer() -> Example:
    """``backbone`` is the teacher; the trained network is ``student_backbone``."""
    model = Module(
        backbone=masked_timm(31),
        projection_head=dino_head(),
        student_backbone=masked_timm(32),
        student_projection_head=dino_head(),
        criterion=DINOLoss(output_dim=12),
        online_classifier=classifier(192),
    )
    networks = {"online": model.student_backbone, "ema": model.backbone}
    return Example("lightly", file_of(model), networks, "ema")


@example
def lightly_dinov2() -> Example:
    """Only student and teacher, with layer scale."""
    teacher, student = (masked_timm(seed, init_values=1e-5) for seed in (33, 34))
    model = Module(
        teacher_backbone=teacher,
        student_backbone=student,
        teacher_dino_head=Module(_dino_head=dino_head()),
        student_dino_head=Module(_dino_head=dino_head()),
        dino_criterion=DINOLoss(output_dim=12),
        ibot_criterion=IBOTPatchLoss(output_dim=12),
        online_classifier=classifier(192),
    )
    networks = {"online": student, "ema": teacher}
    return Example("lightly", file_of(model), networks, "ema")


def torchvision_vit(seed: int) -> Any:
    network = VisionTransformer(
        image_size=IMAGE,
        patch_size=16,
        num_layers=12,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
    )
    return drawn(network, seed)


@example
def lightly_msn() -> Example:
    """torchvision's transformer in a masked one; prototypes are a bare parameter."""
    target, anchor = (
        MaskedVisionTransformerTorchvision(torchvision_vit(seed)) for seed in (35, 36)
    )
    for seed, network in ((37, target), (38, anchor)):
        drawn(network, seed)
    model = Module(
        backbone=target,
        projection_head=heads.MSNProjectionHead(192, 16, 8),
        anchor_backbone=anchor,
        anchor_projection_head=heads.MSNProjectionHead(192, 16, 8),
        prototypes=nn.Parameter(torch.ones(12, 8)),
    )
    networks = {"online": anchor, "ema": target}
    return Example("lightly", file_of(model), networks, "ema")


@example
def lightly_mae() -> Example:
    """Its older backbone is torchvision's transformer itself."""
    backbone = drawn(MAEBackbone.from_vit(torchvision_vit(39)), 40)
    decoder = MAEDecoder(
        seq_length=5,
        num_layers=1,
        num_heads=2,
        embed_input_dim=192,
        hidden_dim=16,
        mlp_dim=32,
        out_dim=768,
    )
    model = Module(
        backbone=backbone,
        decoder=decoder,
        mask_token=nn.Parameter(torch.zeros(1, 1, 16)),
    )
    return Example("lightly", file_of(model), {"online": backbone})


@example
def lightly_smog_own_resnet() -> Example:
    """Its own ResNet for small images, whose children leave a ReLU out."""
    online, momentum = (
        nn.Sequential(
            *list(drawn(ResNetGenerator("resnet-9", 0.25), seed).children())[:-1],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        for seed in (41, 42)
    )
    model = Module(
        backbone=online,
        projection_head=heads.SMoGProjectionHead(WIDTH, 16, 8),
        prediction_head=heads.SMoGPredictionHead(8, 16, 8),
        backbone_momentum=momentum,
        projection_head_momentum=heads.SMoGProjectionHead(WIDTH, 16, 8),
        smog=heads.SMoGPrototypes(torch.ones(12, 8), beta=0.99),
    )
    networks = {"online": online, "ema": momentum}
    return Example("lightly", file_of(model), networks)

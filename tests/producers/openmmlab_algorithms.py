"""MMPretrain's own algorithms, small, saved as mmengine's runner saves them.

What 1.x of MMSelfSup was, MMPretrain is now; its algorithms are built by its registry.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from tests.producers.example import EXAMPLES, Example, Pooled, drawn, example

RESNET = {"type": "ResNet", "depth": 18, "base_channels": 16, "stem_channels": 16}
WIDTH = 128
VIT = {"embed_dims": 64, "num_layers": 2, "num_heads": 1, "feedforward_channels": 256}
HEADS_12 = {**VIT, "embed_dims": 192, "num_heads": 12, "feedforward_channels": 768}
SWIN = {"embed_dims": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8]}
WINDOW = 2
WINDOWS = {"block_cfgs": {"window_size": WINDOW}}
DECODER = {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2}
PIXELS = {"type": "PixelReconstructionLoss", "criterion": "L2"}
COSINE = {"type": "CosineSimilarityLoss"}
ENTROPY = {"type": "CrossEntropyLoss"}
DALL_E = {"type": "DALL-E", "n_hid": 8, "vocab_size": 16}


def neck(width: int, layers: int = 2, **options: Any) -> dict[str, Any]:
    """Return the projector that most algorithms have."""
    return {
        "type": "NonLinearNeck",
        "in_channels": width,
        "hid_channels": 8,
        "out_channels": 8,
        "num_layers": layers,
        **options,
    }


def mae(kind: str, backbone: str, **options: Any) -> dict[str, Any]:
    """Return an algorithm that decodes what a masked transformer encodes."""
    return {
        "type": kind,
        "backbone": vit(backbone, **options),
        "neck": {
            "type": "MAEPretrainDecoder",
            "num_patches": 4,
            "patch_size": 16,
            "embed_dim": 64,
            **DECODER,
        },
        "head": {"type": "MAEPretrainHead", "patch_size": 16, "loss": PIXELS},
    }


def vit(kind: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, "arch": VIT, "img_size": 32, "patch_size": 16, **options}


PREDICTOR = neck(8, with_avg_pool=False)
LATENT = {"type": "LatentPredictHead", "predictor": PREDICTOR, "loss": COSINE}
CONTRASTIVE = {"type": "ContrastiveHead", "loss": ENTROPY, "temperature": 0.2}
MOCO_NECK = {"in_channels": WIDTH, "hid_channels": 8, "out_channels": 8}
QUEUE = {"queue_len": 16, "feat_dim": 8}

ON_RESNET: dict[str, dict[str, Any]] = {
    "moco": {
        "type": "MoCo",
        **QUEUE,
        "neck": {"type": "MoCoV2Neck", **MOCO_NECK},
        "head": CONTRASTIVE,
    },
    "densecl": {
        "type": "DenseCL",
        **QUEUE,
        "neck": {"type": "DenseCLNeck", **MOCO_NECK, "num_grid": None},
        "head": CONTRASTIVE,
    },
    "byol": {"type": "BYOL", "neck": neck(WIDTH), "head": LATENT},
    "simsiam": {
        "type": "SimSiam",
        "neck": neck(WIDTH, 3, with_last_bn_affine=False),
        "head": LATENT,
    },
    "swav": {
        "type": "SwAV",
        "neck": {"type": "SwAVNeck", **MOCO_NECK},
        "head": {
            "type": "SwAVHead",
            "loss": {"type": "SwAVLoss", "feat_dim": 8, "num_prototypes": 4},
        },
    },
    "barlow_twins": {
        "type": "BarlowTwins",
        "neck": neck(WIDTH, 3, with_last_bn=False),
        "head": {
            "type": "LatentCrossCorrelationHead",
            "in_channels": 8,
            "loss": {"type": "CrossCorrelationLoss"},
        },
    },
    "simclr": {"type": "SimCLR", "neck": neck(WIDTH), "head": CONTRASTIVE},
}
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "resnet_v1c": {**RESNET, "type": "ResNetV1c"},
    "resnet_v1d": {**RESNET, "type": "ResNetV1d"},
    "swin": {
        "type": "SwinTransformer",
        "arch": SWIN,
        "img_size": 64,
        "stage_cfgs": WINDOWS,
    },
    "swin_v2": {
        "type": "SwinTransformerV2",
        "arch": {**SWIN, "extra_norm_every_n_blocks": 0},
        "img_size": 64,
        "window_size": WINDOW,
    },
    "convnext": {
        "type": "ConvNeXt",
        "arch": {"depths": [1, 1, 1, 1], "channels": [8, 16, 24, 32]},
    },
    "vit": vit("VisionTransformer"),
}
MASKED: dict[str, dict[str, Any]] = {
    "mae": mae("MAE", "MAEViT"),
    "mff": mae("MFF", "MFFViT", out_indices=[0, 1]),
    "milan": {**mae("MILAN", "MILANViT"), "head": {"type": "MIMHead", "loss": COSINE}},
    "eva": {**mae("EVA", "MAEViT"), "head": {"type": "MIMHead", "loss": COSINE}},
    "maskfeat": {
        "type": "MaskFeat",
        "backbone": vit("MaskFeatViT"),
        "neck": {"type": "LinearNeck", "in_channels": 64, "out_channels": 8},
        "head": {"type": "MIMHead", "loss": PIXELS},
        "target_generator": {"type": "HOGGenerator"},
    },
    "cae": {
        "type": "CAE",
        "backbone": vit("CAEPretrainViT", layer_scale_init_value=0.1, bias="qv_bias"),
        "neck": {
            "type": "CAENeck",
            "embed_dims": 64,
            "num_heads": 2,
            "regressor_depth": 1,
            "decoder_depth": 1,
            "layer_scale_init_value": 0.1,
        },
        "head": {"type": "CAEHead", "loss": {"type": "CAELoss", "lambd": 2}},
        "target_generator": DALL_E,
        "base_momentum": 0.0,
    },
    "beit": {
        "type": "BEiT",
        "backbone": vit("BEiTPretrainViT", layer_scale_init_value=0.1, out_type="raw"),
        "head": {
            "type": "BEiTV1Head",
            "embed_dims": 64,
            "num_embed": 16,
            "loss": ENTROPY,
        },
        "target_generator": DALL_E,
    },
}
SIMMIM: dict[str, Any] = {
    "type": "SimMIM",
    "backbone": {
        "type": "SimMIMSwinTransformer",
        "arch": SWIN,
        "img_size": 64,
        "stage_cfgs": WINDOWS,
    },
    "neck": {"type": "SimMIMLinearDecoder", "in_channels": 64, "encoder_stride": 32},
    "head": {
        "type": "SimMIMHead",
        "patch_size": 4,
        "loss": {"type": "PixelReconstructionLoss", "criterion": "L1", "channel": 3},
    },
}
MOCO_V3: dict[str, Any] = {
    "type": "MoCoV3",
    "backbone": {
        "type": "MoCoV3ViT",
        "arch": HEADS_12,
        "img_size": 32,
        "patch_size": 16,
        "stop_grad_conv1": True,
    },
    "neck": neck(192, 3, with_avg_pool=False),
    "head": {
        "type": "MoCoV3Head",
        "predictor": PREDICTOR,
        "loss": ENTROPY,
        "temperature": 1.0,
    },
}
SPARK: dict[str, Any] = {
    "type": "SparK",
    "input_size": 64,
    "enc_dec_norm_dim": WIDTH,
    "backbone": {
        **RESNET,
        "type": "SparseResNet",
        "out_indices": (0, 1, 2, 3),
    },
    "neck": {"type": "SparKLightDecoder", "feature_dim": 32, "upsample_ratio": 32},
    "head": {"type": "SparKPretrainHead", "loss": PIXELS},
}
AVERAGES = {
    "MoCo": "encoder_k",
    "DenseCL": "encoder_k",
    "BYOL": "target_net",
    "MoCoV3": "momentum_encoder",
    "CAE": "teacher",
}


def registry() -> Any:
    """Return MMPretrain's registry, whose import is slow and full of warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("mmpretrain.models")
        return importlib.import_module("mmpretrain.registry").MODELS


def built(config: dict[str, Any], seed: int) -> Any:
    """Build a model by MMPretrain's registry; numbers it computes itself stay."""
    models = registry()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = models.build({**copy.deepcopy(config), "_scope_": "mmpretrain"})
    tables = {k: v.clone() for k, v in model.named_buffers() if "coords_table" in k}
    drawn(model, seed)
    for name, buffer in model.named_buffers():
        if name in tables:
            buffer.copy_(tables[name])
    return model


def checkpoint(model: nn.Module) -> dict[str, Any]:
    """Return what mmengine's Runner.save_checkpoint writes."""
    from mmengine.logging import MessageHub
    from mmengine.optim import OptimWrapper

    hub = MessageHub.get_instance("ssl_bench")
    hub.update_scalar("train/loss", 1.5)
    hub.update_info("iter", 3)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    return {
        "meta": {"epoch": 1, "iter": 3, "cfg": "", "mmengine_version": "0.10.12"},
        "state_dict": dict(model.state_dict()),
        "message_hub": hub.state_dict(),
        "optimizer": OptimWrapper(optimizer).state_dict(),
        "param_schedulers": [schedule.state_dict()],
    }


def feature(backbone: Any) -> nn.Module:
    """Return a backbone's own feature: its class token, or the mean of its last map."""

    plain = registry().get("VisionTransformer")

    def forward(images: Tensor) -> Tensor:
        if backbone.__class__.__name__ == "MFFViT":
            out = plain.forward(backbone, images)  # its own always masks
        else:
            count = len(inspect.signature(backbone.forward).parameters)
            out = backbone(images, *[None] * (count - 1))
        last = out[-1] if isinstance(out, (tuple, list)) else out
        if last.ndim == 4:
            return last.mean((2, 3))
        return last[:, 0] if last.ndim == 3 else last

    return Pooled(backbone, forward)


def register(name: str, config: dict[str, Any], image: int = 32) -> None:
    """Register the file of one algorithm or classifier."""

    def build() -> Example:
        model = built(config, seed=len(EXAMPLES))
        networks = {"online": feature(model.backbone)}
        average = AVERAGES.get(config["type"])
        if average:
            copied = getattr(model, average)
            inner = copied if average == "teacher" else copied.module[0]
            networks["ema"] = feature(inner)
        return Example("mmselfsup", checkpoint(model), networks, image=image)

    build.__name__ = f"openmmlab_{name}"
    example(build)


def classifier(backbone: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "ImageClassifier",
        "backbone": backbone,
        "neck": None,
        "head": {"type": "LinearClsHead", "num_classes": 5, "in_channels": 64},
    }


for _name, _config in ON_RESNET.items():
    register(_name, {**_config, "backbone": RESNET})
for _name, _config in MASKED.items():
    register(_name, _config)
for _name, _config in CLASSIFIERS.items():
    register(f"classifier_{_name}", classifier(_config), 64 if "swin" in _name else 32)
register("simmim", SIMMIM, image=64)
register("moco_v3", MOCO_V3)


@example
def openmmlab_ema_hook() -> Example:
    """mmengine's own hook swaps the two copies when it saves."""
    from mmengine.hooks import EMAHook
    from mmengine.model import ExponentialMovingAverage

    model = built(classifier(RESNET), 31)
    hook = EMAHook()
    hook.ema_model = ExponentialMovingAverage(model)
    drawn(hook.ema_model.module, 32)
    tree = checkpoint(model)
    hook.before_save_checkpoint(None, tree)
    networks = {
        "online": feature(model.backbone),
        "ema": feature(hook.ema_model.module.backbone),
    }
    return Example("mmselfsup", tree, networks, "ema")


def extracted(model: Any) -> dict[str, Any]:
    """Return what tools/model_converters/extract_backbone_weights.py writes."""
    state = {
        key.removeprefix("backbone."): tensor
        for key, tensor in model.state_dict().items()
        if key.startswith("backbone.")
    }
    return {"state_dict": state, "author": "MMPretrain"}


@example
def openmmlab_extracted_swin() -> Example:
    model = built(classifier(CLASSIFIERS["swin"]), 33)
    networks = {"online": feature(model.backbone)}
    return Example("mm_swin", extracted(model), networks, image=64)


@example
def openmmlab_extracted_swin_v2() -> Example:
    model = built(classifier(CLASSIFIERS["swin_v2"]), 34)
    networks = {"online": feature(model.backbone)}
    return Example("mm_swin_v2", extracted(model), networks, image=64)


@example
def openmmlab_spark() -> Example:
    """Its convolutions skip what is masked; without a mask they are a ResNet's."""
    model = built(SPARK, 35)
    backbone = built(RESNET, 36)
    backbone.load_state_dict(model.backbone.state_dict(), strict=True)
    networks = {"online": feature(backbone)}
    return Example("mmselfsup", checkpoint(model), networks)

"""Vision transformers and BEiTs of MMPretrain, extracted."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tests.producers.example import Example, Pooled, example
from tests.producers.openmmlab_cnn import built

IMAGE = 32
ARCH = {
    "embed_dims": 128,
    "num_layers": 2,
    "num_heads": 2,
    "feedforward_channels": 256,
}
SMALL = {"img_size": IMAGE, "patch_size": 8}
SCALED = {"layer_scale_init_value": 0.1}


def extracted(network: Any) -> tuple[Any, dict[str, Pooled]]:
    """Return the file, and the last output: the class token or the mean."""

    def forward(images: Tensor) -> Tensor:
        found: Tensor = network(images)[-1]
        return found

    tree = {"state_dict": network.state_dict(), "author": "MMSelfSup"}
    return tree, {"online": Pooled(network, forward)}


def pretrained(network: Any) -> tuple[Any, dict[str, Pooled]]:
    """Return the file, and the class token of all patches, none of them masked."""
    tree = {"state_dict": network.state_dict(), "author": "MMSelfSup"}
    token = Pooled(network, lambda images: unmasked(network(images, None))[:, 0])
    return tree, {"online": token}


def unmasked(found: Any) -> Any:
    return found if isinstance(found, Tensor) else found[-1]


@example
def mmpretrain_vit() -> Example:
    network = built("VisionTransformer", 701, arch=ARCH, **SMALL, **SCALED)
    return Example("mm_vit", *extracted(network))


@example
def mmpretrain_vit_mean() -> Example:
    """The norm of all tokens and the norm of the mean, and CLIP's in front."""
    options = {"out_type": "avg_featmap", "pre_norm": True}
    network = built("VisionTransformer", 702, arch=ARCH, **SMALL, **options)
    return Example("mm_vit", *extracted(network))


@example
def mmpretrain_vit_gated() -> Example:
    """DINOv2's giant."""
    options = {"layer_cfgs": {"ffn_type": "swiglu_fused"}, **SCALED}
    network = built("VisionTransformer", 703, arch=ARCH, **SMALL, **options)
    return Example("mm_vit", *extracted(network))


@example
def mmpretrain_mae() -> Example:
    network = built("MAEViT", 704, arch=ARCH, **SMALL)
    return Example("mm_vit", *pretrained(network))


@example
def mmpretrain_mocov3() -> Example:
    """Its small transformer has 12 heads where others have 6."""
    arch = {**ARCH, "embed_dims": 192, "num_heads": 12}
    network = built("MoCoV3ViT", 705, arch=arch, stop_grad_conv1=False, **SMALL)
    return Example("mm_vit", *extracted(network), options={"producer": "mocov3"})


@example
def mmpretrain_beit_finetuned() -> Example:
    network = built("BEiTViT", 711, arch=ARCH, **SMALL, **SCALED)
    return Example("mm_beit", *extracted(network))


@example
def mmpretrain_beit_class_token() -> Example:
    options = {"out_type": "cls_token", "final_norm": True, "use_abs_pos_emb": True}
    network = built("BEiTViT", 712, arch=ARCH, **SMALL, **options)
    return Example("mm_beit", *extracted(network))


@example
def mmpretrain_beit_pretrained() -> Example:
    options = {
        "use_abs_pos_emb": False,
        "use_rel_pos_bias": False,
        "use_shared_rel_pos_bias": True,
        **SCALED,
    }
    network = built("BEiTPretrainViT", 713, arch=ARCH, **SMALL, **options)
    return Example("mm_beit", *pretrained(network))


@example
def mmpretrain_cae() -> Example:
    """Fixed positions instead of relative ones."""
    network = built("CAEPretrainViT", 714, arch=ARCH, **SMALL, **SCALED)
    return Example("mm_beit", *pretrained(network))

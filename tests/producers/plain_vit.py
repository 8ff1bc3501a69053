"""timm's plain transformer with a producer's tensors, all of them used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

HEAD_WIDTH = 64


def feature(state: Mapping[str, Tensor], **options: Any) -> Callable[[Tensor], Tensor]:
    """Return what computes the feature that timm calls pre-logits.

    Args:
        state: in timm's names; one too many or too few is an error.
        options: of `VisionTransformer` beyond sizes; the class token is the feature
            unless ``global_pool`` says otherwise.
    """
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    prefix = options.get("class_token", True) and not options.get("no_embed_class")
    patches = state["pos_embed"].shape[1] - prefix
    network = VisionTransformer(
        img_size=patch * round(patches**0.5),
        patch_size=patch,
        embed_dim=width,
        depth=1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks.")),
        num_heads=width // HEAD_WIDTH,
        num_classes=0,
        **{"global_pool": "token", "fc_norm": False, **options},
    )
    network.load_state_dict(state, strict=True)
    network.eval()
    return lambda images: network.forward_head(
        network.forward_features(images), pre_logits=True
    )

"""Files of the authors of Swin and SimMIM, by the names that their classes gave them.

The forward passes are timm's and those of Hugging Face's transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tests.producers.example import Example, Pooled, example
from tests.producers.keys import below, keyed
from tests.producers.swin import pooled

COMPUTED = ("relative_position_index", "relative_coords_table", "attn_mask")
STAGES = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
IN_BLOCK = {
    r"attn\.(relative_position_bias_table)": r"attention.relative_position_bias.\1",
    r"attn\.(logit_scale)": r"attention.self.\1",
    r"attn\.cpb_mlp": "attention.self.continuous_position_bias_mlp",
    r"attn\.q_bias": "attention.self.query.bias",
    r"attn\.v_bias": "attention.self.value.bias",
    r"attn\.proj": "attention.output.dense",
    r"mlp\.fc1": "intermediate.dense",
    r"mlp\.fc2": "output.dense",
}


def learnt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the head and what a network computes for itself."""
    return {
        key: tensor
        for key, tensor in state.items()
        if not key.startswith(("head.", "mask_token")) and not key.endswith(COMPUTED)
    }


def of_timm(state: Mapping[str, Tensor], window: int) -> nn.Module:
    """Return timm's V1 with these weights: merging begins a stage there."""
    from timm.models.swin_transformer import SwinTransformer

    network = SwinTransformer(img_size=64, window_size=window, num_classes=0, **STAGES)
    moved = {
        re.sub(
            r"^layers\.(\d+)\.downsample",
            lambda found: f"layers.{int(found[1]) + 1}.downsample",
            key,
        ): tensor
        for key, tensor in learnt(state).items()
    }
    network.load_state_dict(moved, strict=True)
    return pooled(network.eval())


def to_hf(state: Mapping[str, Tensor], version: int) -> dict[str, Tensor]:
    """Rename the authors' keys to those of a network of transformers in memory."""
    renamed = {}
    for key, tensor in learnt(state).items():
        key = re.sub(
            r"^patch_embed\.proj", "embeddings.patch_embeddings.projection", key
        )
        key = re.sub(r"^patch_embed\.norm", "embeddings.norm", key)
        key = re.sub(r"^absolute_pos_embed", "embeddings.position_embeddings", key)
        key = re.sub(r"^norm\.", "layernorm.", key)
        key = re.sub(r"^layers\.", "encoder.layers.", key)
        key = re.sub(r"\.norm1\.", ".layernorm_before.", key)
        key = re.sub(r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after.", key)
        for theirs, ours in IN_BLOCK.items():
            key = re.sub(theirs, ours, key)
        if version == 1:
            key = key.replace("attention.output.dense", "attention.o_proj")
            key = key.replace("intermediate.dense", "mlp.fc1")
            key = key.replace("output.dense", "mlp.fc2")
        joint = re.fullmatch(r"(.+)attn\.qkv\.(weight|bias)", key)
        if not joint:
            renamed[key] = tensor
            continue
        names = ("q_proj", "k_proj", "v_proj")
        if version == 2:
            names = ("self.query", "self.key", "self.value")
        for name, part in zip(names, tensor.chunk(3), strict=True):
            renamed[f"{joint[1]}attention.{name}.{joint[2]}"] = part
    return renamed


def of_hf(state: Mapping[str, Tensor], version: int, **options: Any) -> Any:
    """Return the network of transformers with these weights."""
    import transformers

    config, network = (
        (transformers.SwinConfig, transformers.SwinModel)
        if version == 1
        else (transformers.Swinv2Config, transformers.Swinv2Model)
    )
    stages = {k: list(v) if isinstance(v, tuple) else v for k, v in STAGES.items()}
    made = network(config(**stages, **options))
    made.load_state_dict(to_hf(state, version), strict=True)
    return made.eval()


@example
def swin_official() -> Example:
    """The windows of the last two stages are smaller: their maps are."""
    state = keyed("swin")
    tree = {"model": state, "epoch": 299}
    return Example("swin", tree, {"online": of_timm(state, 4)}, image=64)


@example
def swin_official_v2() -> Example:
    """Windows of 8 that were 4 before: the tables of coordinates show both."""
    state = keyed("swin_v2")
    windows = {"window_size": 8, "pretrained_window_sizes": [4, 4, 4, 2]}
    made = of_hf(state, 2, image_size=128, **windows)
    for key, table in made.named_buffers():
        if key.endswith("relative_coords_table"):
            stage, block = re.findall(r"\d+", key)[:2]
            state[f"layers.{stage}.blocks.{block}.attn.relative_coords_table"] = table
    feature = Pooled(made, lambda images: made(images).pooler_output)
    return Example("swin", {"model": state}, {"online": feature}, image=128)


@example
def simmim_swin() -> Example:
    state = keyed("simmim_swin")
    tree = {"model": state, "optimizer": {}, "lr_scheduler": {}, "epoch": 99}
    network = of_timm(below("encoder.", state), 2)
    return Example("simmim", tree, {"online": network}, image=64)


def of_beit(state: Mapping[str, Tensor], pool: str, **options: Any) -> nn.Module:
    """Return timm's BEiT with these weights."""
    from timm.models.beit import Beit

    network = Beit(
        img_size=32,
        patch_size=16,
        embed_dim=64,
        depth=2,
        num_heads=1,
        init_values=0.1,
        use_abs_pos_emb=False,
        num_classes=0,
        global_pool=pool,
        **options,
    )
    network.load_state_dict(learnt(state), strict=True)
    return network.eval()


@example
def simmim_vit() -> Example:
    state = keyed("simmim_vit")
    inner = below("encoder.", state)
    network = of_beit(inner, "token", use_shared_rel_pos_bias=True)
    return Example("simmim", {"model": state}, {"online": network})


@example
def simmim_vit_finetuned() -> Example:
    """The layout of BEiT's fine-tuned files."""
    state = keyed("simmim_vit_finetuned")
    network = of_beit(state, "avg", use_rel_pos_bias=True)
    return Example("beit", {"model": state}, {"online": network})

"""Files of Hugging Face's vision transformers, as version 5 writes and names them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from tests.producers.example import Example, Pooled, drawn, example

IMAGE = 32
SMALL = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": IMAGE,
    "patch_size": 8,
}
MLP = {"intermediate_size": 192}


def saved(network: Any) -> dict[str, Tensor]:
    """Return what ``save_pretrained`` writes: the names that all versions share."""
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        state: dict[str, Tensor] = load_file(Path(folder, "model.safetensors"))
    return state


def token(network: Any) -> Callable[[Tensor], Tensor]:
    """Return the class token behind the last norm."""
    return Pooled(network, lambda images: network(images).last_hidden_state[:, 0])


@example
def huggingface_vit_classifier() -> Example:
    config = transformers.ViTConfig(**SMALL, **MLP, num_labels=3)
    network = drawn(transformers.ViTForImageClassification(config), 501)
    return Example("hf_vit", saved(network), {"online": token(network.vit)})


@example
def huggingface_vit_in_memory() -> Example:
    """Version 5 names its modules anew, and torch.save writes these names."""
    network = drawn(transformers.ViTModel(transformers.ViTConfig(**SMALL, **MLP)), 502)
    return Example("hf_vit", network.state_dict(), {"online": token(network)})


@example
def huggingface_deit() -> Example:
    config = transformers.DeiTConfig(**SMALL, **MLP)
    network = drawn(transformers.DeiTModel(config), 503)
    return Example("hf_vit", saved(network), {"online": token(network)})


@example
def huggingface_mae() -> Example:
    """Pre-training masks patches; the encoder is run on all of them, in their order."""
    config = transformers.ViTMAEConfig(
        **SMALL,
        **MLP,
        mask_ratio=0.0,
        decoder_hidden_size=64,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=1,
        decoder_intermediate_size=64,
    )
    network = drawn(transformers.ViTMAEForPreTraining(config), 504)
    return Example("hf_vit", saved(network), {"online": token(network.vit)})


@example
def huggingface_msn() -> Example:
    config = transformers.ViTMSNConfig(**SMALL, **MLP)
    network = drawn(transformers.ViTMSNModel(config), 505)
    return Example(
        "hf_vit",
        saved(network),
        {"online": token(network)},
        options={"producer": "huggingface_msn"},
    )


@example
def huggingface_dinov2() -> Example:
    config = transformers.Dinov2Config(**SMALL, num_labels=3)
    network = drawn(transformers.Dinov2ForImageClassification(config), 511)
    return Example("hf_dinov2", saved(network), {"online": token(network.dinov2)})


@example
def huggingface_dinov2_registers_gated() -> Example:
    config = transformers.Dinov2WithRegistersConfig(**SMALL, use_swiglu_ffn=True)
    network = drawn(transformers.Dinov2WithRegistersModel(config), 512)
    return Example("hf_dinov2", saved(network), {"online": token(network)})


@example
def huggingface_dinov2_in_memory() -> Example:
    config = transformers.Dinov2Config(**SMALL, use_swiglu_ffn=True)
    network = drawn(transformers.Dinov2Model(config), 513)
    return Example("hf_dinov2", network.state_dict(), {"online": token(network)})


@example
def huggingface_dinov3() -> Example:
    config = transformers.DINOv3ViTConfig(**SMALL, **MLP, num_register_tokens=4)
    network = drawn(transformers.DINOv3ViTModel(config), 521)
    return Example("hf_dinov3", saved(network), {"online": token(network)})


@example
def huggingface_dinov3_gated_in_memory() -> Example:
    config = transformers.DINOv3ViTConfig(
        **SMALL,
        **MLP,
        num_register_tokens=4,
        use_gated_mlp=True,
        hidden_act="silu",
        query_bias=False,
        value_bias=False,
    )
    network = drawn(transformers.DINOv3ViTModel(config), 522)
    return Example("hf_dinov3", network.state_dict(), {"online": token(network)})


@example
def huggingface_beit_masked() -> Example:
    """The norm in front of the prediction lies outside of the encoder."""
    config = transformers.BeitConfig(
        **SMALL,
        **MLP,
        vocab_size=10,
        use_shared_relative_position_bias=True,
        use_mask_token=True,
    )
    network = drawn(transformers.BeitForMaskedImageModeling(config), 531)
    normed = Pooled(
        network,
        lambda images: network.layernorm(network.beit(images).last_hidden_state)[:, 0],
    )
    return Example("hf_beit", saved(network), {"online": normed})


@example
def huggingface_beit_classifier() -> Example:
    config = transformers.BeitConfig(
        **SMALL, **MLP, use_relative_position_bias=True, num_labels=3
    )
    network = drawn(transformers.BeitForImageClassification(config), 532)
    pooled = Pooled(network, lambda images: network.beit(images).pooler_output)
    return Example("hf_beit", saved(network), {"online": pooled})


@example
def huggingface_beit_in_memory() -> Example:
    config = transformers.BeitConfig(
        **SMALL,
        **MLP,
        use_relative_position_bias=True,
        use_absolute_position_embeddings=True,
    )
    network = drawn(transformers.BeitModel(config), 533)
    pooled = Pooled(network, lambda images: network(images).pooler_output)
    return Example("hf_beit", network.state_dict(), {"online": pooled})


def clip_tower(act: str) -> Any:
    return transformers.CLIPVisionConfig(**SMALL, **MLP, hidden_act=act)


def pooler(network: Any) -> Callable[[Tensor], Tensor]:
    """Return the class token behind the last norm, as CLIP gives it."""
    return Pooled(network, lambda images: network(images).pooler_output)


@example
def huggingface_clip() -> Example:
    """Both towers, with the places of positions that older versions wrote."""
    config = transformers.CLIPConfig()
    config.vision_config = clip_tower("quick_gelu")
    config.text_config = transformers.CLIPTextConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=9,
    )
    network = drawn(transformers.CLIPModel(config), 520)
    places = {"vision_model.embeddings.position_ids": torch.arange(17)[None]}
    tree = saved(network) | places
    return Example("hf_clip", tree, {"online": pooler(network.vision_model)})


@example
def huggingface_clip_of_openclip() -> Example:
    """The tower alone; LAION's networks have another activation than OpenAI's."""
    network = drawn(transformers.CLIPVisionModel(clip_tower("gelu")), 521)
    producer = {"producer": "huggingface_openclip"}
    networks = {"online": pooler(network)}
    return Example("hf_clip", network.state_dict(), networks, options=producer)

"""Swin transformers of timm, torchvision, transformers and their authors."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.producers.example import Example, Pooled, drawn, example

IMAGE = 64
STAGES = {"embed_dim": 8, "depths": (2, 2, 1, 1), "num_heads": (2, 2, 4, 4)}
"""Maps of 16, 8, 4 and 2 patches; windows of 4 are shifted in the first two stages."""


@functools.cache
def timm_swin(version: int, seed: int, window: int) -> Any:
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    kind = SwinTransformer if version == 1 else SwinTransformerV2
    return drawn(
        kind(img_size=IMAGE, window_size=window, num_classes=5, **STAGES), seed
    )


def pooled(network: Any) -> nn.Module:
    """timm's feature: the mean of the last map after its norm."""
    return Pooled(network, lambda images: network.forward_features(images).mean((1, 2)))


@example
def timm_swin_v1() -> Example:
    network = timm_swin(1, 21, 4)
    return Example(
        "timm_swin", network.state_dict(), {"online": pooled(network)}, image=IMAGE
    )


@example
def timm_swin_v2() -> Example:
    """Nothing in the file shows windows of 4 patches: the name has to."""
    network = timm_swin(2, 22, 4)
    arch = "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window4_64"
    return Example(
        "timm_swin_v2",
        {"model": network.state_dict()},
        {"online": pooled(network)},
        image=IMAGE,
        options={"arch": arch},
    )


@example
def timm_swin_v2_window16() -> Example:
    """The same names and shapes as with windows of 8: the producer says it."""
    network = drawn(
        timm.create_model(
            "swinv2_tiny_window16_256",
            embed_dim=8,
            depths=(2, 2, 1, 1),
            num_heads=(2, 2, 4, 4),
        ),
        27,
    )
    return Example(
        "timm_swin_v2",
        network.state_dict(),
        {"online": pooled(network)},
        image=256,
        options={"producer": "timm_window16"},
    )


@functools.cache
def torchvision_swin(version: int, seed: int, window: int) -> Any:
    from torchvision.models import swin_transformer as theirs

    options: dict[str, Any] = {}
    if version == 2:
        options["block"] = theirs.SwinTransformerBlockV2
        options["downsample_layer"] = theirs.PatchMergingV2
    network = theirs.SwinTransformer(
        [4, 4],
        STAGES["embed_dim"],
        list(STAGES["depths"]),
        list(STAGES["num_heads"]),
        [window, window],
        num_classes=5,
        **options,
    )
    return kept(network, seed)


def kept(network: Any, seed: int) -> Any:
    """Draw the weights; tables that a network computes for itself stay as they are."""
    tables = {k: v.clone() for k, v in network.named_buffers() if "coords" in k}
    network = drawn(network, seed)
    for name, buffer in network.named_buffers():
        if name in tables:
            buffer.copy_(tables[name])
    return network


def headless(network: Any) -> nn.Module:
    def forward(images: Tensor) -> Tensor:
        maps = network.permute(network.norm(network.features(images)))
        return network.flatten(network.avgpool(maps))

    return Pooled(network, forward)


@example
def torchvision_swin_v1() -> Example:
    network = torchvision_swin(1, 23, 2)
    tree = network.state_dict()
    return Example("torchvision_swin", tree, {"online": headless(network)}, image=IMAGE)


@example
def torchvision_swin_v2() -> Example:
    network = torchvision_swin(2, 24, 2)
    tree = network.state_dict()
    return Example(
        "torchvision_swin_v2", tree, {"online": headless(network)}, image=IMAGE
    )


@functools.cache
def hf_swin(version: int, seed: int) -> Any:
    import transformers

    config = transformers.SwinConfig if version == 1 else transformers.Swinv2Config
    head = (
        transformers.SwinForImageClassification
        if version == 1
        else transformers.Swinv2ForImageClassification
    )
    window = 2 if version == 1 else 8
    stages = {name: list(v) if name != "embed_dim" else v for name, v in STAGES.items()}
    size = IMAGE if version == 1 else 2 * IMAGE
    made = config(image_size=size, window_size=window, num_labels=5, **stages)
    return drawn(head(made), seed)


def hf_pooled(network: Any) -> nn.Module:
    body = getattr(network, "swin", None) or network.swinv2
    return Pooled(network, lambda images: body(images).pooler_output)


@example
def hf_swin_v1() -> Example:
    """In memory, with the names of version 5."""
    network = hf_swin(1, 25)
    tree = network.state_dict()
    return Example("hf_swin", tree, {"online": hf_pooled(network)}, image=IMAGE)


@example
def hf_swin_v1_saved() -> Example:
    """As save_pretrained writes it for the hub."""
    network = hf_swin(1, 25)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        tree = load_file(Path(folder, "model.safetensors"))
    assert "swin.encoder.layers.0.blocks.0.attention.self.query.weight" in tree
    return Example("hf_swin", tree, {"online": hf_pooled(network)}, image=IMAGE)


@example
def hf_swin_v2() -> Example:
    network = hf_swin(2, 26)
    tree = network.swinv2.state_dict()
    arch = "swinv2_e8_d2-2-1-1_h2-2-4-4_patch4_window8_128"
    feature = hf_pooled(network)
    return Example(
        "hf_swin_v2", tree, {"online": feature}, image=128, options={"arch": arch}
    )


@example
def hf_swin_v2_with_tables() -> Example:
    """Older versions write tables of coordinates, which show the windows."""
    import transformers

    stages = {name: list(v) if name != "embed_dim" else v for name, v in STAGES.items()}
    config = transformers.Swinv2Config(
        image_size=IMAGE,
        window_size=4,
        pretrained_window_sizes=[3, 3, 3, 2],
        **stages,
    )
    network = drawn(transformers.Swinv2Model(config), 28)
    tree = dict(network.state_dict())
    for name, module in network.named_modules():
        for buffer in ("relative_coords_table", "relative_position_index"):
            if hasattr(module, buffer):
                tree[f"{name}.{buffer}"] = getattr(module, buffer).clone()
    feature = Pooled(network, lambda images: network(images).pooler_output)
    return Example("hf_swin_v2", tree, {"online": feature}, image=IMAGE)

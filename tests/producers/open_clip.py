"""Files of OpenCLIP and of OpenAI, whose own code OpenCLIP contains."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

from tests.producers.example import Example, Pooled, drawn, example

IMAGE = 32
TEXT = CLIPTextCfg(context_length=8, vocab_size=32, width=32, heads=2, layers=1)
TOWER = {"layers": 2, "width": 128, "head_width": 64, "patch_size": 8}


def before_projection(network: Any) -> Pooled:
    """Return the class token behind the last norm."""

    def forward(images: torch.Tensor) -> torch.Tensor:
        kept, network.visual.proj = network.visual.proj, None
        token = network.visual(images)
        network.visual.proj = kept
        return token

    return Pooled(network, forward)


@example
def openclip() -> Example:
    network = drawn(CLIP(48, CLIPVisionCfg(**TOWER, image_size=IMAGE), TEXT), 601)
    tree = {"epoch": 3, "name": "run", "state_dict": network.state_dict()}
    tree["state_dict"] = {f"module.{k}": v for k, v in tree["state_dict"].items()}
    return Example("clip", tree, {"online": before_projection(network)})


@example
def openai_clip() -> Example:
    """OpenAI's files keep three sizes as tensors, and have QuickGELU."""
    tower = CLIPVisionCfg(**TOWER, image_size=IMAGE)
    network = drawn(CLIP(48, tower, TEXT, quick_gelu=True), 602)
    sizes = {"input_resolution": IMAGE, "context_length": 8, "vocab_size": 32}
    tree = {
        **network.state_dict(),
        **{name: torch.tensor(size) for name, size in sizes.items()},
    }
    return Example("clip", tree, {"online": before_projection(network)})


@example
def openclip_quickgelu() -> Example:
    """OpenCLIP's own training of OpenAI's architecture: nothing in the file says so."""
    tower = CLIPVisionCfg(**TOWER, image_size=IMAGE, ls_init_value=0.1)
    network = drawn(CLIP(48, tower, TEXT, quick_gelu=True), 603)
    return Example(
        "clip",
        network.state_dict(),
        {"online": before_projection(network)},
        options={"producer": "openai"},
    )


@example
def openclip_tower_of_timm() -> Example:
    tower = CLIPVisionCfg(
        timm_model_name="vit_tiny_patch16_224",
        timm_pool="token",
        timm_proj="linear",
        image_size=IMAGE,
        patch_size=16,
    )
    network = CustomTextCLIP(48, tower, TEXT)
    trunk: Any = network.visual.trunk
    drawn(network, 604)
    return Example(
        "clip",
        network.state_dict(),
        {"online": Pooled(trunk, lambda images: trunk(images))},
        image=224,
    )

"""Tensors by the names and shapes that a producer's own class gave them.

For producers that have no package: ``tests/data/keys`` holds what their classes wrote
down, with source file and commit, and nothing in it was named by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from tests.producers.example import Pooled, fill

FOLDER = Path(__file__).parents[1] / "data" / "keys"
CHANNELS = 64
"""Numbers of channels are multiples of it in every network here; nothing else is."""

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def keyed(name: str, seed: int = 0, narrow: int = 1) -> dict[str, Tensor]:
    """Draw a state dict by its list of names and shapes.

    Args:
        name: of the list.
        seed: of the numbers.
        narrow: divides every number of channels, to keep the tests quick.
    """
    listed = json.loads((FOLDER / f"{name}.json").read_text())
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in listed["tensors"].items():
        size = [n // narrow if n % CHANNELS == 0 else n for n in shape]
        if key in listed.get("integers", ()) or key.endswith("num_batches_tracked"):
            state[key] = torch.full(size, 7)
        else:
            state[key] = torch.empty(size)
            fill(key, state[key], draw)
    return state


def below(
    prefix: str, state: Mapping[str, Tensor], heads: Sequence[str] = ("fc.",)
) -> dict[str, Tensor]:
    """Return the tensors below a prefix, without the heads."""
    found = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    return {k: v for k, v in found.items() if not k.startswith(tuple(heads))}


def published_resnet(state: Mapping[str, Tensor], depth: int) -> nn.Module:
    """Return torchvision's ResNet with a producer's tensors, all of them used.

    Args:
        state: in torchvision's names, or numbered as children of a Sequential.
        depth: 18 or 50.
    """
    numbered = "0.weight" in state
    stem = state["0.weight" if numbered else "conv1.weight"]
    width = stem.shape[0]
    block = Bottleneck if depth >= 50 else BasicBlock
    with torch.device("meta"):
        network = ResNet(block, [1, 1, 1, 1])
        network.inplanes = width
        network.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        network.bn1 = nn.BatchNorm2d(width)
        for stage, count in enumerate(BLOCKS[depth]):
            made = network._make_layer(block, width << stage, count, 2 if stage else 1)
            setattr(network, f"layer{stage + 1}", made)
        network.fc = nn.Identity()
        if stem.shape[-1] == 3:
            network.conv1 = nn.Conv2d(3, width, 3, 1, 2, bias=False)
            network.maxpool = nn.Identity()
    whole = nn.Sequential(*list(network.children())[:-1], nn.Flatten())
    loaded = whole if numbered else network
    loaded.load_state_dict(state, strict=True, assign=True)
    return loaded.eval()


def published_transformer(
    state: Mapping[str, Tensor], *, width: int, heads: int
) -> nn.Module:
    """Return the class token of timm's transformer with a producer's tensors.

    Args:
        state: in timm's names, all of them used.
        width: of the tokens.
        heads: of each of the twelve blocks.
    """
    with torch.device("meta"):
        network = VisionTransformer(
            patch_size=16,
            embed_dim=width,
            depth=12,
            num_heads=heads,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_classes=0,
            weight_init="skip",
        )
    network.load_state_dict(dict(state), strict=True, assign=True)
    network.eval()
    return Pooled(network, lambda images: network.forward_features(images)[:, 0])

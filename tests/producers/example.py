"""What an example checkpoint is, and small things that its builders share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Example:
    """A file's content, and what the producer computes with the networks in it.

    Attributes:
        layout: the one that has to match.
        tree: what torch.save writes.
        networks: by copy, from images (B, 3, S, S) to features (B, D).
        default: the copy that is taken when nobody says.
        image: pixels of an edge.
        options: arguments of `checkpoints.load` that the file needs, such as producer.
    """

    layout: str
    tree: Any
    networks: Mapping[str, Callable[[Tensor], Tensor]]
    default: str = "online"
    image: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)


EXAMPLES: dict[str, Callable[[], Example]] = {}


def example(build: Callable[[], Example]) -> Callable[[], Example]:
    """Register a builder under its name."""
    assert build.__name__ not in EXAMPLES, build.__name__
    EXAMPLES[build.__name__] = build
    return build


class Pooled(nn.Module):
    """A producer's network, made to return its feature."""

    def __init__(self, network: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.features = forward

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)


def drawn(network: Any, seed: int) -> Any:
    """Give every tensor values of its own, whatever the network started with."""
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        fill(name, tensor, draw)
    return network.eval()


def fill(name: str, tensor: Tensor, draw: torch.Generator) -> None:
    """Draw one tensor as its name needs it."""
    if not tensor.is_floating_point():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(7)
        return
    noise = torch.randn(tensor.shape, generator=draw)
    if name.endswith("running_var"):
        tensor.copy_(0.5 + noise.abs())
    elif tensor.ndim == 1 and not name.endswith(("bias", "mean")):
        tensor.copy_(1 + 0.1 * noise)
    else:
        tensor.copy_(0.05 * noise)


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before every key."""
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def trunk(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave torchvision's classifier out."""
    return {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}


def mlp(prefix: str) -> dict[str, Tensor]:
    """Return a small projector or head."""
    return {f"{prefix}0.weight": torch.ones(4, 4), f"{prefix}0.bias": torch.ones(4)}

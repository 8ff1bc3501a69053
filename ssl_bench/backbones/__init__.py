"""From weights to a network with named taps.

One file is one family: ``FAMILY`` (its name), ``EXAMPLES`` (names to show), ``HIDDEN``
(options that weights do not show), ``spec(**options)`` and ``parse(name)``, which
describe an architecture, ``infer(state_dict)`` and ``build(spec)``. A family is found
by its file, or as an entry point of the group ``ssl_bench.backbones`` of another
package.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.custom import custom
from ssl_bench.backbones.weights import (
    COUNTER,
    IMAGENET_INPUT,
    ArchSpec,
    BackboneWeights,
    Coverage,
    InputSpec,
    fingerprint,
)
from ssl_bench.errors import CheckpointError, UsageError, unknown

__all__ = [
    "COUNTER",
    "IMAGENET_INPUT",
    "ArchSpec",
    "Backbone",
    "BackboneWeights",
    "Coverage",
    "InputSpec",
    "build",
    "custom",
    "families",
    "fingerprint",
    "from_weights",
    "infer",
    "names",
    "parse",
    "skeleton",
]


@functools.cache
def families() -> dict[str, ModuleType]:
    """Return the families by name."""
    from ssl_bench.registry import discover

    return discover(__name__, "FAMILY")


def names() -> list[str]:
    """Return examples of architecture names of every family."""
    return sorted(name for module in families().values() for name in module.EXAMPLES)


def parse(arch: str) -> ArchSpec:
    """Return what a name stands for.

    Args:
        arch: such as ``resnet50``, ``resnet18-w24`` or ``vit_base_patch14_518``.

    Raises:
        UsageError: if no family knows the name; with the nearest names.
    """
    for module in families().values():
        spec: ArchSpec | None = module.parse(arch)
        if spec is not None:
            return spec
    sentence = unknown("architecture", arch, names())
    raise UsageError(
        f"{sentence}; other sizes follow the same pattern, as in resnet18-w24 or "
        "vit_base_patch14_518"
    )


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec:
    """Read the architecture off names and shapes.

    Args:
        state_dict: tensors in our names.

    Raises:
        CheckpointError: with the reason of every family that declined.
    """
    found: list[ArchSpec] = []
    reasons: list[str] = []
    for family, module in families().items():
        spec: ArchSpec | str = module.infer(state_dict)
        if isinstance(spec, ArchSpec):
            found.append(spec)
        else:
            reasons.append(f"not {family}: {spec}")
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(spec.name for spec in found)
        raise CheckpointError(f"the weights fit {both}; name one with --arch")
    raise CheckpointError(
        "the architecture cannot be told from the weights: " + "; ".join(reasons)
    )


def build(arch: str | ArchSpec, seed: int) -> Backbone:
    """Build a network with random weights.

    Args:
        arch: a name, or what `infer` or `parse` returned.
        seed: of the weights; torch's global generator is left as it was.

    Raises:
        UsageError: for an unknown name.
    """
    spec = parse(arch) if isinstance(arch, str) else arch
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone: Backbone = families()[spec.family].build(spec)
    return backbone.eval()


def skeleton(spec: ArchSpec) -> dict[str, Tensor]:
    """Return the state dict that an architecture needs, without memory (meta)."""
    return dict(_skeleton(spec.family, spec.name, tuple(sorted(spec.options.items()))))


@functools.lru_cache(maxsize=32)
def _skeleton(
    family: str, name: str, options: tuple[tuple[str, Any], ...]
) -> dict[str, Tensor]:
    with torch.device("meta"):
        backbone: Backbone = families()[family].build(
            ArchSpec(family, name, dict(options))
        )
    return dict(backbone.state_dict())


def from_weights(weights: BackboneWeights, seed: int = 0) -> Backbone:
    """Build the network that the weights belong to, and fill it.

    Args:
        weights: verified weights, as `ssl_bench.checkpoints.load` returns them.
        seed: of the tensors that partial weights leave open.

    Returns:
        A network in evaluation mode, in float32, that carries ``weights``.

    Raises:
        CheckpointError: if the weights are not partial and yet leave a tensor open.
    """
    filled: dict[str, Tensor] = {}
    start = build(weights.spec, seed).state_dict() if weights.partial else {}
    for name, place in skeleton(weights.spec).items():
        if name in weights.state_dict:
            filled[name] = weights.state_dict[name].to(place.dtype, copy=True)
        elif name in start:
            filled[name] = start[name]
        elif name.rpartition(".")[2] == COUNTER:
            filled[name] = torch.zeros(place.shape, dtype=place.dtype)
        else:
            raise CheckpointError(
                f"{weights.source} leaves {name} of {weights.arch} open"
            )
    with torch.device("meta"):
        backbone: Backbone = families()[weights.spec.family].build(weights.spec)
    backbone.load_state_dict(filled, strict=True, assign=True)
    backbone.weights = weights
    backbone.input = dataclasses.replace(weights.input, size=backbone.input.size)
    return backbone.eval()

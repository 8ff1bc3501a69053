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
from torch import Tensor, nn

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
    "roles",
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
    # What lacks the first tensor of a family says nothing about the weights.
    telling = [reason for reason in reasons if ": there " not in reason]
    raise CheckpointError(
        "the architecture cannot be told from the weights: "
        + "; ".join(telling or reasons)
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
    return dict(_skeleton(*_hashable(spec))[0])


def roles(spec: ArchSpec) -> dict[str, str]:
    """Return what sort of layer a tensor belongs to, where it matters.

    Returns:
        By name: ``weight`` for those of convolutions, linear layers and embeddings,
        ``norm`` for every tensor of a normalisation; other names are left out.
    """
    return dict(_skeleton(*_hashable(spec))[1])


def _hashable(spec: ArchSpec) -> tuple[str, str, tuple[tuple[str, Any], ...]]:
    return spec.family, spec.name, tuple(sorted(spec.options.items()))


@functools.lru_cache(maxsize=32)
def _skeleton(
    family: str, name: str, options: tuple[tuple[str, Any], ...]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    with torch.device("meta"):
        backbone: Backbone = families()[family].build(
            ArchSpec(family, name, dict(options))
        )
    found = {}
    for place, module in backbone.named_modules():
        start = f"{place}." if place else ""
        if isinstance(module, _WEIGHTED):
            found[f"{start}weight"] = "weight"
        elif isinstance(module, _NORMS):
            local = (*module._parameters, *module._buffers)
            found |= {f"{start}{key}": "norm" for key in local if key != COUNTER}
    state = dict(backbone.state_dict())
    return state, {key: role for key, role in found.items() if key in state}


_WEIGHTED = (nn.Conv2d, nn.Linear, nn.Embedding)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


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
    size = weights.input.size or backbone.input.size
    backbone.input = dataclasses.replace(weights.input, size=size)
    return backbone.eval()

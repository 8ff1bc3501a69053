"""What a checkpoint becomes: verified weights with all that has to travel with them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any

import torch
from torch import Tensor

COUNTER = "num_batches_tracked"
"""Batch norm's count of batches: kept where a file has it, no feature needs it."""


@dataclass(frozen=True)
class InputSpec:
    """Say what images the weights were made for.

    Attributes:
        mean: per channel, in units where white is 1.
        std: per channel, in the same units.
        channels: number of image channels.
        size: pixels of an edge that the weights are evaluated at: what a positional
            embedding was made for, unless the producer says otherwise; None where any
            size will do.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    size: int | None = None


IMAGENET_INPUT = InputSpec(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Source: torchvision's ImageNet statistics, which MMSelfSup and timm share."""


@dataclass(frozen=True)
class ArchSpec:
    """Describe an architecture fully enough to build it.

    Attributes:
        family: the module of `ssl_bench.backbones` that builds it.
        name: as users write it: ``resnet50``, ``vit_small_patch16_224``.
        options: what the family needs beside the name.
    """

    family: str
    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Coverage:
    """Account for every key of a file and every tensor of the backbone.

    Attributes:
        matched: number of backbone tensors that the file fills.
        missing: backbone tensors that it does not fill.
        unexpected: keys (in our names) that the backbone has no place for.
        dropped: keys of the file that a named rule leaves out, by rule.
        constant: how many tensors of a kind have one value throughout, by kind: normal
            for biases, scales and statistics, never the case for a weight.
        untrained: whether every normalisation is as an initialisation leaves it.
    """

    matched: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    constant: Mapping[str, int] = field(default_factory=dict)
    untrained: bool = False

    @property
    def percent(self) -> float:
        """Share of the backbone's tensors that the file fills, 0 to 100."""
        total = self.matched + len(self.missing)
        return 100.0 * self.matched / total if total else 0.0


@dataclass(frozen=True)
class BackboneWeights:
    """Hold the verified weights of one encoder of one checkpoint.

    Attributes:
        arch: name of the architecture that the shapes say.
        state_dict: tensors by our names (torchvision's for ResNet, timm's for ViT).
        layout: the layout that matched.
        source: name of the file as the producer wrote it, without its folder.
        sha256: digest of that file.
        encoder: ``online`` or ``ema``.
        coverage: what was filled, missing and dropped.
        input: statistics and size of the images.
        partial: True if the backbone is not wholly filled from the file.
        spec: everything needed to build the architecture.
        producer: who is taken to have written the file.
        alternatives: other producers whose files look the same, and what would differ.
    """

    arch: str
    state_dict: Mapping[str, Tensor]
    layout: str
    source: str
    sha256: str
    encoder: str
    coverage: Coverage
    input: InputSpec
    spec: ArchSpec
    partial: bool = False
    producer: str = ""
    alternatives: Mapping[str, str] = field(default_factory=dict)

    known_fingerprint: InitVar[str | None] = None

    def __post_init__(self, known_fingerprint: str | None) -> None:
        """Keep a fingerprint that was computed already; `replace` forgets it."""
        if known_fingerprint is not None:
            self.__dict__["fingerprint"] = known_fingerprint

    @functools.cached_property
    def fingerprint(self) -> str:
        """Digest of architecture and tensors; equal to that of the built backbone."""
        return fingerprint(self.arch, self.state_dict)


def fingerprint(arch: str, state_dict: Mapping[str, Tensor]) -> str:
    """Digest what determines the features: architecture, names, shapes and values.

    Floating tensors are taken as float32, the type they are computed in, and batch
    norm's counters are left out: neither moves a feature. The architecture counts
    because it holds what no tensor shows, such as the number of heads.

    Args:
        arch: name of the architecture.
        state_dict: tensors by name, on any device.

    Returns:
        sha256 as 64 hex digits.
    """
    digest = hashlib.sha256(arch.encode())
    for name in sorted(state_dict):
        if name.rpartition(".")[2] == COUNTER:
            continue
        tensor = state_dict[name].detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        digest.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()

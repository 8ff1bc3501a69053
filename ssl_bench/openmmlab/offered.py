"""What is too large for a config, kept by name for the model or data that is built."""

from __future__ import annotations

from ssl_bench.backbones import Backbone
from ssl_bench.data.dense import LabelMaps

_BACKBONES: dict[str, Backbone] = {}
_SPLITS: dict[str, LabelMaps] = {}


def offer_backbone(backbone: Backbone) -> None:
    """Keep a loaded network under its architecture's name."""
    _BACKBONES[backbone.arch] = backbone


def offered_backbone(arch: str) -> Backbone:
    """Return the network that was offered."""
    return _BACKBONES[arch]


def offer_split(role: str, split: LabelMaps) -> None:
    """Keep a split under its role."""
    _SPLITS[role] = split


def offered_split(role: str) -> LabelMaps:
    """Return the split that was offered."""
    return _SPLITS[role]

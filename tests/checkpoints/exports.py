"""Weights to export, and the networks of others that take them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench import backbones, checkpoints
from ssl_bench.backbones import BackboneWeights
from ssl_bench.checkpoints import export
from tests.producers.example import drawn

IMAGE = 64


def weights_of(arch: str, folder: Path) -> BackboneWeights:
    """Return drawn weights of an architecture, read from a file in our own names."""
    path = folder / "in.pth"
    torch.save(drawn(backbones.build(arch, 1), 3).state_dict(), path)
    return checkpoints.load(path, arch=arch)


def written(weights: BackboneWeights, folder: Path, target: str) -> dict[str, Tensor]:
    """Export to a file, and return the tensors that torch finds in it."""
    out = folder / "out.pth"
    export.save(weights, out, target)
    state: dict[str, Tensor] = torch.load(out, weights_only=True)["state_dict"]
    return state


def theirs(build: str, options: Mapping[str, Any]) -> nn.Module:
    """Build the network that an export names, by the arguments that it names."""
    module, _, name = build.rpartition(".")
    options = dict(options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if module == "mmpretrain":
            module = "mmpretrain.models"
        found = importlib.import_module(module)
        for key in {"block", "downsample_layer"} & options.keys():
            options[key] = getattr(found, options[key])
        network: nn.Module = getattr(found, name)(**options)
    # OpenMMLab's eval() returns nothing.
    network.eval()
    return network


def images(size: int = IMAGE) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(9))


@torch.inference_mode()
def ours(weights: BackboneWeights, size: int = IMAGE) -> Tensor:
    """Return the final tap of our own network."""
    found: Tensor = backbones.from_weights(weights)(images(size))
    return found


def assert_same_when_read_again(
    weights: BackboneWeights, folder: Path, target: str, suffix: str
) -> None:
    """Export, load, and compare everything that a record holds."""
    out = folder / f"again{suffix}"
    export.save(weights, out, target)
    back = checkpoints.load(out)
    assert back.fingerprint == weights.fingerprint
    old, new = checkpoints.provenance(weights), checkpoints.provenance(back)
    assert {k: old[k] for k in old.keys() - {"coverage"}} == {
        k: new[k] for k in new.keys() - {"coverage"}
    }
    assert back.coverage.missing == back.coverage.unexpected == ()

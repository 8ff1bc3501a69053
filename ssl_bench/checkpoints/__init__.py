"""From a checkpoint file of any producer to verified weights of a backbone.

One file is one layout; see `ssl_bench.checkpoints.layout`. A layout is found by its
file, or as an entry point of the group ``ssl_bench.checkpoints`` of another package.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ssl_bench.backbones import (
    IMAGENET_INPUT,
    ArchSpec,
    Backbone,
    BackboneWeights,
    Coverage,
    InputSpec,
    build,
    from_weights,
)
from ssl_bench.backbones import (
    custom as build_custom,
)
from ssl_bench.checkpoints import gate, reader
from ssl_bench.checkpoints.inventory import render_inventory, take_inventory
from ssl_bench.checkpoints.layout import ENCODERS, Reading, sort, states
from ssl_bench.checkpoints.matching import below, layouts, match
from ssl_bench.checkpoints.source import NONE, resolve
from ssl_bench.checkpoints.writer import provenance, save
from ssl_bench.errors import CheckpointError, UsageError, unknown

__all__ = [
    "layouts",
    "load",
    "load_backbone",
    "provenance",
    "render_inventory",
    "resolve",
    "save",
    "take_inventory",
]


def load(
    path: str | Path,
    *,
    layout: str | None = None,
    prefix: str | None = None,
    encoder: str | None = None,
    arch: str | None = None,
    allow_partial: bool = False,
) -> BackboneWeights:
    """Read a checkpoint strictly: one layout, every tensor filled, nothing left over.

    Args:
        path: a file, or a folder of a training run (its newest complete epoch).
        layout: the only layout to try; by default the one that fits.
        prefix: take the keys below it, instead of a layout's own.
        encoder: ``online`` or ``ema``; by default what the producer evaluates.
        arch: what the architecture must be; by default what the shapes say.
        allow_partial: accept missing and left-over tensors; written into the weights.

    Returns:
        Verified weights. Those of a file that we extracted carry the name, the sha256,
        the layout and the encoder of the file they were extracted from.

    Raises:
        CheckpointError: with what is wrong, the nearest names and a line to type.
        UsageError: for an unknown layout, encoder or architecture.
    """
    _check_encoder(encoder)
    payload = reader.read(resolve(path))
    name, reading = match(payload, layout=layout, prefix=prefix)
    chosen = _choose(reading, encoder, payload.path, labelled=prefix is not None)
    verified = gate.verify(
        reading.encoders[chosen],
        source=payload.path,
        hidden=reading.hidden,
        arch=arch,
        allow_partial=allow_partial,
    )
    origin = reading.provenance
    statistics = reading.input or IMAGENET_INPUT
    weights = BackboneWeights(
        arch=verified.spec.name,
        state_dict=verified.tensors,
        layout=origin.get("layout", name),
        source=origin.get("source", payload.source),
        sha256=origin.get("sha256", payload.sha256),
        encoder=encoder or chosen,
        coverage=verified.coverage,
        input=InputSpec(
            statistics.mean, statistics.std, size=verified.spec.options.get("size")
        ),
        spec=verified.spec,
        partial=verified.partial or bool(origin.get("partial", False)),
    )
    if origin and weights.arch == origin["arch"]:
        _check_unchanged(weights, origin, payload.path)
    return weights


def load_backbone(
    pretrain: str | Path,
    *,
    arch: str | None = None,
    encoder: str | None = None,
    layout: str | None = None,
    prefix: str | None = None,
    allow_partial: bool = False,
    seed: int = 0,
    custom: Mapping[str, Any] | None = None,
) -> Backbone:
    """Build the network of a checkpoint, ready to compute features.

    Args:
        pretrain: a checkpoint file, a folder of a training run, or ``none`` for random
            initialisation.
        arch: what the architecture must be; needed with ``none``.
        encoder: ``online`` or ``ema``; by default what the producer evaluates.
        layout: the only layout to try.
        prefix: take the keys below it.
        allow_partial: accept missing and left-over tensors.
        seed: of random initialisation.
        custom: config of a network of the user's own, registered in mmengine's MODELS;
            the file then holds its weights, in its own names.

    Returns:
        The network in evaluation mode; its ``weights`` say where it comes from.

    Raises:
        CheckpointError: if the file cannot be used; see `load`.
        UsageError: for an unknown name, or ``none`` without an architecture.
    """
    if custom is not None:
        return _load_custom(pretrain, custom, prefix=prefix, encoder=encoder, seed=seed)
    if str(pretrain) == NONE:
        if arch is None:
            raise UsageError(
                "random initialisation (--pretrain none) needs an architecture; pass "
                "--arch, for example --arch resnet50"
            )
        return build(arch, seed)
    weights = load(
        pretrain,
        layout=layout,
        prefix=prefix,
        encoder=encoder,
        arch=arch,
        allow_partial=allow_partial,
    )
    return from_weights(weights, seed)


def _check_encoder(encoder: str | None) -> None:
    if encoder is not None and encoder not in ENCODERS:
        raise UsageError(unknown("encoder", encoder, ENCODERS))


def _choose(
    reading: Reading, encoder: str | None, source: str, *, labelled: bool
) -> str:
    """Return the encoder to take; below a prefix the user's word is only a label."""
    if encoder is None or (labelled and len(reading.encoders) == 1):
        return reading.default
    if encoder not in reading.encoders:
        there = " and ".join(sorted(reading.encoders))
        raise CheckpointError(
            f"{source} holds only the {there} encoder, not the {encoder} one; leave "
            f"--encoder out, or name its keys with --prefix"
        )
    return encoder


def _check_unchanged(
    weights: BackboneWeights, origin: Mapping[str, Any], source: str
) -> None:
    if weights.fingerprint != origin["fingerprint"]:
        raise CheckpointError(
            f"{source} was changed after it was extracted from {weights.source}: its "
            "tensors are not those that its provenance speaks of; extract it again"
        )


def _load_custom(
    pretrain: str | Path,
    config: Mapping[str, Any],
    *,
    prefix: str | None,
    encoder: str | None,
    seed: int,
) -> Backbone:
    """Build a network of the user's own and fill it strictly from the file."""
    _check_encoder(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if str(pretrain) == NONE:
            return build_custom(config)
        payload = reader.read(resolve(pretrain))
        if prefix:
            payload, _ = below(payload, prefix)
        found = {state.encoder: state for state in states(payload)}
        if not found:
            raise CheckpointError(f"{payload.path} holds no state dict")
        chosen = encoder or next(iter(found))
        if chosen not in found:
            raise CheckpointError(f"{payload.path} holds no {chosen} encoder")
        tensors = sort(found[chosen], inside={}).tensors
        backbone = build_custom(config, tensors)
    backbone.weights = BackboneWeights(
        arch=backbone.arch,
        state_dict=tensors,
        layout="custom",
        source=payload.source,
        sha256=payload.sha256,
        encoder=chosen,
        coverage=Coverage(matched=len(tensors)),
        input=backbone.input,
        spec=ArchSpec("custom", backbone.arch, dict(config)),
    )
    return backbone

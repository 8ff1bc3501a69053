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
    fingerprint,
    from_weights,
)
from ssl_bench.backbones import (
    custom as build_custom,
)
from ssl_bench.checkpoints import command, gate, neighbours, reader, structure
from ssl_bench.checkpoints.catalogue import layouts
from ssl_bench.checkpoints.choice import alternatives, choose, informed, label, wrote
from ssl_bench.checkpoints.inventory import (
    render_inventory,
    take_inventory,
    undecided,
)
from ssl_bench.checkpoints.layout import ENCODERS
from ssl_bench.checkpoints.matching import below, match
from ssl_bench.checkpoints.sorting import sort, states
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
    "undecided",
]


def load(
    path: str | Path,
    *,
    layout: str | None = None,
    prefix: str | None = None,
    encoder: str | None = None,
    arch: str | None = None,
    producer: str | None = None,
    allow_partial: bool = False,
) -> BackboneWeights:
    """Read a checkpoint strictly: one layout, every tensor filled, nothing left over.

    Args:
        path: a file, or a folder of a training run (its newest complete epoch).
        layout: the only layout to try; by default the one that fits.
        prefix: take the keys below it, instead of a layout's own.
        encoder: ``online`` or ``ema``; by default what the producer evaluates.
        arch: what the architecture must be; by default what the shapes say.
        producer: who wrote the file, where several write the same names; by default
            the layout's first.
        allow_partial: accept missing and left-over tensors; written into the weights.

    Returns:
        Verified weights. Those of a file that we extracted carry the name, the sha256,
        the layout and the encoder of the file they were extracted from.

    Raises:
        CheckpointError: with what is wrong, the nearest names and a line to type.
        UsageError: for an unknown layout, encoder or architecture.
    """
    _check_encoder(encoder)
    file = resolve(path)
    with reader.read(file) as payload:
        return _verified(
            payload,
            file,
            layout=layout,
            prefix=prefix,
            encoder=encoder,
            arch=arch,
            producer=producer,
            allow_partial=allow_partial,
        )


def _verified(
    payload: reader.Payload,
    file: Path,
    *,
    layout: str | None,
    prefix: str | None,
    encoder: str | None,
    arch: str | None,
    producer: str | None,
    allow_partial: bool,
) -> BackboneWeights:
    """Take the backbone out of what was read; see `load`."""
    found = match(payload, layout=layout, prefix=prefix, producer=producer)
    if arch is None:
        neighbours.check_architecture(file, payload.tree)
    if producer is None:
        found = informed(found, file, named=arch is not None)
    reading = found.reading
    chosen = choose(found, encoder, payload.path, labelled=prefix is not None)
    try:
        verified = gate.verify(
            reading.encoders[chosen],
            source=payload.path,
            hidden={**reading.hidden, **found.producer.hidden, **reading.decided},
            arch=arch,
            allow_partial=allow_partial,
        )
    except CheckpointError as error:
        others = structure.elsewhere(payload, reading.encoders[chosen])
        partly = command.extract(
            payload.path,
            format=layout,
            prefix=prefix,
            encoder=encoder,
            arch=arch,
            allow_partial=True,
        )
        helps = isinstance(error, gate.IncompleteError) and not allow_partial
        said = gate.advice(payload.path, others, partly if helps else None)
        raise CheckpointError(f"{error}; {said}") from error
    origin = reading.provenance
    # Before the digest of the file is asked for, which a thread still computes.
    own_digest = fingerprint(verified.spec.name, verified.tensors)
    statistics = reading.input or found.producer.input or IMAGENET_INPUT
    weights = BackboneWeights(
        arch=verified.spec.name,
        state_dict=verified.tensors,
        layout=origin.get("layout", found.layout),
        source=origin.get("source", payload.source),
        sha256=origin.get("sha256", payload.sha256),
        encoder=encoder or label(found, chosen, prefix),
        coverage=verified.coverage,
        input=InputSpec(
            statistics.mean,
            statistics.std,
            size=statistics.size or verified.spec.options.get("size"),
        ),
        spec=verified.spec,
        partial=verified.partial or bool(origin.get("partial", False)),
        producer=origin.get("producer", wrote(found)),
        alternatives={}
        if producer or arch or verified.partial
        else alternatives(found, chosen),
        known_fingerprint=own_digest,
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
    producer: str | None = None,
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
        producer: who wrote the file, where several write the same names.
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
        producer=producer,
        allow_partial=allow_partial,
    )
    return from_weights(weights, seed)


def _check_encoder(encoder: str | None) -> None:
    if encoder is not None and encoder not in ENCODERS:
        raise UsageError(unknown("encoder", encoder, ENCODERS))


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
        with reader.read(resolve(pretrain)) as payload:
            return _filled_custom(payload, config, prefix=prefix, encoder=encoder)


def _filled_custom(
    payload: reader.Payload,
    config: Mapping[str, Any],
    *,
    prefix: str | None,
    encoder: str | None,
) -> Backbone:
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

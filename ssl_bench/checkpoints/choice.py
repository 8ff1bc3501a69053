"""Choose what a file leaves open: which copy is meant, and who wrote it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ssl_bench.backbones import IMAGENET_INPUT
from ssl_bench.checkpoints import gate, neighbours, structure
from ssl_bench.checkpoints.catalogue import layouts
from ssl_bench.checkpoints.layout import ONLINE, Producer
from ssl_bench.checkpoints.matching import Match
from ssl_bench.errors import BenchError, CheckpointError


def choose(found: Match, encoder: str | None, source: str, *, labelled: bool) -> str:
    """Return the encoder to take; below a prefix the user's word is only a label.

    Args:
        found: the layout, its reading and the producer.
        encoder: what the user asks for; None for the producer's own choice.
        source: the file, for the error.
        labelled: whether the user named the keys by a prefix.

    Raises:
        CheckpointError: if the file does not hold it.
    """
    there = found.reading.encoders
    if encoder is None or (labelled and len(there) == 1):
        own = found.producer.encoder
        return own if own is not None and own in there else found.reading.default
    if encoder not in there:
        origin = found.reading.provenance
        if origin:
            raise CheckpointError(
                f"{source} holds only the {origin['encoder']} encoder of "
                f"{origin['source']}; extract the {encoder} one from that file"
            )
        raise CheckpointError(
            f"{source} holds only the {' and '.join(sorted(there))} encoder, not the "
            f"{encoder} one; leave --encoder out, or name its keys with --prefix"
        )
    return encoder


def label(found: Match, chosen: str, prefix: str | None) -> str:
    """Return what to call the copy; below a prefix its own words may say so.

    Args:
        found: the layout and its reading.
        chosen: which copy was taken.
        prefix: what the user named the keys by.
    """
    if not prefix or len(found.reading.encoders) > 1 or chosen != ONLINE:
        return chosen
    return structure.label_of(prefix)


def informed(found: Match, file: Path, *, named: bool) -> Match:
    """Take what a hub wrote beside the weights before what producers are known for.

    Args:
        found: the layout and its reading.
        file: the weights.
        named: whether the user named the architecture, which then is not asked for.

    Raises:
        CheckpointError: if those files ask for what is not supported.
    """
    told = neighbours.read(file, only_input=named)
    if not told.files:
        return found
    reading = replace(
        found.reading,
        input=told.input or found.reading.input,
        decided=told.hidden,
        beside=told.files,
    )
    return replace(found, reading=reading)


def wrote(found: Match) -> str:
    """Return who is taken to have written the file, for the record."""
    return ", with ".join((found.producer.name, *found.reading.beside))


def alternatives(found: Match, chosen: str) -> dict[str, str]:
    """Return what would differ for the other producers of a layout.

    Only what moves a feature counts: another architecture behind the same shapes,
    other statistics of the images, another copy.

    Args:
        found: the layout, its reading and the producer that was taken.
        chosen: which copy was taken.

    Raises:
        CheckpointError: if the architecture cannot be told.
    """
    if found.reading.provenance or found.reading.producer:
        return {}
    producers = layouts()[found.layout].PRODUCERS
    mine = _facts(found, found.producer, chosen)
    others = {}
    for producer in producers:
        try:
            theirs = _facts(found, producer, chosen)
        except BenchError:
            continue  # no such network: 12 heads do not divide a width of 1024
        differences = [new for old, new in zip(mine, theirs, strict=True) if old != new]
        if differences:
            others[producer.name] = ", ".join(differences)
    return others


def _facts(found: Match, producer: Producer, chosen: str) -> tuple[str, ...]:
    """Return what a producer's word comes to, for people to compare."""
    reading = found.reading
    hidden = {**reading.hidden, **producer.hidden, **reading.decided}
    spec = gate.architecture(reading.encoders[chosen], "", hidden, None)
    statistics = reading.input or producer.input or IMAGENET_INPUT
    mean = ", ".join(f"{value:.3g}" for value in statistics.mean)
    std = ", ".join(f"{value:.3g}" for value in statistics.std)
    size = f"at {statistics.size or spec.options.get('size') or 'any'} pixels"
    copy = producer.encoder if producer.encoder in reading.encoders else None
    return (
        spec.name,
        f"mean {mean}",
        f"std {std}",
        size,
        f"the {copy or reading.default} copy",
    )

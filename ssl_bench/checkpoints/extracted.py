"""Files that `ssl_bench.checkpoints.save` wrote: our names, and where they come from.

A .pth file is ``{"state_dict": ..., "meta": provenance}``, as OpenMMLab's tools like
it; a .safetensors file has the same provenance as JSON among its metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ssl_bench.backbones import InputSpec, families, parse
from ssl_bench.checkpoints.catalogue import namings
from ssl_bench.checkpoints.layout import ENCODERS, Naming, Producer, Reading, Recipe
from ssl_bench.checkpoints.reader import Payload
from ssl_bench.checkpoints.sorting import is_state, sort, unwrapped
from ssl_bench.errors import BenchError, CheckpointError

LAYOUT = "ssl_bench"
PRODUCERS = (Producer("ssl_bench", "ssl-bench extract"),)
RECIPE = Recipe(inside={})
FORMAT = "ssl_bench backbone"
FIELDS = {
    "version": str,
    "source": str,
    "sha256": str,
    "layout": str,
    "encoder": str,
    "arch": str,
    "mean": list,
    "std": list,
    "coverage": dict,
    "partial": bool,
    "fingerprint": str,
}


def provenance(payload: Payload) -> Mapping[str, Any] | None:
    """Return what an extraction wrote about its source; None for foreign files.

    Raises:
        CheckpointError: if it was written by us and is not whole.
    """
    found: Any = None
    if "provenance" in payload.metadata:
        try:
            found = json.loads(payload.metadata["provenance"])
        except ValueError:
            found = None
    elif isinstance(payload.tree, Mapping):
        found = payload.tree.get("meta")
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        return None
    wrong = [
        name for name, kind in FIELDS.items() if not isinstance(found.get(name), kind)
    ]
    if not wrong and found["encoder"] not in ENCODERS:
        wrong = ["encoder"]
    if wrong:
        raise CheckpointError(
            f"{payload.path} was written by ssl-bench extract, but its provenance is "
            f"damaged ({', '.join(wrong)}); extract it again from the original file"
        )
    return found


def read(payload: Payload) -> Reading | None:
    """Read a file of our own."""
    known = provenance(payload)
    if known is None:
        return None
    tree = payload.tree
    entries = tree if payload.metadata else tree.get("state_dict", tree.get("model"))
    if not is_state(entries):
        raise CheckpointError(f"{payload.path} holds no state_dict; extract it again")
    state = unwrapped(entries, (), known["encoder"])
    encoder = sort(state, naming=_naming(known.get("names"), payload.path), inside={})
    return Reading(
        {known["encoder"]: encoder},
        known["encoder"],
        input=InputSpec(
            tuple(known["mean"]), tuple(known["std"]), size=_size(known.get("size"))
        ),
        hidden=_hidden(known["arch"]),
        provenance=known,
    )


def _naming(name: Any, path: str) -> Naming | None:
    """Return the names that a file was written in; None for our own.

    Raises:
        CheckpointError: if nobody knows them.
    """
    if name is None:
        return None
    if not isinstance(name, str) or name not in namings():
        raise CheckpointError(
            f"{path} was written in names that nobody knows; extract it again"
        )
    return namings()[name]


def _size(size: Any) -> int | None:
    """Return the pixels of an edge, where an extraction wrote a usable number."""
    return size if type(size) is int and size > 0 else None


def _hidden(arch: str) -> dict[str, Any]:
    """Return what the name of the architecture says and its tensors do not."""
    try:
        spec = parse(arch)
    except BenchError:
        return {}
    hidden = families()[spec.family].HIDDEN
    return {name: spec.options[name] for name in hidden}

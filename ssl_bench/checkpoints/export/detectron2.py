"""Write the pickles of arrays that detectron2 reads.

Source: detectron2/checkpoint/detection_checkpoint.py, ``_load_file``: a dictionary with
``model`` and ``__author__`` is its own format, and ``matching_heuristics`` finds the
place of every array by the end of its name. The arrays are rebuilt by a function that
NumPy moved: the old place of it is written, which old and new versions know.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_bench.backbones import BackboneWeights
from ssl_bench.checkpoints.export.plan import Plan
from ssl_bench.files import atomic_write

SUFFIX = ".pkl"
AUTHOR = "ssl_bench"
PROTOCOL = 3
"""The first in which bytes are bytes; every Python that detectron2 runs on reads it."""

_PythonPickler: Any = pickle._Pickler
_MOVED = {"numpy._core.multiarray": b"numpy.core.multiarray"}


def write_pickle(
    tensors: Mapping[str, Tensor], facts: Mapping[str, Any], out: Path
) -> None:
    """Write arrays and facts about them, whole or not at all.

    Args:
        tensors: by detectron2's names.
        facts: provenance; detectron2 passes it over.
        out: the file.

    Raises:
        BenchError: if the place cannot be written.
    """
    tree = {
        "model": {name: _array(tensor) for name, tensor in tensors.items()},
        "__author__": AUTHOR,
        "matching_heuristics": True,
        "meta": dict(facts),
    }
    with atomic_write(out) as temporary, temporary.open("wb") as handle:
        _Pickler(handle, PROTOCOL).dump(tree)


class _Pickler(_PythonPickler):  # type: ignore[misc]
    """Write names by which NumPy of any age finds its functions."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write the name of a function or class."""
        module = _MOVED.get(getattr(obj, "__module__", ""))
        if module is None:
            super().save_global(obj, name)
            return
        self.write(pickle.GLOBAL + module + b"\n" + obj.__name__.encode() + b"\n")
        self.memoize(obj)


def _array(tensor: Tensor) -> Any:
    """Return an array of its own; NumPy has no bfloat16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().cpu().contiguous().numpy()


def settings(weights: BackboneWeights, plan: Plan) -> list[str]:
    """Return the lines of a detectron2 config that go with the file."""
    bgr = bool(weights.spec.options["bgr"])
    order = -1 if bgr else 1
    mean = [round(255 * value, 3) for value in weights.input.mean[::order]]
    std = [round(255 * value, 3) for value in weights.input.std[::order]]
    return [
        f"MODEL.PIXEL_MEAN {mean}",
        f"MODEL.PIXEL_STD {std}",
        f"INPUT.FORMAT {'BGR' if bgr else 'RGB'}",
        *(f"{plan.build}.{key} {value}" for key, value in plan.options.items()),
        *plan.notes,
    ]

"""Read the pickles in which CIFAR is distributed, without executing anything.

A pickle may name any function of any installed package and have it called. Here only
what arrays, strings and containers are made of is let through.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct
from numpy._core.numeric import _frombuffer  # type: ignore[attr-defined]

from ssl_bench.errors import DataError


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for ``_codecs.encode``: Python 3 writes bytes so in protocol 2."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"refused: the codec {encoding!r}")
    return text.encode("latin1")


def _dtype(*arguments: Any) -> np.dtype[Any]:
    """Stand in for ``numpy.dtype``: no arrays of objects, which hold pointers."""
    found: np.dtype[Any] = np.dtype(*arguments)
    if found.hasobject:
        raise pickle.UnpicklingError("refused: an array of objects")
    return found


_ALLOWED = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (bytes, dict, frozenset, list, set, str, tuple)
    },
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused: it names {module}.{name}") from None


def read_pickle(path: Path) -> Any:
    """Read a pickle of arrays, strings, numbers and containers.

    Byte strings of Python 2 become text (latin-1).

    Raises:
        DataError: when the file is missing, damaged, or names anything else.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle raises whatever it runs into
        reason = str(error) or type(error).__name__
        raise DataError(
            f"cannot read {path}: {reason}; it is damaged, or not a file of the data "
            "set; fetch it again"
        ) from error

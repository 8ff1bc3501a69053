"""Names that serve to run programs: a pickle that has one is refused as hostile.

Nothing that a pickle names is ever called, so this is no defence but a diagnosis: who
downloaded such a file should hear of it.
"""

from __future__ import annotations

import itertools

from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.errors import CheckpointError

# fmt: off
MODULES = frozenset(
    {
        "_io", "_pickle", "_posixsubprocess", "_pyrepl", "_winapi",
        "_xxsubinterpreters",
        "asyncio", "bdb", "cProfile", "code", "codeop", "commands", "ctypes",
        "ensurepip", "ftplib", "http", "idlelib", "imp", "importlib", "marshal",
        "multiprocessing", "nt", "os", "pdb", "pickle", "pip", "pkgutil", "posix",
        "profile", "pty", "pydoc", "requests", "runpy", "setuptools", "shelve",
        "shutil", "signal", "site", "smtplib", "socket", "subprocess", "sys",
        "tempfile", "threading", "timeit", "urllib", "urllib2", "venv", "webbrowser",
        "zipimport",
    }
)
"""Refused as the first part of a module's name."""

INNER = frozenset(
    {
        "_posixsubprocess", "ctypes", "importlib", "marshal", "nt", "os", "posix",
        "pty", "runpy", "shutil", "subprocess", "sys",
    }
)
"""Refused as any part: what a module imported can be reached through it."""

BUILTINS = frozenset(
    {
        "__import__", "apply", "breakpoint", "compile", "delattr", "eval", "exec",
        "execfile", "exit", "file", "getattr", "globals", "help", "input", "locals",
        "open", "quit", "reload", "setattr", "vars",
    }
)
FUNCTIONS = frozenset(
    {
        "codecs.open", "distutils.spawn.spawn", "io.FileIO", "io.open",
        "io.open_code", "torch.hub.load", "torch.load", "torch.serialization.load",
        "numpy.load", "joblib.load", "dill.loads", "cloudpickle.loads",
    }
)
# fmt: on
BUILTIN_MODULES = frozenset({"__builtin__", "__builtins__", "builtins"})

GETATTR = frozenset({f"{module}.getattr" for module in BUILTIN_MODULES})
BOUND = "mmengine.logging.history_buffer.HistoryBuffer"
"""The class whose methods mmengine writes, by getattr, into every checkpoint."""


def refuse(origin: str) -> CheckpointError:
    """Return the error for a name that serves to run programs."""
    return CheckpointError(
        f"it asks to run {shown(origin)}, which no checkpoint needs: the file is "
        "hostile or broken, and nothing of it was executed; get it from its "
        "publisher again"
    )


def is_refused(origin: str) -> bool:
    """Tell whether a dotted name serves to run programs."""
    parts = origin.split(".")
    builtins = [
        name for module, name in itertools.pairwise(parts) if module in BUILTIN_MODULES
    ]
    return (
        parts[0] in MODULES
        or not INNER.isdisjoint(parts)
        or not BUILTINS.isdisjoint(builtins)
        or origin in FUNCTIONS
    )

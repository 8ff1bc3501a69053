"""Pickles that call programs, in every place where a pickle may stand."""

from __future__ import annotations

import builtins
import code
import collections
import ctypes
import functools
import importlib
import io
import operator
import os
import pathlib
import pickle
import pydoc
import runpy
import shutil
import subprocess
import sys
import timeit
import webbrowser
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ssl_bench import backbones
from tests.checkpoints.test_pickle_bombs import BOMBS, HARMLESS

Entry = tuple[str, str, bytes, bool]
"""What it is, the name of its file, its bytes, and whether it only has inert names."""


class Call:
    """Pickle to a call."""

    def __init__(self, function: Any, *args: Any, **more: Any) -> None:
        self.result = function, args, *more.values()

    def __reduce__(self) -> Any:
        return self.result

    def __call__(self) -> None:
        """Be callable, so that a call's result can be called in turn."""


def calls(canary: str) -> dict[str, Any]:
    """Return objects that make the canary where a name of theirs is called."""
    touch = f"touch {canary}"
    source = f"open({canary!r}, 'w')"
    module = Call(importlib.import_module, "os")
    return {
        "os.system": Call(os.system, touch),
        "os.popen": Call(os.popen, touch),
        "os.makedirs": Call(os.makedirs, canary),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", canary]),
        "subprocess.run": Call(subprocess.run, ["touch", canary]),
        "eval": Call(eval, source),
        "exec": Call(exec, source),
        "compile": Call(exec, Call(compile, source, "x", "exec")),
        "open": Call(open, canary, "w"),
        "__import__": Call(getattr, Call(__import__, "os"), "system"),
        "getattr": Call(Call(getattr, module, "system"), touch),
        "setattr": Call(setattr, module, "x", 1),
        "globals": Call(globals),
        "runpy": Call(runpy.run_path, canary),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        "shutil": Call(shutil.copy, "/etc/passwd", canary),
        "code": Call(code.interact),
        "pydoc": Call(pydoc.pipepager, "x", touch),
        "timeit": Call(timeit.timeit, source, number=1),
        "webbrowser": Call(webbrowser.open, "file://" + canary),
        "ctypes": Call(ctypes.CDLL, canary),
        "sys.exit": Call(sys.exit, 0),
        "sys.setrecursionlimit": Call(sys.setrecursionlimit, 10),
        "partial": Call(functools.partial, os.system, touch),
        "map": Call(list, Call(map, os.system, [touch])),
        "state": Call(collections.OrderedDict, state={"x": Call(os.system, touch)}),
        "list": [Call(os.system, touch)],
        "key": {Call(os.system, touch): 1},
        "torch.load": Call(torch.load, canary),
    }


def inert_calls(canary: str) -> dict[str, Any]:
    """Return calls of what no list has: nothing may call them either."""
    array = np.ones(1)
    return {
        "numpy.savetxt": Call(np.savetxt, canary, [1]),
        "numpy.save": Call(np.save, canary, array),
        "torch.save": Call(torch.save, 1, canary),
        "attrgetter": Call(operator.attrgetter("x"), 1),
        "methodcaller": Call(operator.methodcaller, "touch"),
        "path": pathlib.Path(canary),
        "reduce": Call(functools.reduce, operator.add, [1, 2]),
        "type": Call(builtins.type, "X", (), {}),
        "zip": Call(zipfile.ZipFile, canary, "w"),
    }


def pickles(canary: str) -> Iterator[Entry]:
    """Yield hostile pickles in every format and protocol."""
    tensors = dict(backbones.build("resnet18-w2", 1).state_dict())
    for inert, table in ((False, calls(canary)), (True, inert_calls(canary))):
        for name, call in table.items():
            for place, tree in {
                "alone": call,
                "beside": {"state_dict": tensors, "meta": call},
                "deep": {"state_dict": tensors, "meta": [[{"a": (1, call)}]]},
            }.items():
                for kind, write in WRITERS.items():
                    if place == "deep" and "zip" not in kind:
                        continue
                    what = f"{name}, {place}, {kind}"
                    yield what, f"x.{kind[-3:]}", write(tree), inert
    for name, bomb in BOMBS.items():
        yield f"bomb: {name}, in a zip", "x.pth", in_zip(bomb), name in HARMLESS
        yield f"bomb: {name}", "x.pkl", b"\x80\x04" + bomb, name in HARMLESS
    for name, opcodes in by_hand(canary).items():
        yield f"by hand: {name}, in a zip", "x.pth", in_zip(opcodes), False
        yield f"by hand: {name}", "x.pkl", b"\x80\x04" + opcodes, False


def by_hand(canary: str) -> dict[str, bytes]:
    """Return opcodes that no pickler writes."""
    touch = b"(Vtouch %s\ntR." % canary.encode()
    names = {
        "GLOBAL": b"cos\nsystem\n",
        "STACK_GLOBAL": b"Vos\nVsystem\n\x93",
        "dotted name": b"Vtorch\nVserialization.os.system\n\x93",
        "dotted module": b"ctorch.serialization.os\nsystem\n",
        "posix": b"cposix\nsystem\n",
        "nt": b"cnt\nsystem\n",
        "builtins of a module": b"cnumpy.builtins\neval\n",
        "attribute of eval": b"Vbuiltins\nVeval.__call__\n\x93",
    }
    found = {name: opcodes + touch for name, opcodes in names.items()}
    command = b"Vtouch %s\n" % canary.encode()
    return found | {
        "INST": b"(" + command + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + command + b"o.",
        "NEWOBJ": b"cos\nsystem\n" + command + b"\x85\x81.",
        "NEWOBJ_EX": b"cos\nsystem\n" + command + b"\x85}\x92.",
        "EXT1": b"\x82\x01" + touch,
        "EXT4": b"\x84\x01\x00\x00\x00" + touch,
        "BUILD": b"ca\nB\n)\x81}V__setstate__\ncos\nsystem\nsb" + command + b"b.",
        "persistent id": b"Vos.system\n\x8c\x01x\x86Q.",
        "persistent text": b"Pos.system\n.",
        "thrown away": b"cos\nsystem\n0N.",
        "never reached": b"cos\nsystem\nN.",
        "storage of a program": b"(Vstorage\ncos\nsystem\nV0\nVcpu\nK\x01tQ.",
    }


def in_zip(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", content)
    return buffer.getvalue()


def saved(protocol: int, *, new: bool) -> Callable[[Any], bytes]:
    def write(tree: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(
            tree,
            buffer,
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=new,
        )
        return buffer.getvalue()

    return write


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "zip 2, pth": saved(2, new=True),
    "zip 5, pth": saved(5, new=True),
    "old 2, bin": saved(2, new=False),
    "plain 0, pkl": lambda tree: pickle.dumps(tree, 0),
    "plain 4, pkl": lambda tree: pickle.dumps(tree, 4),
}

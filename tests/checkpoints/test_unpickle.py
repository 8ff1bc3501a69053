"""The restricted unpickler: what it builds, and that it runs nothing."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench.checkpoints import reader
from ssl_bench.checkpoints.formats.placeholder import Placeholder, plain
from ssl_bench.errors import CheckpointError


class Hostile:
    """Pickle to a call of anything with anything."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Own:
    """Stand for a class of the file's author."""

    def __init__(self) -> None:
        self.values = [1, 2]


def wrap(path: Path, content: bytes, **extra: bytes) -> Path:
    """Put a pickle where torch puts it."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        for name, data in extra.items():
            file.writestr(f"archive/{name}", data)
    return path


def save(path: Path, tree: Any) -> Path:
    torch.save(tree, path)
    return path


def named(module: str, name: str, argument: str) -> bytes:
    """Write a pickle by hand that calls module.name(argument)."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("sys", "exit"),
        ("importlib", "import_module"),
        ("importlib._bootstrap", "_load"),
        ("runpy", "run_path"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "compile"),
        ("builtins", "open"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "eval"),
        ("pickle", "loads"),
        ("shutil", "rmtree"),
        ("torch", "os.system"),
        ("collections.abc", "sys.modules"),
    ],
)
def test_names_that_run_programs_are_refused(
    tmp_path: Path, module: str, name: str
) -> None:
    path = wrap(tmp_path / "bad.pth", named(module, name, "true"))
    with pytest.raises(CheckpointError, match="nothing of it was executed") as caught:
        reader.read(path)
    assert f"{module}.{name}" in str(caught.value)
    assert str(path) in str(caught.value)


def test_nothing_is_executed(tmp_path: Path, tensors: dict[str, Any]) -> None:
    mark = tmp_path / "executed"
    touch = f"touch {mark}"
    attacks = [
        Hostile(os.system, touch),
        Hostile(eval, f"open({str(mark)!r}, 'w')"),
        Hostile(exec, f"open({str(mark)!r}, 'w')"),
        Hostile(subprocess.check_call, ["touch", str(mark)]),
        Hostile(Path.touch, mark),
        Hostile(list, Hostile(os.system, touch)),
        {"state_dict": tensors, "meta": [{"deep": Hostile(os.system, touch)}]},
        Hostile(getattr, Hostile(__import__, "os"), "system"),
    ]
    for number, attack in enumerate(attacks):
        path = save(tmp_path / f"{number}.pth", attack)
        with pytest.raises(CheckpointError):
            reader.read(path)
        assert not mark.exists(), number


def test_an_unlisted_function_is_never_called(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    tree = {"weights": Hostile(np.savetxt, str(mark), [1])}
    read = reader.read(save(tmp_path / "x.pth", tree)).tree
    assert isinstance(read["weights"], Placeholder)
    assert read["weights"].origin.endswith("savetxt")
    assert not mark.exists()


def test_foreign_classes_stay_readable(tmp_path: Path) -> None:
    tree = {
        "args": argparse.Namespace(arch="resnet50", epochs=200),
        "loss": np.float64(0.25),
        "history": np.arange(3),
        "where": Path("/checkpoints"),
        "own": Own(),
        "bound": collections.deque([1, 2]),
    }
    read = reader.read(save(tmp_path / "x.pth", tree)).tree
    assert read["args"].origin == "argparse.Namespace"
    assert read["args"].state == {"arch": "resnet50", "epochs": 200}
    assert read["own"].state == {"values": [1, 2]}
    assert read["bound"].items == [1, 2]
    assert read["loss"] == 0.25
    assert read["history"].tolist() == [0, 1, 2]
    assert plain(read["where"]) == "/checkpoints"
    assert "argparse.Namespace" in repr(read["args"])


def test_a_foreign_mapping_keeps_its_items(tmp_path: Path) -> None:
    content = b"cmade.up\nAttributeDict\n(tR(VbatchSize\nI3\nVname\nVx\nu."
    read = reader.read(wrap(tmp_path / "x.pth", content)).tree
    assert read.items == [("batchSize", 3), ("name", "x")]


def test_plain_things_come_back_as_they_were(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    tree: dict[str, Any] = {
        "ordered": collections.OrderedDict(a=1),
        "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, {"k": [1]}),
        "set": {1, 2},
        "frozen": frozenset({3}),
        "bytes": b"\x00\xff",
        "array": bytearray(b"ab"),
        "complex": 1 + 2j,
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "transposed": base.view(3, 4).t(),
        "part": base[4:8],
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "wide": torch.ones(2, dtype=torch.uint16),
    }
    path = save(tmp_path / "x.pth", tree)
    read = reader.read(path).tree
    for name, value in tree.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(read[name], value.detach()), name
            assert read[name].dtype == value.dtype
        else:
            assert read[name] == value, name
    assert read["part"].untyped_storage().data_ptr() == (
        read["transposed"].untyped_storage().data_ptr()
    )


def test_a_device_is_text(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", {"device": torch.device("cuda", 1)})
    assert reader.read(path).tree["device"] == "cuda:1"


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (3, 4), (4, 1)),  # 12 elements of 8
        (6, (3,), (1,)),
        (0, (2,), (8,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (2**62, 2**62), (1, 1)),
        (9, (0,), (1,)),
        ("0", (1,), (1,)),
    ],
)
def test_a_tensor_cannot_reach_beyond_its_storage(
    tmp_path: Path, arguments: tuple[Any, ...]
) -> None:
    buffer = io.BytesIO()

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", 8)
            return None

    rebuild = Hostile(torch._utils._rebuild_tensor_v2, Storage(), *arguments, False, {})
    Pickler(buffer, protocol=2).dump({"x": rebuild})
    path = wrap(tmp_path / "x.pth", buffer.getvalue(), **{"data/0": bytes(32)})
    with pytest.raises(CheckpointError, match=r"reaches beyond|claims|lies beyond"):
        reader.read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"garbage",
        b"\x80\x02}q\x00.extra"[:4],
        b"\x80\x09K\x01.",
        b"cnot_closed\n",
        b"(lp0\ng99\n.",
        b"N(tR.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"Vkey\nQ.",
        b"(Vmodule\nV0\ntQ.",
    ],
)
def test_a_damaged_pickle_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        reader.read(wrap(tmp_path / "x.pth", content))
    assert "\n" not in str(caught.value)

"""Plain pickles and torch's old format: what it takes to read them without torch."""

from __future__ import annotations

import collections
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from numpy._core.multiarray import _reconstruct

from ssl_bench.checkpoints import reader
from ssl_bench.checkpoints.formats.placeholder import Placeholder, attributes
from ssl_bench.errors import CheckpointError

ARRAYS: dict[str, Any] = {
    "plain": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "foreign order": np.arange(5, dtype=">f4"),
    "foreign order, complex": np.array([1 + 2j], dtype=">c16"),
    "half": np.ones(3, np.float16),
    "flags": np.array([True, False]),
    "wide": np.array([2**63], np.uint64),
    "empty": np.zeros((0, 4), np.float32),
    "no axis": np.array(7),
    "large": np.random.default_rng(0).normal(size=(300, 70)),
}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_become_tensors(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": ARRAYS}, protocol))
    read = reader.read(path).tree["model"]
    for name, array in ARRAYS.items():
        assert read[name].shape == array.shape, name
        assert np.array_equal(read[name].numpy(), array), name


@pytest.mark.parametrize("protocol", range(6))
def test_tensors_in_a_plain_pickle(tmp_path: Path, protocol: int) -> None:
    base = torch.arange(12.0)
    tree = {"a": base, "t": base.view(3, 4).t(), "h": torch.ones(3).half()}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(tree, protocol))
    read = reader.read(path).tree
    assert all(torch.equal(read[key], value) for key, value in tree.items())


def test_numbers_text_and_objects_of_numpy(tmp_path: Path) -> None:
    tree = {
        "number": np.float32(2.5),
        "flag": np.bool_(True),
        "text": np.array(["a", "b"]),
        "objects": np.array([None, "x"], dtype=object),
        "count": np.int64(-3),
    }
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(tree))
    read = reader.read(path).tree
    assert (read["number"], read["flag"], read["count"]) == (2.5, True, -3)
    assert isinstance(read["text"], Placeholder)
    assert read["objects"].state[-1] == [None, "x"]


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """As Caffe2 files are: byte strings for names and for numbers."""
    numbers = np.array([1.5, -2.0], "<f4").tobytes()
    content = (
        b"\x80\x02}U\x05conv1cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\n"
        b"U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89U\x08" + numbers + b"tbs."
    )
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    assert reader.read(path).tree["conv1"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size": (3,)}, "has 8 bytes, expected 12"),
        ({"size": (2**40, 2**40)}, "has 8 bytes"),
        ({"size": (-2,)}, "absurd shape"),
        ({"content": 5}, "no bytes"),
    ],
)
def test_an_array_must_be_of_its_size(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    facts = {"size": (2,), "content": bytes(8), **changed}

    class Array:
        def __reduce__(self) -> Any:
            state = (1, facts["size"], np.dtype("f4"), False, facts["content"])
            return _reconstruct, (np.ndarray, (0,), b"b"), state

    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Array()))
    with pytest.raises(CheckpointError, match=said):
        reader.read(path)


def old(tree: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def test_the_old_format_keeps_everything(tmp_path: Path) -> None:
    base = torch.arange(10.0)
    tree = {
        "base": base,
        "part": base[3:7],
        "flags": torch.tensor([True]),
        "double": torch.ones(3, dtype=torch.float64),
        "empty": torch.empty(0),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "loss": np.float64(0.5),
    }
    path = tmp_path / "x.pth"
    path.write_bytes(old(tree))
    read = reader.read(path).tree
    assert read["loss"] == 0.5
    for name in tree.keys() - {"loss"}:
        assert torch.equal(read[name], tree[name].detach()), name
        assert read[name].dtype == tree[name].dtype
    read["base"][3] = 99.0
    assert read["part"][0] == 99.0


@pytest.mark.parametrize("module", [False, True])
def test_classes_that_the_old_format_explains(tmp_path: Path, module: bool) -> None:
    """Whole networks lie there with the source of their classes, which nobody reads."""
    tree: Any = torch.nn.Linear(2, 3) if module else {"x": torch.ones(2)}
    path = tmp_path / "x.pth"
    path.write_bytes(old(tree))
    read = reader.read(path).tree
    if module:
        assert torch.equal(read.state["_parameters"]["weight"], tree.weight.detach())


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: c + b"\0", "1 bytes follow its last storage"),
        (lambda c: c[:-1], "cut off"),
        (lambda c: re.sub(b"(endianq.)\x88", b"\\1\x89", c), "are not .*-endian"),
        (lambda c: c.replace(b"M\xe9\x03.", b"M\xe8\x03."), "head is not torch's"),
        (lambda c: c[:-20] + b"\x04" + c[-19:], "has 4 elements, expected 3"),
    ],
)
def test_a_damaged_old_file(
    tmp_path: Path, edit: Callable[[bytes], bytes], said: str
) -> None:
    path = tmp_path / "x.pth"
    whole = old({"x": torch.ones(3)})
    path.write_bytes(edit(whole))
    with pytest.raises(CheckpointError, match=said):
        reader.read(path)


def test_history_buffers_of_mmengine(tmp_path: Path) -> None:
    """They name getattr, which is refused elsewhere: every MM 1.x file has some."""
    buffer = HistoryBuffer()
    buffer.update(1.5)
    path = tmp_path / "x.pth"
    torch.save({"message_hub": {"log_scalars": {"loss": buffer}}}, path)
    read = reader.read(path).tree["message_hub"]["log_scalars"]["loss"]
    assert attributes(read)["_log_history"].tolist() == [1.5]


class Call:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    "tree",
    [
        getattr,
        [Call(getattr, HistoryBuffer, "mean"), Call(getattr, 1, "real")],
        Call(getattr, HistoryBuffer, "__init__"),
        Call(getattr, HistoryBuffer, "mean.os"),
        Call(getattr, collections.OrderedDict, "items"),
        Call(getattr, HistoryBuffer(), "mean"),
    ],
)
def test_any_other_getattr_is_refused(tmp_path: Path, tree: Any) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(tree, 2))
    with pytest.raises(CheckpointError, match=r"asks to run \w+.getattr"):
        reader.read(path)


def test_torch_files_in_a_pickle_are_not_read_without_end(tmp_path: Path) -> None:
    storage = torch.UntypedStorage(1)
    inner = old(storage)
    content = (
        b"\x80\x04(B" + len(inner).to_bytes(4, "little") + inner + b"\x94"
        b"ctorch.storage\n_load_from_bytes\n\x94" + b"h\x01h\x00\x85R" * 100_000 + b"l."
    )
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="far more than a file of its size"):
        reader.read(path)
    inside = old([1])
    content = b"\x80\x04ctorch.storage\n_load_from_bytes\nB"
    content += len(inside).to_bytes(4, "little") + inside + b"\x85R."
    path.write_bytes(content)
    assert reader.read(path).tree == [1]

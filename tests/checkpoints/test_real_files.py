"""What people's own scripts put into a checkpoint is read, in every way to write it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssl_bench.checkpoints import reader
from ssl_bench.checkpoints.formats import pickle_machine, pickled_modules
from ssl_bench.checkpoints.formats.placeholder import Placeholder

TRACED = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Linear(3, 2)))
COMPLEX = torch.tensor([1 + 2j, 3 - 4j])
QUANTISED = torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.qint8)


def write(protocol: int, *, new: bool) -> Callable[[Any, Path], None]:
    def save(tree: Any, path: Path) -> None:
        torch.save(
            tree, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new
        )

    return save


WAYS = {
    f"{'zip' if new else 'old'} {protocol}": write(protocol, new=new)
    for protocol in (2, 3, 4, 5)
    for new in (True, False)
}


@pytest.mark.parametrize("way", WAYS)
def test_every_protocol_of_torch(tmp_path: Path, way: str) -> None:
    """Small pickles of protocol 4 have no frames, and a frame may end the pickle."""
    tree = {
        "state_dict": {"w": torch.arange(6.0).view(2, 3), "b": torch.ones(3).half()},
        "name": "na\udcffme",
        "conjugate": COMPLEX.conj(),
        "negative": COMPLEX.clone().conj().imag,
        "records": np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
        "quantised": QUANTISED,
        "traced": TRACED,
    }
    path = tmp_path / "x.pth"
    WAYS[way](tree, path)
    read = reader.read(path).tree
    assert list(read) == list(tree)
    assert torch.equal(read["state_dict"]["w"], torch.arange(6.0).view(2, 3))
    assert read["state_dict"]["b"].dtype is torch.float16
    assert read["name"] == "na?me"
    assert torch.equal(read["conjugate"], torch.tensor([1 - 2j, 3 + 4j]))
    assert read["negative"].tolist() == [-2.0, 4.0]
    assert isinstance(read["records"], Placeholder)
    assert isinstance(read["quantised"], Placeholder)
    found = pickled_modules.state_dict(read["traced"])
    assert found is not None
    assert torch.equal(found["0.weight"], TRACED.state_dict()["0.weight"])
    WAYS[way]({"w": torch.arange(3.0)}, path)
    assert reader.read(path).tree["w"].tolist() == [0.0, 1.0, 2.0]


def test_arrays_written_as_text_are_within_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protocol 2 writes the bytes of an array as text, as detectron2's models do."""
    monkeypatch.setattr(pickle_machine, "TEXT", 1000)
    monkeypatch.setattr(pickle_machine, "UNITS", 1000)
    array = np.random.default_rng(0).normal(size=(300, 70))
    path = tmp_path / "x.pkl"
    for protocol in (2, 4):
        path.write_bytes(pickle.dumps({"model": {"w": array}}, protocol))
        assert np.array_equal(reader.read(path).tree["model"]["w"].numpy(), array)


@pytest.mark.parametrize(
    "name", ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float8_e5m2"]
)
def test_small_floats_in_safetensors(tmp_path: Path, name: str) -> None:
    dtype = getattr(torch, name)
    tensor = torch.arange(1, 9, dtype=torch.uint8).view(dtype)
    path = tmp_path / "x.safetensors"
    save_file({"x": tensor}, path)
    read = reader.read(path).tree["x"]
    assert read.dtype is dtype
    assert torch.equal(read.view(torch.uint8), tensor.view(torch.uint8))

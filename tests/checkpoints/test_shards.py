"""Checkpoints in several files, and folders as Hugging Face writes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from ssl_bench.checkpoints import reader, resolve
from ssl_bench.errors import CheckpointError


def write(folder: Path, tensors: dict[str, Tensor], kind: str = "safetensors") -> Path:
    """Spread tensors over two files, as save_pretrained does."""
    stem = "model" if kind == "safetensors" else "pytorch_model"
    half = len(tensors) // 2
    places = {}
    for number, keys in enumerate((list(tensors)[:half], list(tensors)[half:]), 1):
        name = f"{stem}-{number:05}-of-00002.{kind}"
        part = {key: tensors[key].clone() for key in keys}
        if kind == "safetensors":
            safetensors.torch.save_file(part, folder / name)
        else:
            torch.save(part, folder / name)
        places |= dict.fromkeys(keys, name)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_all_parts_are_read(
    tmp_path: Path, tensors: dict[str, Tensor], kind: str
) -> None:
    index = write(tmp_path, tensors, kind)
    assert resolve(tmp_path) == index
    payload = reader.read(index)
    assert list(payload.tree) == list(tensors)
    assert all(torch.equal(payload.tree[key], t) for key, t in tensors.items())
    parts = sorted(p for p in tmp_path.iterdir() if "-of-" in p.name)
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in parts]
    total = hashlib.sha256("".join(f"{line}\n" for line in lines).encode())
    assert payload.sha256 == total.hexdigest()
    assert reader.peek(index).tree.keys() == tensors.keys()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../up.bin", "plain names"),
        ("/etc/passwd", "plain names"),
        ("a\\b", "plain names"),
        ("..", "plain names"),
        ("", "plain names"),
        ("a\n", "plain names"),
        (5, "plain names"),
        ("gone.bin", "is missing"),
    ],
)
def test_an_index_names_plain_files_only(tmp_path: Path, name: Any, said: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": name}}))
    torch.save({"x": torch.ones(1)}, tmp_path.parent / "up.bin")
    with pytest.raises(CheckpointError, match=said) as caught:
        reader.read(index)
    assert str(index) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "no weight_map"),
        ("[]", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": ', "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"weight_map": {"x": "a", "x": "b"}}', "damaged"),
    ],
)
def test_what_is_no_index(tmp_path: Path, content: str, said: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(content)
    with pytest.raises(CheckpointError, match=said):
        reader.read(index)


def test_parts_must_hold_what_the_index_says(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    index = write(tmp_path, tensors)
    facts = json.loads(index.read_text())
    moved = dict(facts["weight_map"])
    moved["conv1.weight"] = "model-00002-of-00002.safetensors"
    for places in (
        {**facts["weight_map"], "extra": "model-00001-of-00002.safetensors"},
        {key: name for key, name in facts["weight_map"].items() if key != "bn1.bias"},
        moved,
    ):
        index.write_text(json.dumps({"weight_map": places}))
        with pytest.raises(CheckpointError, match="does not hold what the index says"):
            reader.read(index)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"]
)
def test_a_folder_with_one_file_of_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(b"x")
    assert resolve(tmp_path) == tmp_path / name


def test_a_folder_with_two_files_of_weights_asks(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"model.safetensors, pytorch_model.bin"):
        resolve(tmp_path)

"""Writing extractions, reading them again, and choosing a file of a run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torch import Tensor

from ssl_bench import __version__, backbones, checkpoints
from ssl_bench.backbones import BackboneWeights
from ssl_bench.errors import BenchError, CheckpointError, UsageError

State = dict[str, Tensor]


@pytest.fixture
def weights(tmp_path: Path, tensors: State) -> BackboneWeights:
    path = tmp_path / "original.pth"
    config = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    torch.save(
        {"state_dict": {**tensors, "fc.bias": torch.ones(2)}, "pretrained_cfg": config},
        path,
    )
    return checkpoints.load(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_was_extracted_is_read_again(
    tmp_path: Path, weights: BackboneWeights, tensors: State, suffix: str
) -> None:
    out = tmp_path / "deep" / f"out{suffix}"
    checkpoints.save(weights, out)
    again = checkpoints.load(out)
    assert list(again.state_dict) == list(weights.state_dict) or suffix != ".pth"
    for name, tensor in tensors.items():
        assert torch.equal(again.state_dict[name], tensor)
    for field in ("arch", "layout", "source", "sha256", "encoder", "input", "spec"):
        assert getattr(again, field) == getattr(weights, field), field
    assert again.fingerprint == weights.fingerprint
    assert again.input.mean == (0.1, 0.2, 0.3)
    made = checkpoints.load_backbone(out)
    assert (
        made.fingerprint
        == checkpoints.load_backbone(tmp_path / "original.pth").fingerprint
    )


@pytest.mark.parametrize("first", [".pth", ".safetensors"])
@pytest.mark.parametrize("second", [".pth", ".safetensors"])
def test_provenance_survives_a_second_extraction(
    tmp_path: Path, weights: BackboneWeights, first: str, second: str
) -> None:
    checkpoints.save(weights, tmp_path / f"one{first}")
    checkpoints.save(
        checkpoints.load(tmp_path / f"one{first}"), tmp_path / f"two{second}"
    )
    again = checkpoints.load(tmp_path / f"two{second}")
    assert again.source == "original.pth"
    assert again.sha256 == weights.sha256
    assert again.layout == "resnet_flat"


def test_the_provenance_says_what_it_has_to(
    tmp_path: Path, weights: BackboneWeights
) -> None:
    checkpoints.save(weights, tmp_path / "a.pth")
    checkpoints.save(weights, tmp_path / "a.safetensors")
    meta = torch.load(tmp_path / "a.pth", weights_only=True)["meta"]
    assert meta["source"] == "original.pth"
    assert meta["sha256"] == weights.sha256
    assert meta["layout"] == "resnet_flat"
    assert meta["encoder"] == "online"
    assert meta["arch"] == "resnet18-w4"
    assert meta["version"] == __version__
    assert meta["coverage"]["matched"] == 100
    assert meta["coverage"]["dropped"]["head"] == 1
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["provenance"]) == meta
        assert file.metadata()["format"] == "pt"


def test_the_number_of_heads_survives(tmp_path: Path) -> None:
    state = backbones.build("vit_tiny_patch16_32", 0).state_dict()
    torch.save(state, tmp_path / "a.pth")
    weights = checkpoints.load(tmp_path / "a.pth", arch="vit_tiny_patch16_h6_32")
    checkpoints.save(weights, tmp_path / "b.safetensors")
    again = checkpoints.load(tmp_path / "b.safetensors")
    assert again.arch == "vit_tiny_patch16_h6_32"
    assert again.spec.options["heads"] == 6


def test_the_same_weights_give_the_same_bytes(
    tmp_path: Path, weights: BackboneWeights
) -> None:
    for suffix in (".pth", ".safetensors"):
        one, two = tmp_path / f"one{suffix}", tmp_path / f"another{suffix}"
        checkpoints.save(weights, one)
        checkpoints.save(weights, two)
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_views_are_written_without_what_lies_around_them(
    tmp_path: Path, tensors: State, suffix: str
) -> None:
    state = {}
    for name, tensor in tensors.items():
        around = torch.zeros(9, *tensor.shape, dtype=tensor.dtype)
        around[4] = tensor
        state[name] = around[4]
    state["conv1.weight"] = (
        state["conv1.weight"].transpose(0, 3).clone().transpose(0, 3)
    )
    torch.save(state, tmp_path / "big.pth")
    checkpoints.save(checkpoints.load(tmp_path / "big.pth"), tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size < (
        0.2 * (tmp_path / "big.pth").stat().st_size
    )
    again = checkpoints.load(tmp_path / f"a{suffix}").state_dict
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_files_can_be_read_by_those_who_may_read_the_folder(
    tmp_path: Path, weights: BackboneWeights
) -> None:
    (tmp_path / "usual").write_text("x")
    usual = (tmp_path / "usual").stat().st_mode
    for name in ("a.pth", "a.safetensors"):
        checkpoints.save(weights, tmp_path / name)
        assert (tmp_path / name).stat().st_mode == usual


def test_a_file_changed_after_extraction_is_refused(
    tmp_path: Path, weights: BackboneWeights
) -> None:
    out = tmp_path / "a.pth"
    checkpoints.save(weights, out)
    tree: dict[str, Any] = torch.load(out, weights_only=True)
    tree["state_dict"]["bn1.bias"][0] += 1
    torch.save(tree, out)
    with pytest.raises(CheckpointError, match="changed after it was extracted"):
        checkpoints.load(out)
    del tree["meta"]["fingerprint"]
    torch.save(tree, out)
    with pytest.raises(CheckpointError, match=r"provenance is damaged \(fingerprint\)"):
        checkpoints.load(out)


def test_an_extraction_holds_one_encoder(
    tmp_path: Path, weights: BackboneWeights
) -> None:
    checkpoints.save(weights, tmp_path / "a.pth")
    assert checkpoints.load(tmp_path / "a.pth", encoder="online").encoder == "online"
    with pytest.raises(CheckpointError, match="only the online encoder"):
        checkpoints.load(tmp_path / "a.pth", encoder="ema")


@pytest.mark.parametrize("name", ["a.pt", "a", "a.pth.tar"])
def test_another_ending_is_refused(
    tmp_path: Path, weights: BackboneWeights, name: str
) -> None:
    with pytest.raises(UsageError, match=r"must end in \.pth or \.safetensors"):
        checkpoints.save(weights, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_place_that_cannot_be_written(
    tmp_path: Path, weights: BackboneWeights
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot write"):
        checkpoints.save(weights, tmp_path / "file" / "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    """A limit on the size of files fails a write as a full disk does."""
    state = backbones.build("resnet18-w4", 1).state_dict()
    torch.save(state, tmp_path / "in.pth")
    code = (
        "import resource, signal, sys\n"
        "from ssl_bench import checkpoints\n"
        "from ssl_bench.errors import BenchError\n"
        "from pathlib import Path\n"
        "weights = checkpoints.load(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try:\n"
        "    checkpoints.save(weights, Path(sys.argv[2]))\n"
        "except BenchError as error:\n"
        "    sys.exit(7 if 'cannot write' in str(error) else 8)\n"
    )
    out = tmp_path / "out" / f"a{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "in.pth"), str(out)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 7, done.stderr
    assert list(out.parent.iterdir()) == []


def test_a_folder_gives_its_newest_complete_epoch(
    tmp_path: Path, tensors: State, caplog: pytest.LogCaptureFixture
) -> None:
    for epoch in (2, 9, 10):
        torch.save(
            {"state_dict": tensors, "epoch": epoch}, tmp_path / f"epoch_{epoch}.pth"
        )
    torch.save({"state_dict": tensors}, tmp_path / "latest.pth")
    assert checkpoints.resolve(tmp_path).name == "epoch_10.pth"
    whole = (tmp_path / "epoch_10.pth").read_bytes()
    (tmp_path / "epoch_10.pth").write_bytes(whole[:-100])
    (tmp_path / "epoch_11.pth").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert checkpoints.resolve(str(tmp_path)).name == "epoch_9.pth"
    passed = [record.getMessage() for record in caplog.records]
    assert len(passed) == 2
    assert "epoch_11.pth" in passed[0]
    assert "epoch_10.pth" in passed[1]
    assert checkpoints.load(tmp_path).source == "epoch_9.pth"


def test_a_folder_without_a_complete_epoch(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no epoch_\*\.pth; name a file"):
        checkpoints.resolve(tmp_path)
    (tmp_path / "best.pth").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"name one of best\.pth"):
        checkpoints.resolve(tmp_path)
    (tmp_path / "epoch_1.pth").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"no epoch_\*\.pth in .* is complete"):
        checkpoints.resolve(tmp_path)

"""``tools/publish_model.py``: under which name it writes what, and what it drops."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickletools
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import backbones, checkpoints
from ssl_bench.cli.tools import publish_model
from tests.producers.example import drawn

TOOL = Path(__file__).parents[1] / "tools" / "publish_model.py"


@pytest.fixture
def tree() -> dict[str, Any]:
    """A training checkpoint, as MMSelfSup writes them."""
    state = drawn(backbones.build("resnet18-w4", 1), 2).state_dict()
    weight = torch.nn.Parameter(torch.ones(3))
    adam = torch.optim.AdamW([weight])
    weight.sum().backward()
    adam.step()
    return {
        "meta": {"epoch": 200, "mmselfsup_version": "0.11.0"},
        "state_dict": state,
        "optimizer": adam.state_dict(),
    }


def published(tree: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    torch.save(tree, folder / "in.pth")
    assert publish_model([str(folder / "in.pth"), str(folder / "out.pth")]) == 0
    return Path(capsys.readouterr().out.strip())


def test_the_tool_names_the_file_by_its_digest(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(tree, tmp_path / "in.pth")
    done = subprocess.run(
        [sys.executable, TOOL, tmp_path / "in.pth", tmp_path / "new" / "moco"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    out = Path(done.stdout.strip())
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert out == tmp_path / "new" / f"moco-{digest[:8]}.pth"
    assert list(out.parent.iterdir()) == [out]
    assert "left out: optimizer" in done.stderr


def test_the_optimiser_is_gone_and_the_rest_is_there(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = published(tree, tmp_path, capsys)
    assert re.fullmatch(r"out-[0-9a-f]{8}\.pth", out.name)
    found = torch.load(out, weights_only=True)
    assert found.keys() == {"meta", "state_dict"}
    assert found["meta"] == tree["meta"]
    assert list(found["state_dict"]) == list(tree["state_dict"])
    for name, tensor in tree["state_dict"].items():
        assert torch.equal(found["state_dict"][name], tensor)
        assert found["state_dict"][name].device.type == "cpu"
    old, new = checkpoints.load(tmp_path / "in.pth"), checkpoints.load(out)
    assert new.fingerprint == old.fingerprint


def test_the_same_checkpoint_gets_the_same_name(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = published(tree, tmp_path, capsys)
    assert published(tree, tmp_path, capsys) == first
    tree["state_dict"]["conv1.weight"][0] += 1
    assert published(tree, tmp_path, capsys) != first


def test_optimisers_of_any_name_go(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree["optimizer_states"] = [tree["optimizer"]]
    tree["sgd"] = {"state": {}, "param_groups": []}
    tree["optimizer_name"] = "adamw"
    found = torch.load(published(tree, tmp_path, capsys), weights_only=True)
    assert found.keys() == {"meta", "state_dict", "optimizer_name"}


def test_objects_become_plain_and_nothing_is_executed(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree["args"] = argparse.Namespace(lr=0.1, data=Path("/data"), tags={"a"})
    tree["hook"] = argparse.ArgumentError
    out = published(tree, tmp_path, capsys)
    found = torch.load(out, weights_only=True)
    assert found["args"]["lr"] == 0.1
    assert found["args"]["data"] == "/data"
    with zipfile.ZipFile(out) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("data.pkl")]
        named = {
            argument.partition(" ")[0]
            for opcode, argument, _ in pickletools.genops(archive.read(name))
            if opcode.name == "GLOBAL"
        }
    assert named <= {"torch._utils", "torch", "collections"}


def test_a_shared_storage_is_written_once_and_a_view_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    big = torch.arange(1_000_000.0)
    tree = {"a.weight": big, "b.weight": big}
    assert published(tree, tmp_path, capsys).stat().st_size < 4_100_000
    tree = {"a.weight": big[:10]}
    out = published(tree, tmp_path, capsys)
    assert out.stat().st_size < 10_000
    assert torch.equal(torch.load(out, weights_only=True)["a.weight"], big[:10])


def test_safetensors_keep_their_provenance(
    tree: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tree, tmp_path / "in.pth")
    weights = checkpoints.load(tmp_path / "in.pth")
    checkpoints.save(weights, tmp_path / "b.safetensors")
    words = [str(tmp_path / "b.safetensors"), str(tmp_path / "out")]
    assert publish_model(words) == 0
    back = checkpoints.load(Path(capsys.readouterr().out.strip()))
    assert (back.source, back.sha256) == ("in.pth", weights.sha256)
    assert back.fingerprint == weights.fingerprint


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["in.pth"], 2, "OUT"),
        (["nowhere.pth", "out"], 1, "does not exist"),
        (["text.pth", "out"], 1, "text file"),
        (["empty.pth", "out"], 1, "holds no tensors"),
        (["in.pth", "in.pth/out"], 1, "cannot write"),
    ],
)
def test_errors_are_one_line(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a.weight": torch.ones(2)}, "in.pth")
    torch.save({"epoch": 3}, "empty.pth")
    Path("text.pth").write_text("not a checkpoint at all, only words\n" * 9)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert publish_model(words) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("publish_model.py: error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        publish_model(["--help"])
    assert caught.value.code == 0
    assert "OUT-xxxxxxxx.pth" in capsys.readouterr().out


def test_metadata_that_is_no_provenance_stays_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    facts = {"provenance": json.dumps([1]), "format": "pt"}
    save_file({"a.weight": torch.ones(2)}, tmp_path / "a.safetensors", facts)
    assert publish_model([str(tmp_path / "a.safetensors"), str(tmp_path / "b")]) == 0
    found = torch.load(capsys.readouterr().out.strip(), weights_only=True)
    assert found["meta"] == facts

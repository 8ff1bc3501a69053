"""``ssl-bench extract``, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_bench import backbones, checkpoints
from ssl_bench.cli import main

TOOL = Path(__file__).parents[2] / "tools" / "extract_backbone_weights.py"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    state = dict(backbones.build("resnet18-w4", 1).state_dict())
    state["fc.weight"] = torch.ones(3, 32)
    path = tmp_path / "model.pth"
    torch.save({"state_dict": state, "epoch": 1}, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_it_writes_and_says_what_was_there(
    checkpoint: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name(f"out{suffix}")
    assert main(["extract", str(checkpoint), str(out)]) == 0
    said = capsys.readouterr()
    for piece in (
        "resnet_flat",
        "resnet18-w4",
        "online",
        "100 of 100 tensors, 45,372 numbers (100 %)",
        "dropped, head: fc.weight",
        "dropped, beside the weights: epoch",
    ):
        assert piece in said.out
    lines = [line.split() for line in said.out.splitlines()]
    assert ["conv1", "1", "0", "588"] in lines
    assert ["layer1", "20", "0", "640"] in lines
    assert f"wrote {out}" in said.err
    assert checkpoints.load(out).source == "model.pth"


def test_json_is_all_that_stands_on_stdout(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", str(checkpoint), "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["arch"] == "resnet18-w4"
    assert facts["percent"] == 100.0
    assert facts["stages"]["layer4"] == {
        "matched": 25,
        "missing": 0,
        "numbers": 33408,  # 32 x 16 x 9 + 3 x 32 x 32 x 9 + 32 x 16 + 5 norms of 4 x 32
    }
    assert facts["dropped"]["head"] == ["fc.weight"]
    assert facts["sha256"] == checkpoints.load(checkpoint).sha256


def test_a_dry_run_writes_nothing(checkpoint: Path) -> None:
    out = checkpoint.with_name("out.pth")
    assert main(["extract", str(checkpoint), str(out), "--dry-run"]) == 0
    assert not out.exists()


def test_another_file_is_not_replaced(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name("out.pth")
    assert main(["extract", str(checkpoint), str(out)]) == 0
    before = out.stat().st_mtime_ns
    assert main(["extract", str(checkpoint), str(out)]) == 0
    assert "already holds exactly this" in capsys.readouterr().err
    assert out.stat().st_mtime_ns == before
    out.write_bytes(b"mine")
    assert main(["extract", str(checkpoint), str(out)]) == 1
    assert "holds something else; remove it" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"


def test_partial_extraction_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = dict(backbones.build("resnet18-w4", 1).state_dict())
    del state["layer1.0.bn1.weight"]
    torch.save(state, tmp_path / "a.pth")
    command = ["extract", str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]
    assert main(command) == 1
    assert "layer1.0.bn1.weight" in capsys.readouterr().err
    assert not (tmp_path / "b.pth").exists()
    assert main([*command, "--allow-partial"]) == 0
    said = capsys.readouterr().out
    assert "99 of 100 tensors, " in said
    assert "WARNING: looks untrained" in said
    assert "missing: layer1.0.bn1.weight" in said
    assert "PARTIAL: what is missing is random" in said


def test_what_is_missing_is_never_a_hundred_percent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """8 of 180,000 numbers: 99.996 %, which is 100.00 when it is rounded."""
    state = dict(backbones.build("resnet18-w8", 1).state_dict())
    state["bn1.bias"] = torch.ones(3)
    torch.save(state, tmp_path / "a.pth")
    words = ["extract", str(tmp_path / "a.pth"), "--dry-run", "--allow-partial"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["percent"] == 99.99
    assert main(words) == 0
    assert "(99.99 %)" in capsys.readouterr().out


def test_what_no_shape_shows_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(
        backbones.build("vit_w64_d2_patch8_32", 1).state_dict(), tmp_path / "a.p"
    )
    assert main(["extract", str(tmp_path / "a.p"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "assumed     heads 1, eps 1e-06, act gelu" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "OUT is missing"),
        (["out.zip"], 2, "must end in"),
        (["out.pth", "producer=timm"], 2, "'producer=timm'; KEY=VALUE comes directly"),
        (["out.pkl"], 2, ".pkl is written with --to detectron2"),
        (["out.pth", "--cfg-options", "producer="], 2, "files ''. Known: barlow"),
        (["out.pth", "--format", "timm"], 2, "unknown layout 'timm'"),
        (["out.pth", "--arch", "resnet50"], 1, "not of resnet50"),
        (["out.pth", "--prefix", "net."], 1, "no key of"),
        (["out.pth", "--encoder", "ema"], 1, "only the online encoder"),
    ],
)
def test_wrong_use_is_one_line(
    checkpoint: Path,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["extract", str(checkpoint), *words]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_the_tool_is_the_same_call(checkpoint: Path) -> None:
    out = checkpoint.with_name("out.pth")
    done = subprocess.run(
        [sys.executable, str(TOOL), str(checkpoint), str(out)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "resnet18-w4" in done.stdout
    assert out.exists()


def test_names_out_of_a_file_do_not_move_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = dict(backbones.build("resnet18-w4", 1).state_dict())
    torch.save({**state, "\x1b[2Jevil\n": torch.ones(1)}, tmp_path / "a.pth")
    assert main(["extract", str(tmp_path / "a.pth"), "--dry-run"]) == 1
    said = capsys.readouterr().err
    assert "?[2Jevil" in said
    assert said.count("\n") == 1
    assert "\x1b" not in said
    torch.save({**state, "fc.\x1b[2J": torch.ones(1)}, tmp_path / "b.pth")
    assert main(["extract", str(tmp_path / "b.pth"), "--dry-run"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    out = tmp_path / "file" / "out.pth"
    assert main(["extract", str(tmp_path / "missing.pth"), str(out)]) == 1
    assert "missing.pth" not in capsys.readouterr().err

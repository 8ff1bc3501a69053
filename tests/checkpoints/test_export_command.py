"""``ssl-bench extract --to``, as it is typed."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from ssl_bench import backbones, checkpoints
from ssl_bench.checkpoints import export
from ssl_bench.cli import commands, main
from ssl_bench.errors import CheckpointError
from tests.producers.example import drawn

ARCH = "vit_w64_d2_patch8_h4_32"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.pth"
    torch.save({"model": drawn(backbones.build(ARCH, 1), 2).state_dict()}, path)
    return path


def test_the_choices_are_the_targets() -> None:
    parser = argparse.ArgumentParser()
    commands()["extract"].add_arguments(parser)
    assert parser._option_string_actions["--to"].choices == export.TARGETS


def test_it_writes_and_says_how_to_load(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name("mm.pth")
    words = ["extract", str(checkpoint), str(out), "--to", "mm", "--arch", ARCH]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"wrote {out}" in said
    assert "load it into: mmpretrain.VisionTransformer(arch=dict(embed_dims=64" in said
    assert "num_heads=4" in said
    keys = torch.load(out, weights_only=True)["state_dict"]
    assert "layers.1.ffn.layers.0.0.weight" in keys
    back = checkpoints.load(out)
    assert (back.arch, back.source) == (ARCH, "model.pth")
    assert back.sha256 == checkpoints.load(checkpoint).sha256


def test_the_same_again_is_left_alone_and_other_names_are_not_replaced(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name("out.pth")
    words = ["extract", str(checkpoint), str(out)]
    assert main([*words, "--to", "mm"]) == 0
    assert main([*words, "--to", "mm"]) == 0
    assert "already holds exactly this" in capsys.readouterr().err
    before = out.read_bytes()
    for other in ([], ["--to", "torchvision"], ["--to", "timm"]):
        assert main([*words, *other]) == 1
        assert "holds something else" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_names_of_timm_are_our_own(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["extract", str(checkpoint), str(checkpoint.with_name("out.pth"))]
    assert main(words) == 0
    assert main([*words, "--to", "timm"]) == 0
    said = capsys.readouterr().err
    assert "already holds exactly this" in said
    assert "timm.models.VisionTransformer(" in said


def test_an_export_is_a_checkpoint_like_any_other(checkpoint: Path) -> None:
    """From OpenMMLab's names to torchvision's, and back to our own."""
    paths = [checkpoint.with_name(f"{n}.pth") for n in "abc"]
    targets = (["--to", "mm"], ["--to", "torchvision"], [])
    for source, out, words in zip((checkpoint, *paths), paths, targets, strict=False):
        assert main(["extract", str(source), str(out), *words]) == 0
    first, last = checkpoints.load(checkpoint), checkpoints.load(paths[-1])
    assert last.fingerprint == first.fingerprint
    assert last.sha256 == first.sha256
    assert list(last.state_dict) == list(first.state_dict)


@pytest.mark.parametrize(
    ("out", "words", "code", "said"),
    [
        ("out.pth", ["--to", "detectron2"], 2, "must end in .pkl"),
        ("out.pkl", ["--to", "mm"], 2, "must end in .pth or .safetensors"),
        ("out.pkl", ["--to", "detectron2"], 1, "detectron2 cannot hold vit_w64"),
        ("out.pth", ["--to", "keras"], 2, "keras"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(
    checkpoint: Path,
    out: str,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = checkpoint.with_name(out)
    assert main(["extract", str(checkpoint), str(path), *words]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not path.exists()


def test_a_dry_run_refuses_too(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["extract", str(checkpoint), "--dry-run", "--to"]
    assert main([*words, "detectron2"]) == 1
    assert main([*words, "mm"]) == 0
    assert "load it into" in capsys.readouterr().err


def test_a_changed_export_is_refused(checkpoint: Path) -> None:
    out = checkpoint.with_name("out.pth")
    assert main(["extract", str(checkpoint), str(out), "--to", "mm"]) == 0
    tree = torch.load(out, weights_only=True)
    tree["state_dict"]["layers.0.ln1.weight"][0] += 1
    torch.save(tree, out)
    with pytest.raises(CheckpointError, match="was changed after"):
        checkpoints.load(out)
    tree["meta"]["names"] = "nobodys"
    torch.save(tree, out)
    with pytest.raises(CheckpointError, match="names that nobody knows"):
        checkpoints.load(out)

"""What a refusal tells the user to type has to help, and to be what would work."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_bench import backbones, checkpoints
from ssl_bench.checkpoints import command
from ssl_bench.errors import CheckpointError, UsageError

State = dict[str, Tensor]


def refusal(load: Any, tree: Any, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(tree, **options)
    return str(caught.value)


def test_a_line_to_type_quotes_what_a_shell_would_split() -> None:
    said = command.extract(
        "my runs/a.pth", prefix="net.", arch=None, allow_partial=True
    )
    assert said == "ssl-bench extract 'my runs/a.pth' OUT.pth --prefix net. " + (
        "--allow-partial"
    )
    assert shlex.split(said)[2] == "my runs/a.pth"


@pytest.mark.parametrize("value", [float("nan"), 0.0, -0.0])
def test_numbers_that_cannot_be_right_are_not_helped_by_partial_loading(
    load_tree: Any, tensors: State, value: float
) -> None:
    tensors["layer1.0.conv1.weight"] = torch.full((4, 4, 3, 3), value)
    for allowed in (False, True):
        said = refusal(load_tree, tensors, allow_partial=allowed)
        assert "take another checkpoint" in said
        assert "--allow-partial" not in said
        assert "-0 throughout" not in said


def test_another_architecture_is_not_helped_by_partial_loading(
    load_tree: Any, tensors: State
) -> None:
    said = refusal(load_tree, tensors, arch="resnet50")
    assert "pass --arch resnet18-w4" in said
    assert "--allow-partial" not in said


def test_the_line_for_partial_loading_keeps_what_was_typed(
    load_tree: Any, tensors: State
) -> None:
    del tensors["bn1.weight"]
    state = {f"net.{key}": tensor for key, tensor in tensors.items()}
    options = {"prefix": "net.", "layout": "resnet_flat", "encoder": "online"}
    said = refusal(load_tree, state, **options)
    typed = "--format resnet_flat --prefix net. --encoder online --allow-partial"
    assert said.endswith(f"OUT.pth {typed}")
    assert load_tree(state, **options, allow_partial=True).partial


def test_a_wrong_format_is_told_which_one_it_is(load_tree: Any, tensors: State) -> None:
    state = {f"module.encoder_q.{key}": tensor for key, tensor in tensors.items()}
    tree = {"state_dict": {**state, "module.queue": torch.ones(2, 2)}}
    said = refusal(load_tree, tree, layout="simsiam")
    assert "has not the layout simsiam, it has moco; type: " in said
    assert said.endswith("--format moco")
    assert load_tree(tree, layout="moco").layout == "moco"


@pytest.mark.parametrize("prefix", ["encoder", "encoder.", "model.encoder"])
def test_wrappers_before_a_prefix_need_not_be_typed(
    load_tree: Any, tensors: State, prefix: str
) -> None:
    state = {f"module.model.encoder.{key}": t for key, t in tensors.items()}
    tree = {"state_dict": {**state, "module.model.other.x": torch.ones(1)}}
    weights = load_tree(tree, prefix=prefix)
    assert weights.coverage.percent == 100.0
    assert weights.coverage.dropped == {
        f"outside --prefix {prefix}": ("state_dict.module.model.other.x",)
    }


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("encoder", "Did you mean state_dict.mine.encoder.?"),
        ("mine.encodre", "Did you mean state_dict.mine.encoder. or state_dict.mine.?"),
        ("zzzzzz", "Networks lie below state_dict.mine.encoder."),
        (".", "Networks lie below state_dict.mine.encoder."),
    ],
)
def test_a_prefix_that_is_nowhere_is_told_where_networks_lie(
    load_tree: Any, tensors: State, prefix: str, said: str
) -> None:
    state = {f"mine.encoder.{key}": tensor for key, tensor in tensors.items()}
    assert refusal(load_tree, {"state_dict": state}, prefix=prefix).endswith(said)


def test_every_network_of_an_unknown_producer_gets_its_line(
    load_tree: Any, tensors: State
) -> None:
    state = {f"{side}.{k}": t for side in ("left", "right") for k, t in tensors.items()}
    said = refusal(load_tree, state)
    assert "OUT.pth --prefix left., or: " in said
    assert said.endswith("OUT.pth --prefix right.")
    assert "Known layouts" not in said


def test_an_extraction_names_the_file_that_has_the_other_encoder(
    load_tree: Any, tensors: State, tmp_path: Path
) -> None:
    checkpoints.save(load_tree(tensors), tmp_path / "out.pth")
    with pytest.raises(CheckpointError, match=r"only the online encoder of model\.pth"):
        checkpoints.load(tmp_path / "out.pth", encoder="ema")


def test_the_producer_of_an_extraction_is_what_it_was_extracted_as(
    load_tree: Any, tensors: State, tmp_path: Path
) -> None:
    out = tmp_path / "out.pth"
    checkpoints.save(load_tree(tensors, producer="timm"), out)
    assert checkpoints.load(out, producer="timm").producer == "timm"
    with pytest.raises(UsageError, match=r"written by timm, not by swav; extract mode"):
        checkpoints.load(out, producer="swav")


def test_an_empty_producer_is_not_passed_over(load_tree: Any, tensors: State) -> None:
    with pytest.raises(UsageError, match="unknown producer of resnet_flat files ''"):
        load_tree(tensors, producer="")


@pytest.mark.parametrize(
    "arch", ["resnet50-w4", "swin_e8_d2-2-1-1_h2-2-4-4_patch4_window4_64"]
)
def test_a_block_that_looks_like_another_network_is_a_part(
    load_tree: Any, arch: str
) -> None:
    """A bottleneck has the names of CLIP's stem, a stage of Swin those of BEiT."""
    state = backbones.build(arch, 1).state_dict()
    inner = {f"mine.encoder.{key}": tensor for key, tensor in state.items()}
    weights = load_tree({"state_dict": {**inner, "mine.head.w": torch.ones(2)}})
    assert weights.arch == arch
    assert weights.layout == "structure"
    assert weights.coverage.percent == 100.0


@pytest.mark.parametrize(
    ("prefix", "said", "name"),
    [
        ("net_k.", None, "ema"),
        ("net_q", None, "online"),
        ("net_k.", "online", "online"),
    ],
)
def test_the_words_of_a_prefix_say_which_copy_it_is(
    load_tree: Any, tensors: State, prefix: str, said: str | None, name: str
) -> None:
    both = {f"net_{side}.{k}": t for side in "qk" for k, t in tensors.items()}
    assert load_tree(both, prefix=prefix, encoder=said).encoder == name

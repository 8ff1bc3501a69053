"""What the examples of `tests.producers` do not show of transformers' producers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import checkpoints
from ssl_bench.errors import CheckpointError
from tests.producers.example import under
from tests.producers.keys import keyed


def saved(folder: Path, tree: Any) -> Path:
    path = folder / "model.pth"
    torch.save(tree, path)
    return path


def test_a_multiscale_transformer_of_maskfeat_is_refused(tmp_path: Path) -> None:
    tree = {"epoch": 1, "model_state": keyed("maskfeat_mvit", 1, narrow=1)}
    path = saved(tmp_path, tree)
    with pytest.raises(
        CheckpointError, match=r"multiscale.*blocks\.0\.attn\.pool_k\.weight"
    ):
        checkpoints.load(path)


def test_a_prefix_gives_msn_with_its_norm(tmp_path: Path) -> None:
    state = keyed("msn", 2, narrow=1)
    path = saved(tmp_path, {"target_encoder": under("module.", state), "epoch": 3})
    ours = checkpoints.load(path)
    assert "norm.weight" not in ours.state_dict
    assert [
        keys for rule, keys in ours.coverage.dropped.items() if "final norm" in rule
    ] == [("module.norm.weight", "module.norm.bias")]
    whole = checkpoints.load(path, prefix="target_encoder.")
    torch.testing.assert_close(whole.state_dict["norm.weight"], state["norm.weight"])


def test_a_student_alone_is_read_as_such(tmp_path: Path) -> None:
    state = under("module.", keyed("dino", 3, narrow=1))
    read = checkpoints.load(saved(tmp_path, {"student": state, "epoch": 3}))
    assert (read.layout, read.encoder) == ("dino", "online")


@pytest.mark.parametrize(("said", "eps"), [(None, 1e-6), ("dino", 1e-5)])
def test_a_swin_below_a_teacher_is_esvits(
    tmp_path: Path, said: str | None, eps: float
) -> None:
    path = saved(tmp_path, {"teacher": keyed("esvit_swin", 4, narrow=1)})
    read = checkpoints.load(path, producer=said)
    assert read.spec.options["eps"] == eps


def test_ibots_teacher_is_not_dinos(tmp_path: Path) -> None:
    state = keyed("ibot_teacher", 5, narrow=1)
    path = saved(tmp_path, {"teacher": state})
    assert checkpoints.load(path).layout == "ibot"
    with pytest.raises(CheckpointError, match="has not the layout dino"):
        checkpoints.load(path, layout="dino")


def test_both_heads_of_dinov2_go(tmp_path: Path) -> None:
    state = keyed("dinov2_training_teacher", 6, narrow=1)
    read = checkpoints.load(saved(tmp_path, {"teacher": state}))
    heads = [key for key in state if key.startswith(("dino_head.", "ibot_head."))]
    assert list(read.coverage.dropped["head"]) == heads
    assert read.arch == "vit_w128_d4_patch14_28"

"""Loading: the gate, prefixes, encoders, wrappers and what is said about them."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_bench import backbones, checkpoints
from ssl_bench.backbones import IMAGENET_INPUT
from ssl_bench.checkpoints.sorting import matches
from ssl_bench.errors import CheckpointError, UsageError

State = dict[str, Tensor]


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def test_a_head_is_dropped_by_name_and_counters_are_kept(
    load_tree: Any, tensors: State
) -> None:
    head = {"fc.weight": torch.ones(5, 32), "fc.bias": torch.ones(5)}
    weights = load_tree({**tensors, **head})
    assert weights.arch == "resnet18-w4"
    assert weights.coverage.dropped == {"head": ("fc.weight", "fc.bias")}
    assert weights.coverage.matched == 100  # 20 convolutions, 20 norms of 4 tensors
    assert set(weights.state_dict) == set(tensors)
    assert weights.source == "model.pth"
    assert weights.input == IMAGENET_INPUT


def test_counters_may_be_absent(load_tree: Any, tensors: State) -> None:
    bare = {k: t for k, t in tensors.items() if not k.endswith("num_batches_tracked")}
    weights = load_tree(bare)
    assert weights.coverage.percent == 100.0
    assert weights.fingerprint == load_tree(tensors).fingerprint


def test_half_precision_files_are_computed_in_float32(
    tmp_path: Path, tensors: State
) -> None:
    half = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
    torch.save(half, tmp_path / "a.pth")
    made = checkpoints.load_backbone(tmp_path / "a.pth")
    assert made.conv1.weight.dtype == torch.float32  # type: ignore[union-attr]
    assert torch.equal(made.state_dict()["conv1.weight"], half["conv1.weight"].float())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer2.0.bn1.weight": None}, "1 of 100 tensors are missing: layer2.0.bn1.w"),
        ({"layer2.0.bn1.weight": torch.ones(9)}, r"has shape \(9,\), expected \(8,\)"),
        ({"bn1.bias": torch.ones(4, dtype=torch.int8)}, r"type torch\.int8"),
        ({"bn1.bias": torch.tensor([1, 2, 3, float("inf")])}, r"bn1\.bias.*NaN or inf"),
        ({"extra.weight": torch.ones(2)}, "1 keys have no place in it: extra.weight"),
    ],
)
def test_what_does_not_fit_is_said(
    load_tree: Any, tensors: State, change: dict[str, Any], said: str
) -> None:
    merged = {**tensors, **change}
    tree = {key: tensor for key, tensor in merged.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=said):
        load_tree(tree)


def test_a_renamed_key_is_shown_beside_its_nearest(
    load_tree: Any, tensors: State
) -> None:
    tensors["layer3.1.bn2.wieght"] = tensors.pop("layer3.1.bn2.weight")
    with pytest.raises(CheckpointError) as caught:
        load_tree(tensors)
    text = str(caught.value)
    assert "layer3.1.bn2.weight (nearest: layer3.1.bn2.wieght)" in text
    assert "ssl-bench extract" in text
    assert "--allow-partial" in text


def test_partial_loading_is_explicit_and_marked(tmp_path: Path, tensors: State) -> None:
    del tensors["layer4.1.bn2.weight"]
    tensors["bn1.bias"] = torch.ones(3)
    tensors["extra"] = torch.ones(1)
    path = tmp_path / "a.pth"
    torch.save(tensors, path)
    with pytest.raises(CheckpointError):
        checkpoints.load(path)
    weights = checkpoints.load(path, allow_partial=True)
    assert weights.partial
    assert weights.coverage.missing == ("bn1.bias", "layer4.1.bn2.weight")
    assert weights.coverage.unexpected == ("extra",)
    assert weights.coverage.percent == 98.0
    made = checkpoints.load_backbone(path, allow_partial=True, seed=4)
    drawn = backbones.build("resnet18-w4", 4).state_dict()
    assert torch.equal(made.state_dict()["bn1.bias"], drawn["bn1.bias"])
    out = tmp_path / "out.pth"
    checkpoints.save(weights, out)
    with pytest.raises(CheckpointError):
        checkpoints.load(out)
    assert checkpoints.load(out, allow_partial=True).partial


def test_a_whole_file_is_not_partial_because_partial_was_allowed(
    load_tree: Any, tensors: State
) -> None:
    assert not load_tree(tensors, allow_partial=True).partial


def test_nothing_matched_is_never_accepted(load_tree: Any) -> None:
    tree = {"conv1.weight": torch.ones(1), "layer1.0.conv1.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match="does not fill resnet18"):
        load_tree(tree, arch="resnet18", allow_partial=True)


def test_an_odd_network_gives_the_reasons(load_tree: Any, tensors: State) -> None:
    tensors["conv1.weight"] = torch.randn(4, 3, 5, 5)
    with pytest.raises(CheckpointError, match=r"not resnet: conv1\.weight has shape"):
        load_tree(tensors)
    with pytest.raises(CheckpointError, match=r"expected \(4, 3, 7, 7\)"):
        load_tree(tensors, arch="resnet18-w4")


def test_the_architecture_has_to_agree(load_tree: Any, tensors: State) -> None:
    with pytest.raises(CheckpointError, match="of resnet18-w4, not of resnet18;"):
        load_tree(tensors, arch="resnet18")
    with pytest.raises(UsageError, match="unknown architecture 'resnet-18'"):
        load_tree(tensors, arch="resnet-18")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_32", "vit_tiny_patch16_h12_32"])
def test_the_name_says_how_many_heads(load_tree: Any, name: str) -> None:
    state = backbones.build("vit_tiny_patch16_32", 0).state_dict()
    weights = load_tree(state, arch=name)
    assert weights.arch == name
    assert weights.input.size == 32
    heads = backbones.from_weights(weights).blocks[0].attn.num_heads  # type: ignore[index,union-attr]
    assert heads == (12 if "h12" in name else 3)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model."])
def test_wrappers_are_taken_off_only_where_every_key_has_them(
    load_tree: Any, tensors: State, wrapper: str
) -> None:
    weights = load_tree({"state_dict": under(f"{wrapper}module.", tensors)})
    assert weights.coverage.percent == 100.0
    mixed = under(wrapper, tensors)
    mixed["stray"] = torch.ones(1)
    if wrapper == "_orig_mod.":
        with pytest.raises(CheckpointError, match="no place in it: stray"):
            load_tree(mixed)
    else:
        weights = load_tree(mixed)
        assert weights.layout == "structure"
        assert weights.coverage.dropped[f"outside {wrapper}"] == ("stray",)


def test_statistics_come_from_timm_where_it_wrote_them(
    load_tree: Any, tensors: State
) -> None:
    config = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "input_size": 3}
    weights = load_tree({"state_dict": tensors, "pretrained_cfg": config})
    assert weights.input.mean == (0.5, 0.5, 0.5)
    assert weights.input.std == (0.25, 0.25, 0.25)
    for broken in ({"mean": (0.5,)}, {"mean": "x", "std": "y"}, {}, 3):
        tree = {"state_dict": tensors, "pretrained_cfg": broken}
        assert load_tree(tree).input == IMAGENET_INPUT


@pytest.mark.parametrize(
    "prefix", ["my.encoder.", "my.encoder", "state_dict.my.encoder"]
)
def test_a_prefix_takes_what_lies_below(
    load_tree: Any, tensors: State, prefix: str
) -> None:
    state = {**under("my.encoder.", tensors), "my.encoder_k.x": torch.ones(1)}
    weights = load_tree({"state_dict": state, "epoch": 3}, prefix=prefix)
    assert weights.layout == "resnet_flat"
    outside = weights.coverage.dropped[f"outside --prefix {prefix}"]
    assert outside == ("state_dict.my.encoder_k.x",)


def test_a_prefix_that_is_nowhere_or_in_two_places(
    load_tree: Any, tensors: State
) -> None:
    state = under("net.", tensors)
    with pytest.raises(
        CheckpointError, match=r"begins with 'nat\.'.*mean state_dict\.net\.\?"
    ):
        load_tree({"state_dict": state}, prefix="nat.")
    tree = {"state_dict": state, "state_dict_ema": under("net.", tensors)}
    with pytest.raises(
        CheckpointError, match=r"--prefix state_dict.net. or --prefix st"
    ):
        load_tree(tree, prefix="net.")
    assert load_tree(tree, prefix="state_dict_ema.net.", encoder="ema").encoder == "ema"


def test_an_encoder_that_is_not_there(load_tree: Any, tensors: State) -> None:
    with pytest.raises(CheckpointError, match="only the online encoder, not the ema"):
        load_tree(tensors, encoder="ema")
    with pytest.raises(UsageError, match=r"unknown encoder 'emma'.*'ema'"):
        load_tree(tensors, encoder="emma")


def test_two_containers_with_one_encoder_are_ambiguous(
    load_tree: Any, tensors: State
) -> None:
    tree = {"state_dict": tensors, "model": tensors}
    with pytest.raises(CheckpointError, match=r"--prefix state_dict\. or --prefix mo"):
        load_tree(tree)
    assert load_tree(tree, prefix="model.").coverage.percent == 100.0


def test_two_networks_side_by_side_are_never_one(
    load_tree: Any, tensors: State
) -> None:
    vit = backbones.build("vit_tiny_patch16_32", 0).state_dict()
    with pytest.raises(CheckpointError, match=r"120 keys have no place in it: conv1"):
        load_tree({**tensors, **vit})


def test_two_networks_of_an_unknown_producer_are_both_named(
    load_tree: Any, tensors: State
) -> None:
    state = {**under("left.", tensors), **under("right.", tensors)}
    with pytest.raises(
        CheckpointError, match=r"below left\. \(resnet_flat\), right\. \(resnet_flat\)"
    ):
        load_tree(state)
    assert load_tree(state, prefix="right").coverage.percent == 100.0


def test_an_unknown_layout_names_the_nearest(load_tree: Any, tensors: State) -> None:
    with pytest.raises(UsageError, match=r"unknown layout 'resnet'.*'resnet_flat'"):
        load_tree(tensors, layout="resnet")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"a": {"conv1.weigth": torch.ones(1)}}, "nearest is a.conv1.weigth"),
        ({"epoch": 3, "args": {}}, "holds no tensors, only epoch, args"),
        ([torch.ones(1)], "holds no tensors"),
        ({"zzz": torch.ones(1)}, "first keys: zzz.*Known layouts: .*mmselfsup"),
        (torch.nn.Linear(2, 2), "no known layout. Its first keys: weight, bias"),
    ],
)
def test_a_file_without_a_layout_says_what_would_help(
    load_tree: Any, tree: Any, said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_tree(tree)


def test_the_alias_of_a_backbone_has_to_be_equal(
    load_tree: Any, tensors: State
) -> None:
    other = {**tensors, "layer1.0.bn1.bias": torch.full((4,), 2.0)}
    state = {**under("backbone.", tensors), **under("encoder_q.0.", other)}
    with pytest.raises(CheckpointError, match="differ; choose with --prefix encoder_q"):
        load_tree({"state_dict": state})


def test_keys_of_other_producers_are_not_mmselfsups(
    load_tree: Any, tensors: State
) -> None:
    state = {**under("backbone.", tensors), "unheard_of.0.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"no place in it: unheard_of\.0\.w"):
        load_tree({"state_dict": state})
    with pytest.raises(CheckpointError):
        load_tree({"state_dict": state}, layout="mmselfsup")


def test_a_prefix_keeps_its_dot(load_tree: Any, tensors: State) -> None:
    """``backbone2.`` and ``backbone_k.`` are no ``backbone.``."""
    state = {**under("backbone.", tensors), **under("backbone2.", tensors)}
    with pytest.raises(CheckpointError, match=r"no place in it: backbone2\.conv1"):
        load_tree({"state_dict": state})


def test_rules_keep_their_dots(load_tree: Any, tensors: State) -> None:
    rules = {"head": ("fc.", "queue"), "other": ("encoder.",)}
    assert matches("fc.0.weight", rules) == "head"
    assert matches("encoder.fc.weight", rules) == "other"
    for key in ("fc_norm.weight", "fc", "queue_ptr", "encoder_q.x", "my.fc.weight"):
        assert matches(key, rules) is None, key
    with pytest.raises(CheckpointError, match=r"no place in it: fc_norm\.weight"):
        load_tree({**tensors, "fc_norm.weight": torch.ones(1)})


def test_two_keys_with_one_meaning_are_refused(load_tree: Any) -> None:
    layer = "encoder.layers.encoder_layer_0."
    theirs = {
        "conv_proj.weight": torch.ones(4, 3, 16, 16),
        "encoder.pos_embedding": torch.ones(1, 5, 4),
        f"{layer}mlp.0.weight": torch.ones(16, 4),
        f"{layer}mlp.linear_1.weight": torch.ones(16, 4),
    }
    said = r"both .*mlp\.0\.weight and .*linear_1\.weight mean blocks\.0\.mlp\.fc1\.w"
    with pytest.raises(CheckpointError, match=said):
        load_tree(theirs)


def test_values_that_are_no_tensors_are_dropped_by_name(
    load_tree: Any, tensors: State
) -> None:
    tree: dict[str, Any] = OrderedDict(tensors)
    tree["layer1._extra_state"] = {"a": 1}
    dropped = load_tree({"state_dict": tree}).coverage.dropped
    assert dropped["not a tensor"] == ("layer1._extra_state",)


def test_random_initialisation_needs_an_architecture() -> None:
    with pytest.raises(UsageError, match="needs an architecture; pass --arch"):
        checkpoints.load_backbone("none")
    made = checkpoints.load_backbone("none", arch="resnet18-w4", seed=3)
    assert made.weights is None
    assert made.fingerprint == backbones.build("resnet18-w4", 3).fingerprint


def test_mmengine_files_with_their_message_hub_open(
    load_tree: Any, tensors: State
) -> None:
    import numpy as np

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history = np.arange(3.0)

    globals()["HistoryBuffer"] = HistoryBuffer
    HistoryBuffer.__qualname__ = "HistoryBuffer"
    tree = {
        "state_dict": {**under("backbone.", tensors), "head.fc.weight": torch.ones(1)},
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}},
        "param_schedulers": [{"last_step": np.float64(3)}],
        "meta": {"epoch": 3, "seed": np.int64(1)},
    }
    weights = load_tree(tree)
    assert weights.layout == "mmselfsup"
    assert weights.coverage.dropped["head"] == ("head.fc.weight",)
    assert "message_hub" in weights.coverage.dropped["beside the weights"]

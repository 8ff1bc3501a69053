"""Heads by hand: what they see, how they norm it, how they begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench import backbones
from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.training.heads import (
    Head,
    HeadSpec,
    Source,
    pool_sources,
    read_head,
    sources_of,
)
from tests.training import small

PLAIN: dict[str, Any] = {
    "taps": ["final"],
    "pooling": "average",
    "init": "normal",
    "init_std": 0.01,
}
AVERAGE: Source = ("final", "average", False)
BATCH = {"type": "batch", "momentum": 0.1, "eps": 1e-5}


def spec(**more: Any) -> HeadSpec:
    head, wrong = read_head("head", {**PLAIN, **more})
    assert head is not None
    assert wrong == []
    return head


def numbers(*shape: int) -> torch.Tensor:
    rng = np.random.default_rng(11)
    return torch.from_numpy(rng.normal(3.0, 2.0, shape).astype(np.float32))


# ----------------------------------------------------------------------------- reading
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("average", "is not dict(taps=[...], pooling=...)"),
        ({**PLAIN, "tap": "final"}, "unknown key of a head 'tap'"),
        ({"taps": ["final"], "init": "normal", "init_std": 1.0}, "needs pooling"),
        ({**PLAIN, "norm": "bach"}, "unknown norm 'bach'"),
        ({**PLAIN, "init": "uniform"}, "unknown init 'uniform'"),
        ({**PLAIN, "taps": []}, "names no tap or no pooling"),
        ({**PLAIN, "norm": "batch"}, "needs dict(momentum=..., eps=...)"),
        ({**PLAIN, "norm": "layer"}, "needs dict(type='layer', eps=...)"),
    ],
)
def test_a_wrong_head_is_told_where_and_why(values: Any, expected: str) -> None:
    _, wrong = read_head("mine", values)
    assert len(wrong) == 1
    assert wrong[0].startswith("model.heads.mine")
    assert expected in wrong[0]


def test_all_complaints_about_a_head_come_together() -> None:
    _, wrong = read_head("mine", {**PLAIN, "norm": "bach", "init": "uniform"})
    assert len(wrong) == 2


def test_one_word_is_a_list_of_one() -> None:
    assert spec(taps="final", pooling="average") == spec(pooling=["average"])


# ----------------------------------------------------------------------------- sources
def test_the_last_blocks_come_in_their_order() -> None:
    vit = backbones.build(small.VIT, seed=0)
    head = spec(taps=["last2"], pooling=["class_token", "patch_mean"], normed=True)
    assert sources_of(head, vit, None) == [
        ("block1", "class_token", True),
        ("block1", "patch_mean", True),
        ("block2", "class_token", True),
        ("block2", "patch_mean", True),
    ]


def test_a_tap_may_have_a_pooling_of_its_own_and_final_is_normed_already() -> None:
    vit = backbones.build(small.VIT, seed=0)
    head = spec(taps=["block1", "final/patch_mean"], pooling="class_token", normed=True)
    assert sources_of(head, vit, None) == [
        ("block1", "class_token", True),
        ("final", "patch_mean", False),
    ]


def test_the_backbone_has_a_rule_of_its_own() -> None:
    vit, cnn = (backbones.build(a, seed=0) for a in (small.VIT, small.ARCH))
    head = spec(pooling="backbone")
    assert sources_of(head, vit, None) == [("final", "class_token", False)]
    assert sources_of(head, cnn, None) == [("final", "average", False)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"taps": ["last3"]}, r"last3 asks for 3 blocks and .* has 2"),
        ({"taps": ["last0"]}, r"last0 asks for 0 blocks"),
        ({"taps": ["block7"]}, "block7"),
        ({"pooling": "averge"}, "unknown pooling 'averge'"),
    ],
)
def test_what_a_network_lacks_is_refused(more: dict[str, Any], expected: str) -> None:
    vit = backbones.build(small.VIT, seed=0)
    with pytest.raises(BenchError, match=expected):
        sources_of(spec(**more), vit, None)


def test_blocks_are_normed_by_the_final_norm() -> None:
    vit: Any = backbones.build(small.VIT, seed=0)
    with torch.no_grad():
        vit.norm.weight.copy_(numbers(64))
        vit.norm.bias.copy_(numbers(64) / 5)
    tokens = numbers(2, 5, 64)
    sources: list[Source] = [
        ("block1", "class_token", True),
        ("block1", "patch_mean", False),
    ]
    found = pool_sources({"block1": tokens}, [*sources, *sources], vit)
    assert list(found) == sources

    first = tokens[:, 0].double().numpy()
    mean, var = first.mean(1, keepdims=True), first.var(1, keepdims=True)
    scaled = (first - mean) / np.sqrt(var + vit.norm.eps)
    by_hand = scaled * numbers(64).numpy() + numbers(64).numpy() / 5
    ours = found[sources[0]].detach().numpy()
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5, atol=1e-5)
    patches = tokens[:, 1:].mean(1).numpy()
    np.testing.assert_allclose(found[sources[1]].numpy(), patches, rtol=1e-5)


# ------------------------------------------------------------------------------- begin
def test_equal_heads_start_equal_and_seeds_differ() -> None:
    heads = [Head(spec(), [AVERAGE], {"final": 900}, 40, seed) for seed in (1, 1, 2)]
    weights = [head.fc.weight.detach() for head in heads]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert float(weights[0].std()) == pytest.approx(0.01, rel=0.02)
    assert abs(float(weights[0].mean())) < 2e-4
    assert not heads[0].fc.bias.any()


def test_a_truncated_start_has_its_deviation() -> None:
    head = Head(
        spec(init="trunc_normal", init_std=0.02), [AVERAGE], {"final": 900}, 40, 1
    )
    assert float(head.fc.weight.detach().std()) == pytest.approx(0.02, rel=0.02)


# ----------------------------------------------------------------------------- forward
def classify(feats: Any, head: Head) -> Any:
    weight = head.fc.weight.detach().double().numpy()
    return feats @ weight.T + head.fc.bias.detach().double().numpy()


def test_vectors_are_joined_in_the_order_of_the_sources() -> None:
    sources: list[Source] = [
        ("block2", "class_token", False),
        ("block1", "class_token", False),
    ]
    head = Head(spec(init_std=1.0), sources, {"block1": 3, "block2": 2}, 4, 0)
    with torch.no_grad():
        head.fc.bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    one, two = numbers(5, 3), numbers(5, 2)
    found = head({sources[1]: one, sources[0]: two}).detach().numpy()
    feats = np.concatenate([two.numpy(), one.numpy()], axis=1).astype(np.float64)
    np.testing.assert_allclose(found, classify(feats, head), rtol=1e-5, atol=1e-5)


def test_places_of_a_channel_share_their_statistics() -> None:
    source: Source = ("layer4", "adaptive_2", False)
    head = Head(spec(norm=BATCH, init_std=1.0), [source], {"layer4": 3}, 2, 0)
    assert head.width == 3 * 4
    assert [p.shape for p in head.norm.parameters()] == []  # no affine
    maps_NCL = numbers(6, 3, 4)
    flat = maps_NCL.flatten(1)

    values = maps_NCL.double().numpy()
    mean = values.mean(axis=(0, 2), keepdims=True)
    var = values.var(axis=(0, 2), keepdims=True)
    normed = ((values - mean) / np.sqrt(var + 1e-5)).reshape(6, -1)
    found = head.train()({source: flat}).detach().numpy()
    np.testing.assert_allclose(found, classify(normed, head), rtol=1e-4, atol=1e-4)

    # The running statistics: a tenth of the way, by the unbiased variance.
    norm: Any = head.norm
    np.testing.assert_allclose(norm.running_mean, 0.1 * mean.ravel(), rtol=1e-5)
    unbiased = values.var(axis=(0, 2), ddof=1)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * unbiased, rtol=1e-5)
    # They are what counts in evaluation, where an image stands alone.
    still = (values[:1] - 0.1 * mean) / np.sqrt(0.9 + 0.1 * unbiased + 1e-5)[:, None]
    found = head.eval()({source: flat[:1]}).detach().numpy()
    by_hand = classify(still.reshape(1, -1), head)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-4)


def test_a_layer_norm_stands_over_the_whole_vector() -> None:
    head = Head(
        spec(norm={"type": "layer", "eps": 1e-6}, init_std=1.0),
        [AVERAGE],
        {"final": 7},
        3,
        0,
    )
    assert len(list(head.norm.parameters())) == 2
    feats = numbers(4, 7)
    values = feats.double().numpy()
    mean, var = values.mean(1, keepdims=True), values.var(1, keepdims=True)
    normed = (values - mean) / np.sqrt(var + 1e-6)
    found = head({AVERAGE: feats}).detach().numpy()
    np.testing.assert_allclose(found, classify(normed, head), rtol=1e-4, atol=1e-4)


def test_a_batch_norm_over_taps_of_different_sizes_is_refused() -> None:
    sources: list[Source] = [
        ("layer4", "adaptive_2", False),
        ("final", "average", False),
    ]
    with pytest.raises(ConfigError, match="one number of places"):
        Head(spec(norm=BATCH), sources, {"layer4": 3, "final": 3}, 2, 0)

"""The grids as they were published, what settings refuse, where features are taken."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ssl_bench.backbones import build
from ssl_bench.data import transforms
from ssl_bench.errors import BenchError, UsageError
from ssl_bench.pooling import Site
from ssl_bench.protocols import lowshot, svm
from ssl_bench.svms import VARIANTS, SvmSettings, sites_of
from tests.svms.scenes import GRIDS

SQUASHED = transforms.resolve("squash")
NATIVE = transforms.resolve("small")


def named(**values: Any) -> SvmSettings:
    return SvmSettings(**values)


def test_the_variants_are_those_of_the_spec() -> None:
    assert set(VARIANTS) == set(GRIDS)
    sizes = {name: len(variant.costs) for name, variant in VARIANTS.items()}
    assert sizes == {"mmselfsup": 19, "fair": 26, "vissl": 11, "gap": 19}


@pytest.mark.parametrize("variant", GRIDS)
def test_grids_are_those_of_the_spec_in_their_order(variant: Any) -> None:
    assert named(variant=variant).grid == pytest.approx(GRIDS[variant], rel=1e-12)


def test_costs_take_the_place_of_a_grid() -> None:
    assert named(variant="fair", costs=(3.0, 0.5)).grid == (3.0, 0.5)


def test_names_of_metrics_tell_the_variant() -> None:
    suffixes = [named(variant=v).suffix for v in ("mmselfsup", "fair", "vissl", "gap")]
    assert suffixes == ["", "_fair", "_vissl", "_gap"]


def test_defaults_are_the_published_ones() -> None:
    settings = svm.Settings()
    assert settings.features == ("feat5",)
    assert settings.folds == 3
    assert settings.positive_weight == 2
    assert settings.epsilon == 1e-5
    assert (settings.difficult, settings.ap) == ("negative", "envelope")
    assert (settings.liblinear_tolerance, settings.liblinear_steps) == (1e-4, 2000)
    low = lowshot.Settings()
    assert low.shots == (1, 2, 4, 8, 16, 32, 64, 96)
    assert low.samples == 5


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"features": ()}, "features is empty"),
        ({"features": ("feat5", "feat4", "feat5")}, "names a value twice"),
        ({"costs": (1.0, 0.0)}, "costs holds 0.0; a cost is a number above 0"),
        ({"costs": (-1.0,)}, "costs holds -1.0"),
        ({"costs": (float("nan"),)}, "costs holds nan"),
        ({"costs": (float("inf"),)}, "costs holds inf"),
        ({"costs": (0.5, 0.5)}, "costs=[0.5, 0.5] names a value twice"),
        ({"positive_weight": 0.0}, "positive_weight=0.0 is not a number above 0"),
        ({"epsilon": -1e-5}, "epsilon=-1e-05"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"tolerance": 0}, "tolerance=0 "),
        ({"tolerance": True}, "tolerance=True"),
        ({"liblinear_tolerance": float("inf")}, "liblinear_tolerance=inf"),
        ({"inner": 0.0}, "inner=0.0"),
        ({"steps": 0}, "steps=0 is not 1 or more"),
        ({"liblinear_steps": -1}, "liblinear_steps=-1"),
        ({"inner_steps": 0}, "inner_steps=0"),
        ({"rank": 0}, "rank=0"),
        ({"memory": 0}, "memory=0"),
        ({"columns": 0}, "columns=0"),
        ({"together": 0}, "together=0"),
        (
            {"variant": "gap", "features": ("feat4",)},
            "features=['feat4']: the variant gap has one feature",
        ),
    ],
)
def test_what_cannot_be_a_setting(values: dict[str, Any], said: str) -> None:
    (complaint,) = named(**values).validate()
    assert said in complaint


def test_all_complaints_come_together() -> None:
    found = named(costs=(0.0,), steps=0, epsilon=0.0, features=()).validate()
    assert len(found) == 4


@pytest.mark.parametrize("variant", GRIDS)
def test_every_variant_is_valid(variant: Any) -> None:
    assert named(variant=variant).validate() == []


def test_what_the_protocols_refuse_besides() -> None:
    assert "folds=1 is not 2 or more" in svm.Settings(folds=1).validate()
    low = lowshot.Settings(shots=(0, 4, 4), samples=0)
    assert low.validate() == [
        "shots holds 0; k is 1 or more",
        "shots=[0, 4, 4] names a value twice",
        "samples=0 is not 1 or more",
    ]
    assert "shots is empty" in lowshot.Settings(shots=()).validate()[0]


FIVE = ("feat1", "feat2", "feat3", "feat4", "feat5")


def test_a_resnet50_at_224_has_the_published_windows() -> None:
    """Source: the written protocol, 2.1: tap, then kernel, stride, padding."""
    found = sites_of(named(features=FIVE), build("resnet50", 0), SQUASHED)
    assert found == [
        Site("feat1", "stem", "average_10_10_4"),
        Site("feat2", "layer1", "average_16_8_0"),
        Site("feat3", "layer2", "average_13_5_0"),
        Site("feat4", "layer3", "average_8_3_0"),
        Site("feat5", "layer4", "average_6_1_0"),
    ]
    crop = sites_of(named(features=("feat5",)), build("resnet50", 0), NATIVE)
    assert crop == [Site("feat5", "layer4", "adaptive_2")]


@pytest.mark.parametrize("transform", [SQUASHED, NATIVE])
def test_other_networks_are_averaged_to_the_same_sizes(transform: Any) -> None:
    found = sites_of(named(features=FIVE), build("resnet18-w4", 0), transform)
    assert [site.pooling for site in found] == [
        "adaptive_12", "adaptive_6", "adaptive_4", "adaptive_3", "adaptive_2",
    ]  # fmt: skip


def test_a_transformer_gives_blocks_at_fifths_of_its_depth() -> None:
    """12 blocks: 2.4, 4.8, 7.2 and 9.6 of them, rounded up; and what comes last."""
    found = sites_of(named(features=FIVE), build("vit_tiny_patch16_32", 0), NATIVE)
    assert [site.tap for site in found] == [
        "block3", "block5", "block8", "block10", "final",
    ]  # fmt: skip
    assert {site.pooling for site in found} == {"class_token"}


def test_the_gap_variant_has_one_feature_of_its_own() -> None:
    backbone = build("resnet18-w4", 0)
    found = sites_of(named(variant="gap"), backbone, NATIVE)
    assert found == [Site("gap", "final", "average")]
    assert VARIANTS["gap"].transform == "imagenet"
    assert {VARIANTS[v].transform for v in ("mmselfsup", "fair", "vissl")} == {None}


@pytest.mark.parametrize("features", [("feat4", "layer3"), ("stem", "feat1")])
def test_two_names_of_one_feature_are_refused(features: tuple[str, ...]) -> None:
    with pytest.raises(BenchError, match="are the same feature of resnet18-w4"):
        sites_of(named(features=features), build("resnet18-w4", 0), NATIVE)


def test_given_features_have_no_place() -> None:
    assert sites_of(named(), None, ()) == [Site("given", "given", "given")]
    settings = dataclasses.replace(named(), features=("feat1", "feat2"))
    with pytest.raises(UsageError, match="feat1, feat2 was asked for: leave out"):
        sites_of(settings, None, ())


def test_a_feature_that_is_none_is_named() -> None:
    with pytest.raises(BenchError, match="'feat6'"):
        sites_of(named(features=("feat6",)), build("resnet18-w4", 0), NATIVE)

"""Three classifiers in one form: each does what its own kernel does.

Axes: N images, M images that are asked, C classes, D dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench.errors import FeatureError
from ssl_bench.solvers.linear_probes import KINDS, Bench, How, Tried, complaints
from ssl_bench.solvers.logistic import Rule
from tests.reference import probe as reference

CPU = torch.device("cpu")
HOW = How(
    epochs=3,
    least_steps=1,
    batch_size=16,
    seed=2,
    rule=Rule(tolerance=1e-8, steps=2000, history=10),
    memory=1 << 20,
)
SGD = {"rate": 0.1, "decay": 1e-3, "momentum": 0.9}
SETTINGS: dict[str, list[dict[str, float]]] = {
    "sgd": [{**SGD, "rate": rate} for rate in (0.001, 0.1, 1.0)],
    "logistic": [{"cost": cost} for cost in (1.0, 0.01, 100.0)],
    "ridge": [{"lambda": share} for share in (100.0, 1.0, 0.01)],
}


def scene(seed: int, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 3
    centres = np.random.default_rng(0).normal(size=(3, 5))
    return 2 + centres[labels] + rng.normal(size=(images, 5)), labels


FEATS, LABELS = scene(1)
HELD = np.arange(60) % 5 == 3


def bench(norm: str = "standard", how: How = HOW) -> Bench:
    return Bench(FEATS, LABELS, HELD, norm=norm, how=how, device=CPU)


def fitted(kind: str, setting: dict[str, float], rows: np.ndarray, norm: str) -> Any:
    """Return the reference's model of some rows, and how it reads others."""
    statistics = reference.norm_of(rows, norm)
    extra = {"epochs": 3, "batch_size": 16, "seed": 2} if kind == "sgd" else {}
    return statistics, {**setting, **extra}


def expected_ranks(
    kind: str, setting: dict[str, float], norm: str, used: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    statistics, numbers = fitted(kind, setting, FEATS[used], norm)
    model = reference.fit(
        kind, reference.normalised(FEATS[used], norm, statistics), LABELS[used], numbers
    )
    return reference.ranks(model, reference.normalised(asked, norm, statistics))


@pytest.mark.parametrize("norm", ["none", "l2", "standard"])
@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_tried_on_what_is_held_out(kind: str, norm: str) -> None:
    found = bench(norm).search(kind, SETTINGS[kind])
    for setting, one in zip(SETTINGS[kind], found, strict=True):
        ranks = expected_ranks(kind, setting, norm, ~HELD, FEATS[HELD])
        assert one.hits == (ranks[:, 0] == LABELS[HELD]).sum()


@pytest.mark.parametrize("norm", ["none", "l2", "standard"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_test_is_of_a_fit_on_all_rows(kind: str, norm: str) -> None:
    asked, _ = scene(2, 40)
    setting = SETTINGS[kind][1]
    ranks, _ = bench(norm).test(kind, setting, asked, 3)
    everything = np.ones(60, bool)
    assert ranks.tolist() == (
        expected_ranks(kind, setting, norm, everything, asked).tolist()
    )
    only, _ = bench(norm).test(kind, setting, asked, 1)
    assert only.tolist() == ranks[:, :1].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_may_not_be_gathered_give_the_same(kind: str) -> None:
    how = How(3, 1, 16, 2, HOW.rule, memory=0)
    assert [one.hits for one in bench(how=how).search(kind, SETTINGS[kind])] == [
        one.hits for one in bench().search(kind, SETTINGS[kind])
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bar_comes_to_its_end(kind: str) -> None:
    """Ridge regression is done before a bar could move."""
    seen: list[int] = []
    bench().search(kind, SETTINGS[kind], seen.append)
    assert sum(seen) in (bench().amount(kind, 3, held_out=True), 0)
    assert bool(seen) == (kind != "ridge")


def test_epochs_are_added_until_there_are_steps_enough() -> None:
    """60 rows in batches of 16 are 4 steps an epoch, 48 rows are 3."""
    how = How(3, 25, 16, 0, HOW.rule, memory=0)
    assert how.schedule(60).epochs == 7
    assert how.schedule(48).epochs == 9
    assert how.schedule(1000).epochs == 3
    assert bench(how=how).amount("sgd", 2, held_out=False) == 14
    assert bench(how=how).amount("sgd", 2, held_out=True) == 18
    assert bench(how=how).amount("ridge", 2, held_out=True) == 2


def test_what_a_reader_has_to_know() -> None:
    assert Tried(3).facts() == {}
    assert Tried(3, diverged_at=0).facts() == {"diverged_at": 0}
    early = Tried(3, gradient=0.5, steps=2, solved=False)
    assert early.facts() == {"gradient": 0.5, "steps": 2, "solved": False}
    rule = Rule(tolerance=1e-12, steps=1, history=10)
    how = How(3, 1, 16, 2, rule, memory=0)
    (found,) = bench(how=how).search("logistic", [{"cost": 1.0}])
    assert found.facts()["steps"] == 1
    assert found.facts()["solved"] is False
    wild = {**SGD, "rate": 1e60, "decay": 1.0}
    calm, bad = bench().search("sgd", [SGD, wild])
    assert calm.facts() == {}
    assert 0 < bad.facts()["diverged_at"] < 9


def test_a_head_that_diverges_in_the_end_is_an_error() -> None:
    wild = {"rate": 1e60, "decay": 1.0, "momentum": 0.9}
    with pytest.raises(FeatureError, match=r"rate 1e\+60 and decay 1 diverged at step"):
        bench().test("sgd", wild, FEATS, 1)


def test_rows_that_are_all_the_same_are_no_error() -> None:
    """Each classifier is left with the shares of the classes; the first one leads."""
    feats = np.full((60, 5), 2.5)
    labels = np.where(np.arange(60) < 40, 0, LABELS)
    labels[50:53] = [0, 1, 2]
    same = Bench(feats, labels, HELD, norm="standard", how=HOW, device=CPU)
    for kind in KINDS:
        ranks, _ = same.test(kind, SETTINGS[kind][1], feats[:4], 1)
        assert ranks.tolist() == [[0]] * 4


def test_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small matrix is for one thread, a large one for all; nothing stays changed."""
    before, seen = torch.get_num_threads(), []
    advance = lambda _: seen.append(torch.get_num_threads())  # noqa: E731
    bench().search("logistic", SETTINGS["logistic"], advance)
    assert set(seen) == {1}
    assert torch.get_num_threads() == before
    with pytest.raises(FeatureError):
        bench().search("svm", [])
    assert torch.get_num_threads() == before
    seen.clear()
    monkeypatch.setattr("ssl_bench.solvers.linear_probes._ALONE", 0)
    bench().search("logistic", SETTINGS["logistic"], advance)
    assert set(seen) == {before}


def test_unknown_classifiers_are_named() -> None:
    with pytest.raises(FeatureError, match=r"unknown linear classifier 'svm'"):
        bench().search("svm", [{"cost": 1.0}])
    with pytest.raises(FeatureError, match=r"unknown linear classifier 'svm'"):
        bench().test("svm", {"cost": 1.0}, FEATS, 1)


def test_complaints() -> None:
    costs = [
        {"cost": cost, "held_out": held_out}
        for cost, held_out in ((0.1, 20.0), (1.0, 30.0), (10.0, 40.0))
    ]
    assert list(complaints("logistic", costs, costs[1])) == []
    assert list(complaints("logistic", costs, costs[2])) == [
        "logistic: the best cost, 10, is an end of its grid; widen costs"
    ]
    # As good as inside the grid, or no inside: nothing says that it ends too early.
    flat = [{**one, "held_out": 40.0} for one in costs]
    assert list(complaints("logistic", flat, flat[0])) == []
    assert list(complaints("logistic", costs[:2], costs[1])) == []
    early = {**costs[1], "gradient": 0.25, "solved": False}
    assert list(complaints("logistic", [costs[0], early, costs[2]], early)) == [
        "logistic: 2 of 4 problems stopped early, the first at cost 1, relative "
        "gradient 2.5e-01"
    ]
    rates = [
        {"rate": rate, "decay": 0.5, "held_out": 0.0, "diverged_at": 7}
        for rate in (1.0, 2.0)
    ]
    fine = {"rate": 0.1, "decay": 0.5, "held_out": 0.0}
    assert list(complaints("sgd", [fine, *rates], fine)) == [
        "sgd: 2 of 3 heads diverged and stopped, the first with rate 1 and decay 0.5 "
        "at step 7"
    ]

"""The probe as a whole: names, numbers, the choice, warnings, runs that are cut short.

Axes: N images to train on, M images to report on, C classes, D dimensions.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench import suite
from ssl_bench.data import scenes
from ssl_bench.errors import (
    BenchError,
    ConfigError,
    DataError,
    FeatureError,
    UsageError,
)
from ssl_bench.features import Extraction
from ssl_bench.protocols import probe
from ssl_bench.results.record import Record
from ssl_bench.solvers.linear_probes import Bench
from tests.reference import probe as reference

QUICK = Extraction(batch_size=16, workers=0)
RANDOM: dict[str, Any] = {"pretrain": "none", "arch": "resnet18-w4"}
PROBES = ("sgd", "logistic", "ridge")
GRID: dict[str, Any] = {
    "rates": [0.001, 0.1],
    "decays": [0.0, 0.01],
    "costs": [0.001, 1.0],
    "lambdas": [100.0, 0.01],
    "epochs": 2,
    "least_steps": 1,
    "batch_size": 32,
    "tolerance": 1e-7,
}
SETTINGS = 2 * (4 + 2 + 2)
"""How many settings the grid has, over both norms."""

Split = tuple[np.ndarray, np.ndarray]


def cloud(seed: int, count: int, classes: int = 6, dims: int = 8) -> Split:
    """Draw classes that overlap, and features with means and spreads of their own."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(count) % classes)
    centres = np.random.default_rng(0).normal(size=(classes, dims))
    feats = centres[targets] + rng.normal(size=(count, dims))
    return (3 + feats * np.geomspace(0.2, 2, dims)).astype(np.float32), targets


def write(folder: Path, train: Split, test: Split) -> Path:
    folder.mkdir(exist_ok=True)
    for role, (feats, targets) in (("train", train), ("test", test)):
        np.save(folder / f"{role}_features.npy", feats)
        np.save(folder / f"{role}_targets.npy", targets)
    return folder


def run(
    folder: Path, *, rerun: bool = False, seed: int = 0, **settings: object
) -> Record:
    options = {f"settings.{name}": value for name, value in settings.items()}
    return suite.evaluate(
        protocols="probe", features=folder, options=options, rerun=rerun, seed=seed
    )[0]


def value(record: Record, name: str) -> float:
    metric = record.metric(name)
    assert metric is not None, name
    return metric.value


def held_out(record: Record, name: str) -> list[float]:
    return [setting["held_out"] for setting in record.details[name]["settings"]]


def settings_of(name: str, norms: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the settings of the grid in the protocol's order, for the reference."""
    sgd = {"momentum": 0.9, "epochs": 2, "batch_size": 32, "seed": 3}
    found: dict[str, list[dict[str, Any]]] = {
        "sgd": [
            {"rate": rate, "decay": decay, **sgd}
            for decay in GRID["decays"]
            for rate in GRID["rates"]
        ],
        "logistic": [{"cost": cost} for cost in GRID["costs"]],
        "ridge": [{"lambda": share} for share in GRID["lambdas"]],
    }
    return [{**one, "norm": norm} for norm in norms for one in found[name]]


@pytest.mark.parametrize(
    ("classes", "norms", "share"),
    [(6, ("none", "standard"), 0.1), (5, ("l2",), 0.3)],
)
def test_a_whole_run_equals_the_reference(
    tmp_path: Path, classes: int, norms: tuple[str, ...], share: float
) -> None:
    train, test = cloud(1, 240, classes), cloud(2, 90, classes)
    record = run(
        write(tmp_path / "f", train, test), seed=3, norms=norms, share=share, **GRID
    )
    assert [metric.name for metric in record.metrics] == [
        f"{top}_{name}" for name in PROBES for top in ("top1", "top5")
    ]
    for name in PROBES:
        settings = settings_of(name, norms)
        expected = reference.probe(
            *train, *test, kind=name, settings=settings, share=share, seed=3
        )
        assert held_out(record, name) == pytest.approx(expected["held_out"])
        assert value(record, f"top1_{name}") == pytest.approx(expected["top1"])
        assert value(record, f"top5_{name}") == pytest.approx(expected["top5"])
        chosen = settings[expected["chosen"]]
        details = record.details[name]
        for field in ("rate", "decay", "cost", "lambda", "norm"):
            assert details["chosen"].get(field) == chosen.get(field), field
        assert details["chosen"]["held_out"] == max(held_out(record, name))
        assert details["test"]["top1"] == value(record, f"top1_{name}")
        # As many test images of each class: its accuracies make the whole.
        accuracies = list(details["test"]["classes"].values())
        assert len(accuracies) == classes
        assert np.mean(accuracies) == pytest.approx(expected["top1"])


def test_the_record_says_who_chose(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(3, 120), cloud(4, 30))
    record = run(folder, **GRID)
    assert record.selection == "train (held out)"
    for metric in record.metrics:
        assert (metric.split, metric.count, metric.unit) == ("test", 30, "percent")
        assert metric.selection == ""
        assert not record.chosen_here(metric)
    assert record.dataset["counts"] == {"train": 120, "test": 30}
    assert record.details["held_out_images"] == 12
    assert record.environment["columns"] == 1024
    first = record.details["logistic"]["settings"][0]
    assert (first["tap"], first["pooling"], first["norm"]) == ("given", "given", "none")
    assert first["gradient"] <= 1e-7
    assert record.warnings == ()


def test_the_test_split_has_no_say(tmp_path: Path) -> None:
    """Other test features move the reported numbers, and nothing of the choice."""
    train, test = cloud(5, 180), cloud(6, 60)
    first = run(write(tmp_path / "f", train, test), **GRID)
    others = (np.flip(test[0], axis=1).copy(), test[1])
    second = run(write(tmp_path / "f", train, others), **GRID)
    for name in PROBES:
        assert held_out(first, name) == held_out(second, name)
        assert first.details[name]["chosen"] == second.details[name]["chosen"]
        assert value(first, f"top1_{name}") != value(second, f"top1_{name}")


def test_labels_by_chance_give_chance(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    train, test = cloud(8, 300, classes=4), cloud(9, 400, classes=4)
    folder = write(
        tmp_path / "f",
        (train[0], rng.permutation(train[1])),
        (test[0], rng.permutation(test[1])),
    )
    record = run(folder, **GRID)
    for name in PROBES:
        assert value(record, f"top1_{name}") == pytest.approx(25, abs=8)


def test_the_scale_of_the_features_is_nothing_to_ridge_and_to_norms(
    tmp_path: Path,
) -> None:
    train, test = cloud(10, 150), cloud(11, 60)
    plain = run(write(tmp_path / "f", train, test), **GRID)
    scaled = [(256 * feats, targets) for feats, targets in (train, test)]
    large = run(write(tmp_path / "g", *scaled), **GRID)
    assert held_out(plain, "ridge") == held_out(large, "ridge")
    standard = slice(SETTINGS // 4, None)
    assert held_out(plain, "sgd")[standard] == held_out(large, "sgd")[standard]


def test_one_probe_alone_has_the_same_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(12, 120), cloud(13, 30))
    every = run(folder, **GRID)
    for name in PROBES:
        alone = run(folder, probes=[name], **GRID)
        assert [m.name for m in alone.metrics] == [f"top1_{name}", f"top5_{name}"]
        assert alone.details[name] == every.details[name]
        assert alone.key != every.key
        assert alone.deviations == every.deviations


def test_heads_in_groups_are_those_in_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(14, 120), cloud(15, 30))
    together = run(folder, probes=["sgd"], **GRID)
    apart = run(folder, probes=["sgd"], columns=7, **GRID)
    assert apart.details == together.details
    assert apart.key == together.key


def test_few_images_are_seen_until_there_are_steps_enough(tmp_path: Path) -> None:
    """108 images that are not held out make 4 steps an epoch of 32: 5 epochs are 20."""
    folder = write(tmp_path / "f", cloud(16, 120), cloud(17, 30))
    steps = run(folder, probes=["sgd"], **{**GRID, "epochs": 1, "least_steps": 17})
    epochs = run(folder, probes=["sgd"], **{**GRID, "epochs": 5})
    assert held_out(steps, "sgd") == held_out(epochs, "sgd")


def test_images_with_several_taps(tmp_path: Path, image_folder: Path) -> None:
    def on(**settings: Any) -> Record:
        options = {f"settings.{k}": v for k, v in {**GRID, **settings}.items()}
        return suite.evaluate(
            protocols="probe",
            dataset="folder",
            data_root=image_folder,
            extraction=QUICK,
            options=options,
            **RANDOM,
        )[0]

    record = on(taps=["layer3", "final"], probes=["ridge"], norms=["none"])
    taps = [one["tap"] for one in record.details["ridge"]["settings"]]
    assert taps == ["layer3", "layer3", "final", "final"]
    assert {one["pooling"] for one in record.details["ridge"]["settings"]} == {
        "average"
    }
    assert list(record.details["ridge"]["test"]["classes"]) == ["blue", "green", "red"]
    assert "taps=layer3,final" in record.deviations
    single = [on(taps=[tap], probes=["ridge"], norms=["none"]) for tap in taps[1:3]]
    assert held_out(record, "ridge") == [
        v for one in single for v in held_out(one, "ridge")
    ]
    best = record.details["ridge"]["chosen"]["tap"] == "final"
    assert value(record, "top1_ridge") == value(single[best], "top1_ridge")

    pooled = on(taps=["layer3"], poolings=["backbone", "adaptive_2"], probes=["ridge"])
    poolings = [one["pooling"] for one in pooled.details["ridge"]["settings"]]
    assert poolings == ["average"] * 4 + ["adaptive_2"] * 4
    assert record.warnings == ("top-5 left out: there are 3 classes",)


def test_the_bundled_scenes(tmp_path: Path) -> None:
    counts = scenes.SceneCounts(
        imagenet_train=60, imagenet_val=20, voc_trainval=20, voc_test=10
    )
    scenes.generate(tmp_path, seed=3, counts=counts, styles=("imagenet", "voc"))
    record = suite.evaluate(
        protocols="probe",
        dataset="digit-scenes",
        data_root=tmp_path,
        extraction=QUICK,
        options={f"settings.{name}": value for name, value in GRID.items()},
        **RANDOM,
    )[0]
    assert record.config == "probe_digit-scenes"
    assert record.dataset["counts"] == {"train": 60, "val": 20}
    assert not any(record.chosen_here(metric) for metric in record.metrics)


def test_classes_that_train_lacks_count_as_wrong(tmp_path: Path) -> None:
    """Targets 2 and 9 are in test alone: 20 of 60 images; 4 is in train alone."""
    train, test = cloud(18, 120), cloud(19, 60)
    kept = np.isin(train[1], (0, 1, 3, 4, 5))
    train = train[0][kept], train[1][kept]
    test = test[0], np.where(test[1] == 4, 9, test[1])
    record = run(write(tmp_path / "f", train, test), **GRID)
    assert record.warnings == (
        "2 classes of test are not in train; their 20 images count as wrong",
    )
    for name in PROBES:
        accuracies = record.details[name]["test"]["classes"]
        assert list(accuracies) == [f"class {c}" for c in (0, 1, 2, 3, 5, 9)]
        assert accuracies["class 2"] == accuracies["class 9"] == 0
        assert max(accuracies.values()) > 50
        assert value(record, f"top5_{name}") == pytest.approx(100 * 40 / 60)


def test_few_classes_and_classes_of_one_image(tmp_path: Path) -> None:
    train, test = cloud(20, 60, classes=3), cloud(21, 30, classes=3)
    train[1][np.flatnonzero(train[1] == 2)[1:]] = 0
    record = run(write(tmp_path / "f", train, test), **GRID)
    assert [metric.name for metric in record.metrics] == [
        f"top1_{name}" for name in PROBES
    ]
    assert record.warnings[:2] == (
        "1 classes have one image in train, which is not held out: they have no say in "
        "the choice of settings",
        "top-5 left out: there are 3 classes",
    )


def test_classes_from_which_nothing_follows(tmp_path: Path) -> None:
    train, test = cloud(22, 30), cloud(23, 12)
    one = train[0], np.zeros(30, np.int64)
    with pytest.raises(DataError, match="all 30 images of train are of one class"):
        run(write(tmp_path / "f", one, test))
    single = train[0], np.arange(30)
    with pytest.raises(DataError, match="each of the 30 classes of train has one"):
        run(write(tmp_path / "f", single, test))
    several = train[0], np.eye(6, dtype=np.int8)[train[1]]
    with pytest.raises(FeatureError, match=r"train targets of f have shape \(30, 6\)"):
        run(write(tmp_path / "f", several, (test[0], np.eye(6, dtype=int)[test[1]])))


def test_features_from_which_nothing_follows(tmp_path: Path) -> None:
    train, test = cloud(24, 30), cloud(25, 12)
    broken = train[0].copy()
    broken[4, 2] = np.nan
    with pytest.raises(FeatureError, match="row 4"):
        run(write(tmp_path / "f", (broken, train[1]), test))
    constant = np.ones_like(train[0])
    with pytest.raises(FeatureError, match="the same for all 30"):
        run(write(tmp_path / "f", (constant, train[1]), test))


def test_dimensions_that_say_nothing_change_nothing(tmp_path: Path) -> None:
    """Constant in train; in test they move, and must not move a standardised row."""
    train, test = cloud(26, 120), cloud(27, 60)
    plain = run(write(tmp_path / "f", train, test), norms=["standard"], **GRID)
    still = np.column_stack([train[0], np.full(120, 7, np.float32)])
    moved = np.column_stack([test[0], np.arange(60, dtype=np.float32)])
    record = run(
        write(tmp_path / "g", (still, train[1]), (moved, test[1])),
        norms=["standard"],
        **GRID,
    )
    for name in PROBES[:2]:
        assert value(record, f"top1_{name}") == value(plain, f"top1_{name}")


def test_a_head_that_diverges_is_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(28, 120), cloud(29, 30))
    wild = {**GRID, "rates": [0.1, 1e30], "decays": [0.01], "epochs": 5}
    record = run(folder, probes=["sgd"], norms=["none"], **wild)
    calm = run(folder, probes=["sgd"], norms=["none"], **{**wild, "rates": [0.1]})
    assert record.metrics == calm.metrics
    (warning,) = record.warnings
    assert "1 of 2 heads diverged and stopped, the first with rate 1e+30" in warning
    good, bad = record.details["sgd"]["settings"]
    assert "diverged_at" not in good
    assert bad["diverged_at"] > 0
    with pytest.raises(BenchError, match="all 1 settings of sgd diverged"):
        run(folder, probes=["sgd"], norms=["none"], **{**wild, "rates": [1e30]})


def test_what_stops_early_and_where_a_grid_ends_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(30, 120), cloud(31, 30))
    record = run(
        folder, probes=["logistic"], norms=["none"], costs=[1.0], steps=1, history=1
    )
    (warning,) = record.warnings
    assert "2 of 2 problems stopped early, the first at cost 1, relative" in warning
    assert record.details["logistic"]["settings"][0]["solved"] is False
    narrow = run(folder, probes=["sgd"], norms=["none"], rates=[1e-5, 1e-4, 0.1])
    assert narrow.warnings == (
        "sgd: the best rate, 0.1, is an end of its grid; widen rates",
    )


def test_given_features_have_no_taps(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(32, 30), cloud(33, 12))
    with pytest.raises(UsageError, match="no taps to choose"):
        run(folder, taps=["layer3"])
    with pytest.raises(UsageError, match="no poolings to choose"):
        run(folder, poolings=["average"])


def test_an_unknown_pooling_costs_nothing(image_folder: Path) -> None:
    with pytest.raises(BenchError, match=r"unknown pooling 'averages'"):
        suite.evaluate(
            protocols="probe",
            dataset="folder",
            data_root=image_folder,
            extraction=QUICK,
            options={"settings.poolings": ["backbone", "averages"]},
            **RANDOM,
        )


def test_bad_settings_are_refused_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", cloud(34, 30), cloud(35, 12))
    with pytest.raises(ConfigError) as caught:
        run(
            folder,
            probes=["sgd", "svm"],
            rates=[0.1, 0.1, -1.0],
            decays=[-0.1],
            costs=[0.0],
            lambdas=[],
            share=1.0,
            momentum=1.0,
            epochs=0,
            tolerance=0.0,
            columns=-1,
        )
    text = str(caught.value)
    for said in (
        "probes",
        "names a value twice",
        "rates holds -1.0; each is a number above 0",
        "decays holds -0.1; each is a number 0 or more",
        "costs holds 0.0",
        "lambdas is empty",
        "share=1.0 is not between 0 and 1",
        "momentum=1.0",
        "epochs=0 is not 1 or more",
        "tolerance=0.0",
        "columns=-1 is not 0 or more",
    ):
        assert said in text, said


def test_the_grid_of_52_heads() -> None:
    settings = probe.Settings()
    assert len(settings.settings_of("sgd")) * len(settings.norms) == 52
    assert len(settings.lambdas) == 40
    assert max(settings.lambdas) == 2**19 == settings.lambdas[0]
    assert min(settings.lambdas) == 2**-20
    assert settings.costs[0] == 1e-6
    assert settings.costs[-1] == 1e5


class Spy:
    """Do as ever, and write down what is asked; raise before the call that is told.

    Attributes:
        calls: ``search`` or ``test``, the classifier, and how many settings.
    """

    def __init__(self, stop_before: int | None = None) -> None:
        self.stop_before = stop_before
        self.calls: list[tuple[str, str, int]] = []

    def watch(self, name: str, plain: Any) -> Any:
        def method(bench: Bench, kind: str, settings: Any, *rest: Any) -> Any:
            if len(self.calls) == self.stop_before:
                raise KeyboardInterrupt
            count = len(settings) if name == "search" else 1
            self.calls.append((name, kind, count))
            return plain(bench, kind, settings, *rest)

        return method


PLAIN = {name: getattr(Bench, name) for name in ("search", "test")}


def spy_on(monkeypatch: pytest.MonkeyPatch, stop_before: int | None = None) -> Spy:
    """Watch what is computed from now on."""
    spy = Spy(stop_before)
    for name, plain in PLAIN.items():
        monkeypatch.setattr(Bench, name, spy.watch(name, plain))
    return spy


def test_finished_cells_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each norm one cell a classifier, but two of sgd: 12 columns take two heads."""
    folder = write(tmp_path / "f", cloud(36, 120), cloud(37, 30))
    small = {**GRID, "columns": 12}
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    whole = spy_on(monkeypatch)
    calm = run(folder, **small)
    searched = [("search", "sgd", 2)] * 2 + [
        ("search", "logistic", 2),
        ("search", "ridge", 2),
    ]
    tested = [("test", name, 1) for name in PROBES]
    assert whole.calls == [*searched, *searched, *tested]

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    calls = []
    for stop in (1, 4, 2, 2, 1):
        spy = spy_on(monkeypatch, stop_before=stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder, **small)
        assert len(spy.calls) == stop
        calls += spy.calls
    spy = spy_on(monkeypatch)
    record = run(folder, **small)
    assert [*calls, *spy.calls] == whole.calls
    assert record.metrics == calm.metrics
    assert record.details == calm.details
    assert record.warnings == calm.warnings
    last = spy_on(monkeypatch)
    assert run(folder, **small).metrics == calm.metrics
    assert last.calls == []


def test_changed_input_never_meets_old_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = cloud(38, 120), cloud(39, 30)
    folder = write(tmp_path / "f", train, test)
    spy = spy_on(monkeypatch)
    one = {**GRID, "probes": ["ridge"], "norms": ["none"]}
    keys = {run(folder, **one).key}
    assert len(spy.calls) == 2
    for array in (train[0], test[0]):
        array[3, 3] += 1e-3
        keys.add(run(write(folder, train, test), **one).key)
    for targets in (train[1], test[1]):
        targets[0] = (targets[0] + 1) % 6
        keys.add(run(write(folder, train, test), **one).key)
    for changes in ({"lambdas": [1.0]}, {"share": 0.2}, {"norms": ["l2"]}):
        keys.add(run(folder, **{**one, **changes}).key)
    keys.add(run(folder, seed=1, **one).key)
    assert len(keys) == 9
    assert len(spy.calls) == 2 * len(keys)
    run(folder, **one)
    assert len(spy.calls) == 2 * len(keys)


def test_rerun_computes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "f", cloud(40, 120), cloud(41, 30))
    first = run(folder, **GRID)
    spy = spy_on(monkeypatch)
    again = run(folder, rerun=True, **GRID)
    assert len(spy.calls) == 9
    assert again.metrics == first.metrics
    assert again.details == first.details


WORKER = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from ssl_bench import suite
from ssl_bench.cells import Cells

put = Cells.put
log = Path(sys.argv[2])

def slow(self, name, cell):
    time.sleep(float(sys.argv[3]))
    put(self, name, cell)
    with log.open("a") as file:
        file.write(name + "\\n")

Cells.put = slow
log.touch()
options = {f"settings.{k}": v for k, v in json.loads(sys.argv[4]).items()}
record = suite.evaluate(
    protocols="probe", features=Path(sys.argv[1]), options=options)[0].to_json()
print(json.dumps([record["metrics"], record["details"]]))
"""
KILLS = 4


@pytest.mark.slow
def test_killed_runs_end_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "f", cloud(42, 240), cloud(43, 60))
    settings = json.dumps({**GRID, "columns": 6})

    def start(log: Path, pause: float) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", WORKER, str(folder), str(log), str(pause)]
        return subprocess.Popen(
            [*words, settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def finished() -> set[str]:
        return {path.name for path in (tmp_path / "cut" / "cells").rglob("*.json")}

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    calm = start(tmp_path / "calm.log", 0.0).communicate(timeout=120)[0]
    assert json.loads(calm)[0][0]["name"] == "top1_sgd"
    total = len((tmp_path / "calm.log").read_text().splitlines())
    assert total == 2 * (4 + 1 + 1) + 3

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    rng, log = random.Random(5), tmp_path / "log"
    for _ in range(KILLS):
        log.unlink(missing_ok=True)
        process = start(log, 0.2)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and log.stat().st_size:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.3))
        before = finished()
        process.kill()
        process.communicate()
        assert process.returncode == -9
        assert before, "the kill came before there was anything to lose"
        assert before <= finished(), "a finished cell was lost"
    assert len(finished()) < total, "there was nothing left to do"

    log.unlink()
    left = total - len(finished())
    last = start(log, 0.0).communicate(timeout=120)[0]
    assert last == calm
    assert len(log.read_text().splitlines()) == left

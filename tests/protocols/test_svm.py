"""The SVM protocol as a whole: names, numbers, warnings, runs that are cut short."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_bench import suite
from ssl_bench.data import scenes
from ssl_bench.errors import BenchError, ConfigError, FeatureError
from ssl_bench.protocols import svm
from ssl_bench.results.record import Record
from tests.protocols import svm_setup
from tests.protocols.svm_setup import devkit, metric, names, spy_on
from tests.reference import svm as reference
from tests.svms.scenes import EXACT, GRIDS, scene, write


def run(folder: Path, **settings: Any) -> Record:
    return svm_setup.run("svm", folder, **settings)


def on_devkit(root: Path, *features: str, **settings: object) -> Record:
    return svm_setup.run_on_devkit("svm", root, features, **settings)


@pytest.mark.parametrize("variant", ["mmselfsup", "fair", "vissl"])
def test_a_whole_run_equals_the_reference(tmp_path: Path, variant: str) -> None:
    arrays = scene(21)
    record = run(write(tmp_path / "f", arrays), variant=variant, tolerance=1e-10)
    suffix = "" if variant == "mmselfsup" else f"_{variant}"
    assert names(record) == [f"mAP{suffix}"]
    expected = reference.full(*arrays, GRIDS[variant], **EXACT)
    found = metric(record, f"mAP{suffix}")
    assert found.value == pytest.approx(expected["map"], abs=0.02)
    assert (found.split, found.count, found.unit) == ("test", 50, "percent")
    assert (record.selection, found.selection) == ("train", "")
    assert record.warnings == ()
    details = record.details["given"]
    assert details["dimensions"] == 80
    assert list(details["classes"]) == ["class 0", "class 1", "class 2"]
    for c, one in enumerate(details["classes"].values()):
        chosen = expected["chosen"][c]
        assert one["cost"] == pytest.approx(GRIDS[variant][chosen])
        assert one["ap"] == pytest.approx(expected["ap"][c], abs=0.02)
        cv_ap = expected["cross_validated"][c][chosen]
        assert one["cv_ap"] == pytest.approx(cv_ap, abs=1e-3)
        assert one["gap"] <= 1e-10


def test_settings_reach_the_numbers(tmp_path: Path) -> None:
    arrays = scene(22, difficult=0.2)
    folder = write(tmp_path / "f", arrays)
    costs = [0.1, 1.0]
    record = run(
        folder, costs=costs, folds=4, difficult="ignore", ap="11point", tolerance=1e-10
    )
    expected = reference.full(
        *arrays, costs, count=4, difficult="ignore", rule="11point", **EXACT
    )
    assert metric(record, "mAP").value == pytest.approx(expected["map"], abs=0.02)
    assert set(record.deviations) >= {"folds=4", "difficult=ignore", "ap=11point"}


def test_liblinear_is_the_published_solver(tmp_path: Path) -> None:
    arrays = scene(23)
    costs = [0.1, 1.0]
    record = run(write(tmp_path / "f", arrays), costs=costs, solver="liblinear")
    expected = reference.full(*arrays, costs)
    assert metric(record, "mAP").value == pytest.approx(expected["map"])
    assert record.environment["solver"] == "liblinear"


def test_one_label_an_image_is_class_against_all_others(tmp_path: Path) -> None:
    arrays = scene(24, difficult=0.0)
    labels = [np.arange(60) % 4, np.arange(50) % 4]
    several = [(label[:, None] == np.arange(4)).astype(np.int8) for label in labels]
    costs = [0.1, 1.0]
    one = arrays._replace(train_NC=labels[0], test_NC=labels[1])
    record = run(write(tmp_path / "one", one), costs=costs)
    other = arrays._replace(train_NC=several[0], test_NC=several[1])
    assert (
        record.metrics == run(write(tmp_path / "several", other), costs=costs).metrics
    )
    assert len(record.details["given"]["classes"]) == 4


def test_voc07_with_several_features(tmp_path: Path) -> None:
    root = devkit(tmp_path)
    single = {name: on_devkit(root, name) for name in ("feat4", "feat5")}
    for name, record in single.items():
        assert names(record) == ["mAP", "best_layer"]
        assert metric(record, "best_layer").value == int(name[-1])
        assert metric(record, "best_layer").unit == "feature"
        assert record.selection == "trainval"
        assert metric(record, "mAP").selection == ""
        assert metric(record, "mAP").split == "test"
        assert not record.chosen_here(metric(record, "mAP"))
        assert list(record.details[name]["classes"]) == ["bus", "cow", "sheep"]
        assert record.dataset["counts"] == {"trainval": 24, "test": 12}
    both = on_devkit(root, "feat4", "feat5")
    assert names(both) == ["mAP", "best_layer", "mAP_feat4", "mAP_feat5"]
    values = {name: metric(record, "mAP").value for name, record in single.items()}
    for name, value in values.items():
        assert metric(both, f"mAP_{name}").value == value
        assert not both.chosen_here(metric(both, f"mAP_{name}"))
        assert both.details[name] == single[name].details[name]
    best = max(values, key=lambda name: values[name])
    assert metric(both, "mAP").value == values[best]
    assert metric(both, "best_layer").value == int(best[-1])
    for name in ("mAP", "best_layer"):
        assert metric(both, name).selection == "trainval and test"
        assert both.chosen_here(metric(both, name)), name
    assert both.selection == "trainval"
    turned = on_devkit(root, "feat5", "feat4")
    for name in ("mAP", "best_layer"):
        assert metric(turned, name) == metric(both, name)


def test_a_tap_by_its_name_has_no_layer(tmp_path: Path) -> None:
    root = devkit(tmp_path)
    assert names(on_devkit(root, "final")) == ["mAP"]
    gap = on_devkit(root, "feat5", variant="gap")
    assert names(gap) == ["mAP_gap"]
    assert list(gap.details) == ["gap"]
    assert gap.deviations == ("costs=0.1,1.0",)


def test_an_unknown_feature_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"'feat6'"):
        on_devkit(devkit(tmp_path), "feat6")


def test_the_bundled_scenes(tmp_path: Path) -> None:
    counts = scenes.SceneCounts(
        imagenet_train=23, imagenet_val=12, voc_trainval=60, voc_test=40
    )
    scenes.generate(tmp_path, seed=3, counts=counts, styles=("imagenet", "voc"))
    record = suite.evaluate(
        protocols="svm",
        dataset="digit-scenes",
        data_root=tmp_path,
        extraction=svm_setup.QUICK,
        options={"settings.costs": [0.1, 1.0]},
        **svm_setup.RANDOM,
    )[0]
    assert names(record) == ["mAP"]
    assert len(record.details["final"]["classes"]) == 10
    assert record.dataset["counts"] == {"trainval": 60, "test": 40}


def test_problems_that_are_not_solved_are_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", scene(25))
    record = run(
        folder, costs=[100.0], steps=1, inner_steps=1, inner=0.5, tolerance=1e-15, few=0
    )
    assert len(record.warnings) == 3
    assert record.warnings[0].startswith(
        "given: the solver stopped early for class 0, fold 1 at cost 100, fold 2 at "
        "cost 100, fold 3 at cost 100 and 1 more, relative gap "
    )
    early = run(folder, costs=[100.0], solver="liblinear", liblinear_steps=1)
    assert "stopped early for class 0" in early.warnings[0]
    assert "gap" not in early.warnings[0]


def test_features_of_zeros_are_said(tmp_path: Path) -> None:
    arrays = scene(26)
    arrays.train_ND[20:22] = 0
    record = run(write(tmp_path / "f", arrays), costs=[0.1])
    assert record.warnings == ("2 images of train have a feature of zeros at given",)


def test_features_from_which_no_number_follows(tmp_path: Path) -> None:
    arrays = scene(27)
    broken = arrays.train_ND.copy()
    broken[4, 2] = np.nan
    with pytest.raises(FeatureError, match="row 4"):
        run(write(tmp_path / "f", arrays._replace(train_ND=broken)))
    constant = np.ones_like(arrays.test_ND)
    with pytest.raises(FeatureError, match="the same for all 50"):
        run(write(tmp_path / "g", arrays._replace(test_ND=constant)))


def test_classes_from_which_no_number_follows(tmp_path: Path) -> None:
    arrays = scene(28)
    arrays.train_NC[:, 1] = 0
    arrays.train_NC[:2, 1] = 1
    folder = write(tmp_path / "f", arrays)
    with pytest.raises(FeatureError, match=r"class 1 has 2 positive .* needs 3"):
        run(folder)
    run(folder, folds=2, costs=[0.1])
    arrays.test_NC[:, 2] = 0
    with pytest.raises(FeatureError, match="class 2 has no positive image in test"):
        run(write(tmp_path / "f", arrays), folds=2)
    arrays.test_NC[0, 0] = 3
    with pytest.raises(FeatureError, match="target 3 of image 0, class 0 in test"):
        run(write(tmp_path / "f", arrays), folds=2)


def test_difficult_images_that_are_ignored_are_no_negatives(tmp_path: Path) -> None:
    """Class 1 has two negatives and many difficult images."""
    arrays = scene(28)
    arrays.train_NC[arrays.train_NC[:, 1] != 1, 1] = -1
    arrays.train_NC[4:6, 1] = 0
    folder = write(tmp_path / "f", arrays)
    run(folder, costs=[0.1])
    with pytest.raises(FeatureError, match=r"class 1 has 2 negative .* needs 3"):
        run(folder, costs=[0.1], difficult="ignore")


def test_bad_settings_are_refused_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", scene(29))
    with pytest.raises(ConfigError) as caught:
        run(folder, costs=[0.0, 1.0, 1.0], folds=1, difficult="maybe", steps=0)
    text = str(caught.value)
    for word in ("costs holds 0.0", "twice", "folds=1", "difficult", "steps=0"):
        assert word in text, word


SMALL: dict[str, Any] = {"costs": [0.01, 1.0], "together": 1}


def test_finished_classes_are_not_solved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "f", scene(30, classes=4))
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    calm = run(folder, **SMALL)
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    first = spy_on(monkeypatch, svm, stop_before=1)
    with pytest.raises(KeyboardInterrupt):
        run(folder, **SMALL)
    second = spy_on(monkeypatch, svm, stop_before=2)
    with pytest.raises(KeyboardInterrupt):
        run(folder, **SMALL)
    third = spy_on(monkeypatch, svm)
    record = run(folder, **SMALL)
    assert first.calls + second.calls + third.calls == [[0], [1], [2], [3]]
    assert record.metrics == calm.metrics
    assert record.details == calm.details
    assert record.warnings == calm.warnings
    assert record.key == calm.key
    last = spy_on(monkeypatch, svm)
    assert run(folder, **SMALL).metrics == calm.metrics
    assert last.calls == []


def test_a_group_that_was_kept_in_part_is_solved_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "f", scene(31, classes=4))
    settings = {**SMALL, "together": 3}
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    calm = run(folder, **settings)
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    run(folder, **settings)
    (lost,) = (tmp_path / "cut").rglob("class-1.json")
    lost.write_bytes(lost.read_bytes()[:20])
    spy = spy_on(monkeypatch, svm)
    record = run(folder, **settings)
    assert spy.calls == [[0, 1, 2]]
    assert record.metrics == calm.metrics
    assert record.details == calm.details


def test_changed_input_never_meets_old_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = scene(32)
    folder = write(tmp_path / "f", arrays)
    spy = spy_on(monkeypatch, svm)
    keys = {run(folder, **SMALL).key}
    assert len(spy.calls) == 3
    arrays.train_ND[3, 3] += 1e-3
    keys.add(run(write(folder, arrays), **SMALL).key)
    assert len(spy.calls) == 6
    arrays.test_ND[3, 3] += 1e-3
    keys.add(run(write(folder, arrays), **SMALL).key)
    assert len(spy.calls) == 9
    arrays.test_NC[-1] = 1 - np.abs(arrays.test_NC[-1])
    keys.add(run(write(folder, arrays), **SMALL).key)
    assert len(spy.calls) == 12
    for changes in ({"difficult": "ignore"}, {"ap": "11point"}, {"costs": [1.0, 0.01]}):
        keys.add(run(folder, **{**SMALL, **changes}).key)
    assert len(spy.calls) == 21
    keys.add(run(folder, seed=1, **SMALL).key)
    assert len(spy.calls) == 24
    assert len(keys) == 8
    run(folder, **SMALL)
    assert len(spy.calls) == 24


def test_rerun_solves_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "f", scene(33))
    first = run(folder, **SMALL)
    spy = spy_on(monkeypatch, svm)
    again = run(folder, rerun=True, **SMALL)
    assert spy.calls == [[0], [1], [2]]
    assert again.metrics == first.metrics
    assert again.details == first.details


KILLS = 4


@pytest.mark.slow
def test_killed_runs_end_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "f", scene(34, classes=20))

    start = partial(svm_setup.start, "svm", folder, costs=[0.01, 1.0], together=2)

    def finished() -> set[str]:
        return {path.name for path in (tmp_path / "cut").rglob("class-*.json")}

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    calm = start(tmp_path / "calm.log", 0.0).communicate(timeout=120)[0]
    assert json.loads(calm)[0][0]["name"] == "mAP"

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    rng, log = random.Random(3), tmp_path / "log"
    with_cells = 0
    for _ in range(KILLS):
        log.unlink(missing_ok=True)
        process = start(log, 0.2)
        svm_setup.wait_for_a_cell(process, log)
        time.sleep(rng.uniform(0.0, 0.3))
        before = finished()
        process.kill()
        process.communicate()
        assert process.returncode == -9
        assert before <= finished(), "a finished class was lost"
        with_cells += bool(before)
    assert with_cells == KILLS, "the kills came before there was anything to lose"
    assert len(finished()) < 20, "there was nothing left to do"

    log.unlink()
    left = 20 - len(finished())
    last = start(log, 0.0).communicate(timeout=120)[0]
    assert last == calm
    assert len(log.read_text().splitlines()) == left

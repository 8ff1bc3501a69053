"""The low-shot protocol as a whole: both choices of the cost, draws, cut runs."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bench.data.lowshot import draw_digest
from ssl_bench.errors import BenchError, ConfigError, DataError, FeatureError
from ssl_bench.protocols import lowshot
from ssl_bench.results.record import Record
from tests.protocols import svm_setup
from tests.protocols.svm_setup import devkit, metric, names, spy_on
from tests.reference import svm as reference
from tests.svms.scenes import EXACT, GRIDS, Arrays, scene, write


def run(folder: Path, **settings: Any) -> Record:
    return svm_setup.run("lowshot", folder, **settings)


def compare(record: Record, k: int, expected: dict[str, Any], suffix: str = "") -> None:
    """Compare both numbers of one k with the reference's."""
    published = metric(record, f"mAP{suffix}_k{k}")
    maps_SJ = np.array(expected["maps"])
    assert published.value == pytest.approx(expected["mean"], abs=0.02)
    assert published.mean == published.value
    assert published.std == pytest.approx(expected["std"], abs=0.02)
    assert published.values == pytest.approx(
        maps_SJ[:, expected["chosen"]].tolist(), abs=0.02
    )
    assert min(published.values) == pytest.approx(expected["min"], abs=0.02)
    assert max(published.values) == pytest.approx(expected["max"], abs=0.02)
    clean = metric(record, f"mAP{suffix}_k{k}_heldout")
    assert clean.values == pytest.approx(expected["held_map"], abs=0.02)
    assert clean.value == pytest.approx(expected["held_mean"], abs=0.02)
    assert clean.std == pytest.approx(expected["held_std"], abs=0.02)


@pytest.mark.parametrize("variant", ["mmselfsup", "fair", "vissl"])
def test_a_whole_run_equals_the_reference(tmp_path: Path, variant: str) -> None:
    arrays = scene(41, train=80)
    record = run(
        write(tmp_path / "f", arrays),
        variant=variant,
        shots=[2, 6],
        samples=3,
        tolerance=1e-10,
        seed=5,
    )
    suffix = "" if variant == "mmselfsup" else f"_{variant}"
    assert names(record) == [
        f"mAP{suffix}_k2",
        f"mAP{suffix}_k6",
        f"mAP{suffix}_k2_heldout",
        f"mAP{suffix}_k6_heldout",
    ]
    grid = GRIDS[variant]
    expected = reference.lowshot(*arrays, grid, [2, 6], 3, 5, **EXACT)
    for k in (2, 6):
        compare(record, k, expected[k], suffix)
        details = record.details["given"][f"k{k}"]
        assert details["cost"] == pytest.approx(grid[expected[k]["chosen"]])
        chosen = [grid[place] for place in expected[k]["held_chosen"]]
        assert details["held_out_costs"] == pytest.approx(chosen)
        assert details["mAP"] == list(metric(record, f"mAP{suffix}_k{k}").values)
        clean = metric(record, f"mAP{suffix}_k{k}_heldout")
        assert details["held_out_mAP"] == list(clean.values)
        assert clean.selection == "train"
        assert not record.chosen_here(clean)
        assert metric(record, f"mAP{suffix}_k{k}").selection == "test"
        assert record.chosen_here(metric(record, f"mAP{suffix}_k{k}"))
    assert record.selection == "train"
    assert record.warnings == ()
    order = [(s, k) for k in (2, 6) for s in range(3)]
    drawn = [reference.draw(arrays.train_NC, 5, s, k) for s, k in order]
    assert record.details["draws"] == draw_digest(drawn)


def test_another_seed_draws_other_images(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", scene(42))
    first, second = (run(folder, shots=[2], costs=[1.0], seed=s) for s in (0, 1))
    assert first.details["draws"] != second.details["draws"]
    assert first.metrics != second.metrics
    assert first.key != second.key


def test_default_shots_that_a_class_cannot_give_are_left_out(tmp_path: Path) -> None:
    """12 positives in one class: 1, 2, 4 and 8 are drawn, of five samples each."""
    arrays = scene(43, train=200, classes=2, share=0.5, difficult=0.0)
    arrays.train_NC[:, 1] = 0
    arrays.train_NC[:12, 1] = 1
    record = run(write(tmp_path / "f", arrays), costs=[1.0])
    assert names(record) == [
        *(f"mAP_k{k}" for k in (1, 2, 4, 8)),
        *(f"mAP_k{k}_heldout" for k in (1, 2, 4, 8)),
    ]
    assert all(len(metric.values) == 5 for metric in record.metrics)
    assert record.warnings == (
        "k = 16, 32, 64, 96 left out: class 'class 1' has 12 positive images, too few "
        "for k = 16",
    )


def test_shots_that_were_written_down_are_never_left_out(tmp_path: Path) -> None:
    arrays = scene(43, classes=2, share=0.5, difficult=0.0)
    arrays.train_NC[:, 1] = 0
    arrays.train_NC[:12, 1] = 1
    folder = write(tmp_path / "f", arrays)
    with pytest.raises(
        BenchError, match="k = 13 cannot be drawn: class 'class 1' has 12 positive"
    ):
        run(folder, shots=[1, 13])
    assert "mAP_k12" in names(run(folder, shots=[12], costs=[1.0]))


def test_too_few_negatives_are_said_and_all_taken(tmp_path: Path) -> None:
    """3 classes: 2 k negatives are asked for, and class 0 has 5."""
    arrays = scene(44, difficult=0.0)
    arrays.train_NC[:, 0] = 1
    arrays.train_NC[4:9, 0] = 0
    record = run(
        write(tmp_path / "f", arrays), shots=[2, 3], costs=[0.1, 1.0], tolerance=1e-12
    )
    assert record.warnings == (
        "k = 3: a class has only 5 negative images where 2 times k are drawn; all are "
        "taken",
    )
    expected = reference.lowshot(*arrays, [0.1, 1.0], [2, 3], 5, 0, **EXACT)
    for k in (2, 3):
        compare(record, k, expected[k])


def test_a_k_that_draws_everything_has_no_clean_number(tmp_path: Path) -> None:
    """Of 20 positives all 20 are drawn, in every class."""
    labels_NC = np.eye(3, dtype=np.int8)[np.arange(60) % 3]
    arrays = scene(45, difficult=0.0)._replace(train_NC=labels_NC)
    record = run(write(tmp_path / "f", arrays), shots=[5, 20], costs=[0.1, 1.0])
    assert names(record) == ["mAP_k5", "mAP_k20", "mAP_k5_heldout"]
    expected = reference.lowshot(*arrays, [0.1, 1.0], [20], 5, 0)[20]
    assert expected["held_map"] is None
    assert metric(record, "mAP_k20").value == pytest.approx(expected["mean"], abs=1)
    details = record.details["given"]["k20"]
    assert details["held_out_mAP"] == details["held_out_costs"] == []
    (warning,) = record.warnings
    assert warning.startswith("k = 20 has no held-out number")


def test_one_label_an_image_is_class_against_all_others(tmp_path: Path) -> None:
    arrays = scene(46)
    labels = [np.arange(60) % 4, np.arange(50) % 4]
    several = [(label[:, None] == np.arange(4)).astype(np.int8) for label in labels]
    one = arrays._replace(train_NC=labels[0], test_NC=labels[1])
    other = arrays._replace(train_NC=several[0], test_NC=several[1])
    settings: dict[str, Any] = {"shots": [1, 3], "costs": [0.1, 1.0]}
    record = run(write(tmp_path / "one", one), **settings)
    assert record.metrics == run(write(tmp_path / "other", other), **settings).metrics


def write_samples(
    folder: Path, arrays: Arrays, shots: Sequence[int], samples: int, seed: int = 0
) -> Path:
    """Write draws as FAIR distributes them."""
    folder.mkdir()
    for k in shots:
        for sample in range(samples):
            drawn_NC: NDArray[np.int32] = reference.draw(
                arrays.train_NC, seed, sample, k
            ).astype(np.int32)
            np.save(folder / f"train_targets_sample{sample + 1}_k{k}.npy", drawn_NC)
    return folder


FILES: dict[str, Any] = {"shots": [2, 4], "samples": 3, "costs": [0.1, 1.0]}


def test_files_of_the_same_draws_give_the_same_numbers(tmp_path: Path) -> None:
    arrays = scene(47)
    folder = write(tmp_path / "f", arrays)
    seeded = run(folder, seed=4, **FILES)
    samples = write_samples(tmp_path / "samples", arrays, [2, 4], 3, seed=4)
    given = run(folder, seed=4, sample_files=str(samples), **FILES)
    assert given.metrics == seeded.metrics
    assert given.details == seeded.details
    assert given.key != seeded.key
    moved = samples.rename(tmp_path / "moved")
    assert run(folder, seed=4, sample_files=str(moved), **FILES).key == given.key


def test_other_files_are_another_key(tmp_path: Path) -> None:
    arrays = scene(47)
    folder = write(tmp_path / "f", arrays)
    samples = [
        write_samples(tmp_path / f"samples{seed}", arrays, [2, 4], 3, seed=seed)
        for seed in (0, 1)
    ]
    first, second = (run(folder, sample_files=str(s), **FILES) for s in samples)
    assert first.key != second.key
    assert first.metrics != second.metrics


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    arrays = scene(48)
    folder = write(tmp_path / "f", arrays)
    samples = write_samples(tmp_path / "samples", arrays, [2, 4], 3)

    def ask() -> Record:
        return run(folder, sample_files=str(samples), **FILES)

    path = samples / "train_targets_sample2_k4.npy"
    good_NC = np.load(path)

    other_NC = good_NC.copy()
    row = int(np.flatnonzero(other_NC[:, 1] == 1)[0])
    other_NC[row, 1] = 0
    np.save(path, other_NC)
    with pytest.raises(
        DataError, match=r"sample2_k4\.npy does not fit the data: of class 1 1 labels"
    ):
        ask()

    empty_NC = good_NC.copy()
    empty_NC[empty_NC[:, 2] == 1, 2] = -1
    np.save(path, empty_NC)
    with pytest.raises(DataError, match=r"sample2_k4.* class 2 0 labels .* missing"):
        ask()

    np.save(path, good_NC[:-1])
    with pytest.raises(DataError, match=r"sample2_k4\.npy is int32 of shape \(59, 3\)"):
        ask()

    path.unlink()
    with pytest.raises(DataError, match=r"sample2_k4\.npy cannot be read: No such"):
        ask()
    np.save(path, good_NC)
    assert len(ask().metrics) == 4


def test_bad_input_is_refused(tmp_path: Path) -> None:
    arrays = scene(49)
    broken = arrays.train_ND.copy()
    broken[4, 2] = np.nan
    with pytest.raises(FeatureError, match="row 4"):
        run(write(tmp_path / "a", arrays._replace(train_ND=broken)))
    constant = np.ones_like(arrays.train_ND)
    with pytest.raises(FeatureError, match="the same for all 60"):
        run(write(tmp_path / "b", arrays._replace(train_ND=constant)))
    none_NC = arrays.train_NC.copy()
    none_NC[:, 1] = 0
    with pytest.raises(FeatureError, match=r"class 1 has 0 positive .* needs 1"):
        run(write(tmp_path / "c", arrays._replace(train_NC=none_NC)))
    none_NC = arrays.test_NC.copy()
    none_NC[:, 2] = -1
    with pytest.raises(FeatureError, match="class 2 has no positive image in test"):
        run(write(tmp_path / "d", arrays._replace(test_NC=none_NC)))


def test_a_class_without_negatives_is_refused(tmp_path: Path) -> None:
    """Difficult images are in no draw: they are no negatives here."""
    arrays = scene(49)
    arrays.train_NC[arrays.train_NC[:, 1] != 1, 1] = -1
    with pytest.raises(FeatureError, match="class 1 has 0 negative images in train"):
        run(write(tmp_path / "f", arrays), shots=[1], costs=[1.0])


def test_bad_settings_are_refused_together(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", scene(50))
    with pytest.raises(ConfigError) as caught:
        run(folder, costs=[0.0], shots=[0, 3, 3], samples=0)
    text = str(caught.value)
    for word in ("costs holds 0.0", "k is 1 or more", "twice", "samples=0"):
        assert word in text, word


def test_problems_that_are_not_solved_are_said(tmp_path: Path) -> None:
    record = run(
        write(tmp_path / "f", scene(51)),
        shots=[5],
        costs=[100.0],
        steps=1,
        inner=0.5,
        inner_steps=1,
        tolerance=1e-15,
        few=0,
    )
    assert len(record.warnings) == 3
    assert record.warnings[0].startswith(
        "given: the solver stopped early for class 0, sample 1, k = 5, at cost 100, "
        "sample 2, k = 5, at cost 100, sample 3, k = 5, at cost 100 and 2 more, "
        "relative gap "
    )


def on_devkit(root: Path, *features: str) -> Record:
    return svm_setup.run_on_devkit("lowshot", root, features, shots=[1, 2])


def test_voc07_with_several_features(tmp_path: Path) -> None:
    root = devkit(tmp_path)
    single = {name: on_devkit(root, name) for name in ("feat4", "feat5")}
    both = on_devkit(root, "feat4", "feat5")
    means = {
        name: metric(record, "mAP_k1").value + metric(record, "mAP_k2").value
        for name, record in single.items()
    }
    best = max(means, key=lambda name: means[name])
    assert both.details["feature"] == best
    for name, record in single.items():
        assert both.details[name] == record.details[name]
        assert metric(record, "mAP_k1_heldout").selection == "trainval"
        assert record.selection == "trainval"
    assert names(both) == [
        "mAP_k1", "mAP_k2", "mAP_k1_heldout", "mAP_k2_heldout",
    ]  # fmt: skip
    for name in names(both):
        assert metric(both, name).values == metric(single[best], name).values
        # The feature is chosen by what is reported.
        assert both.chosen_here(metric(both, name))


SMALL: dict[str, Any] = {
    "costs": [0.01, 1.0], "shots": [1, 3], "samples": 2, "together": 1,
}  # fmt: skip


def test_finished_classes_are_not_solved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "f", scene(52, classes=4))
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    calm = run(folder, **SMALL)
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    first = spy_on(monkeypatch, lowshot, stop_before=1)
    with pytest.raises(KeyboardInterrupt):
        run(folder, **SMALL)
    second = spy_on(monkeypatch, lowshot)
    record = run(folder, **SMALL)
    assert first.calls == [[0]]
    assert second.calls == [[1], [2], [3]]
    assert record.metrics == calm.metrics
    assert record.details == calm.details
    assert record.key == calm.key
    third = spy_on(monkeypatch, lowshot)
    assert run(folder, **SMALL).metrics == calm.metrics
    assert third.calls == []
    assert run(folder, rerun=True, **SMALL).metrics == calm.metrics
    assert third.calls == [[0], [1], [2], [3]]


def test_changed_input_never_meets_old_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = scene(53)
    folder = write(tmp_path / "f", arrays)
    spy = spy_on(monkeypatch, lowshot)
    keys = {run(folder, **SMALL).key}
    arrays.train_ND[3, 3] += 1e-3
    keys.add(run(write(folder, arrays), **SMALL).key)
    arrays.test_ND[3, 3] += 1e-3
    keys.add(run(write(folder, arrays), **SMALL).key)
    keys.add(run(folder, seed=1, **SMALL).key)
    keys.add(run(folder, **{**SMALL, "samples": 3}).key)
    assert len(keys) == 5
    assert len(spy.calls) == 5 * 3


def test_files_that_changed_never_meet_old_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = scene(54)
    folder = write(tmp_path / "f", arrays)
    samples = write_samples(tmp_path / "samples", arrays, [2, 4], 3)
    spy = spy_on(monkeypatch, lowshot)
    before = run(folder, sample_files=str(samples), **FILES)
    path = samples / "train_targets_sample2_k4.npy"
    np.save(path, reference.draw(arrays.train_NC, 77, 1, 4).astype(np.int32))
    after = run(folder, sample_files=str(samples), **FILES)
    assert spy.calls == [[0, 1, 2]] * 2
    assert before.details["draws"] != after.details["draws"]
    assert before.key != after.key


@pytest.mark.slow
def test_a_killed_run_ends_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "f", scene(55, classes=10))

    start = partial(
        svm_setup.start,
        "lowshot",
        folder,
        costs=[0.01, 1.0],
        shots=[1, 2],
        samples=2,
        together=2,
    )

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "calm"))
    calm = start(tmp_path / "calm.log", 0.0).communicate(timeout=120)[0]
    assert json.loads(calm)[0][0]["name"] == "mAP_k1"

    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cut"))
    rng, log = random.Random(4), tmp_path / "log"
    for _ in range(2):
        log.unlink(missing_ok=True)
        process = start(log, 0.2)
        svm_setup.wait_for_a_cell(process, log)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -9
    done = len(list((tmp_path / "cut").rglob("class-*.json")))
    assert 2 <= done < 10

    log.unlink()
    assert start(log, 0.0).communicate(timeout=120)[0] == calm
    assert len(log.read_text().splitlines()) == 10 - done

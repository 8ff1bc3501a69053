"""VOC07 SVM and low-shot SVM: all problems together, against LinearSVC fit by fit.

On features of 5,011 x 8,192 with VOC2007's classes. Ours reads them from a mapped file
and does the whole protocol: Gram matrix, 1,520 problems, cross-validated and test
average precision; then 15,200 low-shot problems with test and held-out precision. The
baseline fits a stated random sample of the same problems by scikit-learn's LinearSVC
with the protocol's settings, in as many processes as there are cores, each with the
normalised float64 features in memory before its clock starts; its time is scaled to all
fits, and counts nothing but fitting.

    python -m benchmarks.speed.svm
    python -m benchmarks.speed.svm --share 0.01 --repeats 1   # a quick look
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed import measure, svm_features
from ssl_bench.data import lowshot as draws
from ssl_bench.data.folds import stratified_folds
from ssl_bench.features import Features
from ssl_bench.protocols import lowshot, svm
from ssl_bench.svms import SvmSettings
from ssl_bench.svms import full as full_svm
from ssl_bench.svms import low as low_svm
from ssl_bench.svms.labels import Place, Split
from ssl_bench.svms.machine import Machine
from ssl_bench.svms.runs import groups_of

SEED = 0
BARS = {"full": 10.0, "lowshot": 30.0}
PEAK_BAR_GB = 0.6
_SHARED: dict[str, Any] = {}

Job = tuple[int, NDArray[np.int64], float]
"""Class, images and cost of one fit."""


def place_of(folder: Path) -> Place:
    """Return the features as the protocols see them, mapped."""
    splits = []
    for split in ("trainval", "test"):
        feats = np.load(folder / f"{split}.npy", mmap_mode="r")
        targets = np.load(folder / f"{split}_targets.npy")
        features = Features(feats, targets, "layer4", "none", "voc07", split, split)
        names = tuple(f"class {c}" for c in range(targets.shape[1]))
        splits.append(Split(features, targets, names))
    return Place("feat5", *splits)


def machine_of(place: Place, settings: SvmSettings, device: str) -> Machine:
    """Return the solver on these features; nothing is computed yet."""
    return Machine(
        place.train.features.feats_ND,
        place.test.features.feats_ND,
        settings,
        seed=SEED,
        device=device,
    )


def run_full(machine: Machine, place: Place, settings: svm.Settings) -> float:
    """Return the mAP of the whole protocol."""
    found: dict[int, dict[str, Any]] = {}
    machine.prepare(test=False)
    for group in groups_of(len(place.train.classes), settings.together):
        found |= full_svm.solve_classes(machine, group, place, settings, settings.folds)
    return float(np.mean([cell["ap"] for cell in found.values()]))


def run_low(machine: Machine, place: Place, settings: lowshot.Settings) -> None:
    """Solve all low-shot problems."""
    drawn = all_draws(place, settings)
    machine.prepare(test=True)
    for group in groups_of(len(place.train.classes), settings.together):
        low_svm.solve_classes(machine, group, place, drawn, settings)


def all_draws(
    place: Place, settings: lowshot.Settings
) -> dict[tuple[int, int], NDArray[np.int8]]:
    """Return every draw of the low-shot protocol."""
    return {
        (sample, k): draws.draw(
            place.train.targets_NC, seed=SEED, sample=sample, shots=k
        )
        for k in settings.shots
        for sample in range(settings.samples)
    }


def jobs_of(place: Place) -> dict[str, list[Job]]:
    """Return every fit of both protocols."""
    full, low = svm.Settings(), lowshot.Settings()
    targets_NC = place.train.targets_NC
    jobs: dict[str, list[Job]] = {"full": [], "lowshot": []}
    for c in range(targets_NC.shape[1]):
        labels_N = np.where(targets_NC[:, c] == 1, 1.0, -1.0)
        everything = np.arange(len(labels_N))
        held = stratified_folds(labels_N, labels_N != 0, full.folds)
        rows = [np.setdiff1d(everything, part) for part in held]
        jobs["full"] += [(c, r, k) for r in [*rows, everything] for k in full.grid]
    for drawn_NC in all_draws(place, low).values():
        for c in range(targets_NC.shape[1]):
            rows_n = np.flatnonzero(drawn_NC[:, c] != -1)
            jobs["lowshot"] += [(c, rows_n, k) for k in low.grid]
    return jobs


def _start(folder: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    feats = np.load(folder / "trainval.npy").astype(np.float64)
    feats /= np.linalg.norm(feats, axis=1, keepdims=True) + 1e-5
    targets = np.load(folder / "trainval_targets.npy")
    _SHARED.update(feats=feats, signs=np.where(targets == 1, 1.0, -1.0))


def _fit(job: Job) -> float:
    import warnings

    from sklearn.svm import LinearSVC

    c, rows, cost = job
    feats, signs = _SHARED["feats"][rows], _SHARED["signs"][rows, c]
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LinearSVC(
            C=cost,
            dual=True,
            tol=1e-4,
            max_iter=2000,
            class_weight={1: 2, -1: 1},
            random_state=SEED,
        ).fit(feats, signs)
    return time.perf_counter() - begin


def baseline(folder: Path, jobs: list[Job], share: float) -> dict[str, Any]:
    """Fit a sample of the jobs, and scale."""
    count = max(1, round(share * len(jobs)))
    chosen = np.random.default_rng(SEED).permutation(len(jobs))[:count]
    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores, _start, (folder,)) as pool:
        pool.map(_fit, [jobs[0]] * cores)  # everybody has started
        begin = time.perf_counter()
        seconds = pool.map(_fit, [jobs[i] for i in chosen], chunksize=1)
        wall = time.perf_counter() - begin
    return {
        "fits": len(jobs),
        "sampled": count,
        "processes": cores,
        "sample_s": round(wall, 2),
        "fit_s": measure.spread(seconds),
        "all_s": round(wall * len(jobs) / count, 1),
    }


def peak_gb(folder: Path, device: str) -> dict[str, float]:
    """Return the largest anonymous memory of each protocol, from a fresh start."""
    found = {}
    for name in ("full", "lowshot"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(_peak, (folder, device, name))
    return found


def _peak(folder: Path, device: str, kind: str) -> float:
    import sklearn.model_selection

    assert sklearn.model_selection
    place = place_of(folder)
    with measure.peak_memory(0.005) as peak:
        _run(kind, place, device)
    return round(peak.above / 1e9, 3)


def _run(kind: str, place: Place, device: str) -> None:
    if kind == "full":
        full = svm.Settings()
        run_full(machine_of(place, full, device), place, full)
    else:
        low = lowshot.Settings()
        run_low(machine_of(place, low, device), place, low)


def write_features(folder: Path, dims: int) -> None:
    """Write features and targets of both splits."""
    made = svm_features.make(dims, SEED)
    for split, feats, targets in (("trainval", *made[:2]), ("test", *made[2:])):
        np.save(folder / f"{split}.npy", feats)
        np.save(folder / f"{split}_targets.npy", targets)


def one_round(
    folder: Path, device: str, jobs: dict[str, list[Job]], share: float
) -> dict[str, dict[str, Any]]:
    """Run ours and the baseline, one after the other, for both protocols."""
    place = place_of(folder)
    found = {}
    for kind in ("full", "lowshot"):
        begin = time.perf_counter()
        _run(kind, place, device)
        seconds = time.perf_counter() - begin
        theirs = baseline(folder, jobs[kind], share)
        print(
            f"{kind}: ours {seconds:.1f} s, LinearSVC {theirs['all_s']} s", flush=True
        )
        found[kind] = {"ours_s": seconds, "linear_svc": theirs}
    return found


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, default=8192)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_features(folder, args.dims)
        jobs = jobs_of(place_of(folder))
        rounds = [
            one_round(folder, args.device, jobs, args.share)
            for _ in range(args.repeats)
        ]
        peaks = peak_gb(folder, args.device)
    matrix_gb = svm_features.IMAGES[0] * args.dims * 4 / 1e9
    kinds = ("full", "lowshot")
    report = {
        "what": f"{svm_features.IMAGES[0]} x {args.dims} float32 features, 20 classes",
        "times_faster": {
            kind: measure.spread(
                [r[kind]["linear_svc"]["all_s"] / r[kind]["ours_s"] for r in rounds]
            )
            for kind in kinds
        },
        "bars": BARS,
        "ours_s": {k: measure.spread([r[k]["ours_s"] for r in rounds]) for k in kinds},
        "both_together_s": measure.spread(
            [sum(r[kind]["ours_s"] for kind in kinds) for r in rounds]
        ),
        "linear_svc": {k: [r[k]["linear_svc"] for r in rounds] for k in kinds},
        "feature_matrix_gb": round(matrix_gb, 3),
        "peak_anonymous_gb": peaks,
        "peak_bar_gb": round(matrix_gb + PEAK_BAR_GB, 3),
        "device": args.device,
        "machine": measure.machine(("ssl_bench", "torch", "numpy", "scikit-learn")),
    }
    measure.write("svm", report, args.out)


if __name__ == "__main__":
    main()

"""A suite of k-NN, SVM, low-shot SVM and probe against its parts, and without sharing.

Three contenders evaluate the bundled backbone on the bundled scenes, each from an empty
feature cache: the whole `ssl-bench run --suite quick`; its parts alone, which are one
extraction for each data set and transform and then the solvers on features that are
there; and the four protocols one by one, each of which extracts for itself.

    python -m benchmarks.speed.suite
    python -m benchmarks.speed.suite --limit 500 --repeats 1    # a quick look
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.speed import measure
from ssl_bench.data.roots import cache_dir
from ssl_bench.features import Extraction, FeatureStore, extract_features
from ssl_bench.results.store import RecordStore
from ssl_bench.suite import Request, evaluate, plan_evaluation, run_request
from ssl_bench.suite.batch import Batch
from ssl_bench.suite.pretrains import pretrains_of
from ssl_bench.suite.shared import passes
from ssl_bench.suite.suites import read_suite

SUITE = "quick"


class Evaluations:
    """Evaluate the suite's protocols in three ways.

    Args:
        limit: images of a split; None for all.
    """

    def __init__(self, limit: int | None) -> None:
        self.suite = read_suite(SUITE)
        self.protocols = [entry.protocol for entry in self.suite.entries]
        self.base = Request(limit=limit, extraction=Extraction(device="cpu"))
        self.extracting: list[float] = []
        self._folders = 0

    def empty(self) -> None:
        """Drop features and finished parts; the drawn scenes stay."""
        for name in ("features", "cells"):
            shutil.rmtree(cache_dir() / name, ignore_errors=True)

    def _store(self) -> RecordStore:
        self._folders += 1
        return RecordStore(Path(tempfile.mkdtemp(dir=cache_dir())))

    def whole(self) -> None:
        """Run the suite."""
        batch = Batch(self.suite, self.base, pretrains_of(None), self._store())
        cells = batch.run() if batch.plan() else []
        if any(cell.record is None for cell in cells):
            raise SystemExit("a cell of the suite failed, see above")

    def parts(self) -> None:
        """Extract what all of them want in one pass a split, then solve."""
        plans = [plan_evaluation(self.base, name) for name in self.protocols]
        clock = time.perf_counter()
        groups: dict[str, dict[tuple[str, str], None]] = {}
        splits = {}
        for plan in plans:
            wants = plan.protocol.wants(plan.settings, plan.backbone, plan.transform)
            for split in plan.dataset.values():
                group = f"{plan.transform} {split.fingerprint()}"
                groups.setdefault(group, {}).update(dict.fromkeys(wants))
                splits[group] = plan, split
        for group, wants in groups.items():
            plan, split = splits[group]
            assert plan.backbone is not None
            for kinds in passes(wants):
                extract_features(
                    plan.backbone,
                    split,
                    tuple(kinds),
                    transform=plan.transform,
                    extraction=self.base.extraction,
                    store=FeatureStore(cache_dir()),
                    poolings=kinds,
                )
        self.extracting.append(time.perf_counter() - clock)
        store = self._store()
        for plan in plans:
            run_request(self.base, plan, store)

    def one_by_one(self) -> None:
        """Evaluate the protocols, each from an empty cache."""
        store = self._store()
        for name in self.protocols:
            self.empty()
            evaluate(
                None,
                name,
                store=store,
                limit=self.base.limit,
                extraction=self.base.extraction,
            )


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    work = Evaluations(args.limit)
    work.parts()  # draws the scenes; the libraries' first call is not measured either
    work.extracting.clear()
    runs = measure.interleaved(
        {"suite": work.whole, "parts": work.parts, "one by one": work.one_by_one},
        args.repeats,
        before=work.empty,
    )
    measure.write(
        "suite",
        {
            "what": f"{', '.join(work.protocols)} on the bundled scenes",
            "seconds": {name: run.describe() for name, run in runs.items()},
            "extraction_s_of_parts": measure.spread(work.extracting),
            "suite_over_parts": measure.ratio(runs["suite"], runs["parts"]),
            "bar": 1.15,
            "one_by_one_over_suite": measure.ratio(runs["one by one"], runs["suite"]),
            "machine": measure.machine(("torch", "faiss-cpu", "scikit-learn")),
        },
        args.out,
    )


if __name__ == "__main__":
    main()

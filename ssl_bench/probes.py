"""What linear probes do: try settings on held-out images, and test the chosen ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ssl_bench.cells import Cells
from ssl_bench.config import plain
from ssl_bench.data.held_out import HeldOut
from ssl_bench.data.roots import cache_dir
from ssl_bench.features import Features
from ssl_bench.launch import dealt, gather, rank, share
from ssl_bench.metrics import topk_accuracy
from ssl_bench.progress import progress
from ssl_bench.solvers.linear_probes import Bench, How
from ssl_bench.solvers.logistic import Rule

TOP = 5
COLUMNS = {"cpu": 1024, "cuda": 1 << 16}
"""Classes of heads that are trained together where nothing else is said."""

Found = dict[str, Any]
"""A setting and what came of it, as plain JSON."""


@dataclass(frozen=True)
class Site:
    """Hold both splits of a feature.

    Attributes:
        feature: its tap, pooling and norm.
        train: features to choose and train on.
        test: features to report on.
    """

    feature: dict[str, str]
    train: Features
    test: Features


class Work:
    """Try settings and test the chosen ones; what is finished is kept.

    Several processes deal the cells out among themselves, and each knows all of them.

    Args:
        settings: of the protocol.
        identity: what the results depend on beside settings, sites and seed.
        sites: the features.
        part: which images are held out.
        seed: of every draw.
        device: where everything is computed.
        fresh: drop what an earlier run has finished.
    """

    def __init__(
        self,
        settings: Any,
        identity: Mapping[str, Any],
        sites: Sequence[Site],
        part: HeldOut,
        *,
        seed: int,
        device: torch.device,
        fresh: bool,
    ) -> None:
        self.settings, self.sites, self.part, self.seed = settings, sites, part, seed
        self.device = device
        self.columns = settings.columns or COLUMNS[device.type]
        numbers = {**dataclasses.asdict(settings), "columns": self.columns}
        del numbers["probes"]  # each has cells of its own
        known = {
            **identity,
            "settings": plain(numbers),
            "sites": [
                [site.feature["norm"], site.train.fingerprint, site.test.fingerprint]
                for site in sites
            ],
            "seed": seed,
        }
        self.cells = Cells(cache_dir(), known, fresh=fresh and rank() == 0)
        self._opened: dict[int, Bench] = {}

    def search(self, probes: Sequence[str]) -> dict[str, list[Found]]:
        """Return by classifier every setting at every site, with held-out accuracies.

        Args:
            probes: names of classifiers.
        """
        groups = [
            (probe, number, start)
            for number in range(len(self.sites))
            for probe in probes
            for start in range(0, len(self._settings(probe)), self._group(probe))
        ]
        done = self._finish(
            {
                f"{probe}-{number}-{start}": partial(self._try, probe, number, start)
                for probe, number, start in groups
            }
        )
        found: dict[str, list[Found]] = {probe: [] for probe in probes}
        for probe, number, start in groups:
            found[probe] += done[f"{probe}-{number}-{start}"]["settings"]
        return found

    def _settings(self, probe: str) -> list[dict[str, float]]:
        found: list[dict[str, float]] = self.settings.settings_of(probe)
        return found

    def _group(self, probe: str) -> int:
        """Return how many settings of a classifier are tried together."""
        if probe == "sgd":
            return max(1, self.columns // len(self.part.classes_C))
        return len(self._settings(probe))

    def _try(self, probe: str, number: int, start: int) -> Found:
        settings = self._settings(probe)[start : start + self._group(probe)]
        bench, images = self._bench(number), int(self.part.held_N.sum())
        amount = bench.amount(probe, len(settings), held_out=True)
        with progress(self._title(probe, number), amount, unit="fits") as advance:
            tried = bench.search(probe, settings, advance)
        feature = self.sites[number].feature
        return {
            "settings": [
                {
                    **feature,
                    **setting,
                    "held_out": 100 * one.hits / images,
                    **one.facts(),
                }
                for setting, one in zip(settings, tried, strict=True)
            ]
        }

    def test(self, chosen: Mapping[str, Found]) -> dict[str, Found]:
        """Fit chosen settings on all of train, and ask the test split once each.

        Args:
            chosen: by classifier, out of what `search` has found.
        """
        done = self._finish(
            {
                f"{probe}-test": partial(self._test, probe, one)
                for probe, one in chosen.items()
            }
        )
        return {probe: done[f"{probe}-test"] for probe in chosen}

    def _test(self, probe: str, chosen: Found) -> Found:
        features = [site.feature for site in self.sites]
        number = features.index({name: chosen[name] for name in features[0]})
        self._opened.clear()  # what the search has gathered is not needed any more
        bench, test = self._bench(number), self.sites[number].test
        classes_C, names = self.part.classes_C, test.classes
        top = min(TOP, len(classes_C))
        amount = bench.amount(probe, 1, held_out=False)
        with progress(self._title(probe, number), amount, unit="fits") as advance:
            ranks, tried = bench.test(probe, chosen, test.feats_ND, top, advance)
        ranks_NK = classes_C[ranks]
        right_N = ranks_NK[:, 0] == test.targets
        return {
            "top1": topk_accuracy(ranks_NK, test.targets, 1),
            "top5": topk_accuracy(ranks_NK, test.targets, top) if top == TOP else None,
            "classes": {
                (names[c] if c < len(names) else f"class {c}"): 100.0
                * float(right_N[test.targets == c].mean())
                for c in np.unique(test.targets).tolist()
            },
            **tried.facts(),
        }

    def _bench(self, number: int) -> Bench:
        """Return what fits at a site; only the last one is kept."""
        if number not in self._opened:
            site, part, numbers = self.sites[number], self.part, self.settings
            how = How(
                epochs=numbers.epochs,
                least_steps=numbers.least_steps,
                batch_size=numbers.batch_size,
                seed=self.seed,
                rule=Rule(numbers.tolerance, numbers.steps, numbers.history),
                memory=numbers.memory,
            )
            feats_ND, norm = site.train.feats_ND, site.feature["norm"]
            self._opened.clear()
            self._opened[number] = Bench(
                *(feats_ND, part.labels_N, part.held_N),
                norm=norm,
                how=how,
                device=self.device,
            )
        return self._opened[number]

    def _title(self, probe: str, number: int) -> str:
        return " ".join((probe, *self.sites[number].feature.values()))

    def _finish(self, cells: Mapping[str, Callable[[], Found]]) -> dict[str, Found]:
        """Return all cells; those that are missing are dealt out and made."""
        found = {name: cell for name in cells if (cell := self.cells.get(name))}
        found = share(found)
        made = {}
        for name in dealt([name for name in cells if name not in found]):
            cell = cells[name]()
            self.cells.put(name, cell)
            made[name] = self.cells.get(name) or cell
        for part in gather(made):
            found.update(part)
        return found

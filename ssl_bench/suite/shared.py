"""What features the cells of a suite will ask for, extracted once for all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_bench.backbones import Backbone
from ssl_bench.data import ImageDataset
from ssl_bench.data.roots import cache_dir
from ssl_bench.features import (
    Extraction,
    FeatureStore,
    extract_features,
    feature_key,
)
from ssl_bench.suite.rates import Rates
from ssl_bench.suite.request import Plan, Request

Want = tuple[str, str]
"""A tap, and how it becomes a vector."""


@dataclass(frozen=True)
class Wanted:
    """Hold what one cell asks of one split.

    Attributes:
        group: the same for all that one pass over the images can serve.
        keys: of the features, by tap and pooling.
    """

    group: str
    backbone: Backbone
    split: ImageDataset
    transform: Sequence[Mapping[str, Any]]
    keys: Mapping[Want, str]


class SharedFeatures:
    """Extract what several cells ask for in as few passes as can be.

    Args:
        extraction: device, precision, batch, workers, and whether contents are hashed.
        rates: learns how long it took.
    """

    def __init__(self, extraction: Extraction, rates: Rates) -> None:
        self.how, self.rates = extraction, rates
        self.store = FeatureStore(cache_dir())
        self._fingerprints: dict[int, tuple[ImageDataset, str]] = {}

    def wanted(self, plan: Plan) -> list[Wanted]:
        """Return what a plan will ask of each of its splits; nothing where it trains.

        Raises:
            BenchError: for a tap that the backbone does not have.
        """
        hook = getattr(plan.protocol, "wants", None)
        if hook is None or plan.backbone is None or not plan.dataset:
            return []
        wants: list[Want] = hook(plan.settings, plan.backbone, plan.transform)
        plan.backbone.check_taps([tap for tap, _ in wants])
        return [
            Wanted(
                group=self._key(plan, split, ("", "any")),
                backbone=plan.backbone,
                split=split,
                transform=plan.transform,
                keys={want: self._key(plan, split, want) for want in wants},
            )
            for split in plan.dataset.values()
        ]

    def missing(self, wanted: Wanted) -> list[Want]:
        """Return what of it the store does not have yet.

        Raises:
            FeatureError: when finished features are damaged.
        """
        return [w for w, key in wanted.keys.items() if self.store.get(key) is None]

    def extract(self, wanted: Sequence[Wanted]) -> None:
        """Extract all that is missing of one group.

        Args:
            wanted: by the cells that are to come; all of one group.

        Raises:
            BenchError: as `extract_features`.
        """
        missing = dict.fromkeys(w for one in wanted for w in self.missing(one))
        first = wanted[0]
        for kinds in passes(missing):
            keys = [one.keys[w] for one in wanted for w in one.keys if w in missing]
            begun = self.store.begun(keys) is not None
            start = time.monotonic()
            extract_features(
                first.backbone,
                first.split,
                tuple(kinds),
                transform=first.transform,
                extraction=self.how,
                store=self.store,
                poolings=kinds,
            )
            seconds = time.monotonic() - start
            if not begun:
                count, spec = len(first.split), first.transform
                self.rates.keep(first.backbone, first.split, spec, count, seconds)

    def _key(self, plan: Plan, split: ImageDataset, want: Want) -> str:
        assert plan.backbone is not None
        return feature_key(
            plan.backbone,
            split,
            want[0],
            plan.transform,
            self.how.dtype,
            self._fingerprint(split),
            want[1],
        )

    def _fingerprint(self, split: ImageDataset) -> str:
        """Return what a split is; it is held, so that its id stays its own."""
        found = self._fingerprints.get(id(split))
        if found is None:
            found = split, split.fingerprint(contents=self.how.verify_data)
            self._fingerprints[id(split)] = found
        return found[1]


def passes(wants: Iterable[Want]) -> list[dict[str, str]]:
    """Return poolings by tap, for each pass over the images.

    One pass pools a tap in one way; a tap that is wanted in two needs two.
    """
    found: list[dict[str, str]] = []
    for tap, pooling in wants:
        room = next((kinds for kinds in found if tap not in kinds), None)
        if room is None:
            room = {}
            found.append(room)
        room[tap] = pooling
    return found


def extraction_of(request: Request) -> Extraction:
    """Return how a request extracts features."""
    return dataclasses.replace(request.extraction, verify_data=request.verify_data)

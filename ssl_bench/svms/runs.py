"""Walk over taps and classes, and keep every class that is finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ssl_bench.cells import Cells
from ssl_bench.config import plain
from ssl_bench.data.roots import cache_dir
from ssl_bench.features import Features, resolve_device
from ssl_bench.launch import dealt, gather, rank, share
from ssl_bench.pooling import Site
from ssl_bench.progress import progress
from ssl_bench.svms.labels import Place, split_of
from ssl_bench.svms.machine import LiblinearMachine, Machine
from ssl_bench.svms.variants import SvmSettings

_ALONE = 1500

SolveClasses = Callable[[Machine, Sequence[int]], dict[int, dict[str, Any]]]
"""Solves some classes together; what it gives is plain JSON."""


def places_of(
    sites: Sequence[Site], taken: Mapping[str, Mapping[str, Features]]
) -> list[Place]:
    """Return both splits at every site, with the same classes.

    Args:
        sites: where features were taken.
        taken: features by role and tap.

    Raises:
        FeatureError: for a target other than 1, 0 and -1.
    """
    found = []
    for site in sites:
        train, test = taken["train"][site.tap], taken["test"][site.tap]
        count = None
        if train.targets.ndim == 1 and test.targets.ndim == 1:
            count = int(max(train.targets.max(), test.targets.max())) + 1
        both = split_of(train, count), split_of(test, count)
        found.append(Place(site.feature, *both))
    return found


def finish_classes(
    place: Place,
    settings: SvmSettings,
    identity: Mapping[str, Any],
    solve: SolveClasses,
    *,
    test: bool,
    seed: int,
    device: str,
    fresh: bool,
) -> list[dict[str, Any]]:
    """Return the result of every class, those of an earlier run included.

    Classes are always solved in the same groups, so that a run that was killed, or
    several processes that deal the groups out, end with the same numbers.

    Args:
        place: splits and targets.
        settings: of the protocol.
        identity: what else the results depend on.
        solve: solves a group of classes.
        test: whether it asks for test decisions of every model.
        seed: of whatever is drawn.
        device: where products are computed.
        fresh: solve again what was finished.
    """
    cells = Cells(
        cache_dir(),
        {
            **identity,
            "settings": plain(dataclasses.asdict(settings)),
            "feature": place.feature,
            "train": place.train.features.fingerprint,
            "test": place.test.features.fingerprint,
            "seed": seed,
        },
        fresh=fresh and rank() == 0,
    )
    kind = LiblinearMachine if settings.solver == "liblinear" else Machine
    machine = kind(
        place.train.features.feats_ND,
        place.test.features.feats_ND,
        settings,
        seed=seed,
        device=str(resolve_device(device)),
    )
    total = len(place.train.classes)
    found = share({c: cell for c in range(total) if (cell := cells.get(f"class-{c}"))})
    missing = [
        group
        for group in groups_of(total, settings.together)
        if not all(c in found for c in group)
    ]
    groups = dealt(missing)
    made: dict[int, dict[str, Any]] = {}

    with (
        threads_for(len(place.train)),
        progress(f"SVM {place.feature}", total, unit="classes") as advance,
    ):
        advance(total - sum(map(len, missing)))
        if groups:
            machine.prepare(test=test)
        for group in groups:
            for c, cell in solve(machine, group).items():
                if c not in found:
                    cells.put(f"class-{c}", cell)
                    made[c] = cells.get(f"class-{c}") or cell
            advance(len(group))
    for part in gather(made):
        found.update(part)
    return [found[c] for c in range(total)]


def groups_of(count: int, size: int) -> list[range]:
    """Return the classes that are solved together; always the same ones."""
    return [range(at, min(at + size, count)) for at in range(0, count, size)]


@contextmanager
def threads_for(images: int) -> Iterator[None]:
    """Compute on one thread where there is little to share.

    Products of a few hundred images cost less than handing parts of them to threads,
    which on a busy machine wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if images < _ALONE else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def complaints_of(place: Place, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for every class with problems that were not solved."""
    return [
        f"{place.feature}: the solver stopped early for {name}, {', '.join(left[:3])}"
        f"{f' and {len(left) - 3} more' if len(left) > 3 else ''}"
        + ("" if result["gap"] is None else f", relative gap {result['gap']:.1e}")
        for name, result in zip(place.train.classes, results, strict=True)
        if (left := result["unsolved"])
    ]

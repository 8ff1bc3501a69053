"""Three linear classifiers in one form: settings are tried on held-out rows.

Axes: N rows to train on, n of them in use, M rows that are asked, C classes, D
dimensions, K ranks.

``sgd`` is `linear_heads`, ``logistic`` is `logistic`, ``ridge`` is `ridge`. What the
last two share, the eigenpairs of the rows, is found once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_bench.errors import FeatureError, unknown
from ssl_bench.solvers import linear_heads, logistic, ridge
from ssl_bench.solvers.rows import Norm, Rows, matrix

KINDS = ("sgd", "logistic", "ridge")
"""The classifiers, by name."""

_ALONE = 1 << 21
"""Numbers in a matrix up to which one thread computes."""

_GRIDS = dict(zip(KINDS, ("rate", "cost", "lambda"), strict=True))

Setting = Mapping[str, float]
"""``rate``, ``decay`` and ``momentum``; ``cost``; or ``lambda``, which is a multiple of
the mean eigenvalue of the rows."""

Advance = Callable[[int], None]
"""Called with a part of what `Bench.amount` says."""


@dataclass(frozen=True)
class How:
    """Say how classifiers are fitted, whatever their setting.

    Attributes:
        epochs: of ``sgd``, at least.
        least_steps: of ``sgd``: epochs are added until there are so many.
        batch_size: of ``sgd``.
        seed: of the order of the rows.
        rule: of ``logistic``.
        memory: bytes that the rows in use may take, gathered and normalised.
    """

    epochs: int
    least_steps: int
    batch_size: int
    seed: int
    rule: logistic.Rule
    memory: int

    def schedule(self, rows: int) -> linear_heads.Schedule:
        """Return the schedule of ``sgd`` on so many rows."""
        per_epoch = -(-rows // self.batch_size)
        epochs = max(self.epochs, -(-self.least_steps // per_epoch))
        return linear_heads.Schedule(epochs, self.batch_size, self.seed)


@dataclass(frozen=True)
class Tried:
    """Hold what came of one setting.

    Attributes:
        hits: rows among those held out whose class has the highest score.
        diverged_at: step at which the loss was not finite; None where it always was.
        gradient: its largest entry, relative to zero weights; None but for logistic.
        steps: that were taken; None but for logistic.
        solved: False where logistic stopped before its tolerance.
    """

    hits: int
    diverged_at: int | None = None
    gradient: float | None = None
    steps: int | None = None
    solved: bool = True

    def facts(self) -> dict[str, float | bool]:
        """Return what a reader has to know beside the hits, as plain JSON."""
        facts = {
            "diverged_at": self.diverged_at,
            "gradient": self.gradient,
            "steps": self.steps,
            "solved": None if self.solved else False,
        }
        return {name: value for name, value in facts.items() if value is not None}


class Bench:
    """Try and fit classifiers on one feature under one norm.

    Args:
        feats_ND: what is trained on; a mapped matrix stays mapped.
        labels_N: class of every row, from 0; every class has one that is not held out.
        held_N: which rows are held out to try settings on.
        norm: one of `ssl_bench.solvers.rows.NORMS`.
        how: whatever the setting.
        device: where products are computed.
    """

    def __init__(
        self,
        feats_ND: NDArray[np.float32],
        labels_N: NDArray[np.int64],
        held_N: NDArray[np.bool_],
        *,
        norm: str,
        how: How,
        device: torch.device,
    ) -> None:
        self.norm, self.how, self.device = norm, how, device
        self.held_N, self.classes = held_N, int(labels_N.max()) + 1
        self._feats_ND = matrix(feats_ND, device)
        self._labels_N = torch.from_numpy(labels_N).to(device)

    def amount(self, kind: str, settings: int, *, held_out: bool) -> int:
        """Return how much there is to do at so many settings, for a bar.

        Args:
            kind: one of `KINDS`.
            settings: how many.
            held_out: whether rows are held out.
        """
        if kind != "sgd":
            return settings
        rows = len(self.held_N) - held_out * int(self.held_N.sum())
        return settings * self.how.schedule(rows).epochs

    @cached_property
    def _part(self) -> tuple[_Fit, Norm]:
        """What fits on the rows that are not held out, and their norm."""
        index_n = torch.from_numpy(np.flatnonzero(~self.held_N))
        rows = Rows(self._feats_ND, index_n, device=self.device).normalised(self.norm)
        labels_n = self._labels_N[index_n.to(self.device)]
        return _Fit(rows, labels_n, self.classes, self.how), rows.norm

    def search(
        self, kind: str, settings: Sequence[Setting], advance: Advance | None = None
    ) -> list[Tried]:
        """Fit a classifier at every setting, and ask the rows held out.

        Args:
            kind: one of `KINDS`.
            settings: its own.
            advance: of a progress bar.

        Returns:
            What came of each setting, in their order.

        Raises:
            FeatureError: for a classifier that nobody knows.
        """
        index_M = torch.from_numpy(np.flatnonzero(self.held_N))
        fit, norm = self._part
        held = Rows(self._feats_ND, index_M, norm=norm, device=self.device)
        labels_M = self._labels_N[index_M.to(self.device)]
        with _threads_for(self._feats_ND):
            return fit.search(kind, settings, held, labels_M, advance)

    def test(
        self,
        kind: str,
        setting: Setting,
        feats_MD: NDArray[np.float32],
        top: int,
        advance: Advance | None = None,
    ) -> tuple[NDArray[Any], Tried]:
        """Fit a classifier on all rows, those held out included, and ask others.

        Args:
            kind: one of `KINDS`.
            setting: its own.
            feats_MD: what is asked.
            top: how many classes are wanted of each.
            advance: of a progress bar.

        Returns:
            (M, K) classes, the highest score first; and how the fit went, without hits.

        Raises:
            FeatureError: for a classifier that nobody knows, or one that diverged.
        """
        rows = Rows(self._feats_ND, device=self.device).normalised(self.norm)
        fit = _Fit(rows, self._labels_N, self.classes, self.how)
        with _threads_for(self._feats_ND):
            weights_CD, bias_C, tried = fit.fit(kind, setting, advance)
        feats_MD_there = matrix(feats_MD, self.device)
        asked = Rows(feats_MD_there, norm=rows.norm, device=self.device)
        ranks_MK = linear_heads.rank_classes(asked, weights_CD, bias_C, top)
        return ranks_MK, tried


@contextmanager
def _threads_for(feats_ND: Tensor) -> Iterator[None]:
    """Compute on one thread where there is little to share.

    Small products gain nothing from threads, which on a busy machine wait for each
    other: ten times as long was seen.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if feats_ND.numel() <= _ALONE else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Fit:
    """Fit classifiers on the same rows."""

    def __init__(self, rows: Rows, labels_n: Tensor, classes: int, how: How) -> None:
        self.labels_n, self.classes, self.how = labels_n, classes, how
        self.rows = rows.gathered(how.memory)

    @cached_property
    def spectrum(self) -> ridge.Spectrum:
        return ridge.spectrum(self.rows)

    def search(
        self,
        kind: str,
        settings: Sequence[Setting],
        asked: Rows,
        labels_M: Tensor,
        advance: Advance | None,
    ) -> list[Tried]:
        if kind == "sgd":
            trained = self._train(settings, advance)
            hits_H = linear_heads.count_hits(
                asked, labels_M, trained.weights_HCD, trained.bias_HC
            )
            return [
                Tried(int(hits), None if step < 0 else int(step))
                for hits, step in zip(hits_H, trained.diverged_H, strict=True)
            ]
        if kind == "ridge":
            lambdas = [self._penalty(setting) for setting in settings]
            hits_L = ridge.count_hits(
                *(self.rows, self.labels_n, self.classes, self.spectrum),
                *(asked, labels_M, lambdas),
            )
            return [Tried(int(hits)) for hits in hits_L]
        found = {}
        for solution in self._solve(kind, settings, advance):
            hits_1 = linear_heads.count_hits(
                asked, labels_M, solution.weights_CD[None], solution.bias_C[None]
            )
            found[solution.index] = _tried(solution, int(hits_1[0]))
        return [found[index] for index in range(len(settings))]

    def fit(
        self, kind: str, setting: Setting, advance: Advance | None
    ) -> tuple[Tensor, Tensor, Tried]:
        if kind == "sgd":
            trained = self._train([setting], advance)
            step = int(trained.diverged_H[0])
            if step >= 0:
                raise FeatureError(
                    f"sgd with rate {setting['rate']:g} and decay "
                    f"{setting['decay']:g} diverged at step {step} when it was trained "
                    "on all images; leave that rate out"
                )
            return trained.weights_HCD[0], trained.bias_HC[0], Tried(0)
        if kind == "ridge":
            model = ridge.solve(
                *(self.rows, self.labels_n, self.classes, self.spectrum),
                self._penalty(setting),
            )
            return *model, Tried(0)
        (solution,) = self._solve(kind, [setting], advance)
        return solution.weights_CD, solution.bias_C, _tried(solution, 0)

    def _train(
        self, settings: Sequence[Setting], advance: Advance | None
    ) -> linear_heads.Trained:
        heads = [
            linear_heads.Head(s["rate"], s["decay"], s["momentum"]) for s in settings
        ]
        schedule = self.how.schedule(len(self.rows))
        return linear_heads.train(
            self.rows, self.labels_n, self.classes, heads, schedule, advance
        )

    def _solve(
        self, kind: str, settings: Sequence[Setting], advance: Advance | None
    ) -> Iterator[logistic.Solution]:
        if kind != "logistic":
            raise FeatureError(unknown("linear classifier", kind, KINDS))
        costs = [setting["cost"] for setting in settings]
        return logistic.solve_path(
            *(self.rows, self.labels_n, self.classes, costs, self.spectrum),
            self.how.rule,
            advance,
        )

    def _penalty(self, setting: Setting) -> float:
        # Where all rows are the same there is nothing to shrink, and 0 will not do.
        return setting["lambda"] * (self.spectrum.mean_value() or 1.0)


def _tried(solution: logistic.Solution, hits: int) -> Tried:
    return Tried(
        hits,
        gradient=solution.gradient,
        steps=solution.steps,
        solved=solution.solved,
    )


def complaints(
    kind: str, tried: Sequence[Mapping[str, Any]], final: Mapping[str, Any]
) -> Iterator[str]:
    """Say which fits failed, and whether the choice lies where a grid ends.

    Args:
        kind: one of `KINDS`.
        tried: settings with their `Tried.facts`, and ``held_out``: their accuracy.
        final: the chosen one of them, with the facts of its fit on all rows.

    Yields:
        A sentence each.
    """
    bad = [one for one in tried if "diverged_at" in one]
    if bad:
        yield (
            f"{kind}: {len(bad)} of {len(tried)} heads diverged and stopped, the first "
            f"with rate {bad[0]['rate']:g} and decay {bad[0]['decay']:g} at step "
            f"{bad[0]['diverged_at']}"
        )
    bad = [one for one in (*tried, final) if not one.get("solved", True)]
    if bad:
        yield (
            f"{kind}: {len(bad)} of {len(tried) + 1} problems stopped early, the first "
            f"at cost {bad[0]['cost']:g}, relative gradient {bad[0]['gradient']:.1e}"
        )
    name = _GRIDS[kind]
    grid = [one[name] for one in tried]
    ends = (min(grid), max(grid))
    inner = [one["held_out"] for one in tried if one[name] not in ends]
    if inner and final[name] in ends and final["held_out"] > max(inner):
        yield (
            f"{kind}: the best {name}, {final[name]:g}, is an end of its grid; widen "
            f"{name}s"
        )

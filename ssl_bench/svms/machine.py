"""Fit many binary problems on the features of one tap, by either solver.

Axes: N images to train on, M images to report on, P problems (columns).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_bench.solvers import svm, svm_liblinear
from ssl_bench.solvers.svm_kernel import Kernel, Spectrum, normalised
from ssl_bench.svms.variants import SvmSettings

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]

_BLOCKS = 1 << 20
"""Numbers in the Gram matrices of small problems that are solved together."""


@dataclass(frozen=True)
class Fit:
    """Hold some problems, solved at one cost.

    Attributes:
        columns: which of the problems that were asked for.
        index: place of the cost in the grid.
        train_NP: decisions on all images of the training split.
        test_MP: decisions on the test split, but for a constant; None where they were
            not asked for.
        models_KP: what `Machine.test` makes test decisions of.
        gaps_P: bound of the relative duality gap; NaN where the solver tells none.
        solved_P: whether it is within the tolerance.
    """

    columns: NDArray[np.int64]
    index: int
    train_NP: Floats
    test_MP: Floats | None
    models_KP: Tensor
    gaps_P: Floats
    solved_P: NDArray[np.bool_]


class Quality:
    """Collect how well problems were solved.

    Args:
        problems: their number.
        costs: of the grid.
    """

    def __init__(self, problems: int, costs: int) -> None:
        self._gaps_PK = np.zeros((problems, costs))
        self._solved_PK = np.zeros((problems, costs), dtype=bool)

    def note(self, fit: Fit) -> None:
        """Take what a fit says."""
        self._gaps_PK[fit.columns, fit.index] = fit.gaps_P
        self._solved_PK[fit.columns, fit.index] = fit.solved_P

    def of(
        self, start: int, names: Sequence[str], costs: Sequence[float]
    ) -> dict[str, Any]:
        """Return the largest gap of some problems, and which were not solved.

        Args:
            start: the first of them.
            names: of these problems, in their order.
            costs: of the grid.
        """
        own = slice(start, start + len(names))
        gap = float(self._gaps_PK[own].max())
        left = np.argwhere(~self._solved_PK[own]).tolist()
        return {
            "gap": None if np.isnan(gap) else float(f"{gap:.1e}"),
            "unsolved": [f"{names[row]} at cost {costs[k]:g}" for row, k in left],
        }


class Machine:
    """Solve with `ssl_bench.solvers.svm`.

    Args:
        train_ND: features to train on.
        test_MD: features to report on.
        settings: of the protocol.
        seed: of whatever is drawn.
        device: where products are computed.
    """

    def __init__(
        self,
        train_ND: NDArray[np.float32],
        test_MD: NDArray[np.float32],
        settings: SvmSettings,
        *,
        seed: int,
        device: str,
    ) -> None:
        self.train_ND, self.test_MD = train_ND, test_MD
        self.settings, self.seed, self.device = settings, seed, device
        self._reported = False

    def prepare(self, *, test: bool) -> None:
        """Compute what all problems share.

        Args:
            test: whether test decisions of every model will be asked for.
        """
        self._reported = test
        assert self._spectrum
        if test:
            assert len(self._across)

    @cached_property
    def kernel(self) -> Kernel:
        """The Gram matrix of the training features."""
        return Kernel(
            self.train_ND,
            epsilon=self.settings.epsilon,
            device=self.device,
            memory=self.settings.memory,
            others_MD=self.test_MD if self._reported else None,
        )

    @cached_property
    def _spectrum(self) -> Spectrum:
        return self.kernel.spectrum(self.settings.rank, self.seed)

    @cached_property
    def _across(self) -> Tensor:
        return self.kernel.across(self.test_MD)

    @property
    def _rule(self) -> svm.Rule:
        asked = self.settings
        return svm.Rule(asked.tolerance, asked.steps, asked.inner, asked.inner_steps)

    def fits(
        self, signs_NP: Numbers, weights_NP: Numbers, *, test: bool
    ) -> Iterator[Fit]:
        """Solve problems at every cost of the grid.

        Args:
            signs_NP: labels, +1 or -1.
            weights_NP: weights; 0 leaves an image out.
            test: whether decisions on the test split are wanted.

        Yields:
            Every problem at every cost, in parts.
        """
        counts_P = (weights_NP > 0).sum(axis=0)
        few = counts_P <= min(self.settings.few, len(signs_NP) // 2)
        for size in np.unique(counts_P[few]):
            columns = np.flatnonzero(few & (counts_P == size))
            width = max(1, _BLOCKS // int(size) ** 2)
            for start in range(0, len(columns), width):
                part = columns[start : start + width]
                yield from self._small(part, signs_NP, weights_NP, test=test)
        many = np.flatnonzero(~few)
        width = self.settings.columns
        for start in range(0, len(many), width):
            columns = many[start : start + width]
            yield from self._large(columns, signs_NP, weights_NP, test=test)

    def _large(
        self,
        columns: NDArray[np.int64],
        signs_NP: Numbers,
        weights_NP: Numbers,
        *,
        test: bool,
    ) -> Iterator[Fit]:
        for solution in svm.solve_shared(
            self.kernel,
            self._spectrum,
            self._tensor(signs_NP[:, columns]),
            self._tensor(weights_NP[:, columns]),
            self.settings.grid,
            self._rule,
        ):
            yield Fit(
                columns,
                solution.index,
                solution.decisions_NP.cpu().numpy(),
                self._ranking(solution.duals_NP) if test else None,
                solution.duals_NP,
                solution.gaps_P.cpu().numpy(),
                solution.solved_P.cpu().numpy(),
            )

    def _small(
        self,
        columns: NDArray[np.int64],
        signs_NP: Numbers,
        weights_NP: Numbers,
        *,
        test: bool,
    ) -> Iterator[Fit]:
        """Solve problems of equally few images on their own rows of K."""
        rows_Pn = np.stack([np.flatnonzero(weights_NP[:, p] > 0) for p in columns])
        picked_Pn = torch.from_numpy(rows_Pn).to(self.kernel.device)
        signs_nP = np.stack(
            [signs_NP[r, p] for r, p in zip(rows_Pn, columns, strict=True)], axis=1
        )
        weights_nP = np.stack(
            [weights_NP[r, p] for r, p in zip(rows_Pn, columns, strict=True)], axis=1
        )
        solutions = list(
            svm.solve_blocks(
                self.kernel,
                picked_Pn,
                self._tensor(signs_nP),
                self._tensor(weights_nP),
                self.settings.grid,
                self._rule,
            )
        )
        duals_PnC = torch.stack([s.duals_NP for s in solutions], dim=2).transpose(0, 1)
        trains, tests = [], []
        for rows, duals_nC in zip(picked_Pn, duals_PnC, strict=True):
            single = duals_nC.float()
            trains.append((self.kernel.rows(rows).T @ single).double())
            if test:
                tests.append((self._across[rows].T @ single).double())
        for place, solution in enumerate(solutions):
            models_NP = torch.zeros(
                len(signs_NP),
                len(columns),
                dtype=torch.float64,
                device=self.kernel.device,
            )
            models_NP.scatter_(0, picked_Pn.T, solution.duals_NP)
            train_NP = torch.stack([part[:, place] for part in trains], dim=1)
            yield Fit(
                columns,
                solution.index,
                train_NP.cpu().numpy(),
                torch.stack([p[:, place] for p in tests], dim=1).cpu().numpy()
                if test
                else None,
                models_NP,
                solution.gaps_P.cpu().numpy(),
                solution.solved_P.cpu().numpy(),
            )

    def _ranking(self, models_NP: Tensor) -> Floats:
        """Return decisions on the test split but for a constant, (M, P).

        Of many models: they rank images, which is all that average precision asks.
        """
        scores_MP = self._across.T @ models_NP.float()
        found: Floats = scores_MP.double().cpu().numpy()
        return found

    def test(self, models_NP: Tensor) -> Floats:
        """Return the decisions of models on the test split, (M, P)."""
        scores_MP = self.kernel.decide(self.test_MD, *self.kernel.primal(models_NP))
        found: Floats = scores_MP.cpu().numpy()
        return found

    def _tensor(self, values: Numbers) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64)).to(
            self.kernel.device
        )


class LiblinearMachine(Machine):
    """Solve with scikit-learn's LinearSVC, as the published protocol did."""

    def prepare(self, *, test: bool) -> None:
        """Compute nothing: every fit reads the features themselves."""

    @cached_property
    def _trained(self) -> Floats:
        return self._normalised(self.train_ND)

    @cached_property
    def _tested(self) -> Floats:
        return self._normalised(self.test_MD)

    def _normalised(self, feats_ND: NDArray[np.float32]) -> Floats:
        scaled = normalised(feats_ND, self.settings.epsilon, torch.device("cpu"))
        found: Floats = scaled.double().numpy()
        return found

    def fits(
        self, signs_NP: Numbers, weights_NP: Numbers, *, test: bool
    ) -> Iterator[Fit]:
        """Solve problems at every cost of the grid, as `Machine.fits`."""
        for index, cost in enumerate(self.settings.grid):
            models, solved_P = svm_liblinear.fit_columns(
                self._trained,
                signs_NP.astype(np.float64),
                weights_NP.astype(np.float64),
                cost,
                tolerance=self.settings.liblinear_tolerance,
                steps=self.settings.liblinear_steps,
                seed=self.seed,
            )
            models_KP = torch.from_numpy(models)
            yield Fit(
                np.arange(signs_NP.shape[1]),
                index,
                self._trained @ models[:-1] + models[-1],
                self.test(models_KP) if test else None,
                models_KP,
                np.full(len(solved_P), np.nan),
                solved_P,
            )

    def test(self, models_NP: Tensor) -> Floats:
        """Return the decisions of models on the test split, (M, P)."""
        models: Any = models_NP.numpy()
        found: Floats = self._tested @ models[:-1] + models[-1]
        return found

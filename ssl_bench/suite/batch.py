"""Many protocols on one backbone or several: planned as a whole, then cell by cell.

`Batch.plan` finds out of every cell what it will need; `Batch.run` makes the records,
and a cell that fails leaves the others alone.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ssl_bench.backbones import Backbone
from ssl_bench.config import parse_options
from ssl_bench.data.roots import cache_dir
from ssl_bench.errors import BenchError, UsageError
from ssl_bench.features import resolve_device
from ssl_bench.launch import refuse_strangers
from ssl_bench.progress import note
from ssl_bench.protocols import get_protocol, is_dense, trains
from ssl_bench.results.schema import safe_name
from ssl_bench.suite.cell import CACHED, FAILED, FINISHED, TO_DO, Cell
from ssl_bench.suite.evaluation import (
    RecordKeeper,
    finished_record,
    identify,
    run_request,
)
from ssl_bench.suite.images import Opened, sharing
from ssl_bench.suite.planning import plan_evaluation
from ssl_bench.suite.pretrains import Pretrain
from ssl_bench.suite.rates import Rates
from ssl_bench.suite.request import (
    Plan,
    Request,
    check_request,
    open_backbone,
    say_loaded,
)
from ssl_bench.suite.shared import (
    SharedFeatures,
    Want,
    Wanted,
    extraction_of,
    passes,
)
from ssl_bench.suite.suites import Entry, Suite

OWN_NETWORK = ("backbone", "producer", "custom_imports")
"""Keys of a config that say which network is loaded, and how."""


class _Coming:
    """Count the passes over the images that planned cells will cause."""

    def __init__(self) -> None:
        self._wants: dict[str, dict[Want, None]] = {}
        self._first: dict[str, str] = {}

    def add(self, wanted: Wanted, missing: Sequence[Want], cell: Cell) -> int:
        """Return the images that a cell adds, and note on it with whom it shares."""
        known = self._wants.setdefault(wanted.group, {})
        before = len(passes(known))
        known.update(dict.fromkeys(missing))
        added = len(passes(known)) - before
        first = self._first.setdefault(wanted.group, cell.entry.title)
        if not added and first not in cell.shared_with:
            cell.shared_with = (*cell.shared_with, first)
        return added * len(wanted.split)


@dataclass
class _Model:
    """Hold what is open of one checkpoint."""

    backbone: Backbone | None = None
    plans: dict[str, tuple[Request, Plan]] = field(default_factory=dict)


class Batch:
    """Evaluate checkpoints under a suite.

    Args:
        suite: the cells of each checkpoint.
        base: what all cells are asked alike; its checkpoint and config do not count.
        pretrains: the checkpoints.
        store: where records are kept.
        work_dir: parent of the cells' work dirs; None leaves each its usual one.
        debug: show where an unexpected error came from.

    Raises:
        UsageError: for a request that contradicts itself.
    """

    def __init__(
        self,
        suite: Suite,
        base: Request,
        pretrains: Sequence[Pretrain],
        store: RecordKeeper,
        *,
        work_dir: Path | None = None,
        debug: bool = False,
    ) -> None:
        check_base(base)
        _check(base, pretrains)
        self.suite, self.base, self.store = suite, base, store
        self.work_dir, self.debug = work_dir, debug
        self.rates = Rates(cache_dir(), base.extraction)
        self.features = SharedFeatures(extraction_of(base), self.rates)
        self.cells = [
            Cell(pretrain, entry, base.name or pretrain.written)
            for pretrain in pretrains
            for entry in suite.entries
        ]
        self._opened: Opened = {}
        self._kept: _Model | None = None

    def plan(self, *, estimate: bool = True) -> list[Cell]:
        """Find out what there is to do; nothing is written.

        Args:
            estimate: measure how long it takes.
        """
        models = self._by_model()
        with sharing(self._opened):
            for cells in models:
                model = self._open(cells)
                coming = _Coming()
                for cell in cells:
                    if cell.state != FAILED:
                        self._guarded(cell, partial(self._look, cell, model, coming))
                    if estimate and cell.state in (TO_DO, CACHED):
                        cell.seconds = self._estimate(cell, model.plans[_id(cell)][1])
                # Of hundreds of checkpoints only one is in memory.
                self._kept = model if len(models) == 1 else None
        return self.cells

    def run(self, after: Callable[[Cell], None] | None = None) -> list[Cell]:
        """Evaluate every cell that is planned and not finished.

        Args:
            after: called with each cell that has just ended.
        """
        total = len(self.cells)
        numbers = {_id(cell): n for n, cell in enumerate(self.cells, start=1)}
        with sharing(self._opened):
            for cells in self._by_model():
                todo = [cell for cell in cells if cell.state in (TO_DO, CACHED)]
                if not todo:
                    continue
                model = self._kept or self._open(todo)
                for cell in list(todo):
                    if cell.state != FAILED:
                        note(f"cell {numbers[_id(cell)]} of {total}: {cell.label}")
                        self._guarded(cell, partial(self._run, cell, model, todo))
                    todo.remove(cell)
                    if cell.state == FAILED:
                        note(f"FAILED: {cell.label}: {cell.error}")
                    if after is not None:
                        after(cell)
        return self.cells

    def _by_model(self) -> list[list[Cell]]:
        count = len(self.suite.entries)
        return [self.cells[i : i + count] for i in range(0, len(self.cells), count)]

    def _open(self, cells: Sequence[Cell]) -> _Model:
        """Load the backbone of a checkpoint; its cells fail where it cannot be.

        Cells that say themselves which network it is load it themselves.
        """
        first = cells[0].pretrain
        model = _Model()
        alike = [cell for cell in cells if not _own_network(cell.entry)]
        try:
            if first.error:
                alike = list(cells)
                raise BenchError(first.error)
            if alike:
                asked = dataclasses.replace(self.base, pretrain=first.pretrain)
                model.backbone = open_backbone(asked)
                say_loaded(model.backbone)
        except UsageError:  # the command line is wrong for all
            raise
        except Exception as error:
            self._show(error)
            for cell in alike:
                cell.fail(error)
        return model

    def _planned(self, cell: Cell, model: _Model) -> tuple[Request, Plan]:
        """Return request and plan of a cell, made once for each open model."""
        if _id(cell) not in model.plans:
            entry = cell.entry
            request = dataclasses.replace(
                self.base,
                pretrain=cell.pretrain.pretrain,
                config=entry.config,
                dataset=self.base.dataset or entry.dataset,
                options=parse_options(entry.overrides),
                resume=trains(get_protocol(entry.protocol)) and not self.base.rerun,
            )
            own = _own_network(entry)
            backbone = None if own else model.backbone
            plan = plan_evaluation(request, entry.protocol, backbone)
            if self.work_dir is not None:
                own_dir = f"{safe_name(plan.name)}_{identify(request, plan).key()[:8]}"
                place = self.work_dir / entry.title / own_dir
                request = dataclasses.replace(request, work_dir=place)
            model.plans[_id(cell)] = request, plan
        return model.plans[_id(cell)]

    def _look(self, cell: Cell, model: _Model, coming: _Coming) -> None:
        """Find out of one cell what there is to do, and fill it in."""
        request, plan = self._planned(cell, model)
        cell.model, cell.config = plan.name, plan.config_name
        cell.dataset = plan.dataset_name
        cell.key = identify(request, plan).key()
        finished = finished_record(request, plan, self.store)
        if finished is not None and not request.rerun:
            cell.state, cell.record = FINISHED, finished
            return
        wanted = self.features.wanted(plan)
        missing = {one.group: self.features.missing(one) for one in wanted}
        cell.state = CACHED if wanted and not any(missing.values()) else TO_DO
        for one in wanted:
            if missing[one.group]:
                cell.images += coming.add(one, missing[one.group], cell)

    def _estimate(self, cell: Cell, plan: Plan) -> float | None:
        """Return the seconds of extraction or training; solvers are not among them."""
        if plan.backbone is None or is_dense(plan.protocol):
            return None
        if not trains(plan.protocol):
            images, ways = cell.images, 1.0
        else:
            epochs = plan.config.train_cfg.get("max_epochs")
            if epochs is None:
                return None
            images = int(epochs) * len(plan.dataset["train"])
            # Back through the network costs twice the way forward.
            ways = 1.0 if plan.settings.frozen else 3.0
        split = plan.dataset["train"]
        found = self.rates.seconds(plan.backbone, split, plan.transform, images)
        return None if found is None else ways * found

    def _run(self, cell: Cell, model: _Model, todo: Iterable[Cell]) -> None:
        request, plan = self._planned(cell, model)
        if plan.backbone is not None:
            self._extract(cell, model, plan, todo)
        cell.record = run_request(request, plan, self.store)
        cell.state = FINISHED

    def _extract(
        self, cell: Cell, model: _Model, plan: Plan, todo: Iterable[Cell]
    ) -> None:
        """Extract what this cell needs, and with it what later ones will ask for."""
        later: list[Wanted] = []
        for other in todo:
            if other is not cell and other.state != FAILED:
                try:
                    later += self.features.wanted(self._planned(other, model)[1])
                except Exception:  # it will say so itself
                    continue
        for one in self.features.wanted(plan):
            if not self.features.missing(one):
                continue
            group = [one, *(more for more in later if more.group == one.group)]
            try:
                self.features.extract(group)
            except BenchError:
                if len(group) == 1:
                    raise
                # Perhaps another cell asks for what cannot be had.
                self.features.extract([one])

    def _guarded(self, cell: Cell, work: Callable[[], None]) -> None:
        """Do the work of one cell; whatever goes wrong stays there."""
        try:
            work()
        except Exception as error:
            self._show(error)
            cell.fail(error)

    def _show(self, error: Exception) -> None:
        if self.debug:
            note("".join(traceback.format_exception(error)).rstrip())


def check_base(base: Request) -> None:
    """Refuse what no cell of a suite can be asked.

    Raises:
        UsageError: with what contradicts itself.
        BenchError: for a device that is not here.
    """
    refuse_strangers(shared=False)
    check_request(base)
    if base.data_root is not None and base.dataset is None:
        raise UsageError(
            "--data-root needs --dataset: the cells of a suite have data sets of their "
            "own, each found below $SSL_BENCH_DATA or data/; name the one that lies "
            "there, or leave out --data-root"
        )
    wrong = base.extraction.complaints()
    if wrong:
        raise UsageError("; ".join(wrong))
    resolve_device(base.extraction.device)


def _check(base: Request, pretrains: Sequence[Pretrain]) -> None:
    if base.name is not None and len(pretrains) > 1:
        raise UsageError(
            f"--name is for one checkpoint, not for {len(pretrains)}; leave it out"
        )
    for one in pretrains:
        if not one.error:
            check_request(dataclasses.replace(base, pretrain=one.pretrain))


def _own_network(entry: Entry) -> bool:
    """Say whether a cell's config may name a network, or how to load it."""
    keys = {word.partition("=")[0].split(".")[0] for word in entry.options}
    own = entry.config is not None and Path(entry.config).is_file()
    return own or not keys.isdisjoint(OWN_NETWORK)


def _id(cell: Cell) -> str:
    return f"{cell.pretrain.written}\0{cell.entry.title}"

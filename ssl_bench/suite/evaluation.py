"""From a request to a record: `evaluate` is the whole way."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ssl_bench.config import keyed_settings
from ssl_bench.data.roots import cache_dir
from ssl_bench.errors import BenchError
from ssl_bench.features import FeatureStore, transform_facts
from ssl_bench.files import atomic_write_text
from ssl_bench.launch import agree, rank, share
from ssl_bench.progress import note
from ssl_bench.protocols import Outcome, Trial, is_dense
from ssl_bench.results.record import Identity, Record, digest
from ssl_bench.results.schema import safe_name
from ssl_bench.suite.facts import checkpoint_facts, environment_facts
from ssl_bench.suite.images import usual_transform
from ssl_bench.suite.planning import plan_evaluation
from ssl_bench.suite.request import Plan, Request, load_warnings, say_defaults
from ssl_bench.suite.training import work_dir_of
from ssl_bench.versions import code_facts


class Kept(Protocol):
    """Say where a second run is kept and how it differs from the first."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def differences(self) -> tuple[str, ...]:
        """One sentence per metric that differs."""


class RecordKeeper(Protocol):
    """Keep records, as ``ssl_bench.results.store.RecordStore`` does."""

    def find(self, key: str, *, name: str, evaluation: str) -> Record | None:
        """Return the record of a finished key, or None."""

    def add(self, record: Record) -> Path:
        """File a record."""

    def add_rerun(self, record: Record) -> Kept | None:
        """File a run of a finished key if its values differ."""


def evaluate(
    pretrain: str | None = None,
    protocols: str | Iterable[str] = ("knn",),
    *,
    store: RecordKeeper | None = None,
    **request: Any,
) -> list[Record]:
    """Evaluate one backbone under one or several protocols.

    Args:
        pretrain: a checkpoint file, a directory of ``epoch_*.pth``, ``none`` for random
            initialisation (then ``arch`` is needed), or None for the bundled backbone.
        protocols: names, as in ``("knn",)``.
        store: where records are kept, as in ``RecordStore(Path("results"))``; a
            finished evaluation is then not run again, its record is returned. Without
            a store nothing is looked up or kept.
        **request: any field of `Request`: ``dataset``, ``data_root``, ``features``,
            ``config``, ``options``, ``limit``, ``seed``, ``extraction`` ...

    Returns:
        One record per protocol.

    Raises:
        BenchError: for whatever the user has to mend.
    """
    names = [protocols] if isinstance(protocols, str) else list(protocols)
    asked = Request(pretrain=pretrain, **request)
    records: list[Record] = []
    backbone = None
    for name in names:
        plan = plan_evaluation(asked, name, backbone)
        backbone = plan.backbone
        say_defaults(asked, plan)
        records.append(run_request(asked, plan, store))
    return records


def run_request(
    request: Request, plan: Plan, store: RecordKeeper | None = None
) -> Record:
    """Run one planned evaluation, or return the record that the store already has."""
    identity = identify(request, plan)
    evaluation = safe_name(f"{plan.protocol.PROTOCOL}_{plan.dataset_name}")
    agree(identity.key(), "data, checkpoint and settings")
    finished = share(_find(store, identity.key(), plan.name, evaluation))
    if finished is not None and not request.rerun:
        _check_finished(request, plan, finished)
        note(f"already evaluated on {finished.started}; --rerun runs it again")
        return finished
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()
    trial = Trial(
        name=plan.name,
        backbone=plan.backbone,
        config=plan.config,
        settings=plan.settings,
        dataset=plan.dataset,
        given=plan.given,
        transform=plan.transform,
        seed=request.seed,
        extraction=dataclasses.replace(
            request.extraction, verify_data=request.verify_data
        ),
        store=FeatureStore(cache_dir()),
        work_dir=work_dir_of(request, plan, identity),
        limit=request.limit,
        fresh=request.rerun,
        resume=request.resume,
        deterministic=request.deterministic,
        trained=request.trained,
        identity=dataclasses.asdict(identity),
    )
    outcome: Outcome = plan.protocol.run(trial)
    record = Record(
        identity=identity,
        name=plan.name,
        evaluation=evaluation,
        checkpoint=checkpoint_facts(plan.backbone),
        dataset=_dataset_facts(request, plan, outcome),
        selection=outcome.selection,
        metrics=outcome.metrics,
        code=code_facts(),
        environment={
            **environment_facts(request.extraction),
            **outcome.facts,
        },
        started=started,
        seconds=round(time.monotonic() - clock, 3),
        config=plan.config_name,
        warnings=(
            *load_warnings(plan.backbone),
            *_skip_warnings(outcome),
            *outcome.warnings,
        ),
        deviations=deviations(request, plan),
        details=outcome.details,
    )
    if store is not None and rank() == 0:
        try:
            _keep(store, record, again=finished is not None)
        except BenchError:
            numbers = ", ".join(f"{m.name} {m.value:.2f}" for m in record.metrics)
            note(f"these numbers could not be kept: {numbers}")
            raise
    if trial.work_dir is not None and rank() == 0:
        _leave(trial.work_dir, plan, record)
    return record


def finished_record(request: Request, plan: Plan, store: RecordKeeper) -> Record | None:
    """Return the record of what is planned where the store has it, else None.

    Raises:
        BenchError: where the record does not say what is asked, and is not to be made
            again.
    """
    evaluation = safe_name(f"{plan.protocol.PROTOCOL}_{plan.dataset_name}")
    found = _find(store, identify(request, plan).key(), plan.name, evaluation)
    if found is not None and not request.rerun:
        _check_finished(request, plan, found)
    return found


def identify(request: Request, plan: Plan) -> Identity:
    """Collect every input that can move the number."""
    backbone = plan.backbone
    if backbone is None:
        parts = {role: features.fingerprint for role, features in plan.given.items()}
        weights, arch, encoder = "given", "given", "none"
        transform: dict[str, Any] = {}
    else:
        parts = {split.split: split.fingerprint() for split in plan.dataset.values()}
        weights, arch = backbone.fingerprint, backbone.arch
        encoder = backbone.weights.encoder if backbone.weights else "none"
        if backbone.weights is not None and backbone.weights.partial:
            # The mark must not pass to a whole checkpoint of the same values.
            weights += "-partial"
        transform = transform_facts(backbone, plan.transform)
    return Identity(
        weights=weights,
        arch=arch,
        encoder=encoder,
        protocol=plan.protocol.PROTOCOL,
        version=plan.protocol.VERSION,
        settings=keyed_settings(plan.settings),
        data=parts,
        transform=transform,
        dtype="fp32" if backbone is None else request.extraction.dtype,
        seed=request.seed,
        limit=request.limit,
    )


def _find(
    store: RecordKeeper | None, key: str, name: str, evaluation: str
) -> Record | None:
    if store is None or rank() > 0:
        return None
    return store.find(key, name=name, evaluation=evaluation)


def _keep(store: RecordKeeper, record: Record, again: bool) -> None:
    if not again:
        note(f"record: {store.add(record)}")
        return
    rerun = store.add_rerun(record)
    if rerun is None:
        note("the same values as before: no second record")
    else:
        note(f"the values DIFFER from the first run, both are kept: {rerun.path}")
        for difference in rerun.differences:
            note(f"  {difference}")


def _dataset_facts(request: Request, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    first = next(iter(plan.dataset.values()), None)
    facts: dict[str, Any] = {
        "name": _data_label(plan),
        "counts": dict(outcome.counts),
        "skipped": dict(outcome.skipped),
        "bundled": first is not None and first.bundled,
        "given": first is None,
    }
    if request.verify_data:
        facts["contents"] = _contents(plan)
    return facts


def _data_label(plan: Plan) -> str:
    """Name the data; two folders of the user's own never share a name in a table."""
    first = plan.dataset.get("train")
    if first is None or not first.own:
        return plan.dataset_name
    digits = digest([split.fingerprint() for split in plan.dataset.values()])[:6]
    return f"{plan.dataset_name}:{first.root.resolve().name}-{digits}"


def deviations(request: Request, plan: Plan) -> tuple[str, ...]:
    """Say in what a run leaves the published protocol; empty where it does not.

    Settings that only choose which cells are reported are no deviation, and neither are
    values that a field's ``usual`` allows.
    """
    own = getattr(plan.settings, "deviations", None)
    found = (
        list(own())
        if own is not None
        else [
            f"{item.name}={_written(getattr(plan.settings, item.name))}"
            for item in dataclasses.fields(plan.settings)
            if item.metadata.get("keyed", True)
            and not item.metadata.get("cells", False)
            and getattr(plan.settings, item.name) != item.default
            and not item.metadata.get("usual", _never)(
                getattr(plan.settings, item.name)
            )
        ]
    )
    backbone = plan.backbone
    if backbone is not None and not is_dense(plan.protocol):
        usual = usual_transform(
            plan.protocol, plan.settings, plan.dataset["train"], backbone.input.size
        )
        if plan.transform != usual:
            found.append("another transform")
    if backbone is not None and request.extraction.dtype != "fp32":
        found.append(f"dtype={request.extraction.dtype}")
    return tuple(found)


def _written(value: object) -> str:
    """Write a setting as the user types it."""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def _never(value: object) -> bool:
    del value
    return False


def _check_finished(request: Request, plan: Plan, finished: Record) -> None:
    """Refuse a finished record that does not say what this request asks."""
    skipped = finished.dataset.get("skipped", {})
    if skipped and request.extraction.on_bad_image == "error":
        name = next(iter(skipped))
        raise BenchError(
            f"the finished record left out {len(skipped)} unreadable images, first "
            f"{name}; repair them and pass --rerun, or pass --on-bad-image skip"
        )
    if request.verify_data and plan.dataset:
        contents = _contents(plan)
        if finished.dataset.get("contents") != contents:
            known = "other" if "contents" in finished.dataset else "unverified"
            raise BenchError(
                f"the finished record was made of {known} image contents; pass --rerun "
                "to evaluate these"
            )


def _contents(plan: Plan) -> dict[str, str]:
    return {
        split.split: split.fingerprint(contents=True) for split in plan.dataset.values()
    }


def _skip_warnings(outcome: Outcome) -> tuple[str, ...]:
    if not outcome.skipped:
        return ()
    return (f"{len(outcome.skipped)} unreadable images were left out",)


def _leave(folder: Path, plan: Plan, record: Record) -> None:
    """Leave the resolved config and a copy of the record in the work dir."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / f"{plan.config_name}.py", plan.config.pretty_text)
    text = json.dumps(record.to_json(), indent=2)
    atomic_write_text(folder / f"{record.key}.json", text + "\n")

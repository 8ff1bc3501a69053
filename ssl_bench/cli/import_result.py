"""``ssl-bench import-result``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_bench.cli.evaluation import add_reading_arguments

if TYPE_CHECKING:
    from ssl_bench.results.record import Record

HELP = """\
take the result of a run elsewhere into the records

FILE is metrics.json of detectron2, or scalars.json (vis_data/*.json, *.log.json) of
MMDetection or MMSegmentation. Its last evaluation becomes a record in percent, marked
as imported in every table. The checkpoint that the run began with is loaded, so that
the record says which weights they were.

examples:
  ssl-bench import-result out/metrics.json --pretrain moco.pth --protocol detect \\
      --config coco_R_50_C4_2x_moco
  ssl-bench import-result vis_data/scalars.json --pretrain mae.pth --protocol segment \\
      --config upernet_vit-b16 --dataset ade20k
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the import."""
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="the metrics, as the tool wrote them"
    )
    parser.add_argument(
        "--protocol",
        required=True,
        choices=("detect", "segment"),
        help="what was evaluated",
    )
    parser.add_argument(
        "--config", required=True, metavar="NAME", help="what the tool was run with"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="what was tested on, as in coco or voc0712 (default: the one in --config)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of that run (default: 0)")
    parser.add_argument("--name", help="the model's name in records and tables")
    group = parser.add_argument_group("backbone")
    group.add_argument(
        "--pretrain",
        required=True,
        metavar="CKPT",
        help="checkpoint that the run began with, or what was extracted from it",
    )
    add_reading_arguments(group)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where records are kept (default: results)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what was read, keep nothing"
    )
    parser.add_argument(
        "--json", action="store_true", help="the record as JSON on stdout"
    )


def run(args: argparse.Namespace) -> int:
    """Read the result, load the checkpoint, keep the record."""
    from ssl_bench.files import check_writable
    from ssl_bench.progress import note

    _check(args)
    if not args.dry_run:
        check_writable(args.results)
    record = _record(args)
    kept = record if args.dry_run else _keep(record, args.results)
    if args.dry_run:
        note("nothing kept (--dry-run)")
    print(json.dumps(kept.to_json(), indent=2) if args.json else _summary(kept))
    for warning in kept.warnings:
        note(f"warning: {warning}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse empty names, and a result without a checkpoint."""
    from ssl_bench.errors import UsageError

    for option in ("config", "dataset", "name", "pretrain"):
        value = getattr(args, option)
        if value is not None and not value.strip():
            raise UsageError(f"--{option} is empty; name one, or leave it out")
    if args.pretrain == "none":
        raise UsageError(
            "--pretrain none: a result belongs to a checkpoint; name the file that the "
            "run began with"
        )


def _record(args: argparse.Namespace) -> Record:
    from ssl_bench.checkpoints import load_backbone
    from ssl_bench.progress import note
    from ssl_bench.results import imported
    from ssl_bench.suite.facts import checkpoint_facts
    from ssl_bench.suite.request import Request, load_warnings, model_name

    found = imported.read(args.file, args.protocol)
    dataset = args.dataset or imported.dataset_of(args.config, args.protocol)
    if args.dataset is None:
        note(f"data set: {dataset}, as --config says; --dataset names another")
    if found.evaluations > 1:
        note(f"{found.evaluations} evaluations: the last one is taken ({found.place})")
    backbone = load_backbone(
        args.pretrain,
        arch=args.arch,
        encoder=args.encoder,
        layout=args.format,
        prefix=args.prefix,
        allow_partial=args.allow_partial,
    )
    weights = backbone.weights
    assert weights is not None
    return imported.to_record(
        found,
        name=args.name or model_name(Request(pretrain=args.pretrain), backbone),
        config=args.config,
        dataset=dataset,
        weights=backbone.fingerprint + ("-partial" if weights.partial else ""),
        arch=backbone.arch,
        encoder=weights.encoder,
        checkpoint=checkpoint_facts(backbone),
        seed=args.seed,
        warnings=load_warnings(backbone),
    )


def _keep(record: Record, results: Path) -> Record:
    """File the record, and return the one that holds its numbers."""
    from ssl_bench.progress import note
    from ssl_bench.results.store import RecordStore

    store = RecordStore(results)
    there = store.find(record.key, name=record.name, evaluation=record.evaluation)
    if there is None:
        note(f"record: {store.add(record)}")
        return record
    rerun = store.add_rerun(record)
    if rerun is None:
        note(f"imported already on {there.started}: the same values")
        return there
    note(f"another result of the same config and seed: {'; '.join(rerun.differences)}")
    note(f"record: {rerun.path}")
    return record


def _summary(record: Record) -> str:
    """Return the metrics as a table; of how many images, nobody has said."""
    from ssl_bench.results.tables.formats import number

    lines = [
        f"{' '.join(record.name.split())} on {record.dataset['name']} "
        f"({record.identity.protocol}, {record.identity.arch}), "
        f"{record.deviations[0]}, {record.config}",
        "",
        "| metric | value |",
        "|:--|--:|",
    ]
    lines += [f"| {metric.name} | {number(metric)} |" for metric in record.metrics]
    return "\n".join(lines)

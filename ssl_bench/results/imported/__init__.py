"""Results of runs elsewhere: from a tool's own file to a record that says so.

A file is JSON, or JSON lines of which those with a metric are evaluations; the last one
counts. What is read comes out in percent. The number was not made here: the record
names the file, its sha256 and the tool, its identity holds nothing that a run of ours
has, and tables label it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ssl_bench.errors import UsageError
from ssl_bench.results.imported.reading import Found, read
from ssl_bench.results.record import Identity, Metric, Record
from ssl_bench.results.schema import safe_name
from ssl_bench.versions import code_facts

__all__ = ["PROTOCOLS", "Found", "dataset_of", "read", "to_record"]

PROTOCOLS = ("detect", "segment")
VERSION = 1
UNKNOWN = "not known"
"""What a record says where only whoever ran it could know."""

_DATASETS = {
    "detect": {
        "voc0712": "voc0712",
        "cityscapes": "cityscapes",
        "coco": "coco",
        "pascal_voc": "voc0712",
    },
    "segment": {
        "voc12aug": "voc12aug",
        "cityscapes": "cityscapes",
        "ade20k": "ade20k",
    },
}
"""By protocol: words in a config's name, and the data set that each stands for."""


def dataset_of(config: str, protocol: str) -> str:
    """Return the data set that a config's name says.

    Raises:
        UsageError: where it says none.
    """
    for word, dataset in _DATASETS[protocol].items():
        if word in config.lower():
            return dataset
    known = ", ".join(dict.fromkeys(_DATASETS[protocol].values()))
    raise UsageError(
        f"--config {config} does not say which data set was evaluated; pass --dataset "
        f"NAME, as in {known}"
    )


def to_record(
    found: Found,
    *,
    name: str,
    config: str,
    dataset: str,
    weights: str,
    arch: str,
    encoder: str,
    checkpoint: Mapping[str, Any],
    seed: int,
    warnings: tuple[str, ...] = (),
) -> Record:
    """Make the record of a result from elsewhere.

    Args:
        found: what was read.
        name: the model's name in tables.
        config: what the tool ran.
        dataset: what it evaluated on, as our tables name it.
        weights: digest of the tensors of the backbone it began with.
        arch: of that backbone.
        encoder: of that backbone.
        checkpoint: facts about its file.
        seed: of the run.
        warnings: what a reader has to know of the weights.
    """
    voc = found.protocol == "detect" and dataset.startswith("voc")
    values = found.values
    variant = _variant(found, dataset) if voc and "box_AP50" in values else ""
    where = f" ({found.place})" if found.place else ""
    said = [
        f"imported from {found.file} of {found.tool}, sha256 {found.sha256[:8]}"
        f"{where}: not run by ssl_bench, which knows nothing of the run"
    ]
    if variant == UNKNOWN:
        said.append(
            "the file does not say whether AP is by the 11-point rule or the area"
        )
    details = {
        "imported": {
            "file": found.file,
            "sha256": found.sha256,
            "tool": found.tool,
            "evaluation": found.place,
            "evaluations": found.evaluations,
        },
        **({"variant": variant} if variant else {}),
        **({"classwise": found.classwise} if found.classwise else {}),
        **({"absent": found.absent} if found.absent else {}),
    }
    return Record(
        identity=Identity(
            weights=weights,
            arch=arch,
            encoder=encoder,
            protocol=found.protocol,
            version=VERSION,
            settings={"imported": found.tool, "config": config},
            data={"imported": dataset},
            transform={},
            dtype=UNKNOWN,
            seed=seed,
        ),
        name=name,
        evaluation=safe_name(f"{found.protocol}_{dataset}"),
        checkpoint=checkpoint,
        dataset={"name": dataset, "counts": {}, "bundled": False, "given": False},
        selection=UNKNOWN,
        metrics=tuple(
            Metric(name=metric, value=value, split="evaluated", count=0)
            for metric, value in values.items()
        ),
        code=code_facts(),
        environment={},
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        config=config,
        warnings=(*said, *warnings),
        deviations=(f"imported from {found.tool}",),
        details=details,
    )


def _variant(found: Found, dataset: str) -> str:
    """Return the rule of VOC's AP: detectron2 takes the year's own."""
    year_2007 = found.tool == "detectron2" and dataset == "voc0712"
    return "11points" if year_2007 else UNKNOWN

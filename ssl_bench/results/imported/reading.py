"""From a tool's file to the metrics of its last evaluation, in percent."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bench.errors import RecordError
from ssl_bench.results.imported.formats import FORMATS, KNOWN, Format

_LARGEST = 1 << 28  # bytes; a log of 180,000 iterations has about ten million
_SIZES = re.compile(r"(box|mask)_AP[sml]")
_PLACES = ("iteration", "step", "iter", "epoch")


@dataclass(frozen=True)
class Found:
    """Hold the evaluation that a file ends with.

    Attributes:
        values: percent, by our names.
        classwise: percent, by kind and class.
        absent: sizes and classes that the tool says do not occur.
        place: where in the file it stands.
        evaluations: how many there are in the file.
    """

    file: str
    sha256: str
    tool: str
    protocol: str
    values: Mapping[str, float]
    place: str
    evaluations: int
    classwise: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def read(path: Path, protocol: str) -> Found:
    """Read the last evaluation of a tool's file.

    Args:
        path: the file.
        protocol: ``detect`` or ``segment``.

    Raises:
        RecordError: for a file that is missing, no JSON, of no known tool or of
            another protocol, and for a value that no metric can have.
    """
    content = _content(path)
    evaluations = []
    others: dict[str, str] = {}
    for place, entry in _entries(content, path):
        for form in FORMATS:
            if not _has(form, entry):
                continue
            if form.protocol == protocol:
                evaluations.append((place, entry, form))
            else:
                others.setdefault(form.protocol, form.tool)
    if not evaluations:
        raise RecordError(_nothing(path, protocol, others))
    kinds = {form.tool + " " + "/".join(form.names) for *_, form in evaluations}
    if len(kinds) > 1:
        first = [next(k for k in f.names if k in e) for _, e, f in evaluations]
        raise RecordError(
            f"{path} holds results of several kinds ({', '.join(dict.fromkeys(first))}"
            "); keep those of one kind in a file of their own and import that"
        )
    place, entry, form = evaluations[-1]
    where = f"{path}, {place}" if place else str(path)
    values, absent = _values(form, entry, where)
    classwise, none = _classwise(form, entry, where)
    said = [f"{w} {entry[w]}" for w in _PLACES if isinstance(entry.get(w), int)]
    return Found(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        tool=form.tool,
        protocol=protocol,
        values=values,
        classwise=classwise,
        absent=(*absent, *none),
        place=", ".join(filter(None, [place, *said[:1]])),
        evaluations=len(evaluations),
    )


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise RecordError(
            f"{path} is a folder; name the file in it, as in metrics.json (detectron2) "
            "or vis_data/scalars.json (OpenMMLab)"
        )
    try:
        if path.stat().st_size > _LARGEST:
            raise RecordError(
                f"{path} has {path.stat().st_size:,} bytes, more than any log; name "
                f"the file with the metrics. {KNOWN}"
            )
        return path.read_bytes()
    except OSError as error:
        raise RecordError(
            f"cannot read {path}: {error.strerror}; name the file that the tool wrote. "
            f"{KNOWN}"
        ) from error


def _entries(content: bytes, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a file with its place, nested names joined by ``/``."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is not JSON (it is no text). {KNOWN}") from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        pass
    else:
        if isinstance(whole, dict):
            yield "", _flat(whole)
            return
        raise RecordError(f"{path} holds no JSON object. {KNOWN}")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordError(
                f"{path}, line {number} is not JSON ({error}); if the run was stopped "
                f"while it wrote this line, remove it. {KNOWN}"
            ) from error
        if isinstance(entry, dict):
            yield f"line {number}", _flat(entry)


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``bbox/AP`` for an ``AP`` inside ``bbox``."""
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            flat |= {f"{key}/{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    return flat


def _has(form: Format, entry: Mapping[str, Any]) -> bool:
    return form.log == ("mode" in entry) and bool(form.names.keys() & entry.keys())


def _values(
    form: Format, entry: Mapping[str, Any], where: str
) -> tuple[dict[str, float], list[str]]:
    """Return the metrics in percent, and the sizes that do not occur."""
    values: dict[str, float] = {}
    absent = []
    for theirs, ours in form.names.items():
        if theirs not in entry or (theirs in _VOC_MEAN and not _over_thresholds(entry)):
            continue
        if _SIZES.fullmatch(ours) and _is_absent(entry[theirs]):
            absent.append(ours)
        else:
            values[ours] = _percent(form, theirs, entry[theirs], where)
    if not values:
        raise RecordError(
            f"{where}: {', '.join(form.names.keys() & entry.keys())} alone is none of "
            f"the metrics {', '.join(dict.fromkeys(form.names.values()))}; evaluate "
            f"with {form.tool}'s usual settings and import that"
        )
    highest = max(values.values())
    if "mIoU" in values and form.scale == 1 and 0 < highest <= 1:
        raise RecordError(
            f"{where}: mIoU is {values['mIoU']}, which looks like a fraction of 1; "
            f"{form.tool} writes percent. Write it as percent and import again"
        )
    return values, absent


_VOC_MEAN = ("mAP", "pascal_voc/mAP")


def _over_thresholds(entry: Mapping[str, Any]) -> bool:
    """Say whether MMDetection's mAP of VOC is the mean over IoU from 0.5 to 0.95."""
    names = [key.rpartition("/")[2] for key in entry]
    found = {name for name in names if re.fullmatch(r"AP\d\d", name)}
    return found == {f"AP{threshold}" for threshold in range(50, 100, 5)}


def _classwise(
    form: Format, entry: Mapping[str, Any], where: str
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return what is known by class in percent, and the classes that do not occur."""
    found: dict[str, dict[str, float]] = {}
    absent = []
    for key, value in entry.items():
        match = re.fullmatch(form.classes, key) if form.classes else None
        if match is None:
            continue
        kind = match.groupdict().get("kind") or form.kind
        if _is_absent(value):
            absent.append(f"{kind} {match['name']}")
        else:
            percent = _percent(form, key, value, where)
            found.setdefault(kind, {})[match["name"]] = percent
    return found, absent


def _is_absent(value: Any) -> bool:
    """Say whether a tool says with a value that there is nothing of a kind."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (math.isnan(value) or value == -1)


def _percent(form: Format, key: str, value: Any, where: str) -> float:
    """Return a value in percent, or say why it can be none."""
    top = f"{100 / form.scale:g}"
    unit = "percent" if form.scale == 1 else "fractions"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 100 / form.scale:
        raise RecordError(
            f"{where}: {key} is {value!r:.40}; {form.tool} writes {unit} from 0 to "
            f"{top} there. Take the file as the tool wrote it, of a run that ended well"
        )
    return float(value) if form.scale == 1 else round(value * form.scale, 6)


def _nothing(path: Path, protocol: str, others: Mapping[str, str]) -> str:
    for other, tool in others.items():
        return (
            f"{path} holds {tool}'s metrics of {other}, none of {protocol}; type "
            f"--protocol {other}, or name another file"
        )
    return f"{path} holds no metric of {protocol} that is known. {KNOWN}"

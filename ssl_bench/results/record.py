"""What a run leaves behind: metrics, the identity they belong to, and their record.

One cell of a table is one record. The identity holds every input that can move the
number, and its digest is the record's key; everything else in a record explains the
number and is not part of the key. A published number is a `Reference`, a type of its
own, so that ours and theirs cannot be confused.

Whatever a record holds is turned into plain JSON values when it is made: a record that
exists can be written, and what was read back equals what was written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ssl_bench.errors import RecordError

SCHEMA = 1
"""Version of the record files; older ones stay readable."""

_EXACT = 2**53  # below it every whole float is exactly one integer


def plain(value: Any, where: str = "value") -> Any:
    """Return ``value`` as dicts, lists, strings, numbers, booleans and None.

    Args:
        value: mappings become dicts, tuples and lists become lists.
        where: what the value is, for the message.

    Raises:
        RecordError: naming the place of anything that JSON cannot say: another type,
            a key that is not text, NaN or infinity.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _readable(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RecordError(f"{where} is {value}; a record cannot hold NaN or inf")
        return float(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise RecordError(f"{where} has the key {key!r}; keys must be text")
        return {
            _readable(key): plain(item, f"{where}.{key}") for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise RecordError(
        f"{where} is a {type(value).__name__}; a record holds numbers, text, booleans, "
        "None, and lists and mappings of them: convert it first"
    )


def _readable(text: str) -> str:
    """Replace what no file can hold: file names that are not UTF-8 bring it in."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def canonical_json(value: Any) -> str:
    """Serialise ``value`` so that equal values give equal text: 1.0 is written 1.

    Raises:
        RecordError: for what JSON cannot say, NaN and infinity among it.
    """
    return json.dumps(_whole(plain(value)), sort_keys=True, separators=(",", ":"))


def _whole(value: Any) -> Any:
    """Write floats without a fraction as integers, at any depth of plain JSON."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value


def digest(value: Any) -> str:
    """Return the sha256 of the canonical JSON of ``value``, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def identity_key(identity: Mapping[str, Any]) -> str:
    """Return the 32 hex digits for the fields of an identity."""
    return digest(identity)[:32]


@dataclass(frozen=True)
class Metric:
    """Hold one number of one run.

    Attributes:
        name: the field's own word: ``top1_k20``, ``mAP``, ``mIoU`` ...
        value: in ``unit``; percent runs from 0 to 100.
        split: the split that was reported on.
        count: how many images (or boxes, or pixels) stand behind the value.
        unit: ``percent``, or a noun that the value counts through: ``feature`` and 5
            is shown as ``feature5``.
        values: one per repetition where there are several, with mean and std.
        selection: which split chose this number's hyper-parameter, in the words of
            `Record.selection`; empty: the record's own.
    """

    name: str
    value: float
    split: str
    count: int
    unit: str = "percent"
    higher_is_better: bool = True
    values: tuple[float, ...] = ()
    mean: float | None = None
    std: float | None = None
    selection: str = ""

    def complaints(self) -> list[str]:
        """Return what is wrong with this metric, or an empty list."""
        found = []
        numbers = {"value": self.value, "mean": self.mean, "std": self.std}
        numbers |= {f"values[{i}]": value for i, value in enumerate(self.values)}
        for what, number in numbers.items():
            if number is None:
                continue
            if not math.isfinite(number):
                found.append(f"metric {self.name}: {what} is {number}, not a number")
            elif self.unit == "percent" and not -1e-6 <= number <= 100 + 1e-6:
                found.append(f"metric {self.name}: {what} {number} is not in 0 to 100")
        if self.count < 0:
            found.append(f"metric {self.name} counts {self.count} images")
        return found


@dataclass(frozen=True)
class Identity:
    """Hold every input that can move the number, and nothing else.

    Attributes:
        weights: digest of the loaded tensors (or of the feature files).
        data: fingerprint per split.
        transform: the resolved list of operations and the input statistics.
        limit: images per split of a smoke run; None for the whole split.
    """

    weights: str
    arch: str
    encoder: str
    protocol: str
    version: int
    settings: Mapping[str, Any]
    data: Mapping[str, str]
    transform: Mapping[str, Any]
    dtype: str
    seed: int
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("settings", "data", "transform"):
            value = plain(getattr(self, name), f"identity.{name}")
            object.__setattr__(self, name, value)

    def key(self) -> str:
        """Return the 32 hex digits under which the record is filed."""
        return identity_key(dataclasses.asdict(self))


@dataclass(frozen=True)
class Record:
    """Hold one finished evaluation: its identity, its metrics and what explains them.

    Attributes:
        name: the model's name in tables ("Self-Supervised Config").
        evaluation: protocol and data set, ``knn_imagenet``: the folder of the record.
        checkpoint: source file name, sha256, layout, encoder, coverage, partial.
        dataset: name, counts per split, skipped images, bundled, verified.
        selection: which split chose the hyper-parameters, ``none`` where nothing was
            chosen.
        warnings: what a reader of the number has to know.
        deviations: in what the run left the published protocol, as ``tap=layer3``;
            such a row is labelled and stands beside no published figure.
        code: version and commit of this package.
        environment: device, threads, library versions, host facts.
        started: UTC, ISO 8601.
        seconds: wall-clock time of the run.
        config: the config that was run, by name; empty where none was needed.
        details: what the metrics were made of: APs by class, chosen costs ...; the
            protocol's page explains it.
    """

    identity: Identity
    name: str
    evaluation: str
    checkpoint: Mapping[str, Any]
    dataset: Mapping[str, Any]
    selection: str
    metrics: tuple[Metric, ...]
    code: Mapping[str, Any]
    environment: Mapping[str, Any]
    started: str
    seconds: float
    config: str = ""
    warnings: tuple[str, ...] = ()
    deviations: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        for name in ("checkpoint", "dataset", "code", "environment", "details"):
            object.__setattr__(self, name, plain(getattr(self, name), name))
        for name in ("name", "config"):
            object.__setattr__(self, name, _readable(getattr(self, name)))
        object.__setattr__(self, "metrics", tuple(self.metrics))
        for name in ("warnings", "deviations"):
            texts = tuple(map(_readable, getattr(self, name)))
            object.__setattr__(self, name, texts)

    @property
    def key(self) -> str:
        """The digest of the identity."""
        return self.identity.key()

    @property
    def bundled(self) -> bool:
        """Whether the record belongs to the bundled scenes, not to a real data set."""
        return bool(self.dataset.get("bundled", False))

    @property
    def partial(self) -> bool:
        """Whether the backbone was loaded only in part."""
        return bool(self.checkpoint.get("partial", False))

    @property
    def given(self) -> bool:
        """Whether the features came from files, of which nothing is known."""
        return bool(self.dataset.get("given", False))

    @property
    def tabled(self) -> bool:
        """Whether a table of real models may show this record."""
        smoke = self.identity.limit is not None
        return not (self.bundled or self.partial or self.given or smoke)

    def metric(self, name: str) -> Metric | None:
        """Return the metric called ``name``, or None."""
        return next((m for m in self.metrics if m.name == name), None)

    def chosen_here(self, metric: Metric) -> bool:
        """Say whether something was chosen on the split that a metric reports on."""
        selection = metric.selection or self.selection
        return metric.split in re.findall(r"[\w.+-]+", selection)

    def to_json(self) -> dict[str, Any]:
        """Return plain containers, with the key written out.

        What came into the format later is left out where it is empty, so that older
        records are written as they were.
        """
        payload = plain(dataclasses.asdict(self), "record")
        for holder, name in [
            (payload, "details"),
            *((metric, "selection") for metric in payload["metrics"]),
        ]:
            if not holder[name]:
                del holder[name]
        return {"key": self.key, **payload}

    @classmethod
    def from_json(cls, payload: Any, where: str) -> Record:
        """Rebuild a record and check it.

        Args:
            payload: the parsed JSON.
            where: the file's name, for messages.

        Raises:
            RecordError: with everything that is wrong, when a field is missing,
                unknown, of another type, or the key does not match the identity.
        """
        from ssl_bench.results.schema import parse_record

        return parse_record(payload, where)


@dataclass(frozen=True)
class Reference:
    """Hold a published number and where it was published."""

    algorithm: str
    config: str
    benchmark: str
    dataset: str
    metric: str
    value: float | str
    source: str
    extra: Mapping[str, Any] = field(default_factory=dict)

"""Reading a record strictly: every field present, known and of its type, or no record.

The fields and their types are those of the dataclasses in `record`, read from their
annotations, so that the two cannot drift apart. All complaints about a file are
reported together. The key is recomputed from the identity as it stands in the file: a
record whose identity was edited by hand is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import types
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Union, get_args, get_origin, get_type_hints

from ssl_bench.errors import RecordError, nearest
from ssl_bench.results.record import (
    SCHEMA,
    Identity,
    Metric,
    Record,
    identity_key,
    plain,
)

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,127}")
_LONGEST = 128
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    dict: "an object",
    list: "a list",
}


def is_plain_name(text: str) -> bool:
    """Say whether ``text`` may be a file or folder name as it stands."""
    return _PLAIN_NAME.fullmatch(text) is not None


def safe_name(text: str) -> str:
    """Turn any model name into the name of a folder.

    A plain name stays as it is. Every other name has its foreign characters replaced
    by ``-`` and ten digits of its sha256 appended, so that two names do not meet.
    """
    if is_plain_name(text):
        return text
    sha = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    kept = re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip(".-")
    return f"{kept[: _LONGEST - 11] or 'model'}-{sha}"


def parse_record(payload: Any, where: str) -> Record:
    """Build a `Record` from parsed JSON, or say everything that is wrong with it.

    Args:
        payload: what ``json.loads`` returned.
        where: the file's name, for messages.

    Raises:
        RecordError: when the file is of a newer schema, a field is missing, unknown or
            of another type, a value is impossible, or the key does not belong to the
            identity.
    """
    if not isinstance(payload, Mapping):
        raise RecordError(f"{where} holds {_word(payload)}, not a record")
    schema = payload.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordError(
            f"{where} is a record of schema {schema}; this version of ssl_bench reads "
            f"up to {SCHEMA}. Update ssl_bench to read it"
        )
    complaints: list[str] = []
    fields = {name: value for name, value in payload.items() if name != "key"}
    key = payload.get("key")
    if not isinstance(key, str):
        complaints.append("key: missing" if key is None else f"key: is {_word(key)}")
    _check(fields, Record, "", complaints)
    if not complaints:
        record = _build(fields)
        complaints += _impossible(record)
        complaints += _wrong_key(str(key), fields["identity"])
        if not complaints:
            return record
    raise RecordError(f"{where} is not a valid record: {'; '.join(complaints)}")


def _build(fields: Mapping[str, Any]) -> Record:
    """Make the record of fields whose names and types have been checked."""
    metrics = tuple(
        Metric(**{**metric, "values": tuple(metric.get("values", ()))})
        for metric in fields["metrics"]
    )
    identity = Identity(**fields["identity"])
    return Record(**{**fields, "identity": identity, "metrics": metrics})


def _wrong_key(key: str, identity: Mapping[str, Any]) -> list[str]:
    expected = identity_key(identity)
    if key == expected:
        return []
    return [
        f"key: is {key}, but the identity in the file gives {expected}: the identity "
        "was changed after the run. Restore the file, or remove it and run again"
    ]


def _impossible(record: Record) -> list[str]:
    """Return what is wrong although every field has its type."""
    found = []
    if not record.name.strip():
        found.append("name: is empty; give the model a name with --name")
    for what, name in (
        ("evaluation", record.evaluation),
        ("identity.protocol", record.identity.protocol),
    ):
        if not is_plain_name(name):
            found.append(
                f"{what}: {name!r} is no plain name (letters, digits and ._+- only, "
                "at most 128, no leading dot)"
            )
    for what in ("weights", "arch"):
        if not getattr(record.identity, what):
            found.append(f"identity.{what}: is empty")
    if not record.selection:
        found.append("selection: is empty; write 'none' where nothing was chosen")
    if record.identity.limit is not None and record.identity.limit < 1:
        found.append(f"identity.limit: is {record.identity.limit}; at least 1")
    if record.schema < 1:
        found.append(f"schema: is {record.schema}; the first was 1")
    if not 0 <= record.seconds < float("inf"):
        found.append(f"seconds: is {record.seconds}; a duration is 0 or more")
    found += _not_a_time(record.started)
    if not record.metrics:
        found.append("metrics: none; a record holds at least one number")
    names = [metric.name for metric in record.metrics]
    found += [
        f"metrics: {name!r} stands there {names.count(name)} times"
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    return found + [text for metric in record.metrics for text in metric.complaints()]


def _not_a_time(text: str) -> list[str]:
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        return [f"started: {text!r} is no ISO 8601 time, as in 2026-01-31T12:00:00Z"]
    if offset is None or offset.total_seconds():
        return [f"started: {text!r} is not in UTC; end it with Z or +00:00"]
    return []


def _check(value: Any, kind: Any, where: str, complaints: list[str]) -> None:
    """Append to ``complaints`` where ``value`` is not of the annotated ``kind``."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        _check_plain(value, where, complaints)
    elif dataclasses.is_dataclass(kind):
        _check_fields(value, kind, where, complaints)
    elif origin in (Union, types.UnionType):
        options = [option for option in inner if option is not type(None)]
        if value is not None:
            _check(value, options[0], where, complaints)
    elif origin is tuple:
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                _check(item, inner[0], f"{where}[{i}]", complaints)
        else:
            complaints.append(f"{where}: expected a list, got {_word(value)}")
    elif origin is not None and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            for key, item in value.items():
                _check(item, inner[1], f"{where}.{key}", complaints)
        else:
            complaints.append(f"{where}: expected an object, got {_word(value)}")
    elif not _is_a(value, kind):
        complaints.append(f"{where}: expected {_WORDS[kind]}, got {_word(value)}")
    elif isinstance(value, str):
        _check_plain(value, where, complaints)


def _check_fields(value: Any, kind: Any, where: str, complaints: list[str]) -> None:
    """Check the names of an object's fields, then each field."""
    if not isinstance(value, Mapping):
        complaints.append(f"{where}: expected an object, got {_word(value)}")
        return
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    known = {field.name: field for field in dataclasses.fields(kind)}
    for name in value:
        if name not in known:
            near = nearest(str(name), known)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            complaints.append(f"{prefix}{name}: unknown field{hint}")
    for name, field in known.items():
        if name in value:
            _check(value[name], hints[name], f"{prefix}{name}", complaints)
        elif field.default is field.default_factory is dataclasses.MISSING:
            complaints.append(f"{prefix}{name}: missing")


def _check_plain(value: Any, where: str, complaints: list[str]) -> None:
    """Complain about what could not be written back: NaN, text that is not UTF-8."""
    try:
        plain(value, where)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        complaints.append(f"{where}: holds text that is not valid Unicode")
    except RecordError as error:
        complaints.append(str(error))


def _is_a(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _word(value: Any) -> str:
    """Describe a JSON value with its type and, where it is short, itself."""
    word = _WORDS.get(type(value), type(value).__name__)
    if isinstance(value, dict | list) or value is None:
        return word
    return f"{word} {value!r:.60}"

"""Contracts of records: old files stay readable, and the key covers the identity.

The files of ``tests/data/records/v*`` are never edited: each is a record as an earlier
version wrote it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from ssl_bench.results.record import SCHEMA, Identity, Metric, Record
from ssl_bench.results.references import load_references
from ssl_bench.results.store import RecordStore
from ssl_bench.results.tables import render

HISTORIC = Path(__file__).parent.parent / "data" / "records"
FILES = sorted(HISTORIC.glob("v*/*.json"))


def load(path: Path) -> Record:
    return Record.from_json(json.loads(path.read_text(encoding="utf-8")), path.name)


def test_every_schema_has_historic_records():
    assert {path.parent.name for path in FILES} == {
        f"v{schema}" for schema in range(1, SCHEMA + 1)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_historic_record_loads(path):
    payload = json.loads(path.read_text(encoding="utf-8"))
    record = load(path)
    assert f"v{record.schema}" == path.parent.name
    assert record.name == payload["name"]
    assert [m.value for m in record.metrics] == [m["value"] for m in payload["metrics"]]
    assert record.to_json()["metrics"] == payload["metrics"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_historic_key_is_the_digest_of_its_identity(path):
    payload = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(payload["identity"], sort_keys=True, separators=(",", ":"))
    assert payload["key"] == hashlib.sha256(text.encode()).hexdigest()[:32]
    assert load(path).key == payload["key"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_historic_record_can_be_stored_and_found(path, tmp_path):
    record, store = load(path), RecordStore(tmp_path)
    store.add(record)
    assert store.find(record.key, name=record.name) == record
    assert list(store.all()) == [record]


def test_historic_records_are_tabled_or_left_out():
    records = [load(path) for path in FILES]
    text = render(records, None, "md", load_references())
    assert "47.82 (published 47.8, +0.02)" in text
    assert "Grüße \\| &lt;b&gt;eins&lt;/b&gt; [1]" in text
    assert "73.22†" in text
    assert "bundled" not in text
    assert "features from anywhere" not in text


CHANGED = {
    "weights": "0" * 64,
    "arch": "vit_tiny_patch16_224",
    "encoder": "other",
    "protocol": "other",
    "version": 99,
    "settings": {"k": [10, 20, 100, 201]},
    "data": {"train": "0" * 64},
    "transform": {"operations": []},
    "dtype": "fp16",
    "seed": 12345,
    "limit": 7,
}


def other_value(record: Record, name: str) -> object:
    """Return another value of the same type, without knowing what the field means."""
    value = getattr(record, name)
    if isinstance(value, str):
        return f"{value} changed"
    if isinstance(value, dict):
        return {**value, "changed": True}
    if isinstance(value, int | float):
        return value + 1
    if name == "metrics":
        return (*value, Metric("more", 1.0, "val", 1))
    assert isinstance(value, tuple), name
    return (*value, "changed")


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Identity)])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_field_of_the_identity_changes_the_key(path, name):
    record = load(path)
    assert CHANGED[name] != getattr(record.identity, name)
    identity = dataclasses.replace(record.identity, **{name: CHANGED[name]})
    assert dataclasses.replace(record, identity=identity).key != record.key


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(Record) if f.name != "identity"]
)
def test_no_other_field_changes_the_key(name):
    for path in FILES:
        record = load(path)
        changed = dataclasses.replace(record, **{name: other_value(record, name)})
        assert changed != record
        assert changed.key == record.key


def test_every_value_inside_the_identity_changes_the_key():
    record = load(HISTORIC / "v1" / "knn_imagenet_named_config.json")
    plain = dataclasses.asdict(record.identity)
    keys = {record.key}
    leaves = 0
    for place in list(places(plain)):
        changed = json.loads(json.dumps(plain))
        container = changed
        for step in place[:-1]:
            container = container[step]
        container[place[-1]] = "another value"
        keys.add(Identity(**changed).key())
        leaves += 1
    assert leaves > 25
    assert len(keys) == leaves + 1


def places(value, prefix=()):
    """Yield the way to every leaf of nested containers."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*prefix, key))
    else:
        yield prefix

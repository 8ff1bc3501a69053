from __future__ import annotations

import copy
import re

import pytest

from ssl_bench.errors import RecordError
from ssl_bench.results.schema import is_plain_name, parse_record, safe_name


@pytest.fixture
def payload(make_record):
    return copy.deepcopy(make_record(config="c", warnings=("w",)).to_json())


def complaint(payload) -> str:
    with pytest.raises(RecordError) as caught:
        parse_record(payload, "dir/file.json")
    assert "dir/file.json" in str(caught.value)
    return str(caught.value)


def test_a_valid_record_is_read(payload):
    assert parse_record(payload, "f").name == "model"


@pytest.mark.parametrize("thing", [None, [], "text", 3])
def test_what_is_no_object_is_no_record(thing):
    assert "not a record" in complaint(thing)


def test_all_complaints_come_together(payload):
    payload["identity"]["version"] = "1"
    payload["identity"]["dtyp"] = payload["identity"].pop("dtype")
    payload["metrics"][0]["value"] = None
    payload["extra"] = 1
    del payload["name"]
    said = complaint(payload)
    assert "identity.version: expected a whole number, got text '1'" in said
    assert "identity.dtyp: unknown field; did you mean dtype" in said
    assert "identity.dtype: missing" in said
    assert "metrics[0].value: expected a number, got null" in said
    assert "extra: unknown field" in said
    assert "name: missing" in said


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("identity", "version"), True, "identity.version: expected a whole number"),
        (("identity", "version"), 1.5, "identity.version: expected a whole number"),
        (("identity", "limit"), "5", "identity.limit: expected a whole number"),
        (("identity", "settings"), [], "identity.settings: expected an object"),
        (("identity", "data"), {"val": 3}, "identity.data.val: expected text"),
        (("metrics",), {}, "metrics: expected a list"),
        (("metrics",), [3], "metrics[0]: expected an object"),
        (("metrics", 0, "values"), ["x"], "metrics[0].values[0]: expected a number"),
        (("metrics", 0, "higher_is_better"), 1, "higher_is_better: expected true or"),
        (("seconds",), "1", "seconds: expected a number"),
        (("warnings",), "w", "warnings: expected a list"),
        (("warnings",), [1], "warnings[0]: expected text"),
        (("checkpoint",), None, "checkpoint: expected an object, got null"),
        (("environment",), {"a": float("nan")}, "environment.a is nan"),
        (("identity",), 7, "identity: expected an object"),
        (("details",), [], "details: expected an object"),
        (("details",), {"a": float("inf")}, "details.a is inf"),
        (("metrics", 0, "selection"), 1, "metrics[0].selection: expected text"),
        (("key",), None, "key: missing"),
        (("key",), 3, "key: is a whole number 3"),
        (("name",), "\ud800", "name: holds text that is not valid Unicode"),
        (("dataset",), {"name": "\ud800"}, "dataset.name: holds text"),
        (("dataset",), {"a": [{"b": "\ud800"}]}, "dataset.a: holds text"),
    ],
)
def test_types_are_checked(payload, path, value, said):
    place = payload
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert said in complaint(payload)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", " ", "name: is empty"),
        ("evaluation", "../escape", "evaluation: '../escape' is no plain name"),
        ("evaluation", ".hidden", "no plain name"),
        ("evaluation", "a/b", "no plain name"),
        ("evaluation", "x\n", "no plain name"),
        ("selection", "", "write 'none'"),
        ("started", "yesterday", "no ISO 8601 time"),
        ("started", "2026-08-01T12:00:00", "is not in UTC"),
        ("started", "2026-08-01T12:00:00+02:00", "is not in UTC"),
        ("seconds", -1, "seconds: is -1"),
        ("metrics", [], "metrics: none"),
        ("schema", 0, "schema: is 0"),
    ],
)
def test_impossible_values_are_refused(payload, field, value, said):
    payload[field] = value
    assert said in complaint(payload)


def test_a_protocol_that_could_name_a_path_is_refused(make_record):
    record = make_record(identity={"protocol": "../x"})
    assert "identity.protocol: '../x' is no plain name" in complaint(record.to_json())


def test_metrics_out_of_range_or_twice_are_refused(make_record):
    record = make_record(metrics={"top1": 101.0})
    assert "not in 0 to 100" in complaint(record.to_json())
    payload = make_record().to_json()
    payload["metrics"] *= 2
    assert "metrics: 'top1_k20' stands there 2 times" in complaint(payload)


def test_a_limit_below_one_is_refused(make_record):
    record = make_record(identity={"limit": 0})
    assert "identity.limit: is 0" in complaint(record.to_json())


def test_an_edited_identity_is_found_out(payload):
    was = payload["key"]
    payload["identity"]["seed"] = 7
    said = complaint(payload)
    assert f"key: is {was}, but the identity in the file gives" in said
    assert "changed after the run" in said


def test_a_newer_schema_asks_for_a_newer_program(payload):
    payload["schema"] = 2
    payload["from the future"] = True
    said = complaint(payload)
    assert "schema 2" in said
    assert "reads up to 1" in said
    assert "Update ssl_bench" in said
    assert "from the future" not in said


def test_fields_with_a_default_may_be_missing(payload):
    del payload["warnings"]
    del payload["config"]
    del payload["metrics"][0]["std"]
    record = parse_record(payload, "f")
    assert record.warnings == ()
    assert record.config == ""


@pytest.mark.parametrize(
    "name",
    ["a", "mocov2_resnet50_8xb32-coslr-200e_in1k", "A.b+c-", "x" * 128, "_", "-"],
)
def test_plain_names_stay(name):
    assert is_plain_name(name)
    assert safe_name(name) == name


HOSTILE = [
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "a\\b",
    "../../etc/passwd",
    "/abs",
    "a b",
    "a\x00b",
    "a\nb",
    "a|b",
    "a:b",
    "é",
    "日本語",
    "\ud800",
    "x" * 129,
    "x" * 128 + "/",
    "*",
    "a\n",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_becomes_a_plain_one(name):
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,127}", safe)
    assert safe != name


def test_different_names_get_different_folders():
    names = [*HOSTILE, "a-b", "model", "x" * 128, "hidden", "b", "a"]
    assert len({safe_name(name) for name in names}) == len(names)


def test_a_changed_name_keeps_what_can_be_read_of_it():
    assert re.fullmatch(r"MoCo-v2-[0-9a-f]{10}", safe_name("MoCo v2"))

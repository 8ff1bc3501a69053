from __future__ import annotations

import hashlib
import json
import math

import pytest

from ssl_bench.errors import RecordError
from ssl_bench.results.record import Metric, Record, canonical_json, digest, plain


def test_canonical_json_is_sorted_tight_and_the_same_for_equal_values():
    assert canonical_json({"b": 1.0, "a": (True, None)}) == '{"a":[true,null],"b":1}'
    assert canonical_json({"a": [True, None], "b": 1}) == canonical_json(
        {"b": 1.0, "a": (True, None)}
    )
    assert canonical_json(0.1) == "0.1"
    assert canonical_json(True) != canonical_json(1)


def test_a_whole_float_too_large_to_be_exact_stays_a_float():
    assert canonical_json(2.0**53) == "9007199254740992.0"


def test_digest_is_the_sha256_of_the_canonical_json():
    assert digest({"b": 2, "a": 1}) == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {"b": math.nan}}, "value.a.b is nan"),
        ([1, math.inf], r"value\[1\] is inf"),
        ({"path": object()}, "value.path is a object"),
        ({1: 2}, "the key 1"),
        ({"s": {1, 2}}, "value.s is a set"),
    ],
)
def test_what_json_cannot_say_is_refused_by_place(value, said):
    with pytest.raises(RecordError, match=said):
        plain(value)


def test_identity_says_which_setting_cannot_be_kept(make_record):
    with pytest.raises(RecordError, match=r"identity\.settings\.lr is nan"):
        make_record(identity={"settings": {"lr": math.nan}})


def test_the_key_is_the_start_of_the_digest_of_the_identity_alone(make_record):
    record = make_record(identity={"settings": {"k": (10, 20)}})
    identity = {
        "weights": "a" * 64,
        "arch": "resnet50",
        "encoder": "online",
        "protocol": "knn",
        "version": 1,
        "settings": {"k": [10, 20]},
        "data": {"train": "b" * 64, "val": "c" * 64},
        "transform": {"size": 224},
        "dtype": "fp32",
        "seed": 0,
        "limit": None,
    }
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    assert record.key == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_a_record_survives_json(make_record):
    record = make_record(
        "Grüße | \\x",
        identity={"settings": {"k": (10, 20), "nested": {"t": (0.07,)}}, "limit": 5},
        metrics={},
        warnings=("one", "two"),
        config="c",
    )
    metric = Metric("mAP", 50.5, "test", 4952, values=(50.0, 51.0), mean=50.5, std=0.5)
    record = Record(**{**record.__dict__, "metrics": (metric,)})
    again = Record.from_json(json.loads(json.dumps(record.to_json())), "here")
    assert again == record
    assert again.metric("mAP") == metric
    assert again.metric("top1") is None


def test_what_came_later_is_written_only_where_it_says_something(make_record):
    payload = make_record().to_json()
    assert "details" not in payload
    assert "selection" not in payload["metrics"][0]
    assert Record.from_json(payload, "here").details == {}
    metric = Metric("mAP", 50.0, "test", 4952, selection="cost on test")
    details = {"cost": {"cat": (0.5, 1)}, "ap": []}
    fields = {**make_record().__dict__, "metrics": (metric,), "details": details}
    record = Record(**fields)
    payload = json.loads(json.dumps(record.to_json()))
    assert payload["details"] == {"cost": {"cat": [0.5, 1]}, "ap": []}
    assert payload["metrics"][0]["selection"] == "cost on test"
    assert Record.from_json(payload, "here") == record
    assert record.key == make_record().key


def test_details_that_json_cannot_say_are_refused(make_record):
    with pytest.raises(RecordError, match=r"details\.ap is nan"):
        make_record(details={"ap": math.nan})


@pytest.mark.parametrize(
    ("record", "metric", "chosen"),
    [
        ("none", "", False),
        ("cost on test", "", True),
        ("cost on test", "cost on trainval", False),
        ("cost on test", "none", False),
        ("none", "layer on test", True),
        ("cost on trainval", "", False),
    ],
)
def test_a_metrics_own_selection_goes_before_the_records(
    make_record, record, metric, chosen
):
    number = Metric("mAP", 50.0, "test", 4952, selection=metric)
    assert make_record(selection=record).chosen_here(number) is chosen


@pytest.mark.parametrize(
    ("change", "tabled"),
    [
        ({}, True),
        ({"bundled": True}, False),
        ({"partial": True}, False),
        ({"identity": {"limit": 100}}, False),
    ],
)
def test_only_whole_runs_of_whole_real_models_are_tabled(make_record, change, tabled):
    assert make_record(**change).tabled is tabled


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (Metric("top1", math.nan, "val", 1), "top1: value is nan"),
        (Metric("top1", 100.5, "val", 1), "top1: value 100.5 is not in 0 to 100"),
        (Metric("top1", -0.5, "val", 1), "top1: value -0.5 is not in"),
        (Metric("top1", 5.0, "val", -1), "top1 counts -1"),
        (Metric("mAP", 5.0, "val", 1, values=(1.0, 101.0)), r"values[1] 101.0"),
        (Metric("mAP", 5.0, "val", 1, std=math.inf), "std is inf"),
    ],
)
def test_impossible_metrics_are_named(metric, said):
    assert [c for c in metric.complaints() if said in c]


def test_units_other_than_percent_have_no_bounds():
    assert Metric("best_layer", 500.0, "val", 1, unit="feature").complaints() == []
    assert Metric("top1", 0.0, "val", 0).complaints() == []
    assert Metric("top1", 100.0, "val", 1).complaints() == []


def test_text_that_is_not_utf8_costs_no_record(make_record):
    record = make_record("caf\udce9", warnings=("\ud800",), config="\udcff")
    assert (record.name, record.warnings, record.config) == ("caf?", ("?",), "?")
    assert plain({"\ud800": ["\ud800"]}) == {"?": ["?"]}

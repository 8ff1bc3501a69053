"""Columns that no published table has: there where a record fills them."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise

from ssl_bench.results.record import Metric
from ssl_bench.results.references import References
from ssl_bench.results.tables import render
from tests.results.markdown_rows import body

NONE = References([])
CONFIG = "Self-Supervised Config"
SHOTS = [f"k={k}" for k in (1, 2, 4, 8, 16, 32, 64, 96)]


def headers(text: str) -> list[list[str]]:
    lines = text.splitlines()
    tops = [a for a, b in pairwise(lines) if b.startswith("|:--")]
    return [[cell.strip() for cell in top[1:-1].split("|")] for top in tops]


def header(text: str) -> list[str]:
    (only,) = headers(text)
    return only


def voc(make_record, protocol: str, name: str = "m", **metrics: float):
    return make_record(name, metrics, protocol=protocol, dataset="voc07", split="test")


def test_the_published_heading_stays_where_nobody_fills_them(make_record):
    records = [voc(make_record, "svm", mAP=80.0), voc(make_record, "lowshot", mAP_k1=1)]
    text = render(records, "svm", "md", NONE)
    assert header(text) == [CONFIG, "Best Layer", "SVM", *SHOTS]


def test_what_is_filled_stands_beside_its_kind(make_record):
    records = [
        voc(make_record, "svm", mAP=80.0, mAP_gap=70.0),
        voc(make_record, "svm", name="n", mAP_fair=60.0),
        voc(make_record, "lowshot", mAP_k1=1.0),
        voc(make_record, "lowshot", name="n", mAP_vissl_k2=4.0),
    ]
    text = render(records, "svm", "md", NONE)
    assert header(text) == [
        CONFIG,
        "Best Layer",
        "SVM",
        "SVM (FAIR)",
        "SVM (GAP)",
        *SHOTS,
        "k=2 (VISSL)",
    ]
    empty = [""] * 7
    assert body(text) == [
        ["m", "", "80.00", "", "70.00", "1.00", *empty, ""],
        ["n", "", "", "60.00", "", "", *empty, "4.00"],
    ]
    lines = list(csv.DictReader(io.StringIO(render(records, "svm", "csv", NONE))))
    assert [line["SVM (GAP)"] for line in lines] == ["70.00", ""]
    assert "SVM (VISSL)" not in lines[0]
    (section,) = json.loads(render(records, "svm", "json", NONE))
    assert "SVM (VISSL)" not in section["columns"]


def test_what_is_held_out_has_a_table_of_its_own_below(make_record):
    records = [
        voc(make_record, "svm", mAP=80.0),
        voc(make_record, "lowshot", mAP_k1=1.0, mAP_k1_heldout=2.0),
        voc(make_record, "lowshot", name="n", mAP_k96_heldout=3.0),
        voc(make_record, "lowshot", name="o", mAP_fair_k2=5.0, mAP_fair_k2_heldout=4.0),
    ]
    text = render(records, "svm", "md", NONE)
    assert headers(text) == [
        [CONFIG, "Best Layer", "SVM", *SHOTS, "k=2 (FAIR)"],
        [CONFIG, "k=1 (held out)", "k=96 (held out)", "k=2 (FAIR, held out)"],
    ]
    assert "### VOC07 SVM and low-shot SVM (lowshot" in text
    assert "### VOC07 low-shot SVM, costs chosen on images held out (lowshot" in text
    empty = [""] * 7
    assert body(text) == [
        ["m", "", "80.00", "1.00", *empty, ""],
        ["o", "", "", "", *empty, "5.00"],
        ["m", "2.00", "", ""],
        ["n", "", "3.00", ""],
        ["o", "", "", "4.00"],
    ]
    lines = list(csv.DictReader(io.StringIO(render(records, "svm", "csv", NONE))))
    assert [line["k=1 (held out)"] for line in lines] == ["", "", "2.00", "", ""]
    sections = json.loads(render(records, "svm", "json", NONE))
    assert [len(section["rows"]) for section in sections] == [2, 3]


def test_other_data_than_the_published_have_both_tables_too(make_record):
    record = make_record(
        "m", {"mAP_k1": 1.0, "mAP_k1_heldout": 2.0}, protocol="lowshot", dataset="mine"
    )
    text = render([record], "svm", "md", NONE)
    assert "### svm on mine (lowshot version 1)" in text
    assert "### svm on mine, held out (lowshot version 1)" in text
    assert headers(text)[1] == [CONFIG, "k=1 (held out)"]


def test_a_metric_of_another_protocol_fills_no_column(make_record):
    records = [
        voc(make_record, "svm", mAP=80.0, mAP_k1_heldout=5.0),
        voc(make_record, "lowshot", mAP_k1=1.0, mAP_fair=5.0),
    ]
    text = render(records, "svm", "md", NONE)
    assert header(text) == [CONFIG, "Best Layer", "SVM", *SHOTS]


def test_a_metrics_own_selection_decides_its_mark(make_record):
    record = make_record(protocol="lowshot", dataset="voc07", selection="cost on test")
    metrics = (
        Metric("mAP_k1", 46.0, "test", 4952),
        Metric("mAP_k1_heldout", 45.0, "test", 4952, selection="cost on trainval"),
    )
    record = type(record)(**{**record.__dict__, "metrics": metrics})
    marks = {
        title: cell["chosen_on_the_reported_split"]
        for section in json.loads(render([record], "svm", "json", NONE))
        for title, cell in section["rows"][0]["cells"].items()
    }
    assert marks == {"k=1": True, "k=1 (held out)": False}

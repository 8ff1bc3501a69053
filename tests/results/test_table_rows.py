from __future__ import annotations

import dataclasses
import itertools
import json
import random

import pytest

from ssl_bench.results.references import References
from ssl_bench.results.tables import render, table_names
from tests.results.markdown_rows import body, names

NONE = References([])


def test_versions_never_share_a_table(make_record):
    records = [
        make_record("old", identity={"version": 1}),
        make_record("both", {"top1_k20": 10.0}, identity={"version": 1}),
        make_record("both", {"top1_k20": 20.0}, identity={"version": 3}),
        make_record("older", identity={"version": 2}),
    ]
    text = render(records, "knn", "md", NONE)
    blocks = text.split("### ")[1:]
    assert [block.splitlines()[0] for block in blocks] == [
        "ImageNet k-NN (knn version 3)",
        "ImageNet k-NN (knn version 2), superseded",
        "ImageNet k-NN (knn version 1), superseded",
    ]
    assert [names(block) for block in blocks] == [["both"], ["older"], ["both", "old"]]
    assert body(blocks[0])[0][2] == "20.00"
    found = json.loads(render(records, "knn", "json", NONE))
    assert [section["superseded"] for section in found] == [False, True, True]


def test_an_old_svm_does_not_hide_a_new_lowshot(make_record):
    def voc(protocol: str, version: int, metric: str, value: float):
        return make_record(
            "m",
            {metric: value},
            protocol=protocol,
            dataset="voc07",
            identity={"version": version},
        )

    records = [
        voc("svm", 1, "mAP", 1.0),
        voc("svm", 2, "mAP", 2.0),
        voc("lowshot", 1, "mAP_k1", 3.0),
    ]
    blocks = render(records, "svm", "md", NONE).split("### ")[1:]
    assert [block.splitlines()[0] for block in blocks] == [
        "VOC07 SVM and low-shot SVM (lowshot version 1, svm version 2)",
        "VOC07 SVM and low-shot SVM (svm version 1), superseded",
    ]
    assert body(blocks[0])[0][2:4] == ["2.00", "3.00"]
    assert body(blocks[1])[0][2:4] == ["1.00", ""]


@pytest.mark.parametrize(
    ("identity", "label"),
    [
        ({"seed": 1}, ("seed=0", "seed=1")),
        ({"dtype": "bf16"}, ("dtype=bf16", "dtype=fp32")),
        ({"encoder": "ema"}, ("encoder=ema", "encoder=online")),
        ({"weights": "9" * 64}, ("weights=99999999", "weights=aaaaaaaa")),
        ({"settings": {"k": [20], "t": 0.1}}, ("t=0.1", "t=unset")),
        ({"settings": {"k": [10, 20]}}, ("k=[10,20]", "k=[20]")),
        ({"transform": {"size": 96}}, ("transform.size=96", "transform.size=224")),
        (
            {"data": {"train": "b" * 64, "val": "d" * 64}},
            ("data.val=cccccccc", "data.val=dddddddd"),
        ),
    ],
)
def test_two_records_of_one_cell_get_a_row_each(make_record, identity, label):
    records = [make_record(), make_record(metrics={"top1_k20": 1.0}, identity=identity)]
    text = render(records, "knn", "md", NONE)
    assert names(text.replace("\\", "")) == [f"model ({part})" for part in label]
    assert {row[2] for row in body(text)} == {"61.87", "1.00"}


def test_long_values_are_told_apart_by_their_digest(make_record):
    longs = [{"lr": [0.1] * 30}, {"lr": [0.1] * 31}]
    records = [make_record(identity={"settings": settings}) for settings in longs]
    first, second = names(render(records, "knn", "md", NONE))
    assert first != second
    assert len(first) == len("model (lr=)") + 8


def test_seeds_are_in_the_order_of_their_values(make_record):
    records = [make_record(identity={"seed": seed}) for seed in (10, 9, 2)]
    assert names(render(records, "knn", "md", NONE)) == [
        "model (seed=2)",
        "model (seed=9)",
        "model (seed=10)",
    ]


def test_protocols_in_one_row_agree_in_weights_precision_and_seed(make_record):
    svm = make_record("m", {"mAP": 80.0}, protocol="svm", dataset="voc07")
    lowshot = make_record(
        "m",
        {"mAP_k1": 40.0},
        protocol="lowshot",
        dataset="voc07",
        identity={"seed": 1},
    )
    rows = body(render([svm, lowshot], "svm", "md", NONE))
    assert [row[0] for row in rows] == ["m (seed=0)", "m (seed=1)"]
    assert [row[2:4] for row in rows] == [["80.00", ""], ["", "40.00"]]


def test_linear_heads_with_different_settings_share_a_row(make_record):
    heads = make_record(
        "m", {"top1_feature1": 10.0, "top1_feature5": 20.0}, protocol="linear"
    )
    pooled = make_record(
        "m", {"top1": 60.0}, protocol="linear", identity={"settings": {"lr": 30}}
    )
    rows = body(render([heads, pooled], "linear", "md", NONE))
    assert rows == [["m", "10.00", "", "", "", "20.00", "60.00"]]


def test_a_rerun_that_differs_is_said_and_the_first_run_stays(make_record):
    first = make_record(metrics={"top1_k20": 61.5}, started="2026-01-01T00:00:00Z")
    second = make_record(metrics={"top1_k20": 61.75}, started="2026-01-02T00:00:00Z")
    text = render([second, first], "knn", "md", NONE)
    assert body(text) == [["model [1]", "", "61.50", "", ""]]
    assert "[1] a rerun differs: top1_k20 was 61.5, is 61.75 (+0.25)" in text
    same = render([first, dataclasses.replace(first, seconds=9)], "knn", "md", NONE)
    assert names(same) == ["model"]


def test_warnings_are_numbered_once_and_name_the_protocol_where_two_share_a_row(
    make_record,
):
    records = [
        make_record("a", warnings=("one", "two")),
        make_record("b", warnings=("two",)),
    ]
    text = render(records, "knn", "md", NONE)
    assert names(text) == ["a [1] [2]", "b [2]"]
    assert text.endswith("- [1] one\n- [2] two\n")
    shared = [
        make_record(
            "m", {"mAP": 1.0}, protocol="svm", dataset="voc07", warnings=("w",)
        ),
        make_record("m", {"mAP_k1": 1.0}, protocol="lowshot", dataset="voc07"),
    ]
    assert "- [1] svm: w\n" in render(shared, "svm", "md", NONE)


def test_metrics_without_a_heading_are_shown_under_their_own_names(make_record):
    records = [
        make_record("usual", {"top1_k20": 10.0}),
        make_record("odd", {"top1_k3": 20.0, "top1_k5_T0.1": 30.0}),
        make_record("probe", {"f1": 40.0}, protocol="probe"),
    ]
    text = render(records, None, "md", NONE)
    blocks = text.split("### ")[1:]
    assert [names(block) for block in blocks] == [["usual"], ["odd"], ["probe"]]
    assert "| top1\\_k3" not in blocks[1]
    assert "top1_k3 |" in blocks[1]
    assert body(blocks[1])[0][1:] == ["20.00", "30.00"]
    assert blocks[2].startswith("probe on imagenet (probe version 1)")
    assert table_names(records) == ["knn", "probe"]


def test_the_order_of_the_records_does_not_matter(make_record):
    records = [
        make_record(name, {"top1_k20": float(seed)}, identity={"seed": seed})
        for name, seed in itertools.product("bCa", range(3))
    ]
    records += [make_record("b", {"top1_k20": 50.0}, started="2027-01-01T00:00:00Z")]
    records += [make_record("z", {"mAP": 1.0}, protocol="svm", dataset="voc07")]
    for fmt in ("md", "csv", "tex", "json"):
        expected = render(records, None, fmt, NONE)
        for seed in range(5):
            random.Random(seed).shuffle(records)
            assert render(records, None, fmt, NONE) == expected
    order = [name.split(" ")[0] for name in names(render(records, "knn", "md", NONE))]
    assert order == ["a"] * 3 + ["b"] * 3 + ["C"] * 3

"""A run that left the published protocol never stands beside a published figure."""

from __future__ import annotations

from pathlib import Path

from ssl_bench import cli
from ssl_bench.results.references import load_references
from ssl_bench.results.store import RecordStore
from ssl_bench.results.tables import render
from tests.results.markdown_rows import body

CONFIG = "simclr_resnet50_8xb32-coslr-200e_in1k"


def test_a_deviation_is_labelled_and_not_compared(make_record) -> None:
    """Published: 48.4 at k = 20 (README of SimCLR in MMSelfSup 0.x)."""
    published = load_references()
    plain = render([make_record(CONFIG)], "knn", "md", published)
    assert "61.87 (published 48.4, +13.47)" in plain
    record = make_record(CONFIG, deviations=("tap=layer3", "dtype=bf16"))
    text = render([record], "knn", "md", published)
    row = body(text)[0]
    assert "published" not in " ".join(row)
    assert "61.87" in row
    assert "tap=layer3" in row[0]
    assert "dtype=bf16" in row[0]


def test_a_deviation_is_named_once_beside_its_rival(make_record) -> None:
    records = [
        make_record("m"),
        make_record(
            "m",
            identity={"settings": {"k": [20], "tap": "layer3"}},
            deviations=("tap=layer3",),
        ),
    ]
    text = render(records, "knn", "md", load_references())
    assert text.count("tap=layer3") == 1


def test_given_features_are_left_out_and_said(
    make_record, tmp_path: Path, capsys
) -> None:
    record = make_record(CONFIG)
    given = make_record("g", identity={"seed": 3})
    given.dataset["given"] = True
    assert not given.tabled
    store = RecordStore(tmp_path)
    store.add(record)
    store.add(given)
    assert cli.main(["table", "knn", "--results", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "1 record is left out: of given features (--features)" in captured.err
    assert "| g" not in captured.out

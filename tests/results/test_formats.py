from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re

import pytest
from markdown_it import MarkdownIt

from ssl_bench.results.record import Metric, Reference
from ssl_bench.results.references import References
from ssl_bench.results.tables import render
from ssl_bench.results.tables.formats import escape_markdown, escape_tex, half_width

NPID = "npid_resnet50_8xb32-steplr-200e_in1k"
NONE = References([])
HOSTILE = [
    "a|b",
    r"\input{x}",
    "<script>alert(1)</script>",
    "line\nbreak",
    "carriage\r\nreturn",
    "tab\tstop",
    "para\u2029graph",
    "nul\x00bell\x07",
    "**bold** `code` ~~gone~~",
    "[link](http://x) ![image](y)",
    "$x_1$ & 100 % #1 ~ ^",
    r"trailing\\",
    r"a\|b",
    "&lt;b&gt; &amp;",
    "_emphasis_ but in_word",
    "[1]",
    '"quoted", and; more',
    "日本語 é",
    "-- {} %s %d",
]


def shown(name: str) -> str:
    """Return what a reader has to see: one line, unprintable characters replaced."""
    text = " ".join(name.split())
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def markdown_cells(line: str) -> list[str]:
    """Split a table line as GitHub does, and undo the escapes: a small reader."""
    assert line.startswith("|")
    assert line.endswith("|")
    cells, cell, position = [], "", 1
    while position < len(line):
        letter = line[position]
        if letter == "\\" and line[position + 1] in "\\`*_{}[]()#+-.!|~$<>&":
            cell += line[position + 1]
            position += 2
            continue
        if letter == "|":
            cells.append(html.unescape(cell.strip()))
            cell = ""
        else:
            cell += letter
        position += 1
    return cells


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_hostile_name_in_one_cell(make_record, name):
    text = render([make_record(name, warnings=(name,))], "knn", "md", NONE)
    row = next(
        line
        for line in text.splitlines()
        if line.startswith("|") and line.rstrip("| ").endswith("61.87")
    )
    cells = markdown_cells(row)
    assert len(cells) == 5
    # What html.unescape does to an entity in the name itself is undone by escaping "&".
    assert cells[0] == f"{shown(name)} [1]"
    assert "<" not in text
    assert len(text.splitlines()) == 7


@pytest.mark.parametrize("name", HOSTILE)
def test_another_markdown_reader_shows_exactly_the_name(make_record, name):
    text = render([make_record(name, warnings=(name,))], "knn", "md", NONE)
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = reader.render(text)
    (cell,) = re.findall(r"<tbody>\n<tr>\n<td[^>]*>(.*?)</td>", page)
    assert html.unescape(cell) == f"{shown(name)} [1]"
    assert f"<li>[1] {html.escape(shown(name))}</li>" in page
    assert set(re.findall(r"</?([a-z0-9]+)", page)) <= {
        *("h3", "table", "thead", "tbody", "tr", "th", "td", "ul", "li")
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        (r"\input{x}", r"\\input{x}"),
        ("<script>", "&lt;script&gt;"),
        ("&lt;", "&amp;lt;"),
        ("mocov2_resnet50_8xb32-coslr-200e_in1k", None),
        ("_x_ a_b __", r"\_x\_ a_b \_\_"),
        ("*a* `b` ~c~ $d$", r"\*a\* \`b\` \~c\~ \$d\$"),
        ("[a](b)", r"\[a\](b)"),
        ("a\r\n\tb", "a b"),
    ],
)
def test_markdown_escapes(text, expected):
    assert escape_markdown(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("100 % & #1", r"100 \% \& \#1"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("$x^2$", r"\$x\textasciicircum{}2\$"),
        ("~", r"\textasciitilde{}"),
        ("a|b<c>", r"a\textbar{}b\textless{}c\textgreater{}"),
        ("[1]", "{[}1{]}"),
        ("a\nb", "a b"),
        ("61.87†, −0.03", r"61.87\dag{}, \ensuremath{-}0.03"),
    ],
)
def test_tex_escapes(text, expected):
    assert escape_tex(text) == expected


@pytest.mark.parametrize("name", HOSTILE)
def test_tex_has_no_command_that_a_name_brought(make_record, name):
    text = render([make_record(name, warnings=(name,))], "knn", "tex", NONE)
    (row,) = [line for line in text.splitlines() if line.endswith(r"& 61.87 &  &  \\")]
    assert len(re.findall(r"(?<!\\)&", row)) == 4
    commands = set(re.findall(r"\\([A-Za-z]+)", text))
    assert commands <= {
        "usepackage",
        "begin",
        "end",
        "caption",
        "toprule",
        "midrule",
        "bottomrule",
        "footnotesize",
        "par",
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "textless",
        "textgreater",
        "textbar",
        "textquotedbl",
    }
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")


# 50 of 100: p = 0.5, z = 1.96: z * sqrt(0.25 / 100 + z^2 / 40000) / (1 + z^2 / 100)
#   = 1.96 * sqrt(0.0025 + 0.00009604) / 1.038416 = 0.09617
KNN_TEX = r"""% needs \usepackage{booktabs,textcomp}

\begin{table}
\caption{ImageNet k-NN (knn version 1)}
\begin{tabular}{lrrrr}
\toprule
Self-Supervised Config & k=10 & k=20 & k=100 & k=200 \\
\midrule
npid\_resnet50\_8xb32-steplr-200e\_in1k {[}1{]} &  & 50.00\dag{} (published 48.4, +1.60) &  &  \\
\bottomrule
\end{tabular}
{\footnotesize
\par published: the figure of this config or of this checkpoint's sha256 in results/references, followed by ours minus it
\par \dag{} chosen on the split that it reports
\par {[}1{]} 100 \% noise
}
\end{table}
"""  # noqa: E501


@pytest.fixture
def one(make_record):
    record = make_record(
        NPID,
        {"top1_k20": 50.0},
        count=100,
        selection="k on val",
        warnings=("100 % noise",),
    )
    figure = Reference("NPID", NPID, "knn", "ImageNet-1k", "top1_k20", 48.4, "zoo")
    return record, References([figure])


def test_the_tex_table_as_typed_by_hand(one):
    record, references = one
    assert render([record], "knn", "tex", references) == KNN_TEX


def test_the_csv_as_typed_by_hand(one):
    record, references = one
    assert render([record], "knn", "csv", references) == (
        "Table,Dataset,Version,Bundled,Self-Supervised Config,Differs in,k=10,k=20,"
        "k=20 ±,k=20 published,k=20 difference,k=100,k=200,"
        "Chosen on the reported split,Notes\n"
        f"knn,imagenet,knn 1,,{NPID},,,50.00,9.62,48.4,+1.60,,,k=20,100 % noise\n"
    )


def test_the_json_as_typed_by_hand(one):
    record, references = one
    (section,) = json.loads(render([record], "knn", "json", references))
    assert section == {
        "table": "knn",
        "title": "ImageNet k-NN",
        "dataset": "imagenet",
        "versions": {"knn": 1},
        "superseded": False,
        "bundled": False,
        "columns": ["Self-Supervised Config", "k=10", "k=20", "k=100", "k=200"],
        "rows": [
            {
                "name": NPID,
                "differs_in": "",
                "keys": [record.key],
                "cells": {
                    "k=20": {
                        "metric": "top1_k20",
                        "value": 50.0,
                        "unit": "percent",
                        "split": "val",
                        "count": 100,
                        "chosen_on_the_reported_split": True,
                        "half_width_95": 9.62,
                        "published": [
                            {"value": 48.4, "source": "zoo", "difference": 1.6}
                        ],
                    }
                },
                "notes": ["100 % noise"],
            }
        ],
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_and_json_keep_a_name_as_it_is(make_record, name):
    record = make_record(name)
    (line,) = csv.DictReader(
        io.StringIO(render([record], "knn", "csv", NONE), newline="")
    )
    assert line["Self-Supervised Config"] == name
    (section,) = json.loads(render([record], "knn", "json", NONE))
    assert section["rows"][0]["name"] == name


def test_csv_puts_all_tables_under_one_header(make_record):
    records = [
        make_record("a", {"top1_k20": 1.0}),
        make_record("b", {"mIoU": 2.0}, protocol="segment", dataset="ade20k"),
    ]
    text = render(records, None, "csv", NONE)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [(line["Table"], line["k=20"], line["mIOU"]) for line in lines] == [
        ("knn", "1.00", ""),
        ("segment", "", "2.00"),
    ]


def test_repetitions_show_their_spread(make_record):
    metric = Metric("mAP_k1", 46.0, "test", 4952, values=(45.0, 47.0), std=1.0)
    record = make_record(protocol="lowshot", dataset="voc07")
    record = dataclasses.replace(record, metrics=(metric,))
    (line,) = csv.DictReader(io.StringIO(render([record], "svm", "csv", NONE)))
    assert (line["k=1"], line["k=1 std"]) == ("46.00", "1.00")
    assert "k=1 ±" not in line
    (section,) = json.loads(render([record], "svm", "json", NONE))
    assert section["rows"][0]["cells"]["k=1"]["std"] == 1.0


def test_a_text_figure_has_no_difference(make_record):
    figure = Reference(
        "NPID", NPID, "voc07_svm", "VOC2007", "best_layer", "feature4", "zoo"
    )
    record = make_record(NPID, protocol="svm", dataset="voc07")
    layer = Metric("best_layer", 5.0, "test", 4952, unit="feature")
    record = dataclasses.replace(
        record, metrics=(layer, Metric("mAP", 1.0, "test", 4952))
    )
    references = References([figure])
    (line,) = csv.DictReader(io.StringIO(render([record], "svm", "csv", references)))
    assert line["Best Layer"] == "feature5"
    assert line["Best Layer published"] == "feature4"
    assert "Best Layer difference" not in line
    cell = json.loads(render([record], "svm", "json", references))[0]["rows"][0][
        "cells"
    ]["Best Layer"]
    assert cell["published"] == [{"value": "feature4", "source": "zoo"}]


def test_a_config_cell_is_text(make_record):
    record = make_record("m", {"top1": 1.0}, protocol="finetune", config="ft")
    (section,) = json.loads(render([record], "finetune", "json", NONE))
    assert section["rows"][0]["cells"]["Fine-tuning Config"] == {"text": "ft"}
    (line,) = csv.DictReader(io.StringIO(render([record], "finetune", "csv", NONE)))
    assert line["Fine-tuning Config"] == "ft"


def test_half_width_is_wilsons_for_accuracies_only():
    def metric(name: str, value: float, count: int, **other) -> Metric:
        return Metric(name, value, "val", count, **other)

    assert half_width(metric("top1_k20", 50.0, 100)) == pytest.approx(9.617, abs=1e-3)
    # At 0 of 100 the interval is 0 to z^2 / (n + z^2) = 3.8416 / 103.8416 = 3.70 %.
    assert half_width(metric("top5", 0.0, 100)) == pytest.approx(1.850, abs=1e-3)
    for name in ("mAP", "mAP_k96", "mAP_fair", "AP_aeroplane", "best_layer"):
        assert half_width(metric(name, 50.0, 100)) is None
    assert half_width(metric("top1", 50.0, 0)) is None
    assert half_width(metric("top1", 50.0, 100, values=(49.0, 51.0))) is None
    assert half_width(metric("top1", 50.0, 100, unit="images")) is None

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest

from ssl_bench.errors import UsageError
from ssl_bench.results.record import Metric, Reference
from ssl_bench.results.references import References
from ssl_bench.results.tables import render, table_names
from tests.results.markdown_rows import body, names

NPID = "npid_resnet50_8xb32-steplr-200e_in1k"
NONE = References([])


def published(
    benchmark: str, metric: str, value: float | str, source: str = "zoo", **other: str
) -> Reference:
    dataset = other.get("dataset", "ImageNet-1k")
    return Reference("NPID", NPID, benchmark, dataset, metric, value, source)


# 48.40 - 48.4 = 0.00 and 46.25 - 46.5 = -0.25; k=10 and k=200 nobody has published or
# run. The widths are those of the longest cell of each column.
KNN_GOLDEN = """\
### ImageNet k-NN (knn version 1)

| Self-Supervised Config               |   k=10 |                          k=20 |                         k=100 |   k=200 |
|:-------------------------------------|-------:|------------------------------:|------------------------------:|--------:|
| mine [1]                             |  50.00 |                               |                               |         |
| npid_resnet50_8xb32-steplr-200e_in1k |        | 48.40 (published 48.4, 0.00) | 46.25 (published 46.5, −0.25) |         |

- published: the figure of this config or of this checkpoint's sha256 in results/references, followed by ours minus it
- [1] 3 images were skipped
"""  # noqa: E501


def squeezed(text: str) -> list[str]:
    """Return the lines without regard to the widths of the columns."""
    lines = text.splitlines()
    return [
        "|".join(
            "-" if set(cell) <= set(":- ") and cell.strip() else " ".join(cell.split())
            for cell in line.split("|")
        )
        for line in lines
    ]


def test_the_knn_table_as_typed_by_hand(make_record):
    records = [
        make_record(NPID, {"top1_k20": 48.404, "top1_k100": 46.2496}),
        make_record("mine", {"top1_k10": 50.0}, warnings=("3 images were skipped",)),
    ]
    references = References(
        [published("knn", "top1_k20", 48.4), published("knn", "top1_k100", 46.5)]
    )
    text = render(records, "knn", "md", references)
    assert squeezed(text) == squeezed(KNN_GOLDEN)
    rule = text.splitlines()[3]
    assert rule.startswith("|:--")
    assert rule.count("-:|") == 4
    assert text.endswith("skipped\n")


SVM_GOLDEN = """\
### VOC07 SVM and low-shot SVM (lowshot version 2, svm version 1)

| Self-Supervised Config | Best Layer | SVM | k=1 | k=2 | k=4 | k=8 | k=16 | k=32 | k=64 | k=96 |
|-|-|-|-|-|-|-|-|-|-|-|
| npid_resnet50_8xb32-steplr-200e_in1k | feature5 (published feature4) | 76.75 (published 74.5, +2.25) | 26.96† | | | | | | | 70.00† |

- published: the figure of this config or of this checkpoint's sha256 in results/references, followed by ours minus it
- † chosen on the split that it reports
"""  # noqa: E501


def test_svm_and_lowshot_share_a_row(make_record):
    svm = make_record(NPID, {"mAP": 76.75}, protocol="svm", dataset="voc07")
    layer = Metric("best_layer", 5.0, "test", 4952, unit="feature")
    svm = dataclasses.replace(
        svm, metrics=(*svm.metrics, layer), selection="cost by 3-fold on trainval"
    )
    lowshot = make_record(
        NPID,
        {"mAP_k1": 26.96, "mAP_k96": 70.0},
        protocol="lowshot",
        dataset="voc07",
        split="test",
        selection="cost on test",
        identity={"version": 2, "settings": {"cost": [1, 2]}},
    )
    references = References(
        [
            published("voc07_svm", "mAP", 74.5, dataset="VOC2007"),
            published("voc07_svm", "best_layer", "feature4", dataset="VOC2007"),
        ]
    )
    for protocol in ("svm", "lowshot"):
        text = render([svm, lowshot], protocol, "md", references)
        assert squeezed(text) == squeezed(SVM_GOLDEN)


def test_the_headings_are_those_of_the_zoo(make_record):
    def header(protocol: str, dataset: str, metric: str) -> list[str]:
        records = [make_record("m", {metric: 1.0}, protocol=protocol, dataset=dataset)]
        line = render(records, protocol, "md", NONE).splitlines()[2]
        return [cell.strip() for cell in line[1:-1].split("|")]

    config = "Self-Supervised Config"
    features = [f"Feature{i}" for i in (1, 2, 3, 4, 5)]
    assert header("linear", "imagenet", "top1") == [config, *features, "AvgPool"]
    assert header("linear", "places205", "top1_feature1") == [config, *features]
    assert header("linear", "inat18", "top1") == [config, *features, "AvgPool"]
    assert header("semi", "imagenet-1pct", "top1") == [
        "Pretrain Config",
        "Fine-tuned Config",
        "Top-1 (%)",
        "Top-5 (%)",
    ]
    assert header("detect", "voc0712", "box_AP50") == [config, "AP50", "AP", "AP75"]
    assert header("detect", "coco", "box_AP") == [
        config,
        "mAP(Box)",
        "AP50(Box)",
        "AP75(Box)",
        "mAP(Mask)",
        "AP50(Mask)",
        "AP75(Mask)",
    ]
    for dataset in ("voc12aug", "cityscapes", "ade20k"):
        assert header("segment", dataset, "mIoU") == [config, "mIOU"]
    assert header("finetune", "imagenet", "top1") == [
        "Pre-train Config",
        "Backbone",
        "Fine-tuning Config",
        "Fine-tuning Top-1",
    ]


def test_config_and_architecture_fill_their_columns(make_record):
    one = make_record("m", {"top1": 1.0}, protocol="finetune", config="ft_100e")
    assert body(render([one], "finetune", "md", NONE)) == [
        ["m", "resnet50", "ft_100e", "1.00"]
    ]


def test_nothing_bundled_partial_or_limited_is_tabled(make_record):
    records = [
        make_record("bundled", bundled=True, dataset="digit-scenes"),
        make_record("partial", partial=True),
        make_record("limited", identity={"limit": 10}),
    ]
    for fmt in ("md", "csv", "tex", "json"):
        assert render(records, None, fmt, NONE) == ""
        assert render(records, "knn", fmt, NONE) == ""
    assert table_names(records) == []
    real = make_record("real")
    assert names(render([*records, real], "knn", "md", NONE)) == ["real"]


def test_the_bundled_scenes_have_a_table_of_their_own(make_record):
    scenes = {"bundled": True, "dataset": "digit-scenes"}
    records = [
        make_record("real"),
        make_record("bundled", {"top1_k20": 84.1}, **scenes),
        make_record("random", {"top1_k20": 30.25}, **scenes),
        make_record("short", identity={"limit": 10}, **scenes),
        make_record("part", partial=True, **scenes),
    ]
    text = render(records, None, "md", NONE, include_bundled=True)
    assert text.startswith("### Bundled scenes: knn on digit-scenes (knn version 1)\n")
    assert "stand in no table of real models" in text
    assert names(text) == [
        "bundled",
        "part (partially loaded)",
        "random",
        "short (limit=10)",
    ]
    assert [row[2] for row in body(text)] == ["84.10", "61.87", "30.25", "61.87"]


def test_bundled_figures_meet_no_published_ones(make_record):
    references = References([published("knn", "top1_k20", 48.4)])
    for dataset in ("imagenet", "digit-scenes"):
        record = make_record(NPID, bundled=True, dataset=dataset)
        text = render([record], "knn", "md", references, include_bundled=True)
        assert "(published" not in text


def test_figures_of_other_data_meet_no_published_ones(make_record):
    references = References([published("knn", "top1_k20", 48.4)])
    text = render([make_record(NPID, dataset="folder")], "knn", "md", references)
    assert text.startswith("### knn on folder (knn version 1)")
    assert "published" not in text


def test_a_known_checkpoint_is_compared_and_said(make_record):
    references = References([published("knn", "top1_k20", 48.4)], [("5fbbda2a", NPID)])
    record = make_record("mine", sha256="5fbbda2a" + "0" * 56)
    text = render([record], "knn", "md", references)
    assert body(text)[0][:3] == ["mine [1]", "", "61.87 (published 48.4, +13.47)"]
    assert f"[1] compared with the published {NPID}" in text
    other = make_record("mine", sha256="5fbbda2b" + "0" * 56)
    assert "published" not in render([other], "knn", "md", references)


def test_sources_that_disagree_are_all_shown(make_record):
    references = References(
        [
            published("linear_avgpool", "top1", 58.97, "zoo"),
            published("linear_avgpool", "top1", 57.97, "readme"),
            published("linear_avgpool", "top1", 57.97, "copy"),
        ]
    )
    record = make_record(NPID, {"top1": 58.0}, protocol="linear")
    text = render([record], "linear", "md", references)
    assert "58.00 (published 58.97 / 57.97, −0.97 / +0.03)" in text
    assert "[1] AvgPool: the sources disagree: 58.97 (zoo), 57.97 (readme)" in text


@pytest.mark.parametrize(
    ("selection", "split", "marked"),
    [
        ("none", "val", False),
        ("val", "val", True),
        ("lr on val", "val", True),
        ("layer and cost on test", "test", True),
        ("3-fold on trainval", "val", False),
        ("train", "val", False),
        ("train, val", "val", True),
    ],
)
def test_a_choice_on_the_reported_split_is_marked(
    make_record, selection, split, marked
):
    record = make_record(split=split, selection=selection)
    text = render([record], "knn", "md", NONE)
    assert ("61.87†" in text) is marked
    assert ("- † chosen on the split that it reports" in text) is marked
    cell = json.loads(render([record], "knn", "json", NONE))[0]["rows"][0]["cells"]
    assert cell["k=20"]["chosen_on_the_reported_split"] is marked
    (line,) = csv.DictReader(io.StringIO(render([record], "knn", "csv", NONE)))
    assert line["Chosen on the reported split"] == ("k=20" if marked else "")
    assert (r"61.87\dag{}" in render([record], "knn", "tex", NONE)) is marked


def test_unknown_words_are_answered_with_the_nearest(make_record):
    with pytest.raises(UsageError, match="Did you mean 'knn'"):
        render([], "knnn", "md", NONE)
    with pytest.raises(UsageError, match="unknown format 'pdf'"):
        render([], "knn", "pdf", NONE)
    assert render([], "knn", "md", NONE) == ""
    probe = make_record(protocol="probe")
    assert render([probe], "probe", "md", NONE).startswith("### probe on imagenet")

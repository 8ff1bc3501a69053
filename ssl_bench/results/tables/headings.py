"""The headings of every result table, laid down once, as the model zoos print them.

A table file belongs to one or two protocols and has one heading per data set that was
published, and some have a second one below it for what we report beside the published
numbers. Each column says which metric of which protocol fills it and under which
benchmark and data set its published figure is filed. A cell nobody has filled is empty.

Source: the README tables of MMSelfSup 0.x; where 0.x shows fewer metrics than its
predecessor, the tables of OpenSelfSup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

CONFIG_COLUMN = "Self-Supervised Config"
"""Usual title of the first column: the model's name."""

CONFIG_FIELD = "@config"
"""Stands for a metric: the column shows `Record.config`, the config that was run."""

ARCH_FIELD = "@arch"
"""Stands for a metric: the column shows `Identity.arch`."""


@dataclass(frozen=True)
class Column:
    """Hold one column: its title and the number that belongs under it.

    Attributes:
        title: as printed.
        protocol: `Identity.protocol` of the records that fill it.
        metric: `Metric.name`, or ``@config``, or ``@arch``.
        benchmarks: the published benchmarks that report the same number.
        published_metric: the metric's name there; the same by default.
        optional: shown only where a record fills it; no published table has it.
    """

    title: str
    protocol: str
    metric: str
    benchmarks: tuple[str, ...] = ()
    published_metric: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Heading:
    """Hold the columns of one data set's table.

    Attributes:
        title: the table's title.
        dataset: `Record.dataset["name"]`; empty for a data set nobody published.
        published: the name of that data set among the references.
        columns: all but the first, which is the model's name.
        name_title: the title of that first column.
        below: the heading of a table of its own, of the same records, for numbers that
            no published table has; shown where a record fills it.
    """

    title: str
    dataset: str
    published: str
    columns: tuple[Column, ...]
    name_title: str = CONFIG_COLUMN
    below: Heading | None = None

    def filled_by(self, protocol: str, metric: str) -> int | None:
        """Return the index of the column for a metric, or None."""
        for index, column in enumerate(self.columns):
            if (column.protocol, column.metric) == (protocol, metric):
                return index
        return None


SHOTS = (1, 2, 4, 8, 16, 32, 64, 96)
NEIGHBOURS = (10, 20, 100, 200)
FEATURES = (1, 2, 3, 4, 5)

SVM_VARIANTS = {"fair": "FAIR", "vissl": "VISSL", "gap": "GAP"}
"""Other code bases' ways to the same number, by the word in a metric's name."""

PROBES = {"sgd": "SGD", "logistic": "Logistic", "ridge": "Ridge"}
"""Linear classifiers of the probe, by the word in a metric's name."""

_SVM = (
    Column("Best Layer", "svm", "best_layer", ("voc07_svm",)),
    Column("SVM", "svm", "mAP", ("voc07_svm",)),
    *(
        Column(f"SVM ({title})", "svm", f"mAP_{variant}", optional=True)
        for variant, title in SVM_VARIANTS.items()
    ),
    *(Column(f"k={k}", "lowshot", f"mAP_k{k}", ("voc07_svm_lowshot",)) for k in SHOTS),
    *(
        Column(f"k={k} ({title})", "lowshot", f"mAP_{variant}_k{k}", optional=True)
        for variant, title in SVM_VARIANTS.items()
        for k in SHOTS
    ),
)
_HELD_OUT = (
    *(
        Column(f"k={k} (held out)", "lowshot", f"mAP_k{k}_heldout", optional=True)
        for k in SHOTS
    ),
    *(
        Column(
            f"k={k} ({title}, held out)",
            "lowshot",
            f"mAP_{variant}_k{k}_heldout",
            optional=True,
        )
        for variant, title in SVM_VARIANTS.items()
        for k in SHOTS
    ),
)
_MULTI_HEAD = tuple(
    Column(f"Feature{i}", "linear", f"top1_feature{i}", ("linear_multihead",))
    for i in FEATURES
)
_AVG_POOL = Column("AvgPool", "linear", "top1", ("linear_avgpool", "linear"))
_KNN = tuple(Column(f"k={k}", "knn", f"top1_k{k}", ("knn",)) for k in NEIGHBOURS)
# Nothing is filed beside these: the rule is our own, and no published table has it.
_PROBE = tuple(
    Column(f"{title}{top}", "probe", f"{metric}_{probe}")
    for probe, title in PROBES.items()
    for metric, top in (("top1", ""), ("top5", " top-5"))
)


def _semi(benchmark: str) -> tuple[Column, ...]:
    return (
        Column("Fine-tuned Config", "semi", CONFIG_FIELD, (benchmark,), "best_setting"),
        Column("Top-1 (%)", "semi", "top1", (benchmark,)),
        Column("Top-5 (%)", "semi", "top5", (benchmark,)),
    )


def _detect(*titles_and_metrics: tuple[str, str]) -> tuple[Column, ...]:
    return tuple(
        Column(
            title,
            "detect",
            metric,
            ("detection",),
            # Published tables have box_mAP for COCO's AP.
            published_metric=metric.replace("_AP", "_mAP") if "mAP" in title else "",
        )
        for title, metric in titles_and_metrics
    )


_VOC_BOXES = _detect(("AP50", "box_AP50"), ("AP", "box_AP"), ("AP75", "box_AP75"))
_COCO = _detect(
    ("mAP(Box)", "box_AP"),
    ("AP50(Box)", "box_AP50"),
    ("AP75(Box)", "box_AP75"),
    ("mAP(Mask)", "mask_AP"),
    ("AP50(Mask)", "mask_AP50"),
    ("AP75(Mask)", "mask_AP75"),
)
_MIOU = (Column("mIOU", "segment", "mIoU", ("segmentation",)),)
_FINETUNE = (
    Column("Backbone", "finetune", ARCH_FIELD),
    Column("Fine-tuning Config", "finetune", CONFIG_FIELD),
    Column("Fine-tuning Top-1", "finetune", "top1", ("finetune",)),
)

HEADINGS: dict[str, tuple[Heading, ...]] = {
    "svm": (
        Heading(
            "VOC07 SVM and low-shot SVM",
            "voc07",
            "VOC2007",
            _SVM,
            below=Heading(
                "VOC07 low-shot SVM, costs chosen on images held out",
                "voc07",
                "VOC2007",
                _HELD_OUT,
            ),
        ),
    ),
    "linear": (
        Heading(
            "ImageNet linear evaluation",
            "imagenet",
            "ImageNet-1k",
            (*_MULTI_HEAD, _AVG_POOL),
        ),
        Heading("Places205 linear evaluation", "places205", "Places205", _MULTI_HEAD),
        Heading(
            "iNaturalist2018 linear evaluation",
            "inat18",
            "iNaturalist2018",
            (*_MULTI_HEAD, _AVG_POOL),
        ),
    ),
    "knn": (Heading("ImageNet k-NN", "imagenet", "ImageNet-1k", _KNN),),
    "probe": (Heading("ImageNet linear probes", "imagenet", "", _PROBE),),
    "semi": (
        Heading(
            "Semi-supervised, 1 % of the labels",
            "imagenet-1pct",
            "ImageNet-1k",
            _semi("semi_1pct"),
            "Pretrain Config",
        ),
        Heading(
            "Semi-supervised, 10 % of the labels",
            "imagenet-10pct",
            "ImageNet-1k",
            _semi("semi_10pct"),
            "Pretrain Config",
        ),
    ),
    "detect": (
        Heading("VOC07+12 detection", "voc0712", "VOC0712", _VOC_BOXES),
        Heading("COCO detection and instance segmentation", "coco", "COCO2017", _COCO),
    ),
    "segment": (
        Heading("VOC12 segmentation", "voc12aug", "VOC2012aug", _MIOU),
        Heading("Cityscapes segmentation", "cityscapes", "Cityscapes", _MIOU),
        Heading("ADE20K segmentation", "ade20k", "ADE20K", _MIOU),
    ),
    "finetune": (
        Heading(
            "ImageNet fine-tuning",
            "imagenet",
            "ImageNet-1k",
            _FINETUNE,
            "Pre-train Config",
        ),
    ),
}
"""Headings by table; the published data sets first, in the order they are printed."""

_TABLE_OF = {
    column.protocol: table
    for table, headings in HEADINGS.items()
    for heading in headings
    for column in heading.columns
}


def table_of(protocol: str) -> str:
    """Return the table in which a protocol is shown: lowshot stands beside svm."""
    return _TABLE_OF.get(protocol, protocol)


def known_names() -> list[str]:
    """Return the names of all tables and of all protocols that have a heading."""
    return sorted({*HEADINGS, *_TABLE_OF})


def heading_for(table: str, dataset: str, metrics: Sequence[str]) -> Heading | None:
    """Return the heading for a data set in a table, or None for a foreign protocol.

    A data set that nobody published is shown without references, under the columns of
    the table's heading that its metrics fill best.

    Args:
        table: a name of `HEADINGS`.
        dataset: the data set's name in the records.
        metrics: the names of the metrics that the records hold.
    """
    headings = HEADINGS.get(table, ())
    for heading in headings:
        if heading.dataset == dataset:
            return heading
    if not headings:
        return None
    best = max(
        headings, key=lambda h: sum(column.metric in metrics for column in h.columns)
    )
    return _unpublished(best, _own_title(table, dataset))


def _unpublished(heading: Heading, title: str) -> Heading:
    """Return the same columns under another title, beside no published figures."""
    below = heading.below and _unpublished(heading.below, f"{title}, held out")
    return replace(heading, title=title, dataset="", published="", below=below)


def plain_heading(protocol: str, dataset: str, metrics: Sequence[str]) -> Heading:
    """Return a heading whose titles are the metrics' own names.

    It shows what has no published heading: a protocol from elsewhere, or records none
    of whose metrics is among the published columns.
    """
    columns = tuple(Column(metric, protocol, metric) for metric in metrics)
    return Heading(_own_title(protocol, dataset), "", "", columns)


def _own_title(table: str, dataset: str) -> str:
    return f"{table} on {dataset or 'data without a name'}"

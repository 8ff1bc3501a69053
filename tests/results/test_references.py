from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from ssl_bench.errors import RecordError
from ssl_bench.resources import find_dir
from ssl_bench.results.record import Reference
from ssl_bench.results.references import References, is_config_name, load_references
from ssl_bench.results.tables import render
from ssl_bench.results.tables.headings import HEADINGS

NPID = "npid_resnet50_8xb32-steplr-200e_in1k"
FIGURES = "source_path,algorithm,config,benchmark,dataset,metric,value\n"
CHECKPOINTS = "sha256,config,source_path\n"


def figure(config: str, value: float | str, source: str = "s") -> Reference:
    return Reference("NPID", config, "linear", "ImageNet-1k", "top1", value, source)


def write(folder: Path, figures: str, checkpoints: str = "") -> Path:
    (folder / "published_results.csv").write_text(FIGURES + figures)
    (folder / "checkpoints.csv").write_text(CHECKPOINTS + checkpoints)
    return folder


def test_the_published_figures_of_one_config():
    # Typed from README tables of MMSelfSup 0.x, not from the file under test.
    references = load_references()
    config = "simclr_resnet50_8xb32-coslr-200e_in1k"
    assert references.config_of(config, "") == config
    found = [
        references.lookup(config, ("knn",), "ImageNet-1k", f"top1_k{k}")[0].value
        for k in (10, 20, 100, 200)
    ]
    assert found == [47.8, 48.4, 46.7, 45.2]


def test_equal_figures_of_several_sources_are_one_and_others_all_stay():
    references = load_references()
    both = references.lookup(NPID, ("linear_avgpool",), "ImageNet-1k", "top1")
    assert [(r.value, r.source.partition(":")[2]) for r in both] == [
        (58.97, "docs/en/model_zoo.md"),
        (57.97, "configs/selfsup/npid/README.md"),
    ]
    once = References([figure(NPID, 1.5, "a"), figure(NPID, 1.5, "b")])
    (kept,) = once.lookup(NPID, ("linear",), "ImageNet-1k", "top1")
    assert kept.source == "a"


def test_a_name_joins_only_when_it_is_exactly_a_config():
    references = References([figure(NPID, 58.97), figure("resnet50", 75.3)])
    assert references.config_of(NPID, "") == NPID
    for name in (NPID.upper(), f"{NPID} ", NPID[:-1], "npid", "resnet50", ""):
        assert references.config_of(name, "") is None


def test_a_known_sha256_joins_whatever_the_name():
    references = References([figure(NPID, 58.97)], [("5fbbda2a", NPID)])
    assert references.config_of("mine", "5fbbda2a" + "0" * 56) == NPID
    assert references.config_of("mine", "5fbbda2b" + "0" * 56) is None
    assert references.config_of("mine", "") is None
    assert references.config_of("mine", "5fbb") is None


@pytest.mark.parametrize(
    ("config", "is_name"),
    [
        ("mocov2_resnet50_8xb32-coslr-200e_in1k", True),
        ("swav_resnet50_8xb32-mcrop-2-6-coslr-200e_in1k-224-96", True),
        ("selfsup/odc/r50_v1.py", True),
        ("resnet50", False),
        ("vit_small16", False),
        ("ViT-B (PT/GPU)", False),
        ("200ep R50-C4 24k", False),
        ("torchvision", False),
    ],
)
def test_row_labels_of_papers_are_no_config_names(config, is_name):
    assert is_config_name(config) is is_name


def test_the_file_is_what_the_readme_says():
    folder = find_dir("references")
    with (folder / "published_results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1732
    readme = (folder / "README.md").read_text()
    for column in rows[0]:
        assert f"`{column}`" in readme
    for benchmark in Counter(row["benchmark"] for row in rows):
        assert f"`{benchmark}`" in readme


def test_known_checkpoints_belong_to_published_configs():
    folder = find_dir("references")
    with (folder / "published_results.csv").open(newline="") as file:
        configs = {row["config"] for row in csv.DictReader(file)}
    with (folder / "checkpoints.csv").open(newline="") as file:
        known = list(csv.DictReader(file))
    assert known
    assert {row["config"] for row in known} <= configs
    assert len({row["sha256"] for row in known}) == len(known)


@pytest.mark.parametrize(
    ("figures", "checkpoints", "said"),
    [
        ("s,a,c,b,d,top1,many\n", "", "line 2: 'many' is no number"),
        ("s,a,c,b,d,top1,1\ns,a,c,b,d,top1\n", "", "line 3 has an empty"),
        ("s,a,,b,d,top1,1\n", "", "line 2 has an empty"),
        ("s,a,c,b,d,top1,1,more\n", "", "superfluous"),
        ("", "xyz,c,s\n", "line 2: 'xyz' is not the start of a sha256"),
        ("", "5fbbda2,c,s\n", "not the start of a sha256"),
    ],
)
def test_a_bad_row_is_named(tmp_path, figures, checkpoints, said):
    with pytest.raises(RecordError, match=said):
        load_references(write(tmp_path, figures, checkpoints))


def test_missing_files_and_other_columns_are_named(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read .*published_results\.csv"):
        load_references(tmp_path)
    write(tmp_path, "")
    (tmp_path / "checkpoints.csv").write_text("sha,config\n")
    with pytest.raises(RecordError, match="should be sha256, config, source_path"):
        load_references(tmp_path)


def test_text_figures_stay_text(tmp_path):
    folder = write(tmp_path, f"s,a,{NPID},voc07_svm,VOC2007,best_layer,feature4\n")
    (found,) = load_references(folder).lookup(
        NPID, ("voc07_svm",), "VOC2007", "best_layer"
    )
    assert found.value == "feature4"


NEVER_PUBLISHED = {"iNaturalist2018", "Cityscapes"}


@pytest.mark.parametrize(
    "heading", [h for headings in HEADINGS.values() for h in headings], ids=str
)
def test_every_heading_with_published_figures_meets_them(heading):
    with (find_dir("references") / "published_results.csv").open(newline="") as file:
        there = {
            (r["benchmark"], r["dataset"], r["metric"]) for r in csv.DictReader(file)
        }
    for column in heading.columns:
        metric = column.published_metric or column.metric
        for benchmark in column.benchmarks:
            found = (benchmark, heading.published, metric) in there
            assert found is (heading.published not in NEVER_PUBLISHED), column.title


def test_a_linear_figure_of_a_vision_transformer_is_found_too(make_record):
    config = "mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k"
    record = make_record(config, {"top1": 67.5}, protocol="linear")
    text = render([record], "linear", "md", load_references())
    assert "67.50 (published 67.1, +0.40)" in text

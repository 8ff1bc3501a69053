"""Results of runs elsewhere: small files, and percent worked out by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ssl_bench.errors import RecordError, UsageError
from ssl_bench.results import imported
from ssl_bench.results.imported import formats
from ssl_bench.results.record import Record
from ssl_bench.results.references import References
from ssl_bench.results.store import RecordStore
from ssl_bench.results.tables import render

NONE = References([])
NAN = float("nan")


def lines(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def record(found: imported.Found, dataset: str = "coco", **other: Any) -> Record:
    facts: dict[str, Any] = {
        "name": "model",
        "config": "coco_R_50_C4_2x_moco",
        "dataset": dataset,
        "weights": "a" * 64,
        "arch": "resnet50",
        "encoder": "online",
        "checkpoint": {"sha256": "f" * 64, "partial": False},
        "seed": 0,
    }
    return imported.to_record(found, **{**facts, **other})


def test_the_last_evaluation_of_detectron2_is_taken(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "metrics.json",
        {"iteration": 19, "total_loss": 2.5},
        {"iteration": 89999, "bbox/AP": 30.0, "segm/AP": 28.0},
        {
            "iteration": 179999,
            "total_loss": 0.5,
            "bbox/AP": 40.125,
            "bbox/AP50": 60.0,
            "bbox/AP75": 43.5,
            "bbox/APs": NAN,
            "bbox/APm": 44,
            "bbox/APl": 52.0,
            "bbox/AP-person": 55.5,
            "bbox/AP-hair drier": NAN,
            "segm/AP": 34.7,
            "segm/AP50": 56.5,
            "segm/AP75": 36.9,
            "segm/AP-person": 47.0,
        },
        {"iteration": 179999, "eta_seconds": 0.0},
    )
    found = imported.read(path, "detect")
    assert found.tool == "detectron2"
    assert found.evaluations == 2
    assert found.place == "line 3, iteration 179999"
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.values == {
        "box_AP": 40.125,
        "box_AP50": 60.0,
        "box_AP75": 43.5,
        "box_APm": 44.0,
        "box_APl": 52.0,
        "mask_AP": 34.7,
        "mask_AP50": 56.5,
        "mask_AP75": 36.9,
    }
    assert found.classwise == {"bbox": {"person": 55.5}, "segm": {"person": 47.0}}
    assert found.absent == ("box_APs", "bbox hair drier")


def test_the_evaluators_own_results_are_nested(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"bbox": {"AP": 57.0, "AP50": 82.5, "AP75": 63.5}}))
    found = imported.read(path, "detect")
    assert found.values == {"box_AP": 57.0, "box_AP50": 82.5, "box_AP75": 63.5}
    assert (found.place, found.evaluations) == ("", 1)
    one = record(found, "voc0712")
    assert {m.name: m.value for m in one.metrics} == {
        "box_AP": 57.0,
        "box_AP50": 82.5,
        "box_AP75": 63.5,
    }
    # detectron2 takes the rule of the year: 2007 has the 11 points.
    assert one.details["variant"] == "11points"


def test_masks_of_cityscapes_alone(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"segm": {"AP": 33.0, "AP50": 60.5}}))
    assert imported.read(path, "detect").values == {"mask_AP": 33.0, "mask_AP50": 60.5}


@pytest.mark.parametrize("log", [False, True])
def test_fractions_of_mmdetection_become_percent(tmp_path: Path, log: bool) -> None:
    start, mode = ("", {"mode": "val"}) if log else ("coco/", {})
    path = lines(
        tmp_path / "scalars.json",
        {"loss": 0.5, "step": 50, **({"mode": "train"} if log else {})},
        {
            **mode,
            f"{start}bbox_mAP": 0.387,
            f"{start}bbox_mAP_50": 0.569,
            f"{start}bbox_mAP_75": 0.42,
            f"{start}bbox_mAP_s": -1.0,
            f"{start}bbox_mAP_m": 0.0,
            f"{start}bbox_mAP_l": 1.0,
            f"{start}segm_mAP": 0.351,
            f"{start}bbox_mAP_copypaste": "0.387 0.569",
            "step": 12,
        },
    )
    found = imported.read(path, "detect")
    assert found.tool == ("MMDetection 2" if log else "MMDetection")
    assert found.values == {
        "box_AP": 38.7,
        "box_AP50": 56.9,
        "box_AP75": 42.0,
        "box_APm": 0.0,
        "box_APl": 100.0,
        "mask_AP": 35.1,
    }
    assert found.absent == ("box_APs",)


def test_classes_of_mmdetection(tmp_path: Path) -> None:
    entry = {"coco/person_precision": 0.5, "coco/bbox_mAP": 0.25, "step": 1}
    found = imported.read(lines(tmp_path / "s.json", entry), "detect")
    assert found.classwise == {"bbox or segm": {"person": 50.0}}


def test_voc_of_mmdetection_is_ap50(tmp_path: Path) -> None:
    entry = {"pascal_voc/mAP": 0.8264, "pascal_voc/AP50": 0.826, "step": 24000}
    found = imported.read(lines(tmp_path / "scalars.json", entry), "detect")
    assert found.values == {"box_AP50": 82.6}
    one = record(found, "voc0712")
    assert one.details["variant"] == "not known"
    assert any("11-point" in warning for warning in one.warnings)


def test_voc_over_all_thresholds_is_ap(tmp_path: Path) -> None:
    aps = {f"pascal_voc/AP{t}": (100 - t) / 100 for t in range(50, 100, 5)}
    # The mean of 0.50, 0.45 ... 0.05 is 0.275.
    entry = {"pascal_voc/mAP": 0.275, **aps}
    found = imported.read(lines(tmp_path / "scalars.json", entry), "detect")
    assert found.values == {"box_AP50": 50.0, "box_AP": 27.5, "box_AP75": 25.0}


@pytest.mark.parametrize(
    ("entry", "tool", "classwise"),
    [
        ({"mIoU": 67.55, "aAcc": 92.1, "mAcc": 78.0}, "MMSegmentation", {}),
        (
            {
                "mode": "val",
                "mIoU": 0.6755,
                "aAcc": 0.921,
                "mAcc": 0.78,
                "IoU.cat": 0.9,
            },
            "MMSegmentation 0.x",
            {"IoU": {"cat": 90.0}},
        ),
        (
            {
                "sem_seg/mIoU": 67.55,
                "sem_seg/pACC": 92.1,
                "sem_seg/mACC": 78.0,
                "sem_seg/IoU-cat": 90.0,
            },
            "detectron2",
            {"IoU": {"cat": 90.0}},
        ),
    ],
)
def test_segmentation_of_three_tools(
    entry: dict[str, Any], tool: str, classwise: dict[str, Any], tmp_path: Path
) -> None:
    found = imported.read(lines(tmp_path / "scalars.json", entry), "segment")
    assert found.tool == tool
    assert found.values == {"mIoU": 67.55, "mAcc": 78.0, "aAcc": 92.1}
    assert found.classwise == classwise


@pytest.mark.parametrize(
    ("entry", "protocol", "said"),
    [
        ({"bbox/AP": NAN}, "detect", "bbox/AP is nan"),
        ({"bbox/AP": float("inf")}, "detect", "bbox/AP is inf"),
        ({"bbox/AP": 100.5}, "detect", "from 0 to 100"),
        ({"bbox/AP": -1}, "detect", "bbox/AP is -1"),
        ({"bbox/AP": "40.1"}, "detect", "bbox/AP is '40.1'"),
        ({"bbox/AP": True}, "detect", "bbox/AP is True"),
        ({"bbox/AP": 40.0, "bbox/AP-cat": 250}, "detect", "bbox/AP-cat is 250"),
        ({"coco/bbox_mAP": 38.7}, "detect", "fractions from 0 to 1"),
        ({"coco/bbox_mAP": -1.0}, "detect", "bbox_mAP is -1"),
        ({"mIoU": 0.6755, "aAcc": 0.9}, "segment", "looks like a fraction"),
        ({"mIoU": NAN, "aAcc": 90.0}, "segment", "mIoU is nan"),
        ({"mIoU": 67.5}, "detect", "--protocol segment"),
        ({"bbox/AP": 40.1}, "segment", "--protocol detect"),
        ({"top1": 70.0}, "detect", "Known: metrics.json of detectron2"),
        ({"coco/bbox_AP": 38.7}, "detect", "no metric of detect"),
        ({"pascal_voc/mAP": 0.8}, "detect", "pascal_voc/mAP alone is none of"),
        ({}, "segment", "no metric of segment"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    entry: dict[str, Any], protocol: str, said: str, tmp_path: Path
) -> None:
    path = lines(tmp_path / "metrics.json", {"iteration": 1}, entry)
    with pytest.raises(RecordError) as caught:
        imported.read(path, protocol)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_line_of_a_wrong_value_is_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "m.json", {"bbox/AP": 1.0}, {}, {"bbox/AP": NAN})
    with pytest.raises(RecordError, match="line 3: bbox/AP is nan"):
        imported.read(path, "detect")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no metric of detect"),
        (b"[1, 2]", "no JSON object"),
        (b"AP: 40.1\n", "line 1 is not JSON"),
        (b'{"bbox/AP": 40.1}\n{"bbox/AP": 4', "line 2 is not JSON"),
        (b"\x80\x04\xff", "no text"),
        (b"[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_files_that_are_no_json(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=said):
        imported.read(path, "detect")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        imported.read(tmp_path / "metrics.json", "detect")
    with pytest.raises(RecordError, match=r"is a folder; name the file in it"):
        imported.read(tmp_path, "detect")


def test_results_of_several_kinds_are_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "m.json", {"bbox/AP": 40.0}, {"coco/bbox_mAP": 0.4})
    with pytest.raises(RecordError, match=r"several kinds \(bbox/AP, coco/bbox_mAP\)"):
        imported.read(path, "detect")


@pytest.mark.parametrize(
    ("config", "protocol", "dataset"),
    [
        ("coco_R_50_C4_2x_moco", "detect", "coco"),
        ("pascal_voc_R_50_C4_24k_moco", "detect", "voc0712"),
        ("faster-rcnn_r50-c4_ms-24k_voc0712", "detect", "voc0712"),
        ("cityscapes_mask_rcnn_R_50_FPN_moco", "detect", "cityscapes"),
        ("fcn_r50-d8_4xb4-20k_voc12aug-512x512", "segment", "voc12aug"),
        ("upernet_beit-base_8x2_640x640_160k_ADE20K", "segment", "ade20k"),
    ],
)
def test_the_data_set_is_read_off_the_configs_name(
    config: str, protocol: str, dataset: str
) -> None:
    assert imported.dataset_of(config, protocol) == dataset


def test_a_config_that_names_no_data_set_asks_for_it() -> None:
    with pytest.raises(UsageError, match="--dataset NAME, as in voc12aug, cityscapes"):
        imported.dataset_of("coco_R_50_C4_2x_moco", "segment")


def coco(tmp_path: Path, ap: float = 40.0, name: str = "metrics.json") -> Any:
    entry = {"iteration": 9, "bbox/AP": ap, "bbox/AP-cat": 12.0}
    return imported.read(lines(tmp_path / name, entry), "detect")


def test_the_record_says_where_it_comes_from(tmp_path: Path) -> None:
    found = coco(tmp_path)
    one = record(found, seed=3, warnings=("the weights look untrained",))
    assert one.identity.settings == {
        "imported": "detectron2",
        "config": "coco_R_50_C4_2x_moco",
    }
    assert one.identity.data == {"imported": "coco"}
    assert (one.identity.protocol, one.identity.version) == ("detect", 1)
    assert one.identity.seed == 3
    assert one.evaluation == "detect_coco"
    assert one.details["imported"] == {
        "file": "metrics.json",
        "sha256": found.sha256,
        "tool": "detectron2",
        "evaluation": "iteration 9",
        "evaluations": 1,
    }
    assert one.details["classwise"] == {"bbox": {"cat": 12.0}}
    assert one.deviations == ("imported from detectron2",)
    assert "metrics.json" in one.warnings[0]
    assert "not run by ssl_bench" in one.warnings[0]
    assert one.warnings[-1] == "the weights look untrained"
    assert one.environment == {}
    assert one.tabled
    assert not one.chosen_here(one.metrics[0])
    assert Record.from_json(one.to_json(), "it") == one


def test_every_key_depends_on_tool_config_data_weights_and_seed(tmp_path: Path) -> None:
    found = coco(tmp_path)
    key = record(found).key
    assert record(coco(tmp_path, 50.0, "other.json")).key == key
    for change in (
        {"config": "coco_R_50_C4_1x_moco"},
        {"dataset": "lvis"},
        {"weights": "b" * 64},
        {"seed": 1},
    ):
        assert record(found, **change).key != key


def test_the_same_file_twice_is_one_record(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "results")
    first = store.add(record(coco(tmp_path)))
    assert store.add(record(coco(tmp_path))) == first
    assert len(list(store.all())) == 1
    other = store.add(record(coco(tmp_path, 41.0)))
    assert other.name == first.name.replace(".json", ".2.json")


def test_every_format_of_a_protocol_has_a_metric_of_it() -> None:
    known = {
        "detect": {"box_AP", "mask_AP", "box_AP50"},
        "segment": {"mIoU"},
    }
    assert {form.protocol for form in formats.FORMATS} == set(imported.PROTOCOLS)
    for form in formats.FORMATS:
        assert known[form.protocol] & set(form.names.values())
        assert form.scale in (1, 100)


# --- tables ------------------------------------------------------------------------


def test_tables_mark_what_was_imported(tmp_path: Path, make_record: Any) -> None:
    ours = make_record("model", {"box_AP50": 61.0}, protocol="detect", dataset="coco")
    path = lines(tmp_path / "m.json", {"bbox/AP": 40.0, "bbox/AP50": 60.0})
    theirs = record(imported.read(path, "detect"))
    text = render([ours, theirs], "detect", "md", NONE)
    rows = [line for line in text.splitlines() if line.startswith("| model")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "model",
        "model (imported from detectron2) [1]",
    ]
    assert "61.00" in rows[0]
    assert "60.00" in rows[1]
    assert "- [1] imported from m.json of detectron2" in text
    assert "imported from detectron2" in render([theirs], "detect", "csv", NONE)
    (section,) = json.loads(render([theirs], "detect", "json", NONE))
    assert section["rows"][0]["differs_in"] == "imported from detectron2"


def test_two_imported_results_of_a_model_are_told_apart(tmp_path: Path) -> None:
    path = lines(tmp_path / "m.json", {"bbox/AP": 40.0, "bbox/AP50": 60.0})
    found = imported.read(path, "detect")
    records = [record(found, config=name) for name in ("one_coco", "two_coco")]
    text = render(records, "detect", "md", NONE)
    for config in ("one_coco", "two_coco"):
        assert f"model (imported from detectron2, config={config}) [" in text


def test_results_of_two_tools_are_told_apart_by_the_tool_alone(tmp_path: Path) -> None:
    one = lines(tmp_path / "a.json", {"bbox/AP": 40.0, "bbox/AP50": 60.0})
    two = lines(tmp_path / "b.json", {"coco/bbox_mAP": 0.4, "coco/bbox_mAP_50": 0.6})
    records = [record(imported.read(path, "detect")) for path in (one, two)]
    rows = json.loads(render(records, "detect", "json", NONE))[0]["rows"]
    assert [row["differs_in"] for row in rows] == [
        "imported from MMDetection",
        "imported from detectron2",
    ]

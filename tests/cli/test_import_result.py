"""``ssl-bench import-result``, as it is typed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import backbones, checkpoints
from ssl_bench.cli import main
from ssl_bench.results.store import RecordStore

CONFIG = "coco_R_50_C4_2x_moco"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "moco.pth"
    path.parent.mkdir()
    state = dict(backbones.build("resnet18-w4", 1).state_dict())
    torch.save({"state_dict": state}, path)
    return path


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.json"
    path.write_text(
        '{"iteration": 9, "bbox/AP": 30.0, "bbox/AP50": 50.0}\n'
        '{"iteration": 19, "bbox/AP": 40.5, "bbox/AP50": 60.25}\n'
    )
    return path


def typed(file: Path, checkpoint: Path, *more: str, protocol: str = "detect") -> int:
    words = ["import-result", str(file), "--pretrain", str(checkpoint)]
    words += ["--protocol", protocol, "--results", str(file.parent / "results")]
    return main([*words, *(() if "--config" in more else ("--config", CONFIG)), *more])


def kept(metrics: Path) -> list[Any]:
    return list(RecordStore(metrics.parent / "results").all())


def test_it_becomes_a_record_of_the_checkpoint(
    metrics: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(metrics, checkpoint, "--seed", "4") == 0
    said = capsys.readouterr()
    assert "| box_AP | 40.50 |" in said.out
    assert "| box_AP50 | 60.25 |" in said.out
    assert "imported from detectron2" in said.out
    assert "2 evaluations: the last one is taken (line 2, iteration 19)" in said.err
    assert "data set: coco, as --config says" in said.err
    (record,) = kept(metrics)
    assert record.name == "runs_moco"
    assert record.evaluation == "detect_coco"
    assert record.config == CONFIG
    assert record.identity.seed == 4
    assert record.identity.arch == "resnet18-w4"
    weights = checkpoints.load(checkpoint)
    assert record.identity.weights == weights.fingerprint
    assert record.checkpoint["layout"] == "resnet_flat"
    assert record.checkpoint["sha256"] == (
        hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    )
    assert record.details["imported"]["sha256"] == (
        hashlib.sha256(metrics.read_bytes()).hexdigest()
    )


def test_the_extracted_file_is_the_same_backbone(
    metrics: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "backbone.pth"
    assert main(["extract", str(checkpoint), str(out)]) == 0
    assert typed(metrics, checkpoint, "--name", "m") == 0
    assert typed(metrics, out, "--name", "m") == 0
    (record,) = kept(metrics)
    assert record.checkpoint["source"] == "moco.pth"


def test_the_same_file_twice_is_one_record(
    metrics: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(metrics, checkpoint) == 0
    assert typed(metrics, checkpoint) == 0
    assert "imported already" in capsys.readouterr().err
    assert len(kept(metrics)) == 1


def test_another_result_of_the_same_config_is_kept_beside(
    metrics: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(metrics, checkpoint) == 0
    metrics.write_text('{"bbox/AP": 41.5, "bbox/AP50": 60.25}')
    for _ in range(2):
        assert typed(metrics, checkpoint) == 0
    said = capsys.readouterr().err
    assert "box_AP was 40.5, is 41.5" in said
    assert len(kept(metrics)) == 2


def test_dry_run_keeps_nothing_and_json_is_the_record(
    metrics: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(metrics, checkpoint, "--dry-run", "--json", "--name", "model") == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["name"] == "model"
    assert [m["value"] for m in payload["metrics"]] == [40.5, 60.25]
    assert not (metrics.parent / "results").exists()


def test_segmentation_of_mmsegmentation(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scalars.json"
    path.write_text(
        '{"loss": 0.5, "step": 50}\n{"aAcc": 90.5, "mIoU": 67.5, "mAcc": 77.0}\n'
    )
    more = ("--config", "mine", "--dataset", "voc12aug")
    assert typed(path, checkpoint, *more, protocol="segment") == 0
    capsys.readouterr()
    assert main(["table", "segment", "--results", str(tmp_path / "results")]) == 0
    said = capsys.readouterr().out
    assert "VOC12 segmentation" in said
    assert "runs_moco (imported from MMSegmentation)" in said
    assert "67.50" in said


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--config", "mine"), 2, "pass --dataset NAME"),
        (("--config", " "), 2, "--config is empty"),
        (("--name", ""), 2, "--name is empty"),
        (("--dataset", ""), 2, "--dataset is empty"),
        (("--pretrain", "none"), 2, "a result belongs to a checkpoint"),
        (("--pretrain", "/nowhere.pth"), 1, "/nowhere.pth"),
        (("--protocol", "segment"), 1, "--protocol detect"),
        (("--protocol", "knn"), 2, "knn"),
        (("--arch", "resnet50"), 1, "resnet50"),
    ],
)
def test_wrong_input_gets_one_line(
    more: tuple[str, ...],
    code: int,
    said: str,
    metrics: Path,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert typed(metrics, checkpoint, *more) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("ssl-bench: error: ")
    assert said in line
    assert not (metrics.parent / "results" / "records").exists()


def test_a_file_without_a_metric_is_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(tmp_path / "absent.json", checkpoint) == 1
    (tmp_path / "log.json").write_text('{"loss": 1.0}\n')
    assert typed(tmp_path / "log.json", checkpoint) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "absent.json" in first
    assert "no metric of detect that is known. Known: metrics.json" in second


def test_a_partial_backbone_reaches_no_table(
    metrics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = dict(backbones.build("resnet18-w4", 1).state_dict())
    del state["layer4.1.bn2.weight"]
    torch.save(state, tmp_path / "part.pth")
    assert typed(metrics, tmp_path / "part.pth") == 1
    assert typed(metrics, tmp_path / "part.pth", "--allow-partial") == 0
    (record,) = kept(metrics)
    assert record.partial
    assert not record.tabled
    assert record.identity.weights.endswith("-partial")

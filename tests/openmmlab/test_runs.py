"""Detectors and segmentors trained and tested for a few real steps, whole."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_bench import backbones, launch, progress, protocols, suite
from ssl_bench.checkpoints import reader
from ssl_bench.errors import BenchError
from ssl_bench.features import Extraction
from ssl_bench.openmmlab import gate
from ssl_bench.results.record import Record
from ssl_bench.training.checkpoints import CheckpointingRunner
from tests.openmmlab import small

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_scenes(tmp_path_factory.mktemp("dense") / "digit-scenes")


def run(which: str, root: Path, work_dir: Path, **more: Any) -> Record:
    protocol = small.RECIPES[which][0]
    if which == "upernet":
        more = {"arch": small.VIT, **more}
    return suite.evaluate(
        protocols=protocol, **small.request(which, root, work_dir, **more)
    )[0]


def steps(work_dir: Path) -> list[dict[str, str]]:
    with (work_dir / "steps.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("which", small.RECIPES)
def test_trained_and_tested_through_the_real_packages(
    which: str, scenes: Path, tmp_path: Path
) -> None:
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    record = run(which, scenes, tmp_path)
    protocol, config, _ = small.RECIPES[which]
    assert record.identity.protocol == protocol
    assert record.config == config
    names = [metric.name for metric in record.metrics]
    declared = protocols.get_protocol(protocol).METRICS
    for metric in record.metrics:
        assert any(re.fullmatch(pattern, metric.name) for pattern in declared)
        assert 0 <= metric.value <= 100
        assert metric.count == small.TEST
    first = {"c4": "box_AP50", "fpn": "box_AP"}.get(which, "mIoU")
    assert names[0] == first
    assert ("mask_AP" in names) == (which == "fpn")
    assert record.dataset["counts"] == {"train": small.TRAIN, "test": small.TEST}
    # Every step left a finite loss.
    losses = [float(row["loss"]) for row in steps(tmp_path)]
    assert len(losses) == (small.TRAIN // 2 if which == "fpn" else 3)
    assert np.isfinite(losses).all()
    # Every tensor but the counters of batch norm was compared.
    arch = small.VIT if which == "upernet" else small.ARCH
    state = backbones.build(arch, 0).state_dict()
    compared = [name for name in state if not name.endswith("num_batches_tracked")]
    assert record.environment["compared"] == len(compared)
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width > 1000
    assert (tmp_path / "run.json").is_file()
    assert list(tmp_path.glob("best_*.pth"))
    assert np.array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_values_by_class_stand_in_the_record(scenes: Path, tmp_path: Path) -> None:
    record = run("linear", scenes, tmp_path)
    by_class = record.details["classwise"]["IoU"]
    miou = next(m.value for m in record.metrics if m.name == "mIoU")
    assert "background" in by_class
    assert miou == pytest.approx(np.mean(list(by_class.values())))


def test_the_same_seed_trains_the_same(scenes: Path, tmp_path: Path) -> None:
    one = run("fcn", scenes, tmp_path / "a", seed=5)
    two = run("fcn", scenes, tmp_path / "b", seed=5)
    other = run("fcn", scenes, tmp_path / "c", seed=6)
    assert one.metrics == two.metrics
    assert one.key == two.key != other.key
    losses = [[row["loss"] for row in steps(tmp_path / name)] for name in "abc"]
    assert losses[0] == losses[1] != losses[2]


def test_the_frozen_network_of_the_linear_head_stays(
    scenes: Path, tmp_path: Path
) -> None:
    run("linear", scenes, tmp_path)
    (path,) = tmp_path.glob("iter_*.pth")
    state = reader.read(path).tree["state_dict"]
    start = backbones.build(small.ARCH, 0).state_dict()
    for name, tensor in start.items():
        assert torch.equal(state[f"backbone.network.{name}"], tensor), name
    assert {name.split(".")[0] for name in state} == {"backbone", "decode_head"}
    inside = {name for name in state if name.startswith("decode_head.")}
    assert {name.split(".")[1] for name in inside} == {"norm", "conv_seg"}


def test_a_trained_backbone_moves(scenes: Path, tmp_path: Path) -> None:
    run("c4", scenes, tmp_path)
    (path,) = tmp_path.glob("iter_*.pth")
    state = reader.read(path).tree["state_dict"]
    start = backbones.build(small.ARCH, 0).state_dict()
    for home, name in (
        ("backbone.conv1.weight", "conv1.weight"),
        ("backbone.layer3.0.conv1.weight", "layer3.0.conv1.weight"),
        ("roi_head.shared_head.layer4.0.conv1.weight", "layer4.0.conv1.weight"),
    ):
        assert not torch.equal(state[home], start[name]), name
        assert torch.allclose(state[home], start[name], atol=0.1), name


@pytest.mark.parametrize(
    ("which", "left"), [("c4", "layer2.0.conv1.weight"), ("c4", "layer4.1.bn2.bias")]
)
def test_a_tensor_left_unloaded_stops_the_run(
    which: str, left: str, scenes: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    placing = gate.place

    def forgetful(backbone: Any, model: Any) -> None:
        homes = gate._homes(model)
        was = homes[left].detach().clone() + 1
        placing(backbone, model)
        homes[left].data.copy_(was)

    monkeypatch.setattr(gate, "place", forgetful)
    with pytest.raises(BenchError, match=f"{re.escape(left)} is not what the check"):
        run(which, scenes, tmp_path)
    assert not list(tmp_path.glob("*.pth"))
    assert not (tmp_path / "steps.csv").exists()


def test_a_run_goes_on_where_it_was_stopped(scenes: Path, tmp_path: Path) -> None:
    early = {"default_hooks.checkpoint.interval": 1, "train_cfg.val_interval": 1}
    run("fcn", scenes, tmp_path, options={**early, "train_cfg.max_iters": 2})
    marker = json.loads((tmp_path / "run.json").read_text())
    # The schedule is the same run's, longer: as if it had been killed at its second.
    request = suite.Request(**small.request("fcn", scenes, tmp_path, options=early))
    plan = suite.plan_evaluation(request, "segment")
    wanted = dataclasses.asdict(suite.identify(request, plan))
    assert marker != json.loads(json.dumps(wanted))
    (tmp_path / "run.json").write_text(json.dumps(wanted))
    record = run("fcn", scenes, tmp_path, options=early, resume=True)
    assert [row["step"] for row in steps(tmp_path)] == ["0", "1", "2"]
    assert set(record.details["evaluations"]) == {"1", "2", "3"}


def test_a_run_of_something_else_is_not_gone_on_with(
    scenes: Path, tmp_path: Path
) -> None:
    run("fcn", scenes, tmp_path)
    with pytest.raises(BenchError, match="holds a run of something else"):
        run("fcn", scenes, tmp_path, resume=True, seed=9)


def test_a_trained_model_is_only_tested(scenes: Path, tmp_path: Path) -> None:
    first = run("fcn", scenes, tmp_path / "a")
    (path,) = (tmp_path / "a").glob("iter_*.pth")
    again = run("fcn", scenes, tmp_path / "b", trained=path)
    assert [(m.name, m.value) for m in again.metrics] == [
        (m.name, m.value) for m in first.metrics
    ]
    assert again.key != first.key
    assert not list((tmp_path / "b").glob("*.pth"))
    with pytest.raises(BenchError, match="is no trained model of this recipe"):
        run("linear", scenes, tmp_path / "c", trained=path)


def test_a_cut_schedule_is_a_row_of_its_own(scenes: Path, tmp_path: Path) -> None:
    whole = {"train_cfg.max_iters": 6, "train_cfg.val_interval": 6}
    record = run("fcn", scenes, tmp_path, options=whole, short=0.5)
    assert len(steps(tmp_path)) == 3
    assert record.config == "fcn-d8_digit-scenes_short-0.5"
    assert "short=0.5" in record.deviations
    assert any("--short" in warning for warning in record.warnings)


def test_a_loss_that_is_no_number_stops_the_run(scenes: Path, tmp_path: Path) -> None:
    options = {"optim_wrapper.optimizer.lr": 1e30}
    with pytest.raises(BenchError, match=r"loss is (nan|inf) .*optimizer\.lr="):
        run("fcn", scenes, tmp_path, options=options)


def test_an_image_list_that_the_recipe_empties(scenes: Path, tmp_path: Path) -> None:
    options = {"train_dataloader.dataset.filter_cfg.min_size": 1000}
    with pytest.raises(BenchError, match=r"no image is left of the 8 .*min_size=1$"):
        run("fpn", scenes, tmp_path, options=options)


def test_too_little_memory_says_what_to_lower(
    scenes: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    def full(self: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried 9 bytes")

    monkeypatch.setattr(CheckpointingRunner, "train", full)
    with pytest.raises(BenchError, match=r"too little memory with 2 .*batch_size=1"):
        run("fcn", scenes, tmp_path)


def test_mixed_precision_needs_a_gpu(scenes: Path, tmp_path: Path) -> None:
    bf16 = Extraction(device="cpu", dtype="bf16", workers=0)
    with pytest.raises(BenchError, match=r"--dtype bf16 .*on a GPU only"):
        run("fcn", scenes, tmp_path, extraction=bf16)


def together(which: str, root: Path, work_dir: Path) -> None:
    """Train in the processes of torchrun; see the test below."""
    with launch.together("pytorch", "cpu"):
        progress.be_quiet(launch.rank() > 0)
        record = run(which, root, work_dir, options={"train_dataloader.batch_size": 1})
    if launch.rank() == 0:
        values = {metric.name: metric.value for metric in record.metrics}
        facts = {key: record.environment[key] for key in ("processes", "batch", "lr")}
        (work_dir / "found.json").write_text(json.dumps({**values, **facts}))


def test_two_processes_share_a_run(scenes: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from tests.openmmlab.test_runs import together; "
        f"together('fcn', Path({str(scenes)!r}), Path({str(tmp_path / 'two')!r}))"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    words = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run"]
    words += ["--standalone", "--nproc_per_node=2", str(script)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "two" / "found.json").read_text())
    # One image of each of two processes is the recipe's batch: nothing is scaled.
    assert (found["processes"], found["batch"], found["lr"]) == (2, 2, 0.01)
    assert 0 <= found["mIoU"] <= 100
    assert len(steps(tmp_path / "two")) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model.decode_head.colour": 1}, "cannot be built: .*colour"),
        ({"optim_wrapper.optimizer.colour": 1}, "cannot be built: .*colour"),
        ({"param_scheduler.0.colour": 1}, "cannot be built: .*colour"),
        ({"optim_wrapper.optimizer.type": "SDG"}, "optimizer 'SDG'.* mean 'SGD'"),
    ],
    ids=str,
)
def test_what_nothing_takes_is_one_sentence(
    options: dict[str, Any], said: str, scenes: Path, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=said) as caught:
        run("fcn", scenes, tmp_path, options=options)
    assert "\n" not in str(caught.value)

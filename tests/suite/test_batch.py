"""Many protocols on one checkpoint: one extraction, a plan, cells on their own."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_bench import backbones, cli, suite
from ssl_bench.data import ImageDataset
from ssl_bench.errors import UsageError
from ssl_bench.features import Extraction
from ssl_bench.protocols import knn, probe, svm
from ssl_bench.results.store import RecordStore
from ssl_bench.suite.batch import Batch
from ssl_bench.suite.pretrains import Pretrain, pretrains_of
from ssl_bench.suite.request import Request
from ssl_bench.suite.suites import read_suite

QUICK = """
about = "the frozen protocols, small"
[[cells]]
protocol = "knn"
options = { transform = "small", topk = [3] }
[[cells]]
protocol = "svm"
options = { transform = "small", features = ["layer3", "final"], costs = [1] }
[[cells]]
protocol = "lowshot"
options = { transform = "small", shots = [1, 2], samples = 2, costs = [1] }
[[cells]]
protocol = "probe"
options = { transform = "small", probes = ["ridge"] }
"""
TITLES = ["knn", "svm", "lowshot", "probe"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work_dirs") / "simclr" / "epoch_7.pth"
    path.parent.mkdir()
    torch.save(backbones.build("resnet18-w8", seed=4).state_dict(), path)
    return path


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(QUICK)
    return path


def common(folder: Path) -> list[str]:
    return [
        "--dataset", "folder", "--data-root", str(folder), "--workers", "0",
        "--batch-size", "8",
    ]  # fmt: skip


def words(path: Path, folder: Path, results: Path, *more: object) -> list[str]:
    where = ["--results", str(results), *map(str, more)]
    return ["run", "--suite", str(path), *common(folder), *where]


def records(results: Path) -> dict[str, Any]:
    """Return what moves and what moved, by key."""
    return {
        record.key: (record.evaluation, record.metrics, record.deviations)
        for record in RecordStore(results).all()
    }


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often every image is decoded."""
    counted: Counter[str] = Counter()
    original = ImageDataset.image

    def image(self: ImageDataset, index: int) -> Image.Image:
        counted[f"{self.split}/{self.samples[index]}"] += 1
        return original(self, index)

    monkeypatch.setattr(ImageDataset, "image", image)
    return counted


def batch_of(
    path: Path, folder: Path, results: Path, *pretrains: Pretrain, **more: Any
) -> Batch:
    base = {
        "dataset": "folder",
        "data_root": folder,
        "extraction": Extraction(batch_size=8, workers=0),
        **more,
    }
    store = RecordStore(results)
    return Batch(read_suite(str(path)), Request(**base), pretrains, store)


def test_every_image_is_decoded_once_for_all_protocols(
    checkpoint: Path,
    image_folder: Path,
    suite_file: Path,
    tmp_path: Path,
    reads: Counter[str],
) -> None:
    """24 train and 12 val images under one transform; the cells want three taps."""
    batch = batch_of(suite_file, image_folder, tmp_path / "r", one(checkpoint))
    cells = batch.plan(estimate=False)
    assert not reads
    assert [cell.images for cell in cells] == [36, 0, 0, 0]
    assert [cell.shared_with for cell in cells] == [(), ("knn",), ("knn",), ("knn",)]
    batch.run()
    assert [cell.state for cell in cells] == ["finished"] * 4
    assert set(reads.values()) == {1}
    assert len(reads) == 36


def test_another_transform_is_another_pass(
    checkpoint: Path, image_folder: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    path = tmp_path / "two.toml"
    path.write_text(QUICK.replace('"small", probes', '"upsample224", probes'))
    batch = batch_of(path, image_folder, tmp_path / "r", one(checkpoint))
    cells = batch.plan(estimate=False)
    assert [cell.images for cell in cells] == [36, 0, 0, 36]
    batch.run()
    assert set(reads.values()) == {2}


def test_one_tap_pooled_in_two_ways_takes_two_passes(
    checkpoint: Path, image_folder: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    path = tmp_path / "two.toml"
    path.write_text(
        'about = "x"\n[[cells]]\nprotocol = "knn"\n'
        'options = { transform = "small", topk = [3] }\n'
        '[[cells]]\nprotocol = "probe"\n[cells.options]\ntransform = "small"\n'
        'probes = ["ridge"]\npoolings = ["backbone", "adaptive_2"]\n'
    )
    batch = batch_of(path, image_folder, tmp_path / "r", one(checkpoint))
    cells = batch.plan(estimate=False)
    assert [cell.images for cell in cells] == [36, 36]
    batch.run()
    assert [cell.state for cell in cells] == ["finished"] * 2
    assert set(reads.values()) == {2}


def one(path: Path) -> Pretrain:
    return Pretrain(str(path), str(path))


@pytest.mark.slow
def test_the_records_are_those_of_single_commands(
    checkpoint: Path,
    image_folder: Path,
    suite_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretrain = ("--pretrain", checkpoint)
    together = words(suite_file, image_folder, tmp_path / "together", *pretrain)
    assert cli.main(together) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "finished"
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "another cache"))
    for entry in read_suite(str(suite_file)).entries:
        alone = [*entry.words(None), *common(image_folder), *map(str, pretrain)]
        assert cli.main([*alone, "--results", str(tmp_path / "alone")]) == 0
    assert len(records(tmp_path / "alone")) == 4
    assert records(tmp_path / "together") == records(tmp_path / "alone")


KILLED = """
import os, signal, sys
from ssl_bench import cli
from ssl_bench.svms import runs

def end(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)

import ssl_bench.protocols.svm as svm
svm.finish_classes = end
cli.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on(
    checkpoint: Path,
    image_folder: Path,
    suite_file: Path,
    tmp_path: Path,
    reads: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "killed cache"))
    command = words(
        suite_file, image_folder, tmp_path / "killed", "--pretrain", checkpoint
    )
    done = subprocess.run([sys.executable, "-c", KILLED, *command])
    assert done.returncode == -signal.SIGKILL
    assert len(records(tmp_path / "killed")) == 1  # knn

    assert cli.main(command) == 0
    assert not reads, "features were extracted a second time"
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "fresh cache"))
    undisturbed = words(
        suite_file, image_folder, tmp_path / "whole", "--pretrain", checkpoint
    )
    assert cli.main(undisturbed) == 0
    assert records(tmp_path / "killed") == records(tmp_path / "whole")


def test_a_failing_cell_leaves_the_others_alone(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "failing.toml"
    bad = '[[cells]]\nprotocol = "probe"\ntitle = "absent"\ndataset = "imagenet"\n'
    path.write_text(QUICK.replace("topk = [3]", "topk = [500]") + bad)
    base = words(path, image_folder, tmp_path / "r", "--pretrain", checkpoint)
    # Every cell keeps its own data set.
    at = base.index("--dataset")
    command = [*base[:at], *base[at + 4 :]]
    monkeypatch.setenv("SSL_BENCH_DATA", str(image_folder.parent))
    image_folder.rename(image_folder.with_name("folder"))
    text = path.read_text()
    for title in TITLES:
        text = text.replace(
            f'protocol = "{title}"\noptions',
            f'protocol = "{title}"\ndataset = "folder"\noptions',
        )
    path.write_text(text)

    def fault(trial: object) -> None:
        raise ValueError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr(svm, "run", fault)
        assert cli.main(command) == 1
    said, err = capsys.readouterr()
    assert [line.split()[-1] for line in said.splitlines()[1:]] == [
        "failed", "failed", "finished", "finished", "failed",
    ]  # fmt: skip
    for sentence, times in (
        ("k = 500 is larger than the bank", 2),
        ("unexpected ValueError: out of order (--debug shows where)", 2),
        ("data set imagenet is not under", 2),
    ):
        assert err.count(sentence) == times, sentence
    assert err.index("out of order") < err.index("cell 3 of 5")
    assert "the same command goes on with what is unfinished" in err

    assert cli.main(command) == 1
    err = capsys.readouterr().err
    assert "cell 2 of 5: svm" in err
    assert "cell 3 of 5" not in err, "a finished cell was run again"
    assert len(records(tmp_path / "r")) == 3


def test_ctrl_c_ends_all_at_once(
    checkpoint: Path,
    image_folder: Path,
    suite_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(trial: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(svm, "run", interrupt)
    command = words(suite_file, image_folder, tmp_path, "--pretrain", checkpoint)
    assert cli.main(command) == 130
    err = capsys.readouterr().err
    assert "interrupted" in err
    assert "cell 3 of 4" not in err


def test_the_plan_comes_before_the_work(
    checkpoint: Path,
    image_folder: Path,
    suite_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = words(suite_file, image_folder, tmp_path / "r", "--pretrain", checkpoint)
    assert cli.main([*command, "--dry-run"]) == 0
    said, err = capsys.readouterr()
    assert said == ""
    table = [line for line in err.splitlines() if line.startswith("simclr_epoch_7")]
    assert [line.split()[1] for line in table] == TITLES
    assert all("to do" in line for line in table)
    assert not (tmp_path / "r").exists()

    assert cli.main([*command, "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["suite"] == "small"
    assert [cell["cell"] for cell in planned["cells"]] == TITLES
    assert planned["cells"][0]["images"] == 36
    assert planned["cells"][0]["seconds"] > 0
    assert planned["cells"][1]["shared_with"] == ["knn"]

    assert cli.main([*command, "--json"]) == 0
    said, err = capsys.readouterr()
    found = json.loads(said)["cells"]
    assert [cell["key"] for cell in found] == [c["key"] for c in planned["cells"]]
    assert all(cell["record"]["key"] == cell["key"] for cell in found)
    assert err.index("config") < err.index(
        "cell 1 of 4: knn on folder (simclr_epoch_7)"
    )

    knn_only = suite_file.with_name("other.toml")
    knn_only.write_text(QUICK.replace("topk = [3]", "topk = [4]"))
    again = words(knn_only, image_folder, tmp_path / "r", "--pretrain", checkpoint)
    assert cli.main([*again, "--dry-run", "--json"]) == 0
    states = [c["state"] for c in json.loads(capsys.readouterr().out)["cells"]]
    assert states == ["features cached", "finished", "finished", "finished"]


def test_several_checkpoints(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "work_dirs" / "byol"
    runs.mkdir(parents=True)
    for epoch in (2, 10):
        state = backbones.build("resnet18-w8", seed=epoch).state_dict()
        torch.save(state, runs / f"epoch_{epoch}.pth")
    (runs / "broken.pth").write_bytes(b"PK\x03\x04")
    path = tmp_path / "knn.toml"
    path.write_text(QUICK.partition('[[cells]]\nprotocol = "svm"')[0])
    pattern, twice = runs / "epoch_*.pth", runs / "epoch_2.pth"
    command = words(
        path, image_folder, tmp_path / "r", "--pretrain", pattern, twice,
        "none", runs / "broken.pth", runs / "nothing*", "--arch", "resnet18-w8",
    )  # fmt: skip
    assert cli.main(command) == 1
    said, err = capsys.readouterr()
    rows = [line.split() for line in said.splitlines()[1:]]
    assert [row[0] for row in rows[:3]] == [
        "byol_epoch_2", "byol_epoch_10", "random_resnet18-w8",
    ]  # fmt: skip
    assert [row[-1] for row in rows] == ["finished"] * 3 + ["failed"] * 2
    assert f"{twice} is {twice} again: evaluated once" in err
    assert "no file matches" in err
    assert len(records(tmp_path / "r")) == 3


def test_a_folder_stands_for_its_newest_whole_epoch(tmp_path: Path) -> None:
    state = backbones.build("resnet18-w8", seed=1).state_dict()
    torch.save(state, tmp_path / "epoch_9.pth")
    (tmp_path / "epoch_10.pth").write_bytes(b"PK\x03\x04")
    found = pretrains_of([str(tmp_path)])
    assert [one.pretrain for one in found] == [str(tmp_path / "epoch_9.pth")]
    assert [one.pretrain for one in pretrains_of(None)] == [None]


def test_training_cells_share_the_work_dir_and_go_on(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two epochs of twelve steps; the second command finds the first one's record."""
    path = tmp_path / "linear.toml"
    path.write_text(
        'about = "x"\n[[cells]]\nprotocol = "linear"\ntitle = "short"\n'
        "[cells.options]\ntrain_cfg.max_epochs = 1\n"
    )
    asked: list[bool] = []
    from ssl_bench.protocols import linear

    original = linear.run

    def run(trial: Any) -> Any:
        asked.append(trial.resume)
        assert trial.work_dir.parent == tmp_path / "w" / "short"
        return original(trial)

    monkeypatch.setattr(linear, "run", run)
    more = ("--pretrain", checkpoint, "--work-dir", tmp_path / "w")
    assert cli.main(words(path, image_folder, tmp_path / "r", *more)) == 0
    assert cli.main(words(path, image_folder, tmp_path / "r", *more)) == 0
    assert asked == [True]
    (folder,) = (tmp_path / "w" / "short").iterdir()
    assert folder.name.startswith("simclr_epoch_7_")
    assert list(folder.glob("*.json"))


def test_a_config_that_names_its_network_loads_it(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suite_network.py").write_text(
        "import torch\n"
        "from ssl_bench.registry import MODELS\n"
        "@MODELS.register_module()\n"
        "class SuiteColours(torch.nn.Module):\n"
        "    dims = {'final': 4}\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 1)\n"
        "    def forward_taps(self, images, taps):\n"
        "        return {tap: self.conv(images) for tap in taps}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    weights = tmp_path / "colours.pth"
    state = {"conv.weight": torch.randn(4, 3, 1, 1), "conv.bias": torch.ones(4)}
    torch.save(state, weights)
    (tmp_path / "own.py").write_text(
        "protocol = 'knn'\ndataset = 'folder'\ntransform = 'small'\n"
        "custom_imports = dict(imports=['suite_network'])\n"
        "backbone = dict(type='SuiteColours')\nsettings = dict(topk=(3,))\n"
    )
    path = tmp_path / "own.toml"
    path.write_text(
        'about = "x"\n[[cells]]\nprotocol = "knn"\nconfig = "own.py"\n'
        '[[cells]]\nprotocol = "probe"\n'
    )
    batch = batch_of(path, image_folder, tmp_path / "r", one(weights))
    batch.plan(estimate=False)
    own, plain = batch.run()
    assert own.record is not None, own.error
    assert own.record.checkpoint["layout"] == "custom"
    assert plain.state == "failed"
    assert "colours.pth" in plain.error


def test_a_cell_that_names_the_producer_loads_for_itself(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "two.toml"
    path.write_text(
        'about = "x"\n[[cells]]\nprotocol = "knn"\noptions = { topk = [3] }\n'
        '[[cells]]\nprotocol = "knn"\ntitle = "theirs"\n'
        'options = { topk = [3], producer = "detectron" }\n'
    )
    batch = batch_of(path, image_folder, tmp_path / "r", one(checkpoint))
    batch.plan(estimate=False)
    ours, theirs = (cell.record for cell in batch.run())
    assert ours is not None
    assert theirs is not None
    assert ours.checkpoint["producer"] == "torchvision"
    assert theirs.checkpoint["producer"] == "detectron"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data-root", "x"], "--data-root needs --dataset"),
        (["--limit", "0"], "--limit 0"),
        (["--arch", "resnet50"], "--pretrain none"),
        (["--pretrain", "none"], "--arch"),
        (["--pretrain", "a", "b", "--name", "x"], "--name is for one checkpoint"),
        (["--batch-size", "0"], "batch size 0"),
        (["--device", "tpu"], "'tpu'"),
    ],
)
def test_contradictions_are_usage_errors(
    more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--suite", "quick", *more]) == UsageError.exit_code
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_what_protocols_want_is_what_they_ask_for(
    checkpoint: Path, image_folder: Path, suite_file: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """After the extraction by ``wants`` no protocol may extract anything itself."""
    batch = batch_of(suite_file, image_folder, tmp_path / "r", one(checkpoint))
    batch.plan(estimate=False)
    model = batch._kept
    assert model is not None
    for request, plan in model.plans.values():
        del request
        for wanted in batch.features.wanted(plan):
            batch.features.extract([wanted])

    def fail(self: ImageDataset, index: int) -> Image.Image:
        raise AssertionError("extracted again")

    monkeypatch.setattr(ImageDataset, "image", fail)
    assert [cell.error for cell in batch.run()] == [""] * 4
    for module in (knn, svm, probe):
        assert hasattr(module, "wants")


def test_estimates_by_hand(tmp_path: Path) -> None:
    from ssl_bench.suite.rates import Rates

    rates = Rates(tmp_path, Extraction(device="cpu", workers=1))
    # One core decodes an image in 0.01 s, the network takes 0.03 s on the same cores.
    assert rates._each(0.01, 0.03, 1000) == pytest.approx(0.04)
    backbone = backbones.build("resnet18-w8", seed=0)
    images = FakeSplit(300)
    assert rates.seconds(backbone, images, (), 0) == 0.0
    rates.keep(backbone, images, (), 100, 1.0)  # too few images to count
    assert not (tmp_path / "rates").exists()
    rates.keep(backbone, images, (), 300, 6.0)  # 50 a second
    assert rates.seconds(backbone, images, (), 1000) == pytest.approx(20.0)
    (file,) = (tmp_path / "rates").iterdir()
    file.write_text("{")
    measured = rates.seconds(backbone, images, (), 1000)
    assert measured is not None
    assert measured > 0


class FakeSplit(ImageDataset):
    name = "fake"

    def __init__(self, count: int) -> None:
        self.root, self.split, self.classes = Path(), "train", ("a",)
        self.targets = np.zeros(count, dtype=np.int64)
        self.samples = [f"{i}.png" for i in range(count)]

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, index: int) -> Image.Image:
        return Image.new("RGB", (32, 32), (index % 255, 0, 0))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "unknown"), (0.0, ""), (0.2, "about 1 s"), (45.0, "about 45 s"),
        (119.0, "about 119 s"), (120.0, "about 2 min"), (7200.0, "about 2 h"),
        (3 * 86400.0, "about 3 days"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, said: str) -> None:
    from ssl_bench.suite.overview import duration

    assert duration(seconds) == said


def test_the_parser_of_run_takes_patterns_and_lists() -> None:
    parser = argparse.ArgumentParser()
    cli.commands()["run"].add_arguments(parser)
    args = parser.parse_args(["--suite", "quick", "--pretrain", "a", "b*"])
    assert args.pretrain == ["a", "b*"]
    assert os.sep not in args.suite


def test_a_fraction_chooses_the_recipe_and_changes_nothing_in_it(
    checkpoint: Path, image_folder: Path
) -> None:
    asked: dict[str, Any] = {
        "pretrain": str(checkpoint), "dataset": "folder", "data_root": image_folder,
    }  # fmt: skip
    by_fraction = Request(**asked, options={"fraction": 0.1})
    chosen = suite.plan_evaluation(by_fraction, "semi")
    by_name = Request(**asked, config=chosen.config_name)
    named = suite.plan_evaluation(by_name, "semi")
    assert chosen.config_name.endswith("_10pct")
    assert suite.identify(by_fraction, chosen) == suite.identify(by_name, named)
    assert suite.deviations(by_fraction, chosen) == ()


def test_several_processes_would_do_all_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["run", "--suite", "quick", "--dry-run"]) == 2
    assert "2 processes were started (WORLD_SIZE)" in capsys.readouterr().err

"""Cells on a real Slurm: the same records as plain commands leave, come what may."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_bench.jobs import cluster as slurm_says
from ssl_bench.jobs.cell_file import read_cell
from tests.jobs.conftest import Site, write_checkpoints
from tests.training import small

KNN = ("--dataset", "folder", "--data-root", "photos", "--device", "cpu")


@pytest.mark.slow
def test_an_array_leaves_the_records_of_the_plain_commands(
    site: Site, image_folder: Path
) -> None:
    write_checkpoints(site.folder / "run", (9, 10))
    for epoch in (9, 10):
        path = f"run/epoch_{epoch}.pth"
        site.say("knn", "--pretrain", path, *KNN, "--results", "plain")
    expected = site.records("plain")
    assert len(expected) == 2

    words = ("knn", "--pretrain", "run/epoch_*.pth", *KNN, "--results", "results")
    first, second = site.submit("--array", "1", "--", *words)

    assert first.endswith("_0")
    assert second.endswith("_1")
    for job, epoch in ((first, 9), (second, 10)):
        row = site.wait(job, "done", "failed")
        assert row["state"] == "done", row
        assert row["model"] == f"run/epoch_{epoch}.pth"
        assert expected[row["record"]] == row["metrics"]
    assert site.records("results") == expected
    text = site.say("jobs", first.partition("_")[0])
    assert "2 done" in text


class Training:
    """A training run that takes some seconds, and what it gives undisturbed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = small.write_images(folder / "images", (12, 10, 9), (4, 3, 3))
        config = small.write_config(
            folder / "recipe.py",
            "semi",
            fraction=0.9,
            epochs=60,
            batch=6,
            optimizer={"type": "SGD", "lr": 0.02, "momentum": 0.9},
        )
        self._config, self._root = config, root
        # Not in this process: the number of threads is another one here.
        line = [sys.executable, "-m", "ssl_bench", *self.words(folder / "calm")]
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(line, check=True, capture_output=True, env=alone, cwd=folder)

    def words(self, out: Path) -> list[str]:
        """Return the command that leaves everything below a folder."""
        return small.words("semi", self._config, self._root, out)

    def check(self, site: Site, row: dict[str, Any], out: Path) -> None:
        """Compare a finished cell with the undisturbed run."""
        assert row["state"] == "done", row
        calm = self.folder / "calm"
        expected = site.records(calm / "results")
        assert site.records(out / "results") == expected
        assert expected[row["record"]] == row["metrics"]
        assert small.steps(out) == small.steps(calm)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    return Training(tmp_path_factory.mktemp("training"))


def epochs(out: Path) -> int:
    """Return how many epochs have been kept so far, as the newest checkpoint's."""
    paths = (out / "run").glob("epoch_*.pth")
    return max((int(path.stem[6:]) for path in paths), default=0)


def wait_for_more(site: Site, out: Path) -> None:
    """Wait until a run has gone on for some epochs."""
    before = epochs(out)
    site.until(lambda: epochs(out) > before + 1)


@pytest.mark.slow
def test_time_limit_requeueing_and_preemption_change_nothing(
    site: Site, training: Training
) -> None:
    out = site.folder / "rough"
    (job,) = site.submit("--time", "30", "--", *training.words(out))
    for command in (
        # What Slurm sends some time before the time limit.
        ("scancel", "--signal=USR2", job),
        ("scontrol", "requeue", job),
        ("sbatch", "--partition=urgent", "-n2", "--output=/dev/null", "--wrap=id"),
    ):
        wait_for_more(site, out)
        site.slurm(*command)
        assert site.wait(job, "requeued", "done", "failed")["state"] == "requeued"
        site.wait(job, "running")

    row = site.wait(job, "done", "failed")

    training.check(site, row, out)
    assert row["restarts"] == 3
    log = Path(row["log"]).read_text()
    assert log.count("going on from") == 3
    # By itself near its time limit and in the time of grace, by Slurm in between.
    assert log.count(f"Requeued job {job}") == 2
    assert log.count("Exited with exit code 143") == 1


@pytest.mark.slow
def test_a_cancelled_cell_is_finished_by_retry(site: Site, training: Training) -> None:
    out = site.folder / "cut"
    (job,) = site.submit("--", *training.words(out))
    wait_for_more(site, out)
    site.slurm("scancel", job)
    assert site.wait(job, "cancelled", "done", "failed", "lost")["state"] == "cancelled"

    cell = read_cell(next(site.folder.glob("jobs/*/cell-0.json")))
    assert cell is not None
    assert cell.state == "cancelled"  # it knows that itself
    assert cell.exit_code == 143

    (again,) = site.submit("--retry", job)

    row = site.wait(again, "done", "failed")
    training.check(site, row, out)
    assert "going on from" in Path(row["log"]).read_text()
    assert list(site.cells()) == [again]  # a cell stands where its latest job does
    assert "no cell of" in site.say("submit", "--retry", again, code=1)


@pytest.mark.slow
def test_two_processes_of_a_cell_leave_the_record_of_one(
    site: Site, image_folder: Path
) -> None:
    write_checkpoints(site.folder / "run", (3,))
    words = ("knn", "--pretrain", "run/epoch_3.pth", *KNN)
    site.say(*words, "--results", "plain")
    (job,) = site.submit("--tasks", "2", "--", *words, "--results", "results")
    row = site.wait(job, "done", "failed")
    assert row["state"] == "done", row
    assert site.records("results") == site.records("plain")


@pytest.mark.slow
def test_failures_are_listed_and_the_same_cell_is_not_submitted_twice(
    site: Site, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoints(site.folder / "run", (1, 2, 3))
    monkeypatch.setattr(slurm_says, "max_array_size", lambda: 2)
    words = ("knn", "--pretrain", "run/*.pth", "--dataset", "imagenet")
    site.slurm("scontrol", "update", "PartitionName=cpu", "State=DOWN")
    try:
        jobs = site.submit("--array", "2", "--", *words)
        assert [job.partition("_")[1:] for job in jobs] == [
            ("_", "0"),
            ("_", "1"),
            ("", ""),
        ]
        assert {row["state"] for row in site.cells().values()} == {"pending"}
        said = site.say("submit", "--gpus", "0", "--", *words, code=1)
        assert f"is pending already as job {jobs[0]} and 2 more" in said
        assert "--again" in said
    finally:
        site.slurm("scontrol", "update", "PartitionName=cpu", "State=UP")
    for job in jobs:
        row = site.wait(job, "failed", "done")
        assert row["state"] == "failed"
        assert row["exit_code"] == 1
        assert "data set imagenet is not under" in row["last_line"]
    # Slurm calls them failed too.
    for job in jobs:
        site.until(lambda job=job: slurm_says.jobs_of([int(job.partition("_")[0])])[
            job
        ].state == "FAILED")  # fmt: skip
    text = site.say("jobs", "--failed", code=1)
    assert text == ""


def test_a_dry_run_prints_the_script_and_the_cells(site: Site) -> None:
    write_checkpoints(site.folder / "run", (9, 10, 2))
    text = site.say(
        *("submit", "--partition", "cpu", "--gpus", "4", "--array", "2"),
        *("--time", "1-12", "--mem", "8G", "--sbatch", "constraint=a100"),
        *("--dry-run", "--", "svm", "--pretrain", "run/epoch_*.pth"),
    )
    for line in (
        "#SBATCH --array=0-2%2", "#SBATCH --partition=cpu", "#SBATCH --time=2160",
        "#SBATCH --gpus-per-node=4", "#SBATCH --ntasks-per-node=4",
        "#SBATCH --mem=8G", "#SBATCH --constraint=a100", "#SBATCH --requeue",
        "#SBATCH --signal=USR2@90",
    ):  # fmt: skip
        assert line in text.splitlines()
    cells = [line for line in text.splitlines() if line.startswith("# ssl-bench")]
    assert [line.rpartition("_")[2] for line in cells] == ["2.pth", "9.pth", "10.pth"]
    assert not (site.folder / "jobs").exists()


@pytest.mark.parametrize(
    ("options", "words", "code", "said"),
    [
        (["--partition", "cup"], ["knn"], 1, "Did you mean 'cpu'"),
        (["--gpus", "1"], ["knn"], 1, "--gpus 0"),
        (["--gpus", "0", "--mem", "900G"], ["knn"], 1, "sbatch refuses the jobs"),
        (["--gpus", "0", "--account", "x y"], ["demo"], 2, "'demo'"),
    ],
)
def test_what_slurm_refuses_is_one_line_and_leaves_nothing(
    site: Site, options: list[str], words: list[str], code: int, said: str
) -> None:
    line = site.say("submit", *options, "--", *words, code=code)
    assert line.startswith("ssl-bench: error: ")
    assert line.count("\n") == 1
    assert said in line
    assert not list(site.folder.glob("jobs/*/*"))


def test_without_slurm_it_is_said_and_states_come_from_files(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = site.submit("--", "knn", "--features", "nowhere")
    site.wait(job, "failed")
    monkeypatch.setenv("PATH", str(site.folder))
    assert "no part of a Slurm cluster" in site.say("submit", "--", "knn", code=1)
    rows = json.loads(json.dumps(site.cells()))
    assert rows[job]["state"] == "failed"

"""The shell files for Slurm, each run on a real one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.launched import ROOT, SELFSUP, Site, check, launch
from tests.jobs import slurm

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Slurm]:
    with slurm.running() as found:
        yield found


def on(cluster: slurm.Slurm, tasks: int) -> dict[str, Any]:
    """Return the environment of a user of a cluster without GPUs."""
    return {
        "environment": {**os.environ, **cluster.environment()},
        "GPUS": tasks,
        "GRES": "none",
        "CPUS_PER_TASK": 1,
        "SRUN_ARGS": "--quiet --time=10",
    }


# Two tasks for each kind of work, and one for the rest, which is quicker.
@pytest.mark.parametrize(
    ("protocol", "what", "tasks"),
    [
        ("knn", "pretrain", 1),
        ("knn", "epoch", 2),
        ("svm", "pretrain", 2),
        ("svm", "epoch", 1),
    ],
)
def test_frozen_features_leave_the_record_of_the_plain_command(
    protocol: str,
    what: str,
    tasks: int,
    site: Site,
    cluster: slurm.Slurm,
    tmp_path: Path,
) -> None:
    folder = {"knn": "knn_imagenet", "svm": "svm_voc07"}[protocol]
    found = site.launched(
        tmp_path,
        f"classification/{folder}/slurm_test_{protocol}_{what}.sh",
        *("cpu", "tests", SELFSUP, site.checkpoint if what == "pretrain" else 3),
        protocol=protocol,
        processes=tasks,
        **on(cluster, tasks),
    )
    check(found, site.plain(protocol, "--pretrain", str(site.checkpoint)))


@pytest.mark.parametrize(("protocol", "tasks"), [("linear", 2), ("semi", 1)])
def test_training_leaves_the_record_of_the_plain_command(
    protocol: str, tasks: int, site: Site, cluster: slurm.Slurm, tmp_path: Path
) -> None:
    config = site.recipes[protocol]
    found = site.launched(
        tmp_path,
        f"classification/slurm_train_{protocol}.sh",
        *("cpu", "tests", config, "none", "--work-dir", tmp_path / "run"),
        protocol=protocol,
        processes=tasks,
        **on(cluster, tasks),
    )
    check(found, site.plain(protocol, str(config), "--pretrain", "none"))


@pytest.mark.parametrize("protocol", ["detect", "segment"])
def test_dense_is_trained_and_tested(
    protocol: str, site: Site, cluster: slurm.Slurm, tmp_path: Path
) -> None:
    folder = {"detect": "detection", "segment": "segmentation"}[protocol]
    config = site.recipes[protocol]
    model, plain = site.trained(protocol)
    found = site.launched(
        tmp_path / "a",
        f"{folder}/mim_slurm_train.sh",
        *("cpu", config, "none", "--work-dir", tmp_path / "w"),
        protocol=protocol,
        processes=1,
        **on(cluster, 1),
    )
    check(found, plain)
    found = site.launched(
        tmp_path / "b",
        f"{folder}/mim_slurm_test.sh",
        *("cpu", config, model, "--pretrain", "none", "--work-dir", tmp_path / "v"),
        protocol=protocol,
        processes=1,
        **on(cluster, 1),
    )
    assert found["metrics"] == plain["metrics"]


def test_srun_is_asked_for_what_the_environment_says(tmp_path: Path) -> None:
    """A stand-in prints its arguments; with GPUs, one task has one of them."""
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "port=$MASTER_PORT"\n')
    srun.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    file = "classification/slurm_train_linear.sh"
    words = ("part", "job", "config.py", "none", "--seed", "3")

    def asked(**more: object) -> list[str]:
        done = subprocess.run(
            ["bash", ROOT / "benchmarks" / file, *words],
            env={**environment, **{k: str(v) for k, v in more.items()}},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    command = ["python", "-u", "-m", "ssl_bench", "linear", "config.py"]
    command += ["--pretrain", "none", "--launcher", "slurm", "--seed", "3"]
    head = ["-p", "part", "--job-name=job"]
    usual = ["--gres=gpu:8", "--ntasks=8", "--ntasks-per-node=8", "--cpus-per-task=5"]
    bad = "--kill-on-bad-exit=1"
    assert asked() == [*head, *usual, bad, *command, "port="]
    few = ["--gres=gpu:4", "--ntasks=16", "--ntasks-per-node=4", "--cpus-per-task=2"]
    more = {"GPUS": 16, "GPUS_PER_NODE": 4, "CPUS_PER_TASK": 2, "PORT": 29501}
    assert asked(**more, SRUN_ARGS="--qos=low --time=60") == [
        *(*head, *few, bad, "--qos=low", "--time=60", *command, "port=29501")
    ]
    assert not [word for word in asked(GRES="none") if word.startswith("--gres")]
    assert "--gres=gpu:a100:2" in asked(GRES="gpu:a100:2", GPUS=2)
    assert "--gres=gpu:2" in asked(GPUS=2)


def test_a_wrong_partition_is_slurms_own_sentence(
    cluster: slurm.Slurm, tmp_path: Path
) -> None:
    done = launch(
        "classification/slurm_train_linear.sh",
        *("nowhere", "tests", "config.py", "none"),
        cwd=tmp_path,
        **on(cluster, 1),
    )
    assert done.returncode != 0
    assert "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr

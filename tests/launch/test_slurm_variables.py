"""What Slurm's variables mean to torch.distributed, in the forms that Slurm writes."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ssl_bench import launch
from ssl_bench.errors import BenchError, UsageError
from ssl_bench.launch import slurm

TASK = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "7",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "4,2,1",
    "SLURM_STEP_NODELIST": "gpu[07-09]",
}


class Answer:
    def __init__(self, text: str) -> None:
        self.stdout = text


def test_a_task_of_three_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(words: list[str], **_: Any) -> Answer:
        asked.append(words)
        return Answer("gpu07\ngpu08\ngpu09\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = slurm.variables(TASK)
    assert asked == [["scontrol", "show", "hostnames", "gpu[07-09]"]]
    assert found["RANK"] == "5"
    assert found["WORLD_SIZE"] == "7"
    assert found["LOCAL_RANK"] == "1"
    assert found["LOCAL_WORLD_SIZE"] == "2"
    assert found["MASTER_ADDR"] == "gpu07"
    assert 20000 <= int(found["MASTER_PORT"]) < 60000


def test_tasks_of_one_step_meet_and_those_of_others_do_not() -> None:
    one = {**TASK, "MASTER_ADDR": "gpu07"}
    other = {**one, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    ports = [slurm.variables(task)["MASTER_PORT"] for task in (one, other)]
    assert ports[0] == ports[1]
    for change in ({"SLURM_STEP_ID": "1"}, {"SLURM_JOB_ID": "4712"}):
        assert slurm.variables({**one, **change})["MASTER_PORT"] != ports[0]


@pytest.mark.parametrize(
    ("per_node", "node", "count"),
    [("2(x3)", 2, "2"), ("4,2(x2)", 1, "2"), ("8", 0, "8"), ("4,2,1", 0, "4")],
)
def test_tasks_on_this_machine(per_node: str, node: int, count: str) -> None:
    task = {
        **TASK,
        "SLURM_STEP_TASKS_PER_NODE": per_node,
        "SLURM_NODEID": str(node),
        "MASTER_ADDR": "gpu07",
    }
    assert slurm.variables(task)["LOCAL_WORLD_SIZE"] == count


def test_one_machine_needs_no_name_and_no_scontrol() -> None:
    found = slurm.variables({**TASK, "SLURM_STEP_NUM_NODES": "1"})
    assert found["MASTER_ADDR"] == "127.0.0.1"


def test_the_meeting_place_of_the_user_is_kept() -> None:
    found = slurm.variables({**TASK, "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "2950"})
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.0.0.7", "2950")


def test_outside_of_srun() -> None:
    with pytest.raises(UsageError, match=r"needs SLURM_PROCID.*start it with srun"):
        slurm.variables({"SLURM_JOB_ID": "1", "SLURM_LOCALID": "0"})


def test_another_jobs_number_of_tasks() -> None:
    task = {**TASK, "SLURM_STEP_NUM_TASKS": "2"}
    with pytest.raises(UsageError, match="task 5 of 2"):
        slurm.variables(task)


def test_without_scontrol(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file", "scontrol")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(BenchError, match=r"gpu\[07-09\].*set MASTER_ADDR"):
        slurm.variables(TASK)


@pytest.mark.parametrize(
    ("name", "launcher"),
    [("WORLD_SIZE", "pytorch"), ("SLURM_STEP_NUM_TASKS", "slurm")],
)
def test_several_processes_without_a_launcher_are_refused(
    name: str, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "2")
    with (
        pytest.raises(UsageError, match=f"pass --launcher {launcher}"),
        launch.together("none", "cpu"),
    ):
        raise AssertionError
    monkeypatch.setenv(name, "1")
    with launch.together("none", "cpu") as device:
        assert device == "cpu"


def test_pytorch_outside_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(UsageError, match="start it with torchrun"),
        launch.together("pytorch", "cpu"),
    ):
        raise AssertionError

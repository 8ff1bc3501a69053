"""How cells stand, out of their files and what Slurm says, without a cluster."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from ssl_bench import cli
from ssl_bench.errors import BenchError
from ssl_bench.jobs import cluster, sharing
from ssl_bench.jobs.cell_file import CellState, read_cell
from ssl_bench.jobs.cluster import Job, Partition
from ssl_bench.jobs.expansion import Cell
from ssl_bench.jobs.node import CellJob
from ssl_bench.jobs.options import Options
from ssl_bench.jobs.status import last_line, statuses
from ssl_bench.jobs.submission import Array, Submission, read_submission
from ssl_bench.jobs.submitting import Submitter


def make(folder: Path, states: list[str], array: int = 12) -> Submission:
    """Write a submission whose cells have said these states; an empty one is silent."""
    found = Submission(
        folder=folder / "one",
        directory="/somewhere",
        environment={},
        options=Options(gpus=0, sbatch={"constraint": "x"}),
        cells=tuple(
            Cell(("knn", "--seed", str(n)), f"epoch_{n}.pth", "knn")
            for n in range(len(states))
        ),
        arrays=(Array(array, tuple(range(len(states)))),),
    )
    found.write()
    for number, state in enumerate(states):
        if state:
            cell = CellState(job=found.jobs()[number], state=state)
            cell.write(found.cell_file(number))
    return found


@pytest.mark.parametrize(
    ("said", "slurm", "state"),
    [
        ("", "PENDING", "pending"),
        ("", "RUNNING", "running"),
        ("", "CANCELLED", "cancelled"),
        ("", "FAILED", "failed"),
        ("", None, "lost"),
        ("running", "RUNNING", "running"),
        ("running", "COMPLETING", "running"),
        ("running", "PENDING", "requeued"),
        ("running", None, "lost"),
        ("running", "NODE_FAIL", "lost"),
        ("running", "OUT_OF_MEMORY", "lost"),
        ("running", "TIMEOUT", "timeout"),
        ("requeued", "PENDING", "requeued"),
        ("requeued", "COMPLETING", "requeued"),
        ("requeued", "RUNNING", "running"),
        ("requeued", "CANCELLED", "cancelled"),
        ("requeued", None, "lost"),
        ("cancelled", "COMPLETING", "cancelled"),
        ("cancelled", None, "cancelled"),
        ("stopped", "FAILED", "stopped"),
        ("failed", None, "failed"),
        ("failed", "COMPLETING", "failed"),
        ("done", None, "done"),
        ("done", "COMPLETING", "done"),
    ],
)
def test_the_state_of_a_cell(
    tmp_path: Path, said: str, slurm: str | None, state: str
) -> None:
    one = make(tmp_path, [said, "done"])
    jobs = {} if slurm is None else {"12_0": Job(slurm, "Why")}
    found = statuses(one, jobs)[0]
    assert found.state == state
    if state == "lost":
        assert found.reason


def test_without_slurm_the_files_speak(tmp_path: Path) -> None:
    one = make(tmp_path, ["running", "done", ""])
    found = [status.state for status in statuses(one, None)]
    assert found == ["running", "done", "submitted"]


def test_what_an_earlier_job_said_counts_no_more(tmp_path: Path) -> None:
    one = make(tmp_path, ["failed", "done", "failed"])
    again = dataclasses.replace(one, arrays=(*one.arrays, Array(15, (0, 2))))
    found = statuses(again, {"15_0": Job("PENDING", ""), "15_1": Job("RUNNING", "")})
    assert [status.state for status in found] == ["pending", "done", "running"]
    assert [status.job for status in found] == ["15_0", "12_1", "15_1"]


def test_a_submission_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    one = make(tmp_path, ["", ""])
    assert read_submission(one.folder) == one


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', "{", '{"version": 1}'])
def test_a_damaged_submission_is_one_sentence(
    tmp_path: Path,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "jobs"
    make(folder, ["done"])
    (folder / "two").mkdir()
    (folder / "two" / "submission.json").write_text(text)
    with pytest.raises(BenchError, match="is damaged"):
        read_submission(folder / "two")
    assert cli.main(["jobs"]) == 0
    captured = capsys.readouterr()
    assert "is damaged" in captured.err
    assert "1 done" in captured.out


@pytest.mark.parametrize("text", ["", "null", '{"state": "done"}', "[" * 9000])
def test_a_damaged_cell_file_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cell-0.json"
    path.write_text(text)
    assert read_cell(path) is None


def test_numbers_and_states_that_cannot_be_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cell-0.json"
    good = CellState(job="1", state="done", metrics={"top1": 3.5})
    good.write(path)
    assert read_cell(path) == good
    for change in ({"seconds": float("nan")}, {"state": "fine"}):
        dataclasses.replace(good, **change).write(path)
        assert read_cell(path) is None


def test_failures_come_with_their_last_line_printed_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    one = make(tmp_path / "jobs", ["", "failed"])
    cell = CellState(job="12_1", state="failed", exit_code=1, last_line="no\x1b[2J")
    cell.write(one.cell_file(1))
    assert cli.main(["jobs", "--failed"]) == 1
    text = capsys.readouterr().out
    assert "12_1 failed: no?[2J" in text
    assert "12_0" not in text
    assert text.rstrip().endswith("again: ssl-bench submit --retry 12")
    assert cli.main(["jobs", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["submitted", "failed"]
    assert rows[1]["log"] == str(one.folder / "12_1_0_log.out")


def test_the_last_line_of_a_log_is_not_slurms(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"x" * 20000 + b"\ntrain: 3/9 img\n\nsubmitit INFO (now) - Exiting\n"
        b"srun: error: vm: task 0\nslurmstepd-vm: error: *** STEP\n\n"
    )
    assert last_line(log) == "train: 3/9 img"
    assert last_line(tmp_path / "none") == ""


def test_squeue_that_knows_none_of_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: str) -> str:
        raise BenchError("slurm_load_jobs error: Invalid job id specified")

    monkeypatch.setattr(cluster, "ask", refuse)
    assert cluster.jobs_of([3]) == {}
    assert cluster.jobs_of([]) == {}


def test_the_mark_tells_a_shared_folder_from_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_PATIENCE", 0.0)
    mark = sharing.leave_mark(tmp_path / "cache")
    assert sharing.leave_mark(tmp_path / "cache") == mark
    sharing.check_mark(tmp_path / "cache", mark)
    other = tmp_path / "other"
    for _ in range(2):
        with pytest.raises(BenchError, match="set SSL_BENCH_CACHE to a shared folder"):
            sharing.check_mark(other, mark)
        assert sharing.leave_mark(other) != mark


def test_places_that_every_machine_has_for_itself(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/shm")
    for place in ("/tmp/x", "/dev/shm", "/var/tmp/a/b", str(link)):
        assert sharing.of_one_machine(Path(place))
    assert not sharing.of_one_machine(Path("/usr/lib"))


def test_a_go_after_the_first_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_NTASKS", raising=False)

    def line(restarts: int, *words: str, resumes: bool = True, again: bool = False):  # type: ignore[no-untyped-def]
        job = CellJob(
            main=lambda _: 0, words=("linear", *words), directory="/", environment={},
            cache=(Path("/c"), ""), file=Path("/f"), resumes=resumes, again=again,
        )  # fmt: skip
        return job.line(restarts)

    assert line(0) == ["linear", "--json"]
    assert line(1) == ["linear", "--json", "--resume"]
    assert line(0, again=True) == ["linear", "--json", "--resume"]
    assert line(2, "--resume", "--json") == ["linear", "--resume", "--json"]
    assert line(2, resumes=False) == ["linear", "--json"]
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert line(0) == ["linear", "--json", "--launcher", "slurm"]


def test_a_cache_of_one_machine_is_refused_for_several_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_BENCH_CACHE", "/tmp/cache")
    many, one = Partition("p", 60, 4), Partition("p", 60, 1)
    monkeypatch.setattr(cluster, "find_partition", lambda _: many)
    with pytest.raises(BenchError, match="cannot be shared by the 4 nodes"):
        Submitter(Options(), cli.main)
    Submitter(Options(sbatch={"nodelist": "n1"}), cli.main)
    monkeypatch.setenv("SSL_BENCH_CACHE", "/usr/lib/cache")
    submitter = Submitter(Options(), cli.main)
    submitter.plan([], Path("/usr/lib/jobs"))
    with pytest.raises(BenchError, match="--jobs-dir /tmp/jobs cannot be shared"):
        submitter.plan([], Path("/tmp/jobs"))
    monkeypatch.setattr(cluster, "find_partition", lambda _: one)
    monkeypatch.setenv("SSL_BENCH_CACHE", "/tmp/cache")
    submitter = Submitter(Options(), cli.main)
    with pytest.raises(BenchError, match="--jobs-dir"):
        submitter.plan([], tmp_path / "a%j")


def test_without_submitit_the_line_to_type_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BenchError, match="pip install"):
        Submitter(Options(), cli.main)

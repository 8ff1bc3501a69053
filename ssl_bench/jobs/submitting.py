"""From cells to job arrays: submitit writes the script and calls sbatch."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.data.roots import CACHE_VARIABLE, DATA_VARIABLE, cache_dir
from ssl_bench.errors import BenchError
from ssl_bench.jobs import cluster, sharing
from ssl_bench.jobs.cluster import Partition
from ssl_bench.jobs.expansion import Cell
from ssl_bench.jobs.node import CellJob
from ssl_bench.jobs.options import Options
from ssl_bench.jobs.status import ACTIVE, TO_RETRY, Status, ask_slurm, statuses
from ssl_bench.jobs.submission import (
    Array,
    Submission,
    all_submissions,
    new_folder,
    one_at_a_time,
)
from ssl_bench.progress import note

if TYPE_CHECKING:
    from submitit import SlurmExecutor

Main = Callable[[Sequence[str]], int]

_GOES = 1000
"""A cell is put back into the queue at most so many times by its time limit."""


class Submitter:
    """Submit cells to one partition of the cluster at hand.

    Args:
        options: of Slurm.
        main: entry of the command line, which the nodes call.

    Raises:
        BenchError: when there is no submitit, no Slurm, no such partition, or the cache
            of features is on this machine alone.
    """

    def __init__(self, options: Options, main: Main) -> None:
        _need_submitit()
        self.partition: Partition = cluster.find_partition(options.partition)
        self.options, self._main = options, main
        self.cache = cache_dir().absolute()
        self._check_shared(
            self.cache, "the cache", f"set {CACHE_VARIABLE} to a shared folder"
        )

    def _check_shared(self, folder: Path, what: str, advice: str) -> None:
        """Refuse a folder that other nodes of the partition cannot see.

        Raises:
            BenchError: saying why they cannot.
        """
        why = sharing.of_one_machine(folder)
        if why and self.partition.nodes > 1 and "nodelist" not in self.options.sbatch:
            raise BenchError(
                f"{what} {folder} cannot be shared by the {self.partition.nodes} nodes "
                f"of partition {self.partition.name}: {why}; {advice}, or name one "
                "node with --sbatch nodelist=NODE"
            )

    def plan(self, cells: Sequence[Cell], jobs_dir: Path) -> Submission:
        """Return a submission of cells; nothing is written.

        Raises:
            BenchError: when its folder is nothing for Slurm or on this machine alone.
        """
        folder = new_folder(jobs_dir)
        self._check_shared(folder.parent, "--jobs-dir", "choose a shared folder")
        if "%" in str(folder) or "\\" in str(folder):
            raise BenchError(
                f"--jobs-dir {jobs_dir}: Slurm reads % and \\ in {folder} as more than "
                "signs; choose another place"
            )
        environment = {CACHE_VARIABLE: str(self.cache)}
        if DATA_VARIABLE in os.environ:
            data = Path(os.environ[DATA_VARIABLE]).expanduser().absolute()
            environment[DATA_VARIABLE] = str(data)
        return Submission(
            folder=folder,
            directory=str(Path.cwd()),
            environment=environment,
            options=self.options,
            cells=tuple(cells),
        )

    def script(self, plan: Submission) -> str:
        """Return the script that sbatch would get."""
        executor = self._executor(plan.folder)
        count = min(len(plan.cells), cluster.max_array_size())
        if count > 1:
            executor.parameters["map_count"] = count
        command = executor._submitit_command_str
        return executor._make_submission_file_text(command, "")

    def submit_new(self, plan: Submission, *, again: bool = False) -> Submission:
        """Submit a new submission.

        Args:
            plan: what to submit.
            again: although a cell is pending or running already.

        Raises:
            BenchError: when a cell is, or Slurm refuses.
        """
        jobs_dir = plan.folder.parent
        with one_at_a_time(jobs_dir):
            if not again:
                _refuse_known(plan, all_submissions(jobs_dir))
            plan.write()
            try:
                return self._submit(plan, range(len(plan.cells)), again=False)
            except BaseException:
                if not any(plan.folder.glob("*_submission.sh")):
                    shutil.rmtree(plan.folder, ignore_errors=True)
                raise

    def submit_again(self, plan: Submission) -> Submission:
        """Submit the cells of a submission that did not come to their end.

        Raises:
            BenchError: when there is none, or Slurm does not answer or refuses.
        """
        with one_at_a_time(plan.folder.parent):
            jobs = ask_slurm([plan])
            if isinstance(jobs, str):
                raise BenchError(jobs)
            found = [s.number for s in statuses(plan, jobs) if s.state in TO_RETRY]
            if not found:
                raise BenchError(
                    f"no cell of {', '.join(str(a.number) for a in plan.arrays)} has "
                    "failed, was lost or cancelled; see ssl-bench jobs"
                )
            return self._submit(plan, found, again=True)

    def _submit(
        self, plan: Submission, numbers: Sequence[int], *, again: bool
    ) -> Submission:
        cache = Path(plan.environment.get(CACHE_VARIABLE, self.cache))
        mark = sharing.leave_mark(cache)
        size = cluster.max_array_size()
        parts = [numbers[i : i + size] for i in range(0, len(numbers), size)]
        if len(parts) > 1:
            note(
                f"{len(numbers)} cells are more than one array may have here "
                f"(MaxArraySize {size}): {len(parts)} arrays"
            )
        for part in parts:
            more = {}
            if len(parts) > 1 and self.options.at_once and plan.arrays:
                # Together they may not run more at once than was asked for.
                more["dependency"] = f"afterany:{plan.arrays[-1].number}"
            executor = self._executor(plan.folder, **more)
            calls = [
                CellJob(
                    main=self._main,
                    words=plan.cells[number].words,
                    directory=plan.directory,
                    environment=plan.environment,
                    cache=(cache, mark),
                    file=plan.cell_file(number),
                    resumes=plan.cells[number].resumes,
                    again=again,
                )
                for number in part
            ]
            with _sentence_of_sbatch(self.options):
                jobs = executor.submit_array(calls)
            array = Array(int(jobs[0].job_id.partition("_")[0]), tuple(part))
            plan = dataclasses.replace(plan, arrays=(*plan.arrays, array))
            plan.write()
        return plan

    def _executor(self, folder: Path, **more: Any) -> SlurmExecutor:
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder, max_num_timeout=_GOES)
        parameters = self.options.parameters(self.partition)
        executor.update_parameters(**parameters, **more)
        return executor


def _need_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise BenchError(
            'submitit is not installed; type pip install "ssl-bench[slurm]"'
        ) from error


@contextlib.contextmanager
def _sentence_of_sbatch(options: Options) -> Iterator[None]:
    """Turn what sbatch says when it refuses into one sentence."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        said = " ".join(str(error).split()) or "no reason given"
        advice = "change the options before the --"
        if "gres" in said.lower() and options.gpus:
            advice = "where nodes have no GPUs, say --gpus 0"
        raise BenchError(f"sbatch refuses the jobs: {said}; {advice}") from error


def _refuse_known(plan: Submission, others: Sequence[Submission]) -> None:
    """Refuse cells that are pending or running already.

    Raises:
        BenchError: naming the first one and its job.
    """
    keys = set(plan.keys())
    touched = [one for one in others if keys & set(one.keys())]
    if not touched:
        return
    jobs = ask_slurm(touched)
    if isinstance(jobs, str):
        raise BenchError(jobs)
    found: list[Status] = [
        status
        for one in touched
        for status, key in zip(statuses(one, jobs), one.keys(), strict=True)
        if key in keys and status.state in ACTIVE
    ]
    if found:
        first = found[0]
        cell = first.submission.cells[first.number]
        others_too = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise BenchError(
            f"{cell.protocol} of {cell.model} is {first.state} already as job "
            f"{first.job}{others_too}; see ssl-bench jobs, or say --again to submit "
            "it a second time"
        )

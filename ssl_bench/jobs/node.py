"""What runs on a node: one cell, in a process that submitit starts.

submitit answers its signal (USR2, some time before the time limit) with `checkpoint`
and ``scontrol requeue``, and passes over SIGTERM, which is all that a cancelled or
preempted job gets before it is killed. Here SIGTERM ends the work, too: what is
finished lies in files already, and what Slurm puts back into the queue goes on there.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from ssl_bench.errors import BenchError
from ssl_bench.jobs import cell_file, cluster
from ssl_bench.jobs.cell_file import CellState, read_cell
from ssl_bench.jobs.sharing import check_mark
from ssl_bench.jobs.signals import Ear
from ssl_bench.progress import note

_Handler = Callable[[int, FrameType | None], Any]
_TERMINATED = 143
_ASKING = 5.0
"""Seconds for a question to Slurm while it waits to kill this process."""
_CHILD_WAITS = 1.0
_END = re.compile(
    rb"\*\*\* (?:STEP|JOB) \S+ ON .+? CANCELLED AT \S+(?: DUE TO (?P<why>[A-Z ]+))? \*"
)
_STATES = {b"PREEMPTION": cell_file.PREEMPTED, b"TIME LIMIT": cell_file.TIMEOUT}


@dataclass
class CellJob:
    """Run one cell; submitit pickles this and calls it on the node.

    Attributes:
        main: the command line's entry; returns an exit code.
        words: of the command.
        directory: to run it in.
        environment: variables to set.
        cache: the folder of features, and its mark.
        file: where to say what becomes of it.
        resumes: whether the command goes on with ``--resume``.
        again: whether an earlier job of this cell may have left something.
    """

    main: Callable[[Sequence[str]], int]
    words: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    cache: tuple[Path, str]
    file: Path
    resumes: bool
    again: bool

    def __post_init__(self) -> None:
        self._go: _Go | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {**self.__dict__, "_go": None}

    def __call__(self) -> None:
        """Run the cell.

        Raises:
            SystemExit: with the command's exit code where it is not 0, so that Slurm
                calls the task failed.
        """
        self._go = _Go(self)
        code = self._go.run()
        if code:
            sys.exit(code)

    def checkpoint(self) -> Any:
        """Say what to run when this job begins again: the same; its files remember."""
        from submitit.helpers import DelayedSubmission

        if self._go is not None:
            self._go.say(cell_file.REQUEUED)
        return DelayedSubmission(replace(self))

    def line(self, restarts: int) -> list[str]:
        """Return the words of a go."""
        more = ["--json"] if "--json" not in self.words else []
        if self.resumes and "--resume" not in self.words and (restarts or self.again):
            more.append("--resume")
        if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
            more += ["--launcher", "slurm"]
        return [*self.words, *more]


class _Go:
    """One go of a cell: from the start of the job to its end or its next requeueing."""

    def __init__(self, job: CellJob) -> None:
        from submitit import JobEnvironment

        self._job = job
        self._environment = JobEnvironment()
        self._leads = self._environment.global_rank == 0
        self._pid = os.getpid()
        self._begun = time.monotonic()
        self._restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0") or 0)
        self._terminated = False
        self._requeue: _Handler | None = None
        usual = self._environment._usr_sig()
        self._ear = Ear((signal.SIGTERM, usual), self._act)
        name = self._environment.job_id
        before = read_cell(job.file)
        self._before = before.seconds if before and before.job == name else 0.0
        self._state = CellState(
            job=name,
            state=cell_file.RUNNING,
            host=socket.gethostname(),
            pid=self._pid,
            started=time.time(),
            restarts=self._restarts,
        )

    def run(self) -> int:
        """Run the command; return its exit code."""
        self._take_signals()
        said = _LastLine(sys.stderr)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                code = self._run(printed)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        if self._state.state == cell_file.REQUEUED:
            return code or _TERMINATED
        if self._terminated or (code and self._terminated_soon()):
            self._end()
            return _TERMINATED
        record = _record(printed.getvalue())
        self.say(
            cell_file.FAILED if code else cell_file.DONE,
            exit_code=code,
            last_line=said.line if code else "",
            record=record[0],
            metrics=record[1],
        )
        return code

    def _run(self, printed: TextIO) -> int:
        job = self._job
        try:
            self._prepare()
            with contextlib.redirect_stdout(printed):
                code = job.main(job.line(self._restarts))
        except BenchError as error:
            note(f"ssl-bench: error: {error}")
            return error.exit_code
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())
            note(f"{type(error).__name__}: {text}", always=True)
            return 1
        note(_record_text(printed))
        return code

    def _prepare(self) -> None:
        job = self._job
        # A submitit that was killed while it wrote leaves this, and then refuses.
        pickle = self._environment.paths.submitted_pickle
        pickle.with_suffix(f"{pickle.suffix}.save_tmp").unlink(missing_ok=True)
        os.environ.update(job.environment)
        try:
            os.chdir(job.directory)
        except OSError as error:
            raise BenchError(
                f"the folder {job.directory} is not on node {socket.gethostname()} "
                f"({error.strerror}); submit from a shared folder"
            ) from error
        self.say(cell_file.RUNNING)
        check_mark(*job.cache)

    def say(self, state: str, **facts: Any) -> None:
        """Write down how it stands; of several processes the first one does."""
        seconds = self._before + time.monotonic() - self._begun
        self._state = replace(
            self._state, state=state, seconds=round(seconds, 3), **facts
        )
        if not self._leads:
            return
        try:
            self._state.write(self._job.file)
        except BenchError as error:  # the work itself may yet come to its end
            note(f"warning: {error}")

    def _take_signals(self) -> None:
        number = self._environment._usr_sig()
        found = signal.getsignal(number)
        self._requeue = found if callable(found) else None
        signal.signal(number, self._on_requeue)
        signal.signal(signal.SIGTERM, self._on_term)
        self._ear.start()

    def _on_requeue(self, number: int, frame: FrameType | None) -> None:
        # A process that decodes images has inherited this; its parent speaks for it.
        if os.getpid() != self._pid or not self._ear.mine():
            return
        self._put_back(number, frame)
        self._ear.done()

    def _put_back(self, number: int, frame: FrameType | None = None) -> None:
        """Let submitit put the job back into the queue.

        Raises:
            SystemExit: when it did.
        """
        if self._requeue is None:
            return
        try:
            self._requeue(number, frame)
        except Exception as error:
            # What is left of the time may do.
            self.say(cell_file.RUNNING)
            text = " ".join(str(error).split())
            note(f"ssl-bench: not put back into the queue: {text}")

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if os.getpid() != self._pid:
            # Slurm signals all processes. Whoever loses a child calls that an error:
            # the parent gets a moment to hear of its own end first.
            time.sleep(_CHILD_WAITS)
            os._exit(_TERMINATED)
        if self._ear.mine():
            self._terminated = True
            sys.exit(_TERMINATED)

    def _act(self, number: int) -> None:
        """Do what the main thread does not come to."""
        try:
            if number == signal.SIGTERM:
                self._end()
            else:
                self._put_back(number)
                return
        except SystemExit:
            pass
        os._exit(_TERMINATED)

    def _terminated_soon(self) -> bool:
        """Say whether a failure is the first sign of a SIGTERM that is on its way."""
        if self._environment.num_tasks > 1 and not self._terminated:
            time.sleep(_CHILD_WAITS)
        return self._terminated

    def _end(self) -> None:
        """Say why this process was told to end; put back what Slurm would not."""
        if not self._leads:
            return
        self.say(cell_file.STOPPED, exit_code=_TERMINATED)
        try:
            facts = cluster.facts_of(os.environ["SLURM_JOB_ID"], patience=_ASKING)
        except (BenchError, KeyError):
            return
        if facts.get("JobState") == "RUNNING":
            # In the time of grace of a preemption; who leaves early is not put back.
            if facts.get("PreemptTime", "None") != "None":
                self._put_back(signal.SIGUSR2)
            return
        state = self._killed()
        if int(facts.get("Restarts", "0")) > self._restarts:
            state = cell_file.REQUEUED
        self.say(state)

    def _killed(self) -> str:
        """Return what the job's log says of its end."""
        try:
            text = Path(self._environment.paths.stdout).read_bytes()
        except OSError:
            return cell_file.CANCELLED
        found = list(_END.finditer(text))
        why = (found[-1]["why"] or b"").strip() if found else b""
        return _STATES.get(why, cell_file.CANCELLED)


class _LastLine(io.TextIOBase):
    """Pass text on, and keep the last line of it that is not empty."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._part = ""
        self.line = ""

    def write(self, text: str) -> int:
        """Write text."""
        *whole, self._part = (self._part + text).split("\n")
        for line in whole:
            if line.strip():
                self.line = line.strip()[:2000]
        self._part = self._part[-2000:]
        return self._stream.write(text)

    def flush(self) -> None:
        """Flush what it is passed on to."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the number of the file that it is passed on to."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Say that it can be written."""
        return True


def _record(text: str) -> tuple[str, dict[str, float]]:
    """Return key and metrics of a record that was printed as JSON."""
    try:
        tree = json.loads(text)
        metrics = {str(m["name"]): float(m["value"]) for m in tree["metrics"]}
        key = str(tree["key"])
    except (ValueError, TypeError, KeyError):
        return "", {}
    return key, {name: value for name, value in metrics.items() if math.isfinite(value)}


def _record_text(printed: TextIO) -> str:
    """Return a record in a few lines for the log, anything else as it is."""
    text = printed.getvalue() if isinstance(printed, io.StringIO) else ""
    key, metrics = _record(text)
    if not key:
        return text.rstrip()
    lines = [f"{name}: {value:.2f}" for name, value in metrics.items()]
    return "\n".join([*lines, f"record: {key}"])

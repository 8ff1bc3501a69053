"""Thousands of damaged and hostile files through the command, in guarded workers.

What is damaged, or fails a check sum that its format has, ends in one sentence and exit
code 1: within five seconds, within twice the size of the file plus 300 MB, and without
anything being executed. What no check sum covers cannot be seen and is counted apart:
it has to lie in such bytes, and where these are structure, the readers of torch,
safetensors and Python have to read the same from the file as we do.
"""

from __future__ import annotations

import collections
import json
import os
import pickle
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from numpy._core.multiarray import _reconstruct
from torch import Tensor

from ssl_bench.checkpoints import reader
from tests.checkpoints import fuzz_corpus, fuzz_worker
from tests.checkpoints.fuzz_corpus import Case

LEAST = 2000
SECONDS = 5.0
WORKERS = 2
SLACK = 300 << 20
ROOT = Path(__file__).parents[2]


class Worker:
    """A process that runs the command; it is started anew after a case kills it."""

    def __init__(self, whole: Path) -> None:
        self.whole = whole
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", fuzz_worker.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            bufsize=0,
        )
        assert self.ask(self.whole, 120.0) == "ready"

    def ask(self, path: Path, seconds: float = SECONDS) -> Any:
        """Return what happened; None if the worker hung or died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        reply = b""
        while not reply.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                break
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                break
            reply += part
        return json.loads(reply) if reply.endswith(b"\n") else None

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


class Run:
    """Take cases from the corpus until there are none left."""

    def __init__(self, cases: list[Case], folder: Path, canary: Path) -> None:
        self.waiting = list(enumerate(cases))[::-1]
        self.again: list[tuple[int, Case]] = []
        self.folder = folder
        self.canary = canary
        self.wrong: list[str] = []
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self.worst = {"seconds": 0.0, "megabytes above the bar": -1e9, "megabytes": 0.0}

    def work(self, worker: Worker, *, patient: bool = True) -> None:
        """Take cases; a busy machine is no hang, what is slow gets a second turn."""
        while self.waiting:
            number, case = self.waiting.pop()
            place = self.folder / f"{number}"
            place.mkdir()
            path = place / case.file
            for name, content in case.beside:
                (place / name).write_bytes(content)
            if case.content is None:
                path.mkdir()
            else:
                path.write_bytes(case.content)
            # A damaged part is met through its index.
            index = place / "model.safetensors.index.json"
            asked = index if index.exists() else path
            facts = worker.ask(asked)
            if facts is None:
                worker.stop()
                worker.start()
            if patient and (facts is None or facts["seconds"] > SECONDS):
                self.again.append((number, case))
            elif problem := self.judge(case, asked, facts):
                self.wrong.append(f"{case.group}, {case.name}: {problem}")
            shutil.rmtree(place)

    def judge(self, case: Case, path: Path, facts: Any) -> str:
        """Return what is wrong with an outcome, or nothing."""
        if facts is None:
            return "it hung for 5 s, or ended the process"
        size = sum(p.stat().st_size for p in path.parent.iterdir() if p.is_file())
        above = facts["peak"] - 2 * size - SLACK
        self.note("seconds", facts["seconds"])
        self.note("megabytes", facts["peak"] / 1e6)
        self.note("megabytes above the bar", above / 1e6)
        accepted = facts["code"] == 0
        self.counts[case.group, "read" if accepted else "refused"] += 1
        why = f"read, {case.expect} {case.part}".strip()
        self.counts["all", why if accepted else "refused"] += 1
        if self.canary.exists():
            self.canary.unlink()
            return "it was EXECUTED"
        if facts["seconds"] > SECONDS:
            return f"it took {facts['seconds']:.1f} s"
        if above > 0:
            return f"it took {facts['peak'] / 1e6:.0f} MB"
        if accepted:
            return self.justify(case, path)
        lines = facts["stderr"].splitlines()
        if facts["code"] != 1 or len(lines) != 1 or "Traceback" in facts["stderr"]:
            return f"exit {facts['code']}, {facts['stderr'][-300:]!r}"
        if not lines[0].startswith("ssl-bench: error: ") or len(lines[0]) > 2000:
            return f"no sentence: {lines[0]!r}"
        return ""

    def note(self, what: str, value: float) -> None:
        self.worst[what] = max(self.worst[what], value)

    def justify(self, case: Case, path: Path) -> str:
        """Return why a file should not have been read, or nothing."""
        if case.expect == fuzz_corpus.REFUSED:
            return "it was read"
        if case.expect != fuzz_corpus.UNSUMMED:
            return ""
        assert case.origin is not None
        ours = tensors(reader.read(path).tree)
        try:
            others = INDEPENDENT[case.origin.name](path)
        except Exception as error:
            return f"it was read; its own reader says {error}"
        same = ours.keys() == others.keys() and all(
            ours[key].dtype == others[key].dtype
            and ours[key].shape == others[key].shape
            and raw(ours[key]) == raw(others[key])
            for key in ours
        )
        return "" if same else "it was read, but not as its own reader does"


def tensors(tree: Any, prefix: str = "") -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= tensors(value, f"{prefix}{key}.")
        elif not isinstance(value, (int, str)):
            found[f"{prefix}{key}"] = torch.as_tensor(value)
    return found


def raw(tensor: Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


class Arrays(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own machine, for arrays only; the one in C trusts what a file claims."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        table = {
            "_reconstruct": _reconstruct,
            "ndarray": np.ndarray,
            "dtype": np.dtype,
            "encode": lambda text, _: text.encode("latin1"),
        }
        if module.split(".")[0] not in ("numpy", "_codecs"):
            raise pickle.UnpicklingError(module)
        return table[name]


def from_pickle(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as handle:
        found = tensors(Arrays(handle).load())
    return {key: torch.as_tensor(value) for key, value in found.items()}


def from_index(path: Path) -> dict[str, Tensor]:
    places = json.loads(path.read_text())["weight_map"]
    parts = {n: safetensors.torch.load_file(path.parent / n) for n in places.values()}
    return {key: parts[name][key] for key, name in places.items()}


INDEPENDENT = {
    "old torch": lambda path: tensors(torch.load(path, weights_only=True)),
    "plain pickle 2": from_pickle,
    "plain pickle 4": from_pickle,
    "safetensors": safetensors.torch.load_file,
    "index": from_index,
    "part of an index": from_index,
}


def test_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canary = tmp_path / "canary"
    cases = fuzz_corpus.corpus(str(canary))
    assert len(cases) >= LEAST
    assert len({(case.group, case.name) for case in cases}) == len(cases)
    whole = tmp_path / "whole.pth"
    whole.write_bytes(fuzz_corpus.WHOLE["zip"].content)
    run = Run(cases, tmp_path, canary)
    workers = [Worker(whole) for _ in range(WORKERS)]
    threads = [threading.Thread(target=run.work, args=(w,)) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.waiting = run.again
    run.work(workers[0], patient=False)
    for worker in workers:
        worker.stop()
    with capsys.disabled():
        print("\n" + report(run))  # noqa: T201 - the counts are what this is for
    assert not run.wrong, f"{len(run.wrong)}: " + "\n".join(sorted(run.wrong)[:40])
    counts = run.counts.items()
    assert sum(n for (group, _), n in counts if group == "all") == len(cases)


def report(run: Run) -> str:
    """Return the counts as a table."""
    rows = []
    for group in sorted({group for group, _ in run.counts} - {"all"}):
        refused, read = run.counts[group, "refused"], run.counts[group, "read"]
        rows.append(f"{group:<28}{refused:>7}{read:>7}")
    total = [
        f"{n:>5} {what}" for (g, what), n in sorted(run.counts.items()) if g == "all"
    ]
    worst = ", ".join(f"{value:.3g} {what}" for what, value in run.worst.items())
    head = f"{'fuzz corpus':<28}{'refused':>7}{'read':>7}"
    return "\n".join([head, *rows, *total, f"at most {worst}"])


@pytest.mark.parametrize("name", [*sorted(INDEPENDENT), "zip", "packed zip"])
def test_every_format_is_read_whole(tmp_path: Path, name: str) -> None:
    """Or else the corpus would prove nothing."""
    whole = {form.name: form for form in fuzz_corpus.formats()}[name]
    for file, content in (*whole.beside, (whole.file, whole.content)):
        (tmp_path / file).write_bytes(content)
    index = tmp_path / "model.safetensors.index.json"
    path = index if index.exists() else tmp_path / whole.file
    assert fuzz_worker.attempt(str(path))["code"] == 0
    if name in INDEPENDENT:
        ours, others = tensors(reader.read(path).tree), INDEPENDENT[name](path)
        assert ours.keys() == others.keys()
        assert all(raw(ours[key]) == raw(others[key]) for key in ours)

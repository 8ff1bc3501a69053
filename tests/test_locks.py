"""Locks: one holder at a time, with and without kernel locks, and none that is dead."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ssl_bench import locks
from ssl_bench.errors import BenchError

# Modes: the file system has kernel locks, or it has none.
WORKER = """
import errno, json, os, sys, time
from pathlib import Path
from ssl_bench import locks

mode, action, path, log, *rest = sys.argv[1:]
if mode == "none":
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    locks.fcntl.lockf = refuse
path, log = Path(path), Path(log)
print("ready", flush=True)
sys.stdin.readline()
if action == "hold":
    with locks.locked(path, "tests"):
        print("held", flush=True)
        sys.stdin.readline()
if action == "enter":
    with locks.locked(path, "tests"):
        with log.open("a") as file:
            file.write("in\\n")
        time.sleep(0.02)
        with log.open("a") as file:
            file.write("out\\n")
if action == "count":
    for _ in range(int(rest[0])):
        with locks.locked(path, "tests"):
            number = int(log.read_text())
            time.sleep(0.001)
            log.write_text(str(number + 1))
if action == "beat":  # another machine's process, as far as anybody can see
    claim = path.with_name(path.name + ".1")
    for number in range(10**6):
        claim.write_text(json.dumps({**json.loads(rest[0]), "beat": number}))
        os.utime(claim, (0, 0))
        if not number:
            print("held", flush=True)
        time.sleep(0.1)
"""
ROOT = Path(__file__).parents[1]
MODES = ["kernel", "none"]
FOREIGN = {
    "pid": 4711,
    "host": "node7",
    "machine": "another boot",
    "started": "1",
    "token": "t",
}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "key.lock"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes become tenths of a second."""
    monkeypatch.setattr(locks, "_SILENCE", 0.8)
    monkeypatch.setattr(locks, "_FIRST_WORD", 0.1)


def use(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if mode == "none":
        monkeypatch.setattr(locks.fcntl, "lockf", refuse)


@contextmanager
def worker(
    mode: str, action: str, lock: Path, log: Path | None = None, *rest: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a process and wait until it is about to act."""
    words = [mode, action, str(lock), str(log or lock.with_name("log")), *rest]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


@contextmanager
def holder(mode: str, lock: Path) -> Iterator[subprocess.Popen[str]]:
    with worker(mode, "hold", lock) as process:
        go(process)
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process


def claims(lock: Path) -> list[str]:
    return sorted(p.name for p in lock.parent.glob(f"{lock.name}.*"))


@pytest.mark.parametrize("mode", MODES)
def test_a_released_lock_leaves_no_claim(
    mode: str, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(mode, monkeypatch)
    for _ in range(3):
        with locks.locked(lock, "tests"):
            assert claims(lock) == ["key.lock.1"]
        assert claims(lock) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("quick")
def test_a_live_holder_is_named_once_and_waited_for(
    mode: str,
    lock: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(mode, monkeypatch)
    with holder(mode, lock) as process:
        # Its beat comes every ten seconds: silence is no death on one machine.
        monkeypatch.setattr(locks, "_SILENCE", 1000.0)
        threading.Timer(1.0, go, [process]).start()
        start = time.monotonic()
        with locks.locked(lock, "tests the same"):
            assert time.monotonic() - start > 0.9
    said = capsys.readouterr().err
    where = f"process {process.pid} on {socket.gethostname()}"
    assert said == f"waiting for {where}, which tests the same\n"


@pytest.mark.usefixtures("quick")
def test_long_waits_are_said_again(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "_NEXT_WORD", 0.3)
    with holder("kernel", lock) as process:
        threading.Timer(1.2, go, [process]).start()
        with locks.locked(lock, "tests"):
            pass
    assert 2 <= capsys.readouterr().err.count("waiting for process") <= 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_holder_holds_nothing(
    mode: str,
    reaped: bool,
    lock: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A zombie, whose parent has not asked for it, is as dead as one that is gone."""
    use(mode, monkeypatch)
    with holder(mode, lock) as process:
        os.kill(process.pid, signal.SIGKILL)
        if reaped:
            process.wait()
        start = time.monotonic()
        with locks.locked(lock, "tests"):
            assert time.monotonic() - start < 5
    assert claims(lock) == []
    said = capsys.readouterr().err.splitlines()
    where = f"process {process.pid} on {socket.gethostname()}"
    assert said[-1] == f"taking over the lock key.lock of {where}, which has ended"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("quick")
def test_a_number_that_another_process_has_by_now(
    mode: str,
    lock: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(mode, monkeypatch)
    with subprocess.Popen(["sleep", "60"]) as process:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        started = stat.rpartition(")")[2].split()[19]
        facts = {
            **FOREIGN,
            "pid": process.pid,
            "machine": locks._machine(),
            "started": str(int(started) - 1),
        }
        claim = lock.with_name("key.lock.1")
        claim.write_text(json.dumps(facts))
        with locks.locked(lock, "tests"):
            assert "which has ended" in capsys.readouterr().err
        # The same process, its start told rightly, is alive and stays the holder.
        monkeypatch.setattr(locks, "_SILENCE", 1000.0)
        claim.write_text(json.dumps({**facts, "started": started}))
        killer = threading.Timer(1.0, process.kill)
        killer.start()
        start = time.monotonic()
        with locks.locked(lock, "tests"):
            assert time.monotonic() - start > 0.9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("quick")
def test_another_machine_lives_while_its_counter_moves(
    mode: str,
    lock: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its file's times are those of 1970 throughout: no clock but ours counts."""
    use(mode, monkeypatch)
    with worker(mode, "beat", lock, None, json.dumps(FOREIGN)) as process:
        go(process)
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        killer = threading.Timer(2.0, process.kill)
        killer.start()
        start = time.monotonic()
        with locks.locked(lock, "tests"):
            assert 2.0 + 0.7 < time.monotonic() - start < 10
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "waiting for process 4711 on node7, which tests"
    assert said[1].startswith("taking over the lock key.lock of process 4711 on node7")
    assert "has not been heard of for" in said[1]


@pytest.mark.parametrize("content", ["", "[]", '{"pid": "x"}', "\udcff", "[" * 10000])
@pytest.mark.usefixtures("quick")
def test_a_claim_that_nobody_can_read_is_dead_when_it_is_silent(
    content: str, lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = lock.with_name("key.lock.7")
    claim.write_bytes(content.encode(errors="surrogateescape"))
    start = time.monotonic()
    with locks.locked(lock, "tests"):
        assert time.monotonic() - start > 0.7
        assert claims(lock) == ["key.lock.8"]
    assert claims(lock) == []
    said = capsys.readouterr().err
    assert said.startswith("waiting for another process that tests\n")


def test_foreign_text_does_not_move_the_terminal() -> None:
    text = json.dumps({**FOREIGN, "host": "a\x1b[2J\nb"}).encode()
    assert str(locks._parse(text)) == "process 4711 on a[2Jb"


def test_an_observer_that_slept_itself_does_not_count_its_sleep(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(locks.time, "monotonic", lambda: now[0])
    sight = locks._Sight()
    claim = {lock: json.dumps(FOREIGN).encode()}
    assert not sight.look(claim)
    now[0] += 86400  # suspended with the holder for a day, and first to wake
    assert not sight.look(claim)
    for _ in range(200):
        now[0] += 1
        sight.look(claim)
    assert sight.look(claim)
    assert not sight.look({lock: b"it moves"})


@pytest.mark.parametrize("mode", MODES)
def test_of_many_takers_one_wins(mode: str, lock: Path, tmp_path: Path) -> None:
    """Eight processes find the same dead holder; they come in one after another."""
    facts = {**FOREIGN, "pid": 2**30, "machine": locks._machine()}
    log = tmp_path / "log"
    rounds = 3
    for turn in range(rounds):
        log.unlink(missing_ok=True)
        with AllWorkers(mode, "enter", lock, log, 8) as processes:
            lock.with_name(f"key.lock.{turn + 1}").write_text(json.dumps(facts))
            said = [done for done in processes.run() if done]
        assert log.read_text() == "in\nout\n" * 8
        takers = [text for text in said if "taking over" in text]
        assert len(takers) == 1, said
        assert claims(lock) == []


def test_processes_with_and_without_kernel_locks_exclude_each_other(
    lock: Path, tmp_path: Path
) -> None:
    """As when some machines mount the same folder without locks."""
    log = tmp_path / "number"
    log.write_text("0")
    with (
        AllWorkers("kernel", "count", lock, log, 3, "25") as some,
        AllWorkers("none", "count", lock, log, 3, "25") as others,
    ):
        some.start()
        others.run()
        some.wait()
    assert log.read_text() == str(6 * 25)


@pytest.mark.usefixtures("quick")
def test_a_claim_that_came_in_between_makes_this_one_withdraw(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two dead claims' takers the slow one finds its number free again.

    It had seen claim 1 dead. Another process took over with 2 and left; a third one
    came and holds claim 1.
    """
    dead = {**FOREIGN, "pid": 2**30, "machine": locks._machine()}
    first, second = lock.with_name("key.lock.1"), lock.with_name("key.lock.2")
    first.write_text(json.dumps(dead))
    made: list[str] = []
    create = locks._Claim.__init__

    def late(self: Any, path: Path) -> None:
        if not made:
            first.write_text(json.dumps(FOREIGN))
        made.append(path.name)
        create(self, path)

    monkeypatch.setattr(locks._Claim, "__init__", late)
    start = time.monotonic()
    with locks.locked(lock, "tests"):
        assert time.monotonic() - start > 0.7
        assert made == ["key.lock.2", "key.lock.2"]
        assert claims(lock) == [second.name]


class AllWorkers:
    """Several processes that begin at once."""

    def __init__(
        self, mode: str, action: str, lock: Path, log: Path, count: int, *rest: str
    ) -> None:
        self._made = [worker(mode, action, lock, log, *rest) for _ in range(count)]
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> AllWorkers:
        self._processes = [made.__enter__() for made in self._made]
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made:
            made.__exit__(None, None, None)

    def start(self) -> None:
        for process in self._processes:
            go(process)

    def wait(self) -> list[str]:
        """Return what they said on stderr."""
        said = [process.communicate(timeout=60)[1] for process in self._processes]
        assert [process.returncode for process in self._processes] == [0] * len(said)
        return said

    def run(self) -> list[str]:
        self.start()
        return self.wait()


def test_a_holder_rewrites_its_claim_in_place(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_BEAT", 0.02)
    with locks.locked(lock, "tests"):
        claim = lock.with_name("key.lock.1")
        seen = set()
        for _ in range(20):
            seen.add(claim.read_bytes())
            time.sleep(0.02)
        assert len(seen) > 3
        assert len({len(text) for text in seen}) == 1
        assert len({json.loads(text)["token"] for text in seen}) == 1


def test_a_holder_that_lost_its_lock_says_so_and_takes_nothing_away(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "_BEAT", 0.02)
    claim = lock.with_name("key.lock.1")
    with locks.locked(lock, "tests"):
        claim.unlink()
        claim.write_text(json.dumps(FOREIGN))
        time.sleep(0.3)
    assert capsys.readouterr().err.count("was taken over by another process") == 1
    assert json.loads(claim.read_text()) == FOREIGN


def test_threads_of_one_process_exclude_each_other(lock: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with locks.locked(lock, "tests"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_forked_child_that_ends_leaves_its_parents_lock(lock: Path) -> None:
    with locks.locked(lock, "tests"):
        child = os.fork()
        if child == 0:
            raise_in_child()
        os.waitpid(child, 0)
        assert claims(lock) == ["key.lock.1"]
        with worker("kernel", "hold", lock) as other:
            go(other)
            assert not line_within(other, 0.5)


def raise_in_child() -> None:
    """Leave through every context manager that the parent had entered."""
    locks._Claim.release(_claim_of_parent())
    os._exit(0)


def _claim_of_parent() -> Any:
    import gc

    (claim,) = (found for found in gc.get_objects() if type(found) is locks._Claim)
    return claim


def line_within(process: subprocess.Popen[str], seconds: float) -> bool:
    import select

    return bool(select.select([process.stdout], [], [], seconds)[0])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_leaves_no_claim(
    code: int, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(locks.os, "pwrite", full)
        with (
            pytest.raises(BenchError, match=r"cannot lock .*key\.lock: .*; free space"),
            locks.locked(lock, "tests"),
        ):
            pass
    assert claims(lock) == []
    with locks.locked(lock, "tests"):
        pass


def test_what_fails_inside_is_not_taken_for_the_lock(lock: Path) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "inside")

    work: Callable[[], None] = fail
    with pytest.raises(OSError, match="inside"), locks.locked(lock, "tests"):
        work()
    assert claims(lock) == []

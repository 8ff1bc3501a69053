"""Locks that hold among processes of one machine and of many.

A lock is two things, and whoever holds it has both:

    NAME.lock      a file that is locked in the kernel, where the file system can
    NAME.lock.1    a claim: who holds it, rewritten every few seconds, gone afterwards

Kernel locks end with their process, but some shared file systems have none, and some
have locks that other machines do not see. A claim works there too. It is made
exclusively, and then it holds only if no other claim is alive: of two processes that
claim at once at least one sees the other and withdraws. A claim of this machine is dead
when its process is; one of another machine when it has not changed for two minutes that
the observer has looked at it, by the observer's own clock: clocks of machines differ. A
dead claim is taken over with the next number, which only one process can make.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ssl_bench.errors import BenchError
from ssl_bench.progress import note

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_TAKEN = {errno.EACCES, errno.EAGAIN}
_BEAT = 10.0
_SILENCE = 120.0
# A longer pause is not counted: the observer itself may have been suspended.
_LOOK = 5.0
_FIRST_WORD = 1.0
_NEXT_WORD = 180.0

_inside: dict[Path, threading.Lock] = {}
# A kernel lock does not part the threads of a process, and is lost as soon as one of
# them closes the file.
_inside_guard = threading.Lock()


def _forget_threads() -> None:
    global _inside_guard
    _inside.clear()
    _inside_guard = threading.Lock()


os.register_at_fork(after_in_child=_forget_threads)


@dataclass(frozen=True)
class Owner:
    """Say which process holds a lock.

    Attributes:
        pid: its number there.
        host: name of the machine, for people.
        machine: what no other running machine or container has.
        started: when the process began, in ticks of its machine: numbers are reused.
        token: of this one claim.
    """

    pid: int
    host: str
    machine: str
    started: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextmanager
def locked(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock; wait, and say who has it, while another process does.

    Forked children do not hold it, and it ends with this process.

    Args:
        path: the lock file, in a folder that is there. It stays behind.
        doing: what its holder does, for the one who waits, as in "extracts features".

    Raises:
        BenchError: when the files cannot be written.
    """
    with _thread_lock(path), ExitStack() as stack:
        waiting = _Waiting(doing)
        try:
            kernel = stack.enter_context(path.open("a"))
            _lock_in_kernel(kernel.fileno(), path, waiting)
            claim = _claim(path, waiting)
        except OSError as error:
            raise BenchError(
                f"cannot lock {path}: {error.strerror or error}; free space or "
                "permissions there, or choose another place"
            ) from error
        stack.callback(claim.release)
        yield


def _thread_lock(path: Path) -> threading.Lock:
    with _inside_guard:
        return _inside.setdefault(path.resolve(), threading.Lock())


class _Waiting:
    """Wait for one lock and say so, once and then now and again."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._begun = time.monotonic()
        self._next_word = self._begun + _FIRST_WORD

    def turn(self, claims: dict[Path, bytes] | None = None) -> None:
        """Wait a little for who made the last of ``claims``, where that is known."""
        now = time.monotonic()
        if now >= self._next_word:
            owner = _parse([*claims.values()][-1]) if claims else None
            who = f"{owner}, which" if owner else "another process that"
            minutes = (now - self._begun) // 60
            since = f" for {minutes:.0f} minutes" if minutes else ""
            note(f"waiting{since} for {who} {self._doing}")
            self._next_word = now + _NEXT_WORD
        # Not all at the same times, or two that withdraw meet again.
        pause = min(1.0, max(0.02, 0.1 * (now - self._begun)))
        time.sleep(pause * random.uniform(0.7, 1.3))


def _lock_in_kernel(handle: int, path: Path, waiting: _Waiting) -> None:
    """Lock an open file until it is closed, where the file system has locks."""
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            if error.errno not in _TAKEN:
                raise
            waiting.turn(_claims(path))
        else:
            return


class _Sight:
    """What one observer has seen of the claims of others, and for how long."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[bytes, float]] = {}
        self._last = time.monotonic()

    def look(self, claims: dict[Path, bytes]) -> dict[Path, str]:
        """Return the dead ones, with the reason."""
        now = time.monotonic()
        passed = min(now - self._last, _LOOK)
        self._last = now
        seen, self._seen = self._seen, {}
        dead = {}
        for path, content in claims.items():
            before, silent = seen.get(path, (None, 0.0))
            silent = silent + passed if content == before else 0.0
            self._seen[path] = (content, silent)
            owner = _parse(content)
            if owner is not None and _ended(owner):
                dead[path] = "has ended"
            elif silent > _SILENCE:
                dead[path] = f"has not been heard of for {_SILENCE / 60:.0f} minutes"
        return dead


def _claim(path: Path, waiting: _Waiting) -> _Claim:
    """Wait until no other claim is alive, and make one's own.

    Raises:
        OSError: when it cannot be written.
    """
    sight = _Sight()
    while True:
        others = _claims(path)
        dead = sight.look(others)
        alive = {claim: others[claim] for claim in others if claim not in dead}
        if alive:
            waiting.turn(alive)
            continue
        number = max((_number(claim) for claim in others), default=0) + 1
        mine = _Claim(path.with_name(f"{path.name}.{number}"))
        if not mine.made:
            waiting.turn()
            continue
        now = _claims(path)
        del now[mine.path]
        if any(now[claim] != others.get(claim) for claim in now):
            mine.release()
            waiting.turn()
            continue
        for claim, reason in dead.items():
            who = _parse(others[claim]) or "a process"
            note(f"taking over the lock {path.name} of {who}, which {reason}")
            _remove(claim, others[claim])
        mine.keep_alive()
        return mine


class _Claim:
    """The claim of this process; ``made`` is False where another one has the name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._owner = _myself()
        self._beats = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        except FileExistsError:
            self.made = False
            return
        self.made = True
        try:
            self._write()
        except OSError:
            self.release()
            raise

    def keep_alive(self) -> None:
        """Rewrite the claim now and again, from a thread."""
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Take the claim away; a forked child leaves it to its parent."""
        if os.getpid() != self._owner.pid:
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(OSError):
            if self._is_mine() or self._beats == 0:
                self.path.unlink(missing_ok=True)
        os.close(self._handle)

    def _write(self) -> None:
        # Always of one length and over the open file: nobody reads half of it, and
        # where the file was taken away nothing is overwritten.
        text = json.dumps({**asdict(self._owner), "beat": f"{self._beats + 1:012d}"})
        os.pwrite(self._handle, (text + "\n").encode(), 0)
        os.fsync(self._handle)
        self._beats += 1

    def _is_mine(self) -> bool:
        try:
            found = _parse(self.path.read_bytes())
        except FileNotFoundError:
            return False
        return found is not None and found.token == self._owner.token

    def _renew(self) -> None:
        while not self._ended.wait(_BEAT):
            try:
                self._write()
                lost = not self._is_mine()
            except OSError:
                continue  # a full disk or a server that is away: the next beat tells
            if lost:
                note(
                    f"the lock {self.path.name} was taken over by another process: "
                    "this one was not heard of, and both may do the same work now"
                )
                return


def _claims(path: Path) -> dict[Path, bytes]:
    """Return the contents of all claims by their path, the lowest number first."""
    found = {}
    with os.scandir(path.parent) as entries:
        for entry in entries:
            stem, _, number = entry.name.rpartition(".")
            if stem == path.name and number.isascii() and number.isdecimal():
                claim = Path(entry.path)
                try:
                    found[claim] = claim.read_bytes()
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno != errno.ESTALE:
                        raise
                    found[claim] = b""  # replaced on the server: the next look tells
    return dict(sorted(found.items(), key=lambda item: _number(item[0])))


def _number(claim: Path) -> int:
    return int(claim.suffix[1:])


def _remove(claim: Path, content: bytes) -> None:
    """Remove a dead claim, unless its name has come to another one since."""
    with suppress(FileNotFoundError):
        if claim.read_bytes() == content:
            claim.unlink()


def _parse(content: bytes) -> Owner | None:
    """Return who made a claim; None for one that is just being written."""
    try:
        values = json.loads(content)
        return Owner(
            pid=int(values["pid"]),
            **{
                field.name: _printable(str(values[field.name]))
                for field in fields(Owner)
                if field.name != "pid"
            },
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())


def _myself() -> Owner:
    pid = os.getpid()
    _, started = _process(pid)
    return Owner(pid, socket.gethostname(), _machine(), started, uuid.uuid4().hex)


def _machine() -> str:
    """Return what tells this run of this machine, and this container, from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname()


def _process(pid: int) -> tuple[str, str]:
    """Return state and start of a process; empty where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return "", ""
    words = text.rpartition(")")[2].split()
    return words[0], words[19]


def _ended(owner: Owner) -> bool:
    """Whether a process of this machine is gone; False where that cannot be known."""
    if owner.machine != _machine():
        return False
    if owner.pid == os.getpid():
        # Other threads are kept out before: what is left is of an earlier try, or of
        # a process that had this number.
        return True
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    state, started = _process(owner.pid)
    return state in ("Z", "X") or (started != "" and started != owner.started)

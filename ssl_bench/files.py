"""Write files so that they appear whole or not at all.

A file is written beside its place, flushed to the disk and renamed over it. Whoever
finds a file under its final name may therefore take it for complete.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from ssl_bench.errors import BenchError


def temporary_sibling(path: Path) -> Path:
    """Return the hidden name in the same folder under which ``path`` is written.

    The native thread id is the process id in the main thread, and keeps two threads of
    one process from writing into the same temporary file; the machine's name keeps two
    machines that share the folder from it.
    """
    who = f"{socket.gethostname()[:40]}-{threading.get_native_id()}"
    return path.with_name(f".{path.name}.{who}.tmp")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes ``path`` when the block ends well.

    Missing parent folders are made. When the block fails, for whatever reason, the
    temporary file is removed and ``path`` is as it was.

    Args:
        path: the final place of the file.

    Yields:
        The path to write to, in the same folder.

    Raises:
        BenchError: if the folder cannot be written (read-only, full, no permission).
    """
    temporary = temporary_sibling(path)
    try:
        with _writing(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _writing(path, temporary):
            yield temporary
        with _writing(path, temporary):
            sync_dir(temporary)
            temporary.replace(path)
            sync_dir(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises:
        BenchError: if the folder cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with its line ends as they are, whole or not at all.

    Raises:
        BenchError: if the folder cannot be written.
    """
    atomic_write_bytes(path, text.encode())


@contextlib.contextmanager
def _writing(path: Path, temporary: Path) -> Iterator[None]:
    """Turn a failure to write ``path`` into a sentence; let other failures pass."""
    try:
        yield
    except OSError as error:
        mine = (str(temporary), *(str(folder) for folder in path.parents), str(path))
        if error.filename is not None and os.fspath(error.filename) not in mine:
            raise
        reason = error.strerror or str(error)
        if error.filename is not None and os.fspath(error.filename) != str(temporary):
            reason += f" ({os.fspath(error.filename)})"
        raise BenchError(
            f"cannot write {path}: {reason}; free space or permissions there, or "
            "choose another place"
        ) from error


def sync_dir(path: Path) -> None:
    """Flush a folder (or a file) to the disk, so that a rename in it survives a crash.

    Raises:
        OSError: if it cannot be opened or flushed.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: Path) -> None:
    """Write and remove an empty file, before hours are spent on what goes there.

    Raises:
        BenchError: if the folder cannot be made or written.
    """
    probe = folder / f".writable-{socket.gethostname()[:40]}-{os.getpid()}"
    with _writing(folder, probe):
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)

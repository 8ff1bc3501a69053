"""A file appears whole or not at all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ssl_bench.errors import BenchError
from ssl_bench.files import (
    atomic_write,
    atomic_write_bytes,
    atomic_write_text,
    temporary_sibling,
)


def test_text_and_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "deep" / "a.txt", "für\r\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "für\r\n".encode()
    atomic_write_bytes(tmp_path / "a.bin", b"\x00\xff")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "deep"]


def test_the_temporary_file_lies_hidden_beside_it(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.txt") as temporary:
        who = f"{socket.gethostname()[:40]}-{os.getpid()}"
        assert temporary == tmp_path / f".a.txt.{who}.tmp"
        assert not (tmp_path / "a.txt").exists()
        temporary.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        atomic_write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_threads_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    names = []
    thread = threading.Thread(
        target=lambda: names.append(temporary_sibling(tmp_path / "a"))
    )
    thread.start()
    thread.join()
    assert names[0] != temporary_sibling(tmp_path / "a")


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        BenchError, match=r"cannot write .*a\.txt: File exists \(.*file\);"
    ):
        atomic_write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BenchError, match=r"cannot write .*folder: Is a directory"):
        atomic_write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_errors_about_other_files_are_not_ours_to_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        Path("/nowhere/at/all").read_text()


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from ssl_bench.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"

"""A process that dies, hangs or fails ends the others, who name it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.launch import crew
from tests.training import small

pytestmark = pytest.mark.slow

# Process 2 says that it is in the middle, and is met by a signal there.
LOST = """
import os, time
from ssl_bench.cli import main
from ssl_bench.launch import watch
from ssl_bench.features import shards, store

watch._SILENCE = float(sys.argv[1])
write = store.ShardWriter.write

def slow(self, *rest):
    print("working", flush=True)
    time.sleep(300 if os.environ["RANK"] == "2" else 0)
    write(self, *rest)

store.ShardWriter.write = slow
shards._SHARD_IMAGES = 1
sys.exit(main(sys.argv[2:]))
"""


def words(root: Path, out: Path, *more: str) -> list[str]:
    return [
        *("knn", "--pretrain", "none", "--arch", small.ARCH, "--dataset", "folder"),
        *("--data-root", str(root), "--device", "cpu", "--results", str(out)),
        *("--batch-size", "3", "--workers", "0", "--launcher", "pytorch", *more),
    ]


@pytest.mark.parametrize(
    ("met_by", "silence"), [(signal.SIGKILL, 30.0), (signal.SIGSTOP, 5.0)]
)
def test_a_lost_process_is_named_within_a_minute(
    met_by: signal.Signals, silence: float, tmp_path: Path
) -> None:
    root = small.write_images(tmp_path / "images", (9, 8, 7), (5, 4, 3))
    members = crew.begin(LOST, 3, silence, *words(root, tmp_path / "out"))
    try:
        assert members[2].stdout is not None
        assert members[2].stdout.readline() == "working\n"
        clock = time.monotonic()
        os.kill(members[2].pid, met_by)
        for process in members[:2]:
            _out, err = process.communicate(timeout=60)
            assert process.returncode == 1
            assert err.count("ssl-bench: error: ") == 1
            assert "process 2 (" in err
            assert f"pid {members[2].pid}) is not heard of any more" in err
            assert "Traceback" not in err
        assert time.monotonic() - clock < 60
    finally:
        crew.end(members)
    assert not list((tmp_path / "out").rglob("*.json"))


RUN = """
from ssl_bench.cli import main
from ssl_bench.features import shards

shards._SHARD_IMAGES = 1
sys.exit(main(sys.argv[1:]))
"""


def test_one_that_fails_says_why_for_all(tmp_path: Path) -> None:
    root = small.write_images(tmp_path / "images", (9, 8, 7), (5, 4, 3))
    # The fourth of the sorted names: the second batch of three, that of process 1.
    (root / "train" / "class0" / "3.png").write_bytes(b"no image")
    done = crew.finish(crew.begin(RUN, 3, *words(root, tmp_path / "out")))
    assert [code for code, _, _ in done] == [1, 1, 1]
    lines = [
        line
        for _, _, err in done
        for line in err.splitlines()
        if line.startswith("ssl-bench: error: ")
    ]
    assert all("3.png" in line for line in lines)
    assert sum("process 1 (" in line for line in lines) >= 1
    assert all("Traceback" not in err for _, _, err in done)


def test_what_all_get_wrong_is_said_once(tmp_path: Path) -> None:
    root = small.write_images(tmp_path / "images", (3, 3), (2, 2))
    line = words(root, tmp_path, "--cfg-options", "settings.topk=99")
    done = crew.finish(crew.begin(RUN, 2, *line))
    assert [code for code, _, _ in done] == [1, 1]
    said = "".join(err for _, _, err in done)
    assert said.count("k = 99 is larger than the bank of 6") == 1


def test_other_data_on_one_machine_is_found(tmp_path: Path) -> None:
    script = """
    import os
    from ssl_bench.cli import main

    root = sys.argv[1] + ("" if os.environ["RANK"] == "0" else "_old")
    sys.exit(main([root if word == "ROOT" else word for word in sys.argv[2:]]))
    """
    small.write_images(tmp_path / "images", (3, 3), (2, 2))
    small.write_images(tmp_path / "images_old", (3, 4), (2, 2))
    line = words(tmp_path, tmp_path / "out")
    line[line.index("--data-root") + 1] = "ROOT"
    done = crew.finish(crew.begin(script, 2, tmp_path / "images", *line))
    assert [code for code, _, _ in done] == [1, 1]
    assert "process 1 (" in "".join(err for _, _, err in done)
    assert (
        "does not see the same data, checkpoint and settings as process 0"
        in done[0][2] + done[1][2]
    )


def test_a_cache_of_its_own_on_one_machine_is_found(tmp_path: Path) -> None:
    script = """
    import os
    from ssl_bench.cli import main

    os.environ["SSL_BENCH_CACHE"] = sys.argv[1] + os.environ["RANK"]
    sys.exit(main(sys.argv[2:]))
    """
    root = small.write_images(tmp_path / "images", (3, 3), (2, 2))
    line = words(root, tmp_path / "out", "--cfg-options", "settings.topk=1")
    done = crew.finish(crew.begin(script, 2, tmp_path / "cache", *line))
    assert [code for code, _, _ in done] == [1, 1]
    assert "is not the folder of that name which process 0 writes" in done[0][2]
    assert "set SSL_BENCH_CACHE" in done[0][2]


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        members = crew.begin(
            RUN,
            1,
            *words(tmp_path, tmp_path),
            environment={"MASTER_PORT": str(port)},
        )
        ((code, _, err),) = crew.finish(members)
    assert code == 1
    assert f"127.0.0.1 port {port} is taken by another program" in err
    assert "set MASTER_PORT" in err


def test_a_full_disk_of_one_is_said_and_leaves_nothing_half(tmp_path: Path) -> None:
    script = """
    import os, resource, signal
    from ssl_bench.cli import main
    from ssl_bench.features import shards

    shards._SHARD_IMAGES = 1
    if os.environ["RANK"] == "1":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    sys.exit(main(sys.argv[1:]))
    """
    root = small.write_images(tmp_path / "images", (9, 8, 7), (5, 4, 3))
    cache = tmp_path / "cache"
    line = words(root, tmp_path / "out", "--cfg-options", "settings.topk=1")
    done = crew.finish(
        crew.begin(script, 2, *line, environment={"SSL_BENCH_CACHE": str(cache)})
    )
    assert [code for code, _, _ in done] == [1, 1]
    said = "".join(err for _, _, err in done)
    assert "cannot write" in said
    assert "process 1 (" in done[0][2]
    assert "Traceback" not in said
    assert not list(cache.rglob("*.tmp"))
    # The same command, with room on the disk, goes on and leaves the record of one.
    done = crew.finish(
        crew.begin(RUN, 2, *line, environment={"SSL_BENCH_CACHE": str(cache)})
    )
    assert [code for code, _, _ in done] == [0, 0]
    assert len(list((tmp_path / "out").rglob("*.json"))) == 1

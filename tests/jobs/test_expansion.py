"""From words to cells, without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_bench import cli
from ssl_bench.errors import BenchError, UsageError
from ssl_bench.jobs import expansion
from ssl_bench.jobs.cluster import Partition, to_minutes, written
from ssl_bench.jobs.options import Options, read_sbatch


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs with checkpoints, seen from above."""
    for run, epochs in (("a", (9, 10, 100)), ("b", (2,))):
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        for epoch in epochs:
            (folder / f"epoch_{epoch}.pth").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_patterns_are_expanded_as_people_count(runs: Path) -> None:
    assert expansion.expand(["runs/*/epoch_*.pth"]) == [
        "runs/a/epoch_9.pth",
        "runs/a/epoch_10.pth",
        "runs/a/epoch_100.pth",
        "runs/b/epoch_2.pth",
    ]
    assert expansion.expand(["none"]) == ["none"]
    assert expansion.expand(["runs/b"]) == ["runs/b"]


def test_what_is_named_twice_comes_once_and_is_said(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "link.pth").symlink_to(runs / "runs/b/epoch_2.pth")
    names = ["runs/b/*.pth", "./runs/b/epoch_2.pth", "link.pth"]
    assert expansion.expand(names) == ["runs/b/epoch_2.pth"]
    assert capsys.readouterr().err.count("submitted once") == 2


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("runs/c/epoch_*.pth", "runs (2 entries)"),
        ("runs/a/epoch_1*.pt", "runs/a (3 entries)"),
        ("runs/a/epoch_11.pth", "does not exist; the nearest folder"),
        ("", "--pretrain is empty"),
        ("empty.pth", "is an empty file"),
    ],
)
def test_what_is_not_there_is_said(runs: Path, word: str, said: str) -> None:
    (runs / "empty.pth").touch()
    with pytest.raises(BenchError) as caught:
        expansion.expand([word])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "rest", "found"),
    [
        (["knn", "--pretrain", "x*.pth", "--limit", "3"],
         ["knn", "--limit", "3"], ["x*.pth"]),
        # A shell has expanded it; a config stays what it is.
        (["knn", "--pretrain", "runs/a/epoch_9.pth", "runs/b/epoch_2.pth", "c.py"],
         ["knn", "c.py"], ["runs/a/epoch_9.pth", "runs/b/epoch_2.pth"]),
        (["knn", "--pretrain=a", "--pretrain", "b"], ["knn"], ["a", "b"]),
        (["knn", "knn_imagenet"], ["knn", "knn_imagenet"], []),
    ],
)  # fmt: skip
def test_pretrain_is_taken_out(
    runs: Path, words: list[str], rest: list[str], found: list[str]
) -> None:
    assert expansion.take_pretrains(words) == (rest, found)


def test_cells_are_checkpoints_by_entries_of_a_suite(runs: Path) -> None:
    (runs / "mine.toml").write_text(
        'about = "two"\n[[cells]]\nprotocol = "knn"\n[[cells]]\nprotocol = "linear"\n'
        'title = "line"\n'
    )
    cells = expansion.make_cells(
        ["run", "--suite", "mine.toml", "--limit", "3"],
        ["runs/a/epoch_9.pth", "runs/b/epoch_2.pth"],
        lambda command: command == "linear",
    )
    assert [cell.words for cell in cells] == [
        ("knn", "--limit", "3", "--pretrain", "runs/a/epoch_9.pth"),
        ("linear", "--limit", "3", "--pretrain", "runs/a/epoch_9.pth"),
        ("knn", "--limit", "3", "--pretrain", "runs/b/epoch_2.pth"),
        ("linear", "--limit", "3", "--pretrain", "runs/b/epoch_2.pth"),
    ]
    assert [cell.protocol for cell in cells] == ["knn", "line"] * 2
    assert [cell.resumes for cell in cells] == [False, True] * 2
    assert cells[0].model == "a/epoch_9.pth"
    assert len({cell.key("/x") for cell in cells}) == 4
    assert cells[0].key("/x") != cells[0].key("/y")


def test_options_that_cells_cannot_share_are_refused() -> None:
    def make(*words: str) -> None:
        expansion.make_cells(words, ["a.pth", "b.pth"], lambda _: False)

    for word in ("--launcher=slurm", "--dry-run", "--work-dir"):
        with pytest.raises(UsageError, match=word.partition("=")[0]):
            make("knn", word, "x")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["submit"], 2, "nothing to submit"),
        (["submit", "--", "table", "knn"], 2, "'table'"),
        (["submit", "--", "submit"], 2, "'submit'"),
        (["submit", "--", "knn", "--pretrian", "x"], 2, "'--pretrain'"),
        (["submit", "--", "run"], 2, "--suite"),
        (["submit", "--", "run", "--suite", "quik"], 1, "'quick'"),
        (["submit", "--gpus", "-1", "--", "knn"], 2, "--gpus -1"),
        (["submit", "--array", "0", "--", "knn"], 2, "--array 0"),
        (["submit", "--time", "soon", "--", "knn"], 2, "--time soon"),
        (["submit", "--sbatch", "array=3", "--", "knn"], 2, "array is set by"),
        (["submit", "--retry", "3", "--gpus", "2"], 2, "leave out --gpus"),
        (["submit", "--retry", "3", "--", "knn"], 2, "the words after --"),
        (["submit", "--retry", "3"], 1, "job array '3'"),
        (["jobs", "7"], 1, "job array '7'"),
    ],
)
def test_wrong_lines_end_before_slurm_is_asked(
    runs: Path,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(runs))
    assert cli.main(words) == code
    line = capsys.readouterr().err
    assert line.startswith("ssl-bench: error: ")
    assert said in line


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("90:30", 91), ("2:00:00", 120), ("0:00:01", 1), ("1-12", 2160),
        ("1-0:30", 1470), ("2-00:00:00", 2880), ("UNLIMITED", None), ("NONE", None),
        ("1:2:3:4", None), ("", None),
    ],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_reads_them(
    text: str, minutes: int | None
) -> None:
    assert to_minutes(text) == minutes


@pytest.mark.parametrize("minutes", [1, 59, 120, 1440, 2161])
def test_written_times_are_read_back(minutes: int) -> None:
    assert to_minutes(written(minutes)) == minutes


def test_the_time_limit_comes_from_the_user_or_the_partition() -> None:
    small = Partition("p", 30, 1)
    assert Options(time="2:00:00").minutes(small) == 120
    assert Options().minutes(small) == 30
    assert Options().minutes(Partition("p", None, 1)) == 24 * 60
    # The warning leaves most of a short go for work.
    assert Options().parameters(small)["signal_delay_s"] == 90
    assert Options(time="2").parameters(small)["signal_delay_s"] == 30


def test_further_options_of_sbatch() -> None:
    assert read_sbatch(["--constraint=a100", "cpus_per_gpu=4"]) == {
        "constraint": "a100",
        "cpus-per-gpu": "4",
    }
    for word in ("constraint", "a b=3", "x=a\nb"):
        with pytest.raises(UsageError, match="KEY=VALUE"):
            read_sbatch([word])

"""The command line itself: help, typos, exit codes, one line an error."""

from __future__ import annotations

import argparse
import sys

import pytest

from ssl_bench import cli
from ssl_bench.errors import BenchError

FROZEN = {
    "--pretrain", "--arch", "--name", "--dataset", "--data-root", "--features",
    "--work-dir", "--results", "--device", "--dtype", "--batch-size", "--workers",
    "--seed", "--limit", "--encoder", "--format", "--prefix", "--allow-partial",
    "--on-bad-image", "--verify-data", "--resume", "--rerun", "--deterministic",
    "--launcher", "--cfg-options", "--dry-run", "--json", "--debug", "--check",
    "--help", "--to", "--feature-list",
}  # fmt: skip
JOBS = {"--jobs-dir", "--failed"}
SUBMIT = {
    "--jobs-dir", "--partition", "--gpus", "--tasks", "--array", "--time",
    "--cpus-per-task", "--mem", "--account", "--qos", "--sbatch", "--retry", "--again",
}  # fmt: skip


def options(command: str) -> set[str]:
    parser = argparse.ArgumentParser()
    cli.commands()[command].add_arguments(parser)
    return {word for word in parser._option_string_actions if word.startswith("--")}


@pytest.mark.parametrize("command", cli.commands())
def test_flags_are_among_the_frozen_ones(command: str) -> None:
    own = {"linear": {"--sweep"}, "semi": {"--grid"}}
    own["import-result"] = {"--protocol", "--config"}
    own["detect"] = own["segment"] = {"--short", "--test-only"}
    own["run"] = {"--suite"}
    own["watch"] = {"--suite", "--every", "--until", "--poll", "--once"}
    own["jobs"] = JOBS
    own["submit"] = SUBMIT
    assert options(command) <= FROZEN | own.get(command, set())


def test_the_evaluation_has_every_flag_that_means_something_by_now() -> None:
    later = {"--resume", "--deterministic", "--check", "--debug"}
    assert options("knn") == FROZEN - later - {"--to", "--feature-list"}
    for command in ("svm", "lowshot"):
        assert options(command) == options("knn") | {"--feature-list"}
    trained = options("knn") - {"--features"}
    trained |= {"--resume", "--deterministic"}
    assert options("finetune") == trained
    assert options("linear") == trained | {"--sweep"}
    assert options("semi") == trained | {"--grid"}
    for command in ("detect", "segment"):
        assert options(command) == trained | {"--short", "--test-only"}
    alike = options("knn") - {"--cfg-options", "--features", "--launcher"}
    assert options("run") == alike | {"--suite"}
    unwatched = {"--pretrain", "--name", "--rerun", "--dry-run", "--json"}
    own = {"--suite", "--every", "--until", "--poll", "--once"}
    assert options("watch") == alike - unwatched | own
    assert options("jobs") == JOBS | {"--json", "--help"}
    assert options("submit") == SUBMIT | {"--dry-run", "--json", "--help"}


@pytest.mark.parametrize("command", cli.commands())
def test_help_of_every_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"ssl-bench {command}" in text
    assert "--debug" in text


def test_the_commands_are_those_that_work() -> None:
    assert list(cli.commands()) == [
        "demo", "detect", "doctor", "extract", "features", "finetune",
        "import-result", "inspect", "jobs", "knn", "linear", "lowshot", "probe", "run",
        "segment", "semi", "submit", "svm", "table", "watch",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["kn"], 2, "'knn'"),
        (["knn", "--pretrian", "x"], 2, "'--pretrain'"),
        (["knn", "--dtype", "fp8"], 2, "fp8"),
        (["knn", "--limit", "many"], 2, "many"),
        (["extract", "one"], 2, "OUT"),
        ([], 2, "COMMAND"),
        (["knn", "--pretrain", "none"], 2, "--arch"),
        (["knn", "--limit", "0"], 2, "--limit 0"),
        (["knn", "--pretrain", "a", "--features", "b"], 2, "--features"),
        (["knn", "--dataset", "digit-scnes"], 1, "'digit-scenes'"),
        (["knn", "knn_imagent"], 1, "'knn_imagenet'"),
        (["knn", "--cfg-options", "settings.tpok=3", "datset=x"], 1, "'topk'"),
        (["knn", "--cfg-options", "settings.topk=0"], 1, "k is 1 or more"),
        (["knn", "--arch", "resnet50"], 2, "--pretrain none"),
        (["knn", "--batch-size", "0"], 1, "batch size 0"),
        (["knn", "--name", " "], 2, "--name is empty"),
        (["knn", "--pretrain", ""], 2, "--pretrain is empty"),
        (["knn", sys.executable], 1, f"--pretrain {sys.executable}"),
        (["knn", "--device", "tpu"], 2, "'tpu'"),
        (["knn", "--cfg-options", "settings.votes=loud"], 1, "weighted, majority"),
        (["knn", "--features", "/nowhere"], 1, "not a folder"),
    ],
)
def test_wrong_input_gets_one_line_and_its_exit_code(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("ssl-bench: error: ")
    assert said in line


def test_all_config_errors_come_together(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["knn", "--cfg-options", "settings.tpok=3", "datset=x", "transform=imagnet"]
    assert cli.main([*words, "--batch-size", "0"]) == 1
    line = capsys.readouterr().err
    for word in ("'topk'", "'dataset'", "'imagenet'", "batch size 0"):
        assert word in line


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(BenchError):
        cli.main(["knn", "--dataset", "nothing", "--debug"])


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["knn"], "the same command goes on"),
        (["linear"], "the same command with --resume goes on"),
        (["linear", "--resume"], "the same command goes on"),
    ],
)
def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    advice: str,
) -> None:
    def interrupt(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.commands()[words[0]], "run", interrupt)
    assert cli.main(words) == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "interrupted" in err
    assert err.strip().endswith(advice)


def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise OSError(28, "No space left on device", "/cache/x")

    monkeypatch.setattr(cli.commands()["doctor"], "run", fail)
    assert cli.main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert "/cache/x" in err

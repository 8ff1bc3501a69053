"""``ssl-bench svm`` and ``lowshot``: wrong input in one line, the list of features."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from ssl_bench import cli
from ssl_bench.cli.evaluation import with_feature_list
from ssl_bench.errors import UsageError
from tests.data.fake_devkit import write_devkit
from tests.svms.scenes import scene, write

BOTH = ("svm", "lowshot")
RANDOM = ["--pretrain", "none", "--arch", "resnet18-w4", "--workers", "0"]
KINDS = ["1 -1 -1", "-1 1 -1", "-1 -1 1", "1 0 -1", "-1 -1 -1", "0 1 1"]


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """24 images to train on and 12 to test, of three classes."""
    write_devkit(
        tmp_path,
        {f"{2 * i + 1:06d}": KINDS[i % 6] for i in range(24)},
        {f"{2 * i + 2:06d}": KINDS[i % 6] for i in range(12)},
    )
    return tmp_path / "VOCdevkit"


def on(root: Path) -> list[str]:
    """Return the words that name the data and where records go."""
    results = str(root.parent / "results")
    return [
        *RANDOM,
        "--dataset",
        "voc07",
        "--data-root",
        str(root),
        "--results",
        results,
    ]


def error_of(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line of an error, behind whatever was told before it."""
    assert cli.main(words) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line for line in lines if "error" in line] == [lines[-1]]
    assert "Traceback" not in captured.err
    return lines[-1]


@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--feature-list"], 2, "--feature-list"),
        (["--feature-list", " "], 2, "--feature-list is empty; name one, as in feat5"),
        (["--feature-list", ","], 2, "--feature-list is empty"),
        (["--feature-list", "feat4 feat4"], 1, "names a value twice"),
        (["--cfg-options", "variant=visl"], 1, "mmselfsup, fair, vissl, gap"),
        (
            ["--cfg-options", "costs=0"],
            1,
            "costs holds 0.0; a cost is a number above 0",
        ),
        (["--cfg-options", "costs=1,-2"], 1, "costs holds -2.0"),
        (["--cfg-options", "costs=many"], 1, "'many' is not a list of numbers"),
        (["--cfg-options", "solver=newtn"], 1, "newton, liblinear"),
        (["--cfg-options", "toleranc=1"], 1, "'tolerance'"),
        (["--cfg-options", "variant=gap", "features=feat4"], 1, "leave features out"),
        (["--data-root", "/nowhere", *RANDOM], 1, "/nowhere is not a folder"),
    ],
)
def test_wrong_input_gets_one_line_and_its_exit_code(
    command: str,
    words: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = error_of([command, *words], code, capsys)
    assert line.startswith("ssl-bench: error: ")
    assert said in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["svm", "--cfg-options", "folds=1"], "folds=1 is not 2 or more"),
        (["svm", "svm_voc07_visl"], "'svm_voc07_vissl'"),
        (["svm", "lowshot_voc07"], "'lowshot'"),
        (["svm", "--cfg-options", "shots=1"], "shots"),
        (["lowshot", "--cfg-options", "shots=0"], "k is 1 or more"),
        (["lowshot", "--cfg-options", "samples=0"], "samples=0 is not 1 or more"),
        (
            ["lowshot", "--cfg-options", "sample_files=/nowhere"],
            "/nowhere/train_targets_sample1_k1.npy cannot be read",
        ),
    ],
)
def test_wrong_input_to_one_of_them(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in error_of(words, 1, capsys)


@pytest.mark.parametrize("command", BOTH)
def test_a_folder_without_voc_says_what_is_expected(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_of([command, *on(tmp_path)], 1, capsys)
    assert str(tmp_path) in line
    assert "VOC2007/ImageSets/Main" in line


@pytest.mark.parametrize("command", BOTH)
@pytest.mark.parametrize(
    ("listed", "said"),
    [("feat6", "'feat5'"), ("feat4 layer9", "'layer4'"), ("feat5,layr4", "'layer4'")],
)
def test_an_unknown_feature_gets_the_nearest_names(
    command: str,
    listed: str,
    said: str,
    devkit: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [command, *on(devkit), "--feature-list", *listed.split()]
    line = error_of(words, 1, capsys)
    assert "unknown feature of resnet18-w4" in line
    assert said in line
    assert "Known: feat1, feat2, feat3, feat4, feat5, " in line


@pytest.mark.parametrize(
    "listed", [["feat4 feat5"], ["feat4", "feat5"], ["feat4,feat5"], [" feat4, feat5 "]]
)
def test_a_list_may_be_written_as_one_word_or_several(listed: list[str]) -> None:
    parser = argparse.ArgumentParser()
    cli.commands()["svm"].add_arguments(parser)
    args = parser.parse_args(["--feature-list", *listed, "--cfg-options", "costs=1"])
    options = with_feature_list(args).cfg_options
    assert options == ["costs=1", "settings.features=feat4,feat5"]
    plain = parser.parse_args([])
    assert with_feature_list(plain).cfg_options is None
    plain.feature_list = []
    with pytest.raises(UsageError):
        with_feature_list(plain)


@pytest.mark.parametrize("command", BOTH)
def test_both_spellings_are_one_evaluation(
    command: str, devkit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = set()
    for listed in (["feat4 feat5"], ["feat4", "feat5"]):
        words = [command, *on(devkit), "--feature-list", *listed, "--dry-run", "--json"]
        assert cli.main(words) == 0
        facts = json.loads(capsys.readouterr().out)
        assert json.loads(facts["settings"])["features"] == ["feat4", "feat5"]
        keys.add(facts["key"])
    assert len(keys) == 1


def test_svm_from_one_end_to_the_other(
    devkit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--feature-list", "feat4 feat5", "--cfg-options", "costs=0.1,1"]
    words = ["svm", *on(devkit), *more]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    rows = [line.split("|")[1].strip() for line in captured.out.splitlines()[4:8]]
    assert rows == ["mAP", "best_layer", "mAP_feat4", "mAP_feat5"]
    assert captured.out.splitlines()[4].count("*") == 1
    assert "* chosen on the split that is reported" in captured.out
    assert cli.main(words) == 0
    assert "already evaluated" in capsys.readouterr().err


def test_lowshot_of_given_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "f", scene(61))
    words = ["lowshot", "--features", str(folder), "--results", str(tmp_path / "r")]
    words += ["--json", "--cfg-options", "costs=0.1,1", "shots=1,2", "samples=2"]
    assert cli.main(words) == 0
    record = json.loads(capsys.readouterr().out)
    assert [metric["name"] for metric in record["metrics"]] == [
        "mAP_k1", "mAP_k2", "mAP_k1_heldout", "mAP_k2_heldout",
    ]  # fmt: skip
    assert [len(metric["values"]) for metric in record["metrics"]] == [2] * 4

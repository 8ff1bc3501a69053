from __future__ import annotations

import dataclasses
import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_bench.cli import main
from ssl_bench.results.record import Record
from ssl_bench.results.store import RecordStore

HISTORIC = Path(__file__).parent.parent / "data" / "records" / "v1"


def historic(name: str) -> Record:
    path = HISTORIC / f"{name}.json"
    return Record.from_json(json.loads(path.read_text(encoding="utf-8")), path.name)


@pytest.fixture
def results(tmp_path) -> Path:
    """A results folder with one real record, one bundled and one of a smoke run."""
    store = RecordStore(tmp_path / "results")
    for name in (
        "knn_imagenet_named_config",
        "knn_digit_scenes_bundled",
        "knn_given_features_limited",
    ):
        store.add(historic(name))
    return store.root


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_table_is_printed_kept_and_nothing_else_is_on_stdout(results, capsys):
    assert main(["table", "knn", "--results", str(results)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("### ImageNet k-NN (knn version 1)\n")
    assert "| 47.82 (published 47.8, +0.02) |" in out
    assert out == (results / "tables" / "knn.md").read_text(encoding="utf-8")
    assert "1 record is left out: of the bundled scenes" in err
    assert "1 record is left out: of smoke runs" in err
    assert "tables/knn.md" in err


@pytest.mark.parametrize("fmt", ["csv", "tex", "json"])
def test_other_formats_are_kept_beside(results, capsys, fmt):
    assert main(["table", "--format", fmt, "--results", str(results)]) == 0
    kept = (results / "tables" / f"knn.{fmt}").read_text(encoding="utf-8")
    assert capsys.readouterr().out == kept


def test_all_tables_are_printed_and_kept_one_by_one(results, capsys):
    RecordStore(results).add(historic("linear_imagenet_chosen_on_val"))
    assert main(["table", "--results", str(results)]) == 0
    out = capsys.readouterr().out
    assert out.index("linear evaluation") < out.index("k-NN")
    assert files(results / "tables") == ["knn.md", "linear.md"]
    assert "k-NN" not in (results / "tables" / "linear.md").read_text()


def test_no_records_say_what_to_type(tmp_path, capsys):
    assert main(["table", "--results", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no records of real models" in err
    assert (
        f"ssl-bench knn --pretrain CHECKPOINT --data-root DIR --results {tmp_path}"
        in err
    )
    assert files(tmp_path) == []


def test_a_protocol_without_records_or_command_says_so(results, capsys):
    assert main(["table", "segment", "--results", str(results)]) == 1
    err = capsys.readouterr().err
    assert "no records of segment" in err


def test_only_bundled_records_are_no_records(tmp_path, capsys):
    RecordStore(tmp_path).add(historic("knn_digit_scenes_bundled"))
    assert main(["table", "knn", "--results", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "1 record is left out: of the bundled scenes" in err
    assert "no records of knn of real models" in err


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_an_unknown_protocol_is_a_usage_error_with_the_nearest(results, capsys, more):
    words = ["table", "knnn", "--results", str(results), *more]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "unknown protocol 'knnn'" in err
    assert "Did you mean 'knn'" in err
    assert "lowshot" in err


def test_an_unknown_format_is_a_usage_error(capsys):
    assert main(["table", "--format", "pdf"]) == 2


def test_check_names_what_is_missing_and_what_is_stale(results, capsys):
    words = ["table", "--check", "--results", str(results)]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "knn.md is missing; type: ssl-bench table knn --format md" in err
    assert not (results / "tables").exists()
    assert main(["table", "--results", str(results)]) == 0
    capsys.readouterr()
    assert main(words) == 0
    record = historic("knn_imagenet_named_config")
    RecordStore(results).add(dataclasses.replace(record, name="another"))
    kept = (results / "tables" / "knn.md").read_bytes()
    assert main(words) == 1
    assert "knn.md is stale" in capsys.readouterr().err
    assert (results / "tables" / "knn.md").read_bytes() == kept
    assert main(["table", "segment", "--check", "--results", str(results)]) == 0


def test_check_of_an_empty_folder_is_content(tmp_path, capsys):
    assert main(["table", "--check", "--results", str(tmp_path)]) == 0


def test_a_damaged_record_is_named_and_the_others_are_shown(results, capsys):
    store = RecordStore(results)
    torn = store.add(
        dataclasses.replace(historic("knn_imagenet_named_config"), name="torn")
    )
    torn.write_text("{")
    assert main(["table", "knn", "--results", str(results)]) == 0
    out, err = capsys.readouterr()
    assert "simclr_resnet50" in out
    assert f"warning: left out: {torn} is damaged" in err
    assert main(["table", "--check", "--results", str(results)]) == 1
    assert f"damaged: {torn}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_costs_a_warning(results, capsys):
    (results / "tables").write_text("in the way")
    assert main(["table", "knn", "--results", str(results)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("### ImageNet k-NN")
    assert "printed but not kept" in err
    assert (results / "tables").read_text() == "in the way"


def test_a_full_disk_costs_a_warning_and_keeps_the_old_table(
    results, capsys, monkeypatch
):
    assert main(["table", "knn", "--results", str(results)]) == 0
    table = results / "tables" / "knn.md"
    table.write_text("old")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert main(["table", "knn", "--results", str(results)]) == 0
    assert "No space left on device" in capsys.readouterr().err
    assert table.read_text() == "old"
    assert files(results / "tables") == ["knn.md"]


def test_the_command_needs_no_torch(results):
    script = (
        "import sys\n"
        "from ssl_bench.cli import main\n"
        f"assert main(['table', 'knn', '--results', {str(results)!r}]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

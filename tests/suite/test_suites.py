"""Suite files: what is in them, what is wrong with them, and their words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ssl_bench import cli
from ssl_bench.config import parse_options
from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.suite.suites import Entry, read_suite, suite_names


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_the_shipped_suites() -> None:
    assert list(suite_names()) == ["classic", "full", "quick"]
    titles = {
        name: [entry.title for entry in read_suite(name).entries]
        for name in suite_names()
    }
    assert titles["quick"] == ["knn", "svm", "lowshot", "probe"]
    assert titles["classic"] == [
        "svm", "lowshot", "linear", "semi_1pct", "semi_10pct", "knn",
    ]  # fmt: skip
    more = ["probe", "finetune", "detect", "segment"]
    assert titles["full"] == titles["classic"] + more


@pytest.mark.parametrize("name", ["quick", "classic", "full"])
@pytest.mark.parametrize("dataset", [None, "folder"])
def test_the_words_of_a_cell_are_a_command(name: str, dataset: str | None) -> None:
    for entry in read_suite(name).entries:
        words = entry.words(dataset)
        args = cli.build_parser().parse_args(words)
        assert args.command == entry.protocol
        assert args.dataset == dataset


def test_one_percent_is_asked_for_as_the_command_does() -> None:
    one = next(e for e in read_suite("classic").entries if e.title == "semi_1pct")
    assert one.words(None) == ["semi", "--cfg-options", "fraction=0.01"]


def test_everything_that_a_cell_may_say(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        """
about = "mine"
[[cells]]
config = "svm_voc07"
dataset = "digit-scenes"
features = ["feat4", "feat5"]
[cells.options]
solver = "liblinear"
settings.costs = [1, 0.5]
settings.ap = "11point"
deep = true
""",
    )
    suite = read_suite(name)
    assert (suite.name, suite.about) == ("mine", "mine")
    entry = suite.entries[0]
    assert (entry.protocol, entry.title) == ("svm", "svm_voc07")
    assert entry.words(None) == [
        "svm", "svm_voc07", "--dataset", "digit-scenes", "--feature-list", "feat4",
        "feat5", "--cfg-options", "solver=liblinear", "settings.costs=[1,0.5]",
        "settings.ap=11point", "deep=True",
    ]  # fmt: skip
    assert "folder" in entry.words("folder")
    assert "digit-scenes" not in entry.words("folder")
    assert entry.overrides[-1] == "settings.features=feat4,feat5"


def test_options_come_back_as_they_were_written(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        """
about = "mine"
[[cells]]
protocol = "knn"
[cells.options]
a = 1
b = 1e-05
c = [1]
d = []
e = false
f = "word"
g = ["x", "y"]
h = [[1, 2], [3]]
i = -0.5
j.k = 2
l = "a/b.txt"
""",
    )
    assert parse_options(read_suite(name).entries[0].options) == {
        "a": 1, "b": 1e-05, "c": [1], "d": [], "e": False, "f": "word",
        "g": ["x", "y"], "h": [[1, 2], [3]], "i": -0.5, "j.k": 2, "l": "a/b.txt",
    }  # fmt: skip


def test_a_config_file_lies_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("protocol = 'knn'\n")
    name = write(
        tmp_path, 'about = "x"\n[[cells]]\nprotocol = "knn"\nconfig = "own.py"\n'
    )
    entry = read_suite(name).entries[0]
    assert entry.words(None) == ["knn", str(tmp_path / "own.py")]
    assert entry.title == "own"


def test_all_complaints_come_together(tmp_path: Path) -> None:
    name = write(
        tmp_path,
        """
abuot = "x"
[[cells]]
protocol = "knnn"
[[cells]]
config = "svm_voc70"
[[cells]]
protocol = "knn"
features = ["feat5"]
optoins = {}
[[cells]]
protocol = "knn"
options = { a = "two words", b = "10" }
[[cells]]
title = "a b"
dataset = 3
[[cells]]
protocol = "svm"
config = "knn_imagenet"
""",
    )
    with pytest.raises(ConfigError) as caught:
        read_suite(name)
    said = str(caught.value)
    for part in (
        "about is missing",
        "unknown key 'abuot'. Did you mean 'about'?",
        "cell 1: unknown protocol 'knnn'. Did you mean 'knn'?",
        "cell 2: unknown config 'svm_voc70'. Did you mean 'svm_voc07",
        "cell 3: unknown key 'optoins'. Did you mean 'options'?",
        "cell 3: features are for svm and lowshot, not knn",
        "cell 4: an earlier cell is called 'knn' too",
        "cell 4: options.a = 'two words'",
        "cell 4: options.b = '10'",
        "cell 5: it has neither protocol nor config",
        "cell 5: title = 'a b'",
        "cell 5: dataset = 3",
        "cell 6: config = 'knn_imagenet' is one of knn, not of svm",
    ):
        assert part in said, part
    assert all(text.startswith("mine.toml: ") for text in caught.value.complaints)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("about = ", "is no TOML"),
        ('about = "x"', "it has no cell"),
        ('about = "x"\ncells = 3', "write [[cells]]"),
        ('about = "a\\nb"\n[[cells]]\nprotocol = "knn"', "no line of text"),
        ('about = "x"\n[[cells]]\nprotocol = "knn"\noptions = 3', "is no table"),
        (
            'about = "x"\n[[cells]]\nprotocol = "svm"\nfeatures = "a"',
            "no list of names",
        ),
    ],
)
def test_broken_files_get_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="mine") as caught:
        read_suite(write(tmp_path, text))
    assert said in str(caught.value)


def test_an_unknown_suite(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"'quick'\? Known: classic, full, quick"):
        read_suite("quik")
    with pytest.raises(BenchError, match="does not exist"):
        read_suite(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no TOML"):
        read_suite(str(tmp_path / "binary.toml"))


def test_reading_a_suite_imports_no_torch() -> None:
    code = (
        "import sys; from ssl_bench.suite.suites import read_suite\n"
        "read_suite('full').entries[0].words(None)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_names_of_semi_supervised_cells_of_old(tmp_path: Path) -> None:
    old = "resnet50_head100_4xb64-steplr1e-2-20e_in1k-1pct"
    name = write(tmp_path, f'about = "x"\n[[cells]]\nconfig = "{old}"\n')
    assert read_suite(name).entries == (Entry("semi", old, config=old),)

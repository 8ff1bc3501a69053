"""Configs and settings: found, overridden, and every complaint at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from ssl_bench.config import (
    build_settings,
    key_complaints,
    keyed_settings,
    options_config,
    parse_options,
    plain,
    read_config,
)
from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.resources import config_names, find_config, find_dir


@dataclass(frozen=True)
class Settings:
    topk: tuple[int, ...] = (10,)
    temperature: float = 0.5
    vote: Literal["a", "b"] = "a"
    clean: bool = False
    limit: int | None = None
    word: str = "x"
    chunk: int = field(default=4, metadata={"keyed": False})

    def validate(self) -> list[str]:
        return [] if self.temperature > 0 else ["temperature is not above 0"]


def test_options_are_read_as_mmengine_reads_them() -> None:
    assert parse_options(["settings.topk=1,5", "a.b=0.5", "c=text", "d=True"]) == {
        "settings.topk": [1, 5],
        "a.b": 0.5,
        "c": "text",
        "d": True,
    }
    assert parse_options(None) == {}


def test_options_without_value_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(["one", "two=2", "three"])
    assert "'one'" in str(caught.value)
    assert "'three'" in str(caught.value)


def test_every_complaint_about_settings_comes_at_once() -> None:
    values = {
        "tpok": 3,
        "temperature": -1.0,
        "vote": "c",
        "clean": "False",
        "limit": 2.5,
        "topk": [1, "two"],
    }
    _, complaints = build_settings(Settings, values, "mine")
    text = "\n".join(complaints)
    assert len(complaints) == 6
    assert "'topk'" in text  # nearest name of tpok
    assert "temperature is not above 0" in text
    assert "one of a, b" in text
    assert "True or False" in text
    assert "a whole number or None" in text
    assert "a list of whole numbers" in text


def test_settings_take_what_fits() -> None:
    values = {"topk": 7, "temperature": 1, "limit": None, "word": "y", "vote": "b"}
    settings, complaints = build_settings(Settings, values, "mine")
    assert complaints == []
    assert settings.topk == (7,)
    assert settings.temperature == 1.0
    assert isinstance(settings.temperature, float)


def test_a_bool_is_no_number() -> None:
    _, complaints = build_settings(Settings, {"temperature": True, "limit": True}, "m")
    assert len(complaints) == 2


def test_unkeyed_fields_stay_out_of_the_identity() -> None:
    assert "chunk" not in keyed_settings(Settings())
    assert keyed_settings(Settings())["topk"] == [10]


def test_unknown_keys_get_the_nearest_of_keys_and_settings() -> None:
    config = {"topk": 3, "dataste": "x", "temprature": 0.1}
    dataset, temperature = key_complaints(config, "mine", Settings)
    assert "'dataste'. Did you mean 'dataset'" in dataset
    assert "'temprature'. Did you mean 'temperature'" in temperature


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("protocol = 'knn'\nsettings = dict(topk=[5], word='long')\n")
    return path


@pytest.mark.parametrize(
    ("options", "topk"),
    [
        ({}, [5]),
        ({"topk": [1]}, [1]),
        ({"settings.topk": [1]}, [1]),
        ({"topk": [1], "settings.topk": [1]}, [1]),
        ({"settings": {"word": "x", "clean": True}, "topk": [1]}, [1]),
        ({"topk": [1], "settings": {"word": "x", "clean": True}}, [1]),
    ],
)
def test_a_setting_may_leave_out_its_prefix(
    mine: Path, options: dict[str, object], topk: list[int]
) -> None:
    config = read_config(mine, options, Settings)
    assert config.settings.topk == topk
    assert "topk" not in config
    assert key_complaints(config, "mine", Settings) == []
    assert config.settings.word == ("x" if "settings" in options else "long")


def test_a_file_may_leave_out_the_prefix_too(tmp_path: Path) -> None:
    path = tmp_path / "short.py"
    path.write_text("protocol = 'knn'\ntopk = (5, 6)\nclean = True\n")
    config = read_config(path, {"settings.topk": [7]}, Settings)
    assert dict(config.settings) == {"topk": [7], "clean": True}
    assert list(config) == ["protocol", "settings"]


@pytest.mark.parametrize(
    ("lines", "options"),
    [
        ("", {"topk": [1], "settings.topk": [2]}),
        ("", {"settings.topk": [2], "topk": [1]}),
        ("", {"settings": {"topk": [2]}, "topk": [1]}),
        ("topk = [1]\nsettings = dict(topk=[2])\n", {}),
    ],
)
def test_a_setting_with_two_values_is_a_complaint(
    tmp_path: Path, lines: str, options: dict[str, object]
) -> None:
    path = tmp_path / "two.py"
    path.write_text(f"protocol = 'knn'\n{lines}")
    config = read_config(path, options, Settings)
    (complaint,) = key_complaints(config, "two", Settings)
    assert complaint == (
        "two: topk=[1] and settings.topk=[2] are one setting; keep one of them"
    )


def test_overrides_are_left_as_they_were(mine: Path) -> None:
    options = {"settings": {"word": "x"}, "topk": [1]}
    read_config(mine, options, Settings)
    assert options == {"settings": {"word": "x"}, "topk": [1]}


def test_settings_that_are_no_dictionary_are_a_complaint() -> None:
    settings, complaints = build_settings(Settings, 3, "mine")
    assert settings == Settings()
    assert complaints == ["mine: settings=3 is not dict(name=value, ...)"]
    assert key_complaints({"settings": 3, "topk": 1}, "mine", Settings) == []


def test_read_config_applies_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("protocol = 'knn'\nsettings = dict(topk=[5])\n")
    config = read_config(path, {"settings.topk": [1], "dataset": "folder"})
    assert config.settings.topk == [1]
    assert config.dataset == "folder"


def test_a_broken_config_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("protocol = \n")
    with pytest.raises(ConfigError, match=r"broken\.py"):
        read_config(path)


def test_custom_imports_that_do_not_exist_are_named() -> None:
    with pytest.raises(ConfigError, match="no_such_module"):
        options_config({"custom_imports.imports": ["no_such_module"]})


def test_find_config_by_name_and_path(tmp_path: Path) -> None:
    known = config_names()["knn_imagenet"]
    assert find_config("knn_imagenet") == known
    assert find_config("knn_imagenet.py") == known
    assert find_config(str(known)) == known
    with pytest.raises(BenchError, match="knn_imagenet"):
        find_config("knn_imagent")
    with pytest.raises(BenchError, match="does not exist"):
        find_config(str(tmp_path / "none.py"))


def test_resources_are_found() -> None:
    assert (find_dir("references") / "published_results.csv").is_file()
    assert find_dir("bundled").is_dir()


def test_plain_makes_json() -> None:
    assert plain({"a": (1, Path("x"))}) == {"a": [1, "x"]}

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


def test_a_setting_without_its_prefix_gets_the_full_name() -> None:
    complaints = key_complaints({"topk": 3, "dataste": "x"}, "mine", Settings)
    assert "settings.topk" in complaints[0]
    assert "'dataset'" in complaints[1]


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

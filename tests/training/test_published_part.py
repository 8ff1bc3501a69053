"""The published lists of 1 % and 10 %: taken where they are, and said where not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import Config

from ssl_bench.data.imagenet import ImageNet
from ssl_bench.errors import DataError
from ssl_bench.protocols import semi
from ssl_bench.suite.training import _part

CONFIG = Config(
    {"fraction": 0.1, "train_list": "meta/train_10percent.txt", "dataset": "imagenet"}
)


@pytest.fixture
def train(tmp_path: Path) -> ImageNet:
    (tmp_path / "meta").mkdir()
    lines = [f"n0{c}/n0{c}_{n}.JPEG {c}\n" for c in (0, 1) for n in range(10)]
    (tmp_path / "meta" / "train.txt").write_text("".join(lines))
    return ImageNet(tmp_path, "train")


def trial(train: ImageNet) -> Any:
    return SimpleNamespace(
        settings=SimpleNamespace(config=CONFIG), dataset={"train": train}
    )


def test_the_list_decides_what_is_trained_on(train: ImageNet) -> None:
    listed = train.root / "meta" / "train_10percent.txt"
    listed.write_text("n01_7.JPEG\nn00_3.JPEG\n")
    part = _part(train, CONFIG, seed=5)
    assert list(part.samples) == ["train/n00/n00_3.JPEG", "train/n01/n01_7.JPEG"]
    assert part.targets.tolist() == [0, 1]
    assert semi._about_the_part(trial(train)) == []


def test_a_list_of_ones_own_is_said_with_the_number(
    train: ImageNet, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = train.root / "meta" / "train_10percent.txt"
    listed.write_text("n01_7.JPEG\nn00_3.JPEG\n")
    origin = listed.with_name("train_10percent.origin.txt")
    origin.write_text("These are not the official images: 2 were drawn\n")
    _part(train, CONFIG, seed=5)
    assert "train_10percent.txt is not the published list" in capsys.readouterr().err
    (warning,) = semi._about_the_part(trial(train))
    assert "train_10percent.txt is not the published list" in warning


def test_without_the_list_it_says_where_to_get_it(train: ImageNet) -> None:
    with pytest.raises(DataError, match=r"prepare_imagenet_subsets\.py"):
        _part(train, CONFIG, seed=5)


def test_other_data_has_no_published_list(train: ImageNet) -> None:
    own = Config({**CONFIG, "dataset": "places205"})
    part = _part(train, own, seed=5)
    assert sorted(part.targets.tolist()) == [0, 1]  # 10 % of 10 images of a class
    other = SimpleNamespace(config=own)
    assert (
        semi._about_the_part(SimpleNamespace(settings=other, dataset={"train": train}))
        == []
    )

"""Every shipped recipe: its name and docstring tell the truth, and it can be built."""

from __future__ import annotations

import ast
import csv
import math
import re
import runpy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from ssl_bench import backbones, data
from ssl_bench.backbones import Backbone
from ssl_bench.config import plain, read_config
from ssl_bench.data import transforms
from ssl_bench.resources import config_names, find_dir
from ssl_bench.training import keys
from ssl_bench.training.drop_path import set_drop_path
from ssl_bench.training.heads import Head, sources_of
from ssl_bench.training.names import known_config, known_names
from ssl_bench.training.optim import build_optimizer, parameter_groups
from ssl_bench.training.recipe import Recipe, complaints

CONFIGS = config_names()
TRAINING = ("linear", "semi", "finetune")
TRAINED = [name for name in CONFIGS if CONFIGS[name].parent.name in TRAINING]

# What a name says, in the words of OpenMMLab's names.
PUBLISHED = re.compile(
    r"(?P<arch>resnet50(?:-sobel)?|vit(?:-(?:small|base|large|huge))?-p\d+"
    r"|swin-(?:base|large))"
    r"(?P<mhead>_mhead)?(?:_head(?P<head>\d+))?_"
    r"(?:(?P<author>[a-z][a-z0-9]+)-)??(?P<kind>linear-|ft-)?"
    r"(?P<processes>\d+)xb(?P<batch>\d+)"
    r"-(?P<schedule>steplr|coslr)(?P<rate>\de-\d)?(?P<words>(?:-[a-z]+\d*)*?)"
    r"-(?P<epochs>\d+)e(?P<rpe>-rpe)?"
    r"_(?P<data>in1k|places205|inat18|cifar10)"
    r"(?:-(?P<percent>\d+)pct|-(?P<size>\d+))?"
)
OURS = re.compile(
    r"(?P<protocol>linear|semi|finetune)_(?P<dataset>[a-z0-9-]+)"
    r"(?:_(?:small|transformer))?(?:_(?P<percent>\d+)pct)?"
)
DATA = {
    "in1k": "imagenet",
    "places205": "places205",
    "inat18": "inat18",
    "cifar10": "cifar10",
}
WORDS = {"", "-sgd", "-torchvision-transform", "-ws14"}
KNOWN = known_names()


def docstring(name: str) -> str:
    text = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    assert text is not None
    return text


def load(name: str) -> Any:
    known = known_config(name)
    return read_config(CONFIGS[name]) if known is None else read_config(*known)


def patterns(config: Any) -> list[str]:
    return [config.arch] if isinstance(config.arch, str) else list(config.arch)


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_config_has_known_keys(name: str) -> None:
    config = load(name)
    assert keys.era_complaints(config) == []
    assert keys.key_complaints(config, name) == []
    assert config.protocol == CONFIGS[name].parent.name
    assert config.model.frozen is (config.protocol == "linear")


@pytest.mark.parametrize("name", TRAINED)
def test_a_name_has_a_known_form(name: str) -> None:
    assert "amp" not in name.split("-"), "precision is chosen by --dtype"
    ours = OURS.fullmatch(name)
    assert (ours is None) == (PUBLISHED.fullmatch(name) is not None)
    if ours:
        config = load(name)
        assert ours["protocol"] == config.protocol
        assert ours["dataset"] == config.dataset
        assert fraction_of(ours) == config.get("fraction")


def fraction_of(said: re.Match[str]) -> float | None:
    return int(said["percent"]) / 100 if said["percent"] else None


@pytest.mark.parametrize("name", [n for n in TRAINED if PUBLISHED.fullmatch(n)] + KNOWN)
def test_a_published_name_tells_the_truth(name: str) -> None:
    said = PUBLISHED.fullmatch(name)
    assert said is not None
    config = load(name)
    optimizer = config.optim_wrapper.optimizer
    assert config.train_dataloader.batch_size == int(said["batch"])
    whole = int(said["processes"]) * int(said["batch"])
    assert config.auto_scale_lr.base_batch_size == whole
    assert config.train_cfg.max_epochs == int(said["epochs"])
    assert config.dataset == DATA[said["data"]]
    assert config.get("fraction") == fraction_of(said)
    if said["rate"]:
        assert optimizer.lr == float(said["rate"])
    if said["head"]:
        assert config.optim_wrapper.paramwise_cfg.head_lr_mult == int(said["head"])
    if said["kind"]:
        assert config.protocol == {"linear-": "linear", "ft-": "finetune"}[said["kind"]]
    kinds = {scheduler.type for scheduler in config.param_scheduler}
    main = {"steplr": "MultiStepLR", "coslr": "CosineAnnealingLR"}[said["schedule"]]
    assert main in kinds
    assert kinds <= {main, "LinearLR"}
    assert said["words"] in WORDS
    if "-sgd" in said["words"]:
        assert optimizer.type == "SGD"
    if "-torchvision" in said["words"]:
        first = config.train_dataloader.dataset.transform[0]
        assert first.interpolation == "bicubic"


@pytest.mark.parametrize("name", [n for n in TRAINED if PUBLISHED.fullmatch(n)])
def test_heads_and_architectures_are_those_of_the_name(name: str) -> None:
    said = PUBLISHED.fullmatch(name)
    assert said is not None
    config = load(name)
    heads = [f"feature{n}" for n in range(1, 6)]
    assert (list(config.model.heads) == heads) is bool(said["mhead"])
    if said["mhead"]:
        taps = [config.model.heads[head].taps for head in heads]
        assert taps == [["stem"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    for pattern in patterns(config):
        assert re.match(arch_of(said), pattern), pattern
    if said["arch"] == "resnet50-sobel":
        assert patterns(config) == ["resnet50-sobel"]
    if "-ws14" in said["words"]:
        assert all("window14" in pattern for pattern in patterns(config))
    if said["size"]:
        first = config.train_dataloader.dataset.transform[0]
        assert first.size == int(said["size"])
        assert config.transform[-1].size == int(said["size"])


def arch_of(said: re.Match[str]) -> str:
    """Return the pattern of our architectures that the first word stands for."""
    family, *rest = said["arch"].split("-")
    if family == "resnet50":
        return r"resnet50($|-sobel$|-cifar)"
    if family == "swin":
        return rf"swin_{rest[0]}_patch4_"
    size, patch = (rest[0] if len(rest) == 2 else r"\w+"), rest[-1][1:]
    if said["arch"] == "vit-huge-p16":
        patch = "14"  # MAE's ViT-H has patches of 14; the published names say 16
    families = "beit" if said["rpe"] or "beit" in (said["author"] or "") else "vit"
    return rf"{families}_{size}_patch{patch}_"


@pytest.mark.parametrize("name", TRAINED)
def test_schedules_end_with_training(name: str) -> None:
    config = load(name)
    epochs = config.train_cfg.max_epochs
    steps_of_epoch = 2_448_873 // 256  # Places205, the one schedule by steps
    at = 0
    for scheduler in config.param_scheduler:
        assert scheduler.get("begin", 0) == at
        at = scheduler.get("end", 0)
        if scheduler.type == "MultiStepLR":
            last = epochs if scheduler.by_epoch else epochs * steps_of_epoch
            assert list(scheduler.milestones) == sorted(scheduler.milestones)
            assert scheduler.milestones[-1] < last
        if scheduler.type == "CosineAnnealingLR":
            # The Runner ends it with training.
            assert "end" not in scheduler
            assert "T_max" not in scheduler


@pytest.mark.parametrize("name", TRAINED)
def test_a_config_repeats_nothing_of_its_base(name: str) -> None:
    own = runpy.run_path(str(CONFIGS[name]))
    base = read_config((CONFIGS[name].parent / own["_base_"]).resolve())
    told = {key: value for key, value in own.items() if not key.startswith("_")}
    assert told, "a config that changes nothing is a name too many"
    assert list(repeated(told, base, "")) == []


def repeated(own: Mapping[str, Any], base: Any, place: str) -> Any:
    for key, value in own.items():
        if key not in base or own.get("_delete_"):
            continue
        if isinstance(value, Mapping) and isinstance(base[key], Mapping):
            yield from repeated(value, base[key], f"{place}{key}.")
        elif plain(value) == plain(base[key]):
            yield f"{place}{key}"


@pytest.mark.parametrize("name", TRAINED)
def test_a_docstring_says_how_this_recipe_is_had(name: str) -> None:
    text, config = docstring(name).replace("\\\n", " "), load(name)
    assert "Source:" in text
    commands = re.findall(r"^ {4}ssl-bench (\w+) *(\S*)", text, re.MULTILINE)
    assert commands
    for protocol, word in commands:
        assert protocol == config.protocol
        if word and not word.startswith("-"):
            assert word == name or known_config(word) is not None
        else:
            assert config.get("default"), "another is taken where none is named"


def figures() -> dict[str, set[float]]:
    path = find_dir("references") / "published_results.csv"
    found: dict[str, set[float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if re.fullmatch(r"[\d.]+", row["value"]):
                found.setdefault(row["config"], set()).add(float(row["value"]))
    return found


FIGURES = figures()


@pytest.mark.parametrize("name", TRAINED)
def test_expected_figures_are_the_published_ones(name: str) -> None:
    expected = re.search(r"Expected:(.*?)\nSource:", docstring(name), re.DOTALL)
    assert expected is not None
    words = re.split(r"[\s,;()]+", expected[1])
    config = ""
    for word in words:
        config = word if word in FIGURES else config
        if config and re.fullmatch(r"\d+\.\d+", word):
            near = {f for c, v in FIGURES.items() if c.startswith(config) for f in v}
            assert float(word) in near, f"{config} has {sorted(near)}"


# A network of each family, small enough to be built for every config.
SMALL = {
    "resnet50-sobel": "resnet50-w8-sobel",
    "resnet50-cifar": "resnet50-w8-cifar",
    "resnet50": "resnet50-w8",
    "vit": "vit_w48_d5_patch16_224",
    "beit": "beit_w48_d5_patch16_224",
    "dinov3": "dinov3_w48_d5_patch16_reg4",
    "convnext": "convnext_d2.2.2.2_c8.16.32.64",
    "swin": "swin_e24_d2-2-2-2_h1-2-4-8_patch4_window7_224",
    "*": "resnet18-w8",
}


def small_backbones(config: Any) -> list[Backbone]:
    """Return a small network of every family that a recipe is for."""
    found = {
        next(arch for start, arch in SMALL.items() if pattern.startswith(start))
        for pattern in patterns(config)
    }
    return [backbones.build(arch, 0) for arch in sorted(found)]


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_config_is_without_complaint(name: str) -> None:
    assert complaints(load(name), name) == []


@pytest.mark.parametrize("name", TRAINED)
def test_heads_and_optimiser_build(name: str) -> None:
    config = load(name)
    recipe = Recipe(name=name, config=config)
    test = config.get("transform", data.get_dataset(config.dataset).transform_name)
    size = transforms.output_size(plain(test))
    for backbone in small_backbones(config):
        model = nn.Module()
        if not recipe.frozen:
            model.backbone = backbone
        heads = {
            head: Head(spec, sources_of(spec, backbone, size), backbone.dims, 7, 0)
            for head, spec in recipe.heads.items()
        }
        model.heads = nn.ModuleDict(heads)
        for head, values in config.model.heads.items():
            norm = values.get("norm") or {}
            affine = norm.get("affine", norm.get("type") == "layer")
            assert bool(list(heads[head].norm.parameters())) is affine
        optimizer = dict(config.optim_wrapper.optimizer)
        groups = parameter_groups(
            model,
            lr=recipe.lr,
            weight_decay=float(optimizer.get("weight_decay", 0.0)),
            paramwise=config.optim_wrapper.get("paramwise_cfg"),
            heads=None,
        )
        built = build_optimizer(optimizer, groups)
        held = sum(p.numel() for group in built.param_groups for p in group["params"])
        assert held == sum(parameter.numel() for parameter in model.parameters())
        top = max(group["lr"] for group in built.param_groups)
        paramwise = config.optim_wrapper.get("paramwise_cfg") or {}
        assert top == pytest.approx(recipe.lr * paramwise.get("head_lr_mult", 1))
        if config.model.get("drop_path"):
            set_drop_path(backbone, config.model.drop_path)


@pytest.mark.parametrize("name", TRAINED)
def test_the_rate_runs_as_the_recipe_says(name: str) -> None:
    """At the beginning of every epoch, by the formulas of the two schedules."""
    config = load(name)
    rate, epochs = config.optim_wrapper.optimizer.lr, config.train_cfg.max_epochs
    by_step = any(not scheduler.by_epoch for scheduler in config.param_scheduler)
    length = 2_448_873 // 256 if by_step else 6
    wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate))
    # As mmengine's Runner builds them: they end with training.
    end = epochs * length if by_step else epochs
    given = {"optimizer": wrapper, "epoch_length": length, "end": end}
    schedulers = [
        PARAM_SCHEDULERS.build(dict(scheduler), default_args=given)
        for scheduler in config.param_scheduler
    ]
    for epoch in range(epochs):
        found = wrapper.param_groups[0]["lr"]
        assert found == pytest.approx(rate_at(config, epoch, length), rel=1e-6), epoch
        for _ in range(length):
            wrapper.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()


def rate_at(config: Any, epoch: int, length: int) -> float:
    rate = float(config.optim_wrapper.optimizer.lr)
    main, begin = config.param_scheduler[-1], config.param_scheduler[-1].get("begin", 0)
    if main.type == "MultiStepLR":
        at = epoch if main.by_epoch else epoch * length
        drops = sum(at >= step for step in main.milestones)
        return rate * math.pow(main.gamma, drops)
    if epoch < begin:
        warm = config.param_scheduler[0]
        # The whole rate is reached in the last step of the warm-up.
        done = epoch * length / (warm.end * length - 1)
        start = float(warm.start_factor)
        return float(rate * (start + (1 - start) * done))
    least = main.get("eta_min")
    if least is None:
        least = rate * main.eta_min_ratio
    done = (epoch - begin) / (config.train_cfg.max_epochs - begin)
    return float(least + (rate - least) * (1 + math.cos(math.pi * done)) / 2)

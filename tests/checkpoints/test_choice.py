"""Producers that write the same names: who is taken, and what the others would mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from open_clip.model import CLIP

from ssl_bench import backbones, checkpoints
from ssl_bench.backbones import IMAGENET_INPUT
from ssl_bench.checkpoints import undecided
from ssl_bench.checkpoints.catalogue import layouts
from ssl_bench.cli import main
from ssl_bench.errors import UsageError
from ssl_bench.suite import evaluate


def vit(width: int, heads: int) -> dict[str, Any]:
    network = timm.models.VisionTransformer(
        img_size=32, embed_dim=width, depth=1, num_heads=heads, num_classes=0
    )
    return dict(network.state_dict())


def test_what_other_producers_would_mean_is_told(load_tree: Any) -> None:
    """MoCo v3's ViT-S has 12 heads of 32, DeiT's 6 of 64: the shapes are the same."""
    weights = load_tree(vit(384, 6))
    assert weights.producer == "timm"
    assert set(weights.alternatives) == {"mocov3", "timm_augreg"}
    assert (
        weights.alternatives["timm_augreg"] == "mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5"
    )
    assert "h12" in weights.alternatives["mocov3"]
    assert "h12" not in weights.arch
    said = undecided(weights)
    assert said.startswith("taken as written by timm; others write the same names (")
    assert said.endswith("say who with --cfg-options producer=NAME")


def test_a_producer_that_would_change_nothing_is_not_mentioned(load_tree: Any) -> None:
    """At a width of 768, 12 heads are what everybody has."""
    assert set(load_tree(vit(768, 12)).alternatives) == {"timm_augreg"}


def test_the_user_says_who_wrote_the_file(load_tree: Any) -> None:
    weights = load_tree(vit(384, 6), producer="mocov3")
    assert weights.producer == "mocov3"
    assert weights.alternatives == {}
    network: Any = backbones.from_weights(weights)
    assert network.blocks[0].attn.num_heads == 12
    assert weights.input.mean == IMAGENET_INPUT.mean
    weights = load_tree(vit(384, 6), producer="timm_augreg")
    assert weights.input.mean == weights.input.std == (0.5, 0.5, 0.5)
    assert checkpoints.provenance(weights)["producer"] == "timm_augreg"


def test_the_named_architecture_leaves_nothing_open(load_tree: Any) -> None:
    arch = load_tree(vit(384, 6)).arch
    assert load_tree(vit(384, 6), arch=arch).alternatives == {}


def test_an_unknown_producer_names_the_nearest(load_tree: Any, tensors: Any) -> None:
    with pytest.raises(
        UsageError, match=r"unknown producer .*'detectorn'.*'detectron'"
    ):
        load_tree(tensors, producer="detectorn")


def test_detectrons_weights_see_blue_first_and_unscaled(
    load_tree: Any, tensors: Any
) -> None:
    """Its images have values from 0 to 255, less the mean, in the order B, G, R."""
    made = backbones.from_weights(load_tree(tensors, producer="detectron"))
    plain = backbones.from_weights(load_tree(tensors))
    assert made.arch == "resnet18-w4-bgr"
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    mean = torch.tensor(made.input.mean).view(3, 1, 1)
    std = torch.tensor(made.input.std).view(3, 1, 1)
    as_detectron = images.flip(1) * 255 - torch.tensor([103.53, 116.28, 123.675]).view(
        3, 1, 1
    )
    with torch.inference_mode():
        got, expected = made((images - mean) / std), plain(as_detectron)
    assert (got - expected).norm() / expected.norm() < 1e-5


def clip_tower(**options: Any) -> dict[str, Any]:
    tower = {"layers": 1, "width": 64, "patch_size": 16, "image_size": 32}
    text = {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 1, "layers": 1}
    return dict(CLIP(8, {**tower, **options}, text).state_dict())


def test_openclip_does_not_say_its_activation(load_tree: Any) -> None:
    weights = load_tree(clip_tower())
    assert weights.producer == "openclip"
    assert set(weights.alternatives) == {"openai"}
    assert "quickgelu" in weights.alternatives["openai"]
    sizes = {"input_resolution": torch.tensor(32)}
    weights = load_tree({**clip_tower(), **sizes})
    assert (weights.producer, weights.alternatives) == ("openai", {})
    assert "quickgelu" in weights.arch


def test_a_tower_of_timm_in_openclip_is_never_openais(load_tree: Any) -> None:
    trunk = {f"visual.trunk.{key}": tensor for key, tensor in vit(64, 1).items()}
    weights = load_tree({**trunk, "logit_scale": torch.tensor(1.0)})
    assert (weights.layout, weights.alternatives) == ("clip", {})


def test_timms_clip_has_clips_norms_and_images(load_tree: Any) -> None:
    """Source: timm 1.0, whose names for these say ``clip`` and ``quickgelu``."""
    network = timm.create_model(
        "vit_base_patch32_clip_224", img_size=32, embed_dim=64, depth=1, num_heads=1
    )
    assert network.norm_pre.eps == 1e-5
    weights = load_tree(network.state_dict())
    assert weights.arch.endswith("_prenorm_eps5_32")
    theirs = network.default_cfg
    assert weights.input.mean == theirs["mean"]
    assert weights.input.std == theirs["std"]
    assert set(weights.alternatives) == {"timm_quickgelu"}


@pytest.mark.parametrize(
    ("name", "producer"),
    [
        ("swinv2_tiny_window8_256", "timm"),
        ("swinv2_tiny_window16_256", "timm_window16"),
        ("swinv2_base_window12_192", "timm_window12"),
        ("swinv2_base_window12to16_192to256", "timm_window12to16"),
        ("swinv2_base_window12to24_192to384", "timm_window12to24"),
        ("swinv2_large_window12to16_192to256", "timm"),
        ("swinv2_large_window12_192", "timm_window12"),
    ],
)
def test_the_windows_of_timms_swin_v2(name: str, producer: str) -> None:
    """Its names say windows of now and of before, which no tensor shows."""
    with torch.device("meta"):
        theirs: Any = timm.create_model(name)
    found = layouts()["timm_swin_v2"]
    said = next(one.hidden for one in found.PRODUCERS if one.name == producer)
    state = theirs.state_dict()
    spec = backbones.infer(state)
    family = backbones.families()["swin"]
    made = family.spec(**{**spec.options, **found.NAMING.shown(state), **said})
    windows = [stage.blocks[0].attn.window_size for stage in theirs.layers]
    before = [stage.blocks[0].attn.pretrained_window_size for stage in theirs.layers]
    assert [(edge, edge) for edge in made.options["windows"]] == windows
    scales = made.options["pretrained"] or (0, 0, 0, 0)
    assert [(edge, edge) for edge in scales] == before
    assert made.options["size"] == theirs.patch_embed.img_size[0]
    assert backbones.parse(made.name) == made


def test_the_command_takes_the_producer_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(vit(384, 6), tmp_path / "a.pth")
    command = ["extract", str(tmp_path / "a.pth"), "--dry-run", "--cfg-options"]
    assert main([*command, "producer=mocov3"]) == 0
    assert "h12" in capsys.readouterr().out
    assert main([*command, "producr=mocov3", "x=1"]) == 1
    said = capsys.readouterr().err
    assert "'producr'" in said
    assert "'x'" in said


def test_the_record_says_who_was_taken(
    tmp_path: Path, image_folder: Path, tensors: Any
) -> None:
    torch.save(tensors, tmp_path / "a.pth")
    records = [
        evaluate(
            str(tmp_path / "a.pth"),
            dataset="folder",
            data_root=image_folder,
            options={"settings.topk": [5], **options},
        )[0]
        for options in ({}, {"producer": "detectron"}, {"producer": "timm"})
    ]
    assert [r.checkpoint["producer"] for r in records] == [
        "torchvision",
        "detectron",
        "timm",
    ]
    keys = [record.identity.key() for record in records]
    assert keys[0] == keys[2]  # timm's file means the very same
    assert keys[0] != keys[1]


def test_every_producer_says_only_what_its_layouts_families_know() -> None:
    hidden = {
        name for family in backbones.families().values() for name in family.HIDDEN
    }
    for module in layouts().values():
        for producer in module.PRODUCERS:
            assert set(producer.hidden) <= hidden, (module.LAYOUT, producer.name)


def test_the_size_that_weights_are_evaluated_at_outlives_an_extraction(
    tmp_path: Path, load_tree: Any
) -> None:
    weights = load_tree(vit(384, 6))
    assert weights.input.size == 32
    told = replace(weights, input=replace(weights.input, size=48))
    checkpoints.save(told, tmp_path / "out.pth")
    made = checkpoints.load_backbone(tmp_path / "out.pth")
    assert made.input.size == 48

"""What a hub keeps beside the weights: heads, epsilon, activation, statistics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model, ResNetConfig, ResNetModel

from ssl_bench import checkpoints, pooling
from ssl_bench.backbones import IMAGENET_INPUT, Backbone
from ssl_bench.errors import CheckpointError
from tests.producers.example import drawn


def feature(backbone: Backbone, images: Tensor) -> Tensor:
    final = backbone.forward_taps(images, ("final",))["final"]
    return pooling.pool(final, pooling.pooling_kind(backbone, "final"), backbone)


def dinov2(**options: Any) -> Any:
    config = Dinov2Config(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=28,
        patch_size=14,
        **options,
    )
    return drawn(Dinov2Model(config), 3)


@torch.inference_mode()
def test_heads_that_no_shape_shows_come_from_the_config(tmp_path: Path) -> None:
    network = dinov2(hidden_act="quick_gelu", layer_norm_eps=1e-3)
    network.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 28, 28)
    expected = network(images).last_hidden_state[:, 0]
    made = checkpoints.load_backbone(tmp_path)
    assert made.weights is not None
    assert made.weights.producer == "huggingface, with config.json"
    assert (feature(made, images) - expected).norm() / expected.norm() < 1e-5
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((tmp_path / "model.safetensors").read_bytes())
    guess = checkpoints.load_backbone(alone)
    assert (feature(guess, images) - expected).norm() / expected.norm() > 1e-3


@torch.inference_mode()
def test_a_resnet_with_its_stride_in_the_first_convolution(tmp_path: Path) -> None:
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, 64, 128],
        depths=[1, 1, 1, 1],
        layer_type="bottleneck",
        downsample_in_bottleneck=True,
    )
    network = drawn(ResNetModel(config), 4)
    network.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 64, 64)
    expected = network(images).pooler_output.flatten(1)
    made = checkpoints.load_backbone(tmp_path)
    assert "-caffe" in made.arch
    assert (feature(made, images) - expected).norm() / expected.norm() < 1e-5


def test_an_activation_that_is_not_supported_is_refused(tmp_path: Path) -> None:
    dinov2(hidden_act="relu").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json says hidden_act 'relu'"):
        checkpoints.load(tmp_path)


def test_statistics_come_from_the_image_processor(tmp_path: Path) -> None:
    dinov2().save_pretrained(tmp_path)
    facts = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    weights = checkpoints.load(tmp_path)
    assert weights.input.mean == (0.1, 0.2, 0.3)
    assert weights.input.std == (0.4, 0.5, 0.6)
    assert "preprocessor_config.json" in weights.producer
    named = checkpoints.load(tmp_path, arch=weights.arch)
    assert named.input.mean == (0.1, 0.2, 0.3)


def test_statistics_come_from_timms_config(tmp_path: Path) -> None:
    network = timm.models.VisionTransformer(
        img_size=32, embed_dim=64, depth=1, num_heads=1, num_classes=0
    )
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    half = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    text = json.dumps({"architecture": "vit_x", "pretrained_cfg": half})
    (tmp_path / "config.json").write_text(text)
    weights = checkpoints.load(tmp_path)
    assert weights.input.mean == (0.5, 0.5, 0.5)
    assert weights.producer == "timm, with config.json"
    assert "timm_augreg" not in weights.alternatives


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{",
        '{"model_type": "dinov2", "num_attention_heads": "3", "layer_norm_eps": 7}',
        '{"model_type": "dinov2", "num_attention_heads": -3, "hidden_act": ["x"]}',
        '{"model_type": ["dinov2"], "num_attention_heads": 3}',
        '{"model_type": "bert", "num_attention_heads": 3}',
        '{"pretrained_cfg": {"mean": [0, 0, 0], "std": [0, 0, 0]}}',
        '{"a":' * 3000,
    ],
)
def test_what_is_no_such_config_is_passed_over(tmp_path: Path, text: str) -> None:
    dinov2().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    weights = checkpoints.load(tmp_path)
    assert weights.producer == "huggingface"
    assert weights.input.mean == IMAGENET_INPUT.mean


def test_other_files_have_no_neighbours(tmp_path: Path) -> None:
    dinov2().save_pretrained(tmp_path)
    other = tmp_path / "mine.safetensors"
    (tmp_path / "model.safetensors").rename(other)
    assert checkpoints.load(other).producer == "huggingface"


def test_a_network_with_layers_that_no_tensor_shows_is_refused(tmp_path: Path) -> None:
    """Blurred pooling has a fixed filter, which timm keeps out of the file."""
    state = timm.create_model("resnetblur18").state_dict()
    path = tmp_path / "last.pth.tar"
    torch.save({"arch": "resnetblur18", "state_dict": state, "epoch": 3}, path)
    with pytest.raises(CheckpointError, match=r"says that it is 'resnetblur18'"):
        checkpoints.load(path)
    assert checkpoints.load(path, arch="resnet18").arch == "resnet18"
    torch.save({"arch": "resnet18", "state_dict": state, "epoch": 3}, path)
    assert checkpoints.load(path).arch == "resnet18"
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "resnetblur18"}')
    with pytest.raises(CheckpointError, match=r"says that it is 'resnetblur18'"):
        checkpoints.load(tmp_path)

"""Optimisers against their formulas, and groups against rules worked out by hand."""

from __future__ import annotations

import importlib
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_bench import backbones
from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.registry import OPTIMIZERS
from ssl_bench.training.layer_decay import layers_of
from ssl_bench.training.optim import (
    Lars,
    build_optimizer,
    optimizer_complaints,
    parameter_groups,
    paramwise_complaints,
)
from tests.reference import training

STEPS = 10
VIT = "vit_w64_d4_patch16_32"
SWIN = "swin_e8_d2-3_h1-2_patch4_window4_48"
FEATS_ND = torch.randn(12, 5, generator=torch.Generator().manual_seed(3)).double()
TARGETS_N = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 2, 1])


class Model(nn.Module):
    """A backbone, or none, and linear heads on the mean of its tokens or pixels."""

    def __init__(self, backbone: nn.Module | None, width: int, *heads: str) -> None:
        super().__init__()
        if backbone is not None:
            self.backbone = backbone
        names = heads or ("head",)
        self.heads = nn.ModuleDict({name: nn.Linear(width, 3) for name in names})
        draw = torch.Generator().manual_seed(8)
        with torch.no_grad():
            for head in self.heads.values():
                for parameter in head.parameters():
                    parameter.normal_(std=0.1, generator=draw)

    def forward(self, values: Tensor) -> list[Tensor]:
        if hasattr(self, "backbone"):
            values = self.backbone(values).mean(1)
        return [head(values) for head in self.heads.values()]


def groups_of(model: nn.Module, **options: Any) -> list[dict[str, Any]]:
    given = {"lr": 1.0, "weight_decay": 0.5, "paramwise": None, "heads": None}
    return parameter_groups(model, **{**given, **options})


def rates(model: nn.Module, **options: Any) -> dict[str, tuple[float, float]]:
    """Return learning rate and weight decay of every parameter by its name."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = groups_of(model, **options)
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert len(found) == sum(len(group["params"]) for group in groups)
    return found


def arrays(model: nn.Module) -> dict[str, Any]:
    return {n: p.detach().double().numpy().copy() for n, p in model.named_parameters()}


def grads(model: nn.Module) -> dict[str, Any]:
    found = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.double().numpy().copy()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("config", "reference"),
    [
        ({"type": "SGD"}, training.SGD),
        ({"type": "SGD", "momentum": 0.9}, training.SGD),
        ({"type": "SGD", "momentum": 0.9, "nesterov": True}, training.SGD),
        ({"type": "Lars", "momentum": 0.9}, training.LARS),
        ({"type": "Lars", "momentum": 0.9, "nesterov": True}, training.LARS),
        ({"type": "Lars", "momentum": 0.9, "foreach": True}, training.LARS),
    ],
)
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_ten_steps_of_a_head_are_those_of_the_formulas(
    config: dict[str, Any], reference: Any, decay: float, dtype: torch.dtype
) -> None:
    lr = 20.0 if config["type"] == "Lars" else 0.4
    model = Model(None, 5).to(dtype)
    with torch.no_grad():
        model.heads["head"].bias.zero_()  # the trust ratio of a zero is 1
    groups = groups_of(model, lr=lr, weight_decay=decay)
    optimizer = build_optimizer({**config, "lr": lr, "weight_decay": decay}, groups)
    weights = arrays(model)
    names = list(weights)
    options = {k: v for k, v in config.items() if k in ("momentum", "nesterov")}
    slow = reference(
        dict.fromkeys(names, lr),
        dict.fromkeys(names, decay),
        **{"momentum": 0.0, **options},
    )
    start = dict(weights)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(FEATS_ND.to(dtype))[0], TARGETS_N).backward()
        optimizer.step()
        _, weight_grad, bias_grad = training.softmax_head(
            FEATS_ND.numpy(),
            TARGETS_N.tolist(),
            weights["heads.head.weight"],
            weights["heads.head.bias"],
        )
        slopes = {"heads.head.weight": weight_grad, "heads.head.bias": bias_grad}
        weights = slow.step(weights, slopes)
        for name, value in arrays(model).items():
            np.testing.assert_allclose(value, weights[name], rtol=1e-5, atol=1e-5)
    # Something was learnt, or equality would mean little.
    assert max(abs(weights[n] - start[n]).max() for n in names) > 0.05


def test_one_step_of_lars_by_hand() -> None:
    # |w| = 5, |g| = 10: ratio = 0.001 * 5 / 10; w - 2 * 0.0005 * g = w - 0.001 g.
    # The bias is zero: its ratio is 1, and it moves by 2 * g.
    weight, bias = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer(
        {"type": "Lars", "lr": 2.0, "momentum": 0.9},
        [{"params": [weight, bias], "lr": 2.0, "weight_decay": 0.0}],
    )
    weight.grad, bias.grad = torch.tensor([6.0, 8.0]), torch.tensor([0.25])
    optimizer.step()
    assert torch.allclose(weight, torch.tensor([2.994, 3.992]), atol=1e-6)
    assert bias.item() == -0.5
    # The second: v = 0.9 * (0.0005 g) + 1 * g with the ratio of a gradient of zero.
    before, weight.grad = weight.detach().clone(), torch.zeros(2)
    optimizer.step()
    moved = torch.tensor([6.0, 8.0]) * 0.0005 * 0.9 * 2
    assert torch.allclose(weight, before - moved, atol=1e-6)


def test_the_rate_of_lars_comes_after_its_momentum() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    groups = [{"params": [weight], "lr": 2.0, "weight_decay": 0.0}]
    optimizer = build_optimizer({"type": "Lars", "lr": 2.0, "momentum": 0.9}, groups)
    weight.grad = torch.tensor([6.0, 8.0])
    optimizer.step()
    for group in optimizer.param_groups:
        group["lr"] = 0.2
    before, weight.grad = weight.detach().clone(), torch.zeros(2)
    optimizer.step()
    moved = torch.tensor([6.0, 8.0]) * 0.0005 * 0.9 * 0.2
    assert torch.allclose(weight, before - moved, rtol=0, atol=1e-6)


def test_ten_steps_of_adamw_with_layer_decay_are_those_of_the_formulas() -> None:
    backbone = backbones.build(VIT, 0).train()
    model = Model(backbone, 64).double()
    model.requires_grad_(True)
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    lr, decay, factor = 2e-3, 0.05, 0.65
    words = ["norm", "bias", "cls_token", "pos_embed"]
    groups = parameter_groups(
        model,
        lr=lr,
        weight_decay=decay,
        paramwise={"layer_decay": factor, "no_decay": words},
        heads=None,
    )
    optimizer = build_optimizer(
        {"type": "AdamW", "lr": lr, "betas": [0.9, 0.999], "eps": 1e-8}, groups
    )
    weights = arrays(model)
    scales = training.vit_multipliers(list(weights), 4, factor)
    # A weight with two axes or more is decayed, and nothing else is.
    slow = training.AdamW(
        {name: lr * scale for name, scale in scales.items()},
        {
            name: decay if w.ndim > 1 and name.endswith("weight") else 0.0
            for name, w in weights.items()
        },
        betas=(0.9, 0.999),
        eps=1e-8,
    )
    start = dict(weights)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images.double())[0], targets).backward()
        slopes = grads(model)
        optimizer.step()
        weights = slow.step(weights, slopes)
        for name, value in arrays(model).items():
            np.testing.assert_allclose(value, weights[name], rtol=1e-5, atol=1e-5)
    moved = {name: abs(weights[name] - start[name]).max() for name in weights}
    assert moved["backbone.blocks.3.mlp.fc1.weight"] > 5e-3
    assert 0 < moved["backbone.patch_embed.proj.weight"] < 10 * lr * factor**5 * 1.5


def test_multipliers_of_a_vit_of_four_blocks() -> None:
    found = rates(Model(backbones.build(VIT, 0), 64), paramwise={"layer_decay": 0.5})
    by_hand = {
        "backbone.cls_token": 1 / 32,
        "backbone.pos_embed": 1 / 32,
        "backbone.patch_embed.proj.weight": 1 / 32,
        "backbone.patch_embed.proj.bias": 1 / 32,
        "backbone.blocks.0.norm1.weight": 1 / 16,
        "backbone.blocks.0.mlp.fc2.bias": 1 / 16,
        "backbone.blocks.1.attn.qkv.weight": 1 / 8,
        "backbone.blocks.2.attn.proj.bias": 1 / 4,
        "backbone.blocks.3.attn.qkv.weight": 1 / 2,
        "backbone.norm.weight": 1.0,
        "backbone.norm.bias": 1.0,
        "heads.head.weight": 1.0,
        "heads.head.bias": 1.0,
    }
    assert {name: found[name][0] for name in by_hand} == by_hand
    assert {decay for _, decay in found.values()} == {0.5}
    counts = [len(group["params"]) for group in groups_of_vit(0.5)]
    # Tokens, positions, patches; twelve tensors a block; last norm and head.
    assert counts == [4, 12, 12, 12, 12, 4]


def groups_of_vit(decay: float) -> list[dict[str, Any]]:
    model = Model(backbones.build(VIT, 0), 64)
    return groups_of(model, paramwise={"layer_decay": decay})


def test_registers_go_with_tokens_and_other_norms_with_the_head() -> None:
    arch = "dinov3_w64_d2_patch16_reg4"
    found = rates(Model(backbones.build(arch, 0), 64), paramwise={"layer_decay": 0.5})
    assert found["backbone.reg_token"][0] == found["backbone.cls_token"][0] == 1 / 8
    assert found["backbone.blocks.0.gamma_1"][0] == 1 / 4
    shared = "beit_w64_d2_patch16_sharedrel_32"
    found = rates(Model(backbones.build(shared, 0), 64), paramwise={"layer_decay": 0.5})
    table = "backbone.rel_pos_bias.relative_position_bias_table"
    assert found[table][0] == found["backbone.norm.weight"][0] == 1.0


def test_multipliers_of_a_small_swin() -> None:
    # Two blocks, then three: D = 5. The down-sampling goes with the second block.
    found = rates(Model(backbones.build(SWIN, 0), 16), paramwise={"layer_decay": 0.5})
    by_hand = {
        "backbone.patch_embed.proj.weight": 1 / 64,
        "backbone.patch_embed.norm.bias": 1 / 64,
        "backbone.layers.0.blocks.0.attn.qkv.weight": 1 / 32,
        "backbone.layers.0.blocks.1.attn.relative_position_bias_table": 1 / 16,
        "backbone.layers.1.downsample.reduction.weight": 1 / 16,
        "backbone.layers.1.downsample.norm.weight": 1 / 16,
        "backbone.layers.1.blocks.0.norm1.weight": 1 / 8,
        "backbone.layers.1.blocks.1.mlp.fc1.weight": 1 / 4,
        "backbone.layers.1.blocks.2.mlp.fc1.weight": 1 / 2,
        "backbone.norm.weight": 1.0,
        "heads.head.weight": 1.0,
    }
    assert {name: found[name][0] for name in by_hand} == by_hand


def theirs(file: str, kind: str, name: str, **facts: Any) -> int:
    """Return the power of a parameter's multiplier as OpenMMLab's models give it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(f"mmpretrain.models.backbones.{file}")
    depth, count = getattr(module, kind).get_layer_depth(
        SimpleNamespace(**facts), name, "backbone."
    )
    return int(count - depth - 1)


@pytest.mark.parametrize("arch", ["resnet50", "resnet101", "resnet152", "resnet34"])
def test_layers_of_resnets_are_openmmlabs(arch: str) -> None:
    with torch.device("meta"):
        backbone = backbones.families()["resnet"].build(backbones.parse(arch))
    layers = layers_of(backbone)
    assert layers is not None
    depths = [len(getattr(backbone, f"layer{i}")) for i in (1, 2, 3, 4)]
    for name, _ in backbone.named_parameters():
        power = theirs(
            "resnet", "ResNet", f"backbone.{name}", stage_blocks=tuple(depths)
        )
        assert layers.last - layers.of(name) == power, name
    # A ResNet-50: stem, 1, 2 x 2, 2 x 3, 1 layers, and the head.
    if arch == "resnet50":
        assert [layers.of(f"layer2.{block}.bn1.bias") for block in range(4)] == [
            2,
            2,
            3,
            3,
        ]
        assert (layers.of("layer4.0.conv1.weight"), layers.last) == (6, 7)


@pytest.mark.parametrize("arch", ["convnext_tiny", "convnext_small", "convnextv2_atto"])
def test_layers_of_convnexts_are_openmmlabs(arch: str) -> None:
    with torch.device("meta"):
        backbone: Any = backbones.families()["convnext"].build(backbones.parse(arch))
    layers = layers_of(backbone)
    assert layers is not None
    depths = [len(stage.blocks) for stage in backbone.stages]
    for name, _ in backbone.named_parameters():
        parts = name.split(".")
        other = "norm3.weight"
        if parts[0] == "stem":
            other = "downsample_layers.0.0.weight"
        elif parts[0] == "stages" and parts[2] == "downsample":
            other = f"downsample_layers.{parts[1]}.0.weight"
        elif parts[0] == "stages":
            other = f"stages.{parts[1]}.{parts[3]}.norm.weight"
        power = theirs("convnext", "ConvNeXt", f"backbone.{other}", depths=depths)
        assert layers.last - layers.of(name) == power, name


def test_layers_of_transformers_are_openmmlabs() -> None:
    vit, swin = layers_of(backbones.build(VIT, 0)), layers_of(backbones.build(SWIN, 0))
    assert vit is not None and swin is not None
    for ours, other in {
        "cls_token": "cls_token",
        "blocks.2.norm1.weight": "layers.2.ln1.weight",
        "norm.weight": "ln1.weight",
    }.items():
        power = theirs(
            "vision_transformer",
            "VisionTransformer",
            f"backbone.{other}",
            num_layers=4,
        )
        assert vit.last - vit.of(ours) == power, ours
    for ours, other in {
        "patch_embed.norm.weight": "patch_embed.norm.weight",
        "layers.0.blocks.1.norm1.bias": "stages.0.blocks.1.norm1.bias",
        # Their stages end with the down-sampling that our next one begins with.
        "layers.1.downsample.norm.bias": "stages.0.downsample.norm.bias",
        "layers.1.downsample.reduction.weight": "stages.0.downsample.reduction.weight",
        "layers.1.blocks.2.norm1.bias": "stages.1.blocks.2.norm1.bias",
        "absolute_pos_embed": "absolute_pos_embed",
        "norm.bias": "norm3.bias",
    }.items():
        power = theirs(
            "swin_transformer", "SwinTransformer", f"backbone.{other}", depths=[2, 3]
        )
        assert swin.last - swin.of(ours) == power, ours


@pytest.mark.parametrize(
    "arch", ["resnet18-w8", "convnext_d1.1.31.1_c8.8.8.8", "mobilenet_v2"]
)
def test_networks_without_published_layers_are_refused(arch: str) -> None:
    model = Model(backbones.build(arch, 0), 64)
    with pytest.raises(ConfigError, match=r"no published layers; known .* ViT"):
        groups_of(model, paramwise={"layer_decay": 0.7})
    same = groups_of(model, paramwise={"layer_decay": 1})
    assert [group["lr"] for group in same] == [1.0]


def test_a_frozen_backbone_has_no_layers() -> None:
    with pytest.raises(ConfigError, match="frozen backbone is not trained"):
        groups_of(Model(None, 5), paramwise={"layer_decay": 0.7})


def test_words_exempt_by_kind_and_by_name() -> None:
    class Odd(nn.Module):
        """Names that hold the words, and are something else."""

        def __init__(self) -> None:
            super().__init__()
            self.norm_like = nn.Linear(2, 2)
            self.normal = nn.BatchNorm1d(2)
            self.bias_table = nn.Parameter(torch.zeros(2, 2))
            self.second_pos_embed = nn.Parameter(torch.zeros(2, 2))
            self.ln = nn.LayerNorm(2)
            self.scale = nn.Parameter(torch.zeros(2))
            self.gamma_1 = nn.Parameter(torch.zeros(2))
            self.pos_embed = nn.Parameter(torch.zeros(1, 2, 2))

    model = Model(Odd(), 2)
    kept = {
        word: {
            name.removeprefix("backbone.")
            for name, (_, decay) in rates(model, paramwise={"no_decay": [word]}).items()
            if decay == 0
        }
        for word in ("norm", "bias", "pos_embed", "gamma", "gamma_1", "flat")
    }
    norms = {"normal.weight", "normal.bias", "ln.weight", "ln.bias"}
    assert kept["norm"] == norms
    biases = {"norm_like.bias", "normal.bias", "ln.bias", "heads.head.bias"}
    assert kept["bias"] == biases
    assert kept["pos_embed"] == {"pos_embed"}
    assert kept["gamma"] == kept["gamma_1"] == {"gamma_1"}
    assert kept["flat"] == norms | biases | {"scale", "gamma_1"}
    both = rates(model, paramwise={"no_decay": ["norm", "bias"]})
    assert {n for n, (_, d) in both.items() if not d} == {
        name if name.startswith("heads") else f"backbone.{name}"
        for name in norms | biases
    }


def test_what_is_exempt_in_a_beit() -> None:
    model = Model(backbones.build("beit_w64_d1_patch16_32", 0), 64)
    words = ["norm", "bias", "cls_token", "pos_embed", "gamma", "q_bias", "v_bias"]
    found = rates(model, paramwise={"no_decay": words})
    assert {name for name, (_, decay) in found.items() if decay} == {
        "backbone.patch_embed.proj.weight",
        "backbone.blocks.0.attn.relative_position_bias_table",
        "backbone.blocks.0.attn.qkv.weight",
        "backbone.blocks.0.attn.proj.weight",
        "backbone.blocks.0.mlp.fc1.weight",
        "backbone.blocks.0.mlp.fc2.weight",
        "heads.head.weight",
    }


def test_the_head_learns_faster_in_semi_supervision() -> None:
    model = Model(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), 2, "a", "b")
    groups = groups_of(model, lr=0.1, paramwise={"head_lr_mult": 10})
    told = [(g["name"], g["lr"], g["weight_decay"], len(g["params"])) for g in groups]
    assert told == [("backbone", 0.1, 0.5, 4), ("heads", 1.0, 0.5, 4)]


def test_heads_of_a_sweep_have_rates_of_their_own() -> None:
    model = Model(None, 5, "a", "b", "c", "plain")
    own = {
        "a": {"lr": 3.0, "weight_decay": 0.0},
        "b": {"lr": 4.0, "weight_decay": 0.5},
        "c": {"lr": 3.0},
    }
    groups = groups_of(
        model, heads=own, paramwise={"head_lr_mult": 7, "no_decay": ["bias"]}
    )
    told = [(g["name"], g["lr"], g["weight_decay"], len(g["params"])) for g in groups]
    # The biases of a and c, and the weight of a, are not decayed, all at the rate of 3.
    assert told == [
        ("heads.a + heads.c without decay", 3.0, 0.0, 3),
        ("heads.b", 4.0, 0.5, 1),
        ("heads.b without decay", 4.0, 0.0, 1),
        ("heads.c", 3.0, 0.5, 1),
        ("heads", 7.0, 0.5, 1),
        ("heads without decay", 7.0, 0.0, 1),
    ]


def test_equal_rates_are_one_group_and_frozen_parameters_none() -> None:
    model = Model(nn.Linear(2, 2), 2)
    (group,) = groups_of(model)
    assert group["name"] == "backbone + heads" and len(group["params"]) == 4
    model.backbone.requires_grad_(False)
    (group,) = groups_of(model)
    assert group["name"] == "heads" and len(group["params"]) == 2
    assert [id(p) for p in group["params"]] == [
        id(p) for p in model.heads["head"].parameters()
    ]


def test_a_wrapped_model_is_refused() -> None:
    with pytest.raises(BenchError, match=r"module\.heads\.head\.weight is neither"):
        groups_of(nn.ModuleDict({"module": Model(None, 5)}))


def test_everything_wrong_with_the_rules_is_said_at_once() -> None:
    wrong = {
        "head_lr_mul": 3,
        "head_lr_mult": -1,
        "layer_decay": 1.5,
        "no_decay": ["norms", "bias"],
    }
    heads = {"hed": {"lr": 1.0}, "head": {"wd": 0.0}}
    with pytest.raises(ConfigError) as caught:
        groups_of(Model(None, 5), paramwise=wrong, heads=heads)
    complaints = "\n".join(caught.value.complaints)
    assert len(caught.value.complaints) == 6
    for said in (
        "'head_lr_mul'. Did you mean 'head_lr_mult'",
        "head_lr_mult=-1 is not above 0",
        "layer_decay=1.5",
        "'norms'. Did you mean 'norm'",
        "unknown head 'hed'. Did you mean 'head'",
        "unknown rate of head head 'wd'",
    ):
        assert said in complaints
    assert paramwise_complaints(None) == []
    assert "is not dict(" in paramwise_complaints(3)[0]
    assert "is not a list" in paramwise_complaints({"no_decay": "norm"})[0]


def test_optimisers_by_name() -> None:
    model = Model(None, 5)
    for name, kind in (("AdamW", torch.optim.AdamW), ("Lars", Lars), ("Lamb", None)):
        built = build_optimizer({"type": name, "lr": 0.1}, groups_of(model, lr=0.3))
        assert isinstance(built, kind or OPTIMIZERS.get("Lamb"))
        assert [g["lr"] for g in built.param_groups] == [0.3]
        assert [g["name"] for g in built.param_groups] == ["heads"]
    assert all(g["always_adapt"] for g in build_lars(model).param_groups)


def build_lars(model: nn.Module) -> torch.optim.Optimizer:
    return build_optimizer({"type": "Lars", "lr": 0.1}, groups_of(model))


def test_a_registered_optimiser_is_known() -> None:
    class Own(torch.optim.SGD):
        pass

    OPTIMIZERS.register_module(module=Own)
    try:
        built = build_optimizer({"type": "Own"}, groups_of(Model(None, 5)))
        assert isinstance(built, Own)
    finally:
        OPTIMIZERS.module_dict.pop("Own")


def test_everything_wrong_with_an_optimiser_is_said_at_once() -> None:
    config = {"type": "SGD", "lr": 0.1, "momentun": 0.9, "betas": (0.9, 0.99)}
    with pytest.raises(ConfigError) as caught:
        build_optimizer(config, [])
    said = caught.value.complaints
    assert len(said) == 3
    assert "'momentun'. Did you mean 'momentum'" in said[0]
    assert "unknown argument of optimizer SGD 'betas'" in said[1]
    assert "nothing to train" in said[2]
    assert "'AdamW'" in optimizer_complaints({"type": "AdmW"})[0]
    assert "it is spelt 'Lars'" in optimizer_complaints({"type": "LARS"})[0]
    assert "needs lr" in optimizer_complaints({"type": "Lars"})[0]
    assert "has no type" in optimizer_complaints({"lr": 1})[0]
    with pytest.raises(ConfigError, match=r"SGD refuses .*momentum=-1"):
        build_optimizer({"type": "SGD", "momentum": -1}, groups_of(Model(None, 5)))


def test_groups_stay_as_they_were() -> None:
    groups = groups_of(Model(None, 5))
    before = [sorted(group) for group in groups]
    build_optimizer({"type": "AdamW"}, groups)
    assert [sorted(group) for group in groups] == before

"""Learning rates by layer inside a detector or segmentor, every one by hand."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.optim import build_optim_wrapper
from torch import nn

from ssl_bench import backbones
from ssl_bench.errors import ConfigError
from tests.openmmlab.built import LINEAR, UPERNET, network, recipe, small_model

pytestmark = pytest.mark.filterwarnings("ignore")

VIT = "vit_w64_d4_patch16_32"
SWIN = "swin_e8_d2-3_h1-2_patch4_window4_48"
LR, DECAY, WEIGHT_DECAY = 0.8, 0.5, 0.05


class Segmentor(nn.Module):
    """Our network where a segmentor has it, and a head."""

    def __init__(self, network: nn.Module, *, wrapped: bool = True) -> None:
        super().__init__()
        self.backbone = nn.Module() if wrapped else network
        if wrapped:
            self.backbone.network = network
        self.decode_head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))


def rates(built: nn.Module, layer_decay: float) -> dict[str, tuple[Any, Any]]:
    """Return rate and weight decay of every parameter, as the optimiser has them."""
    from ssl_bench.openmmlab import layerwise  # registers the constructor

    wrapper = build_optim_wrapper(
        built,
        {
            "type": "OptimWrapper",
            "constructor": layerwise.BackboneLayerDecay.__name__,
            "paramwise_cfg": {"layer_decay": layer_decay},
            "optimizer": {"type": "AdamW", "lr": LR, "weight_decay": WEIGHT_DECAY},
        },
    )
    names = {id(p): name for name, p in built.named_parameters()}
    groups = wrapper.optimizer.param_groups
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert len(found) == sum(len(group["params"]) for group in groups), "each once"
    return found


def test_rates_of_a_transformer_of_four_blocks() -> None:
    """Six layers: tokens and patches 0, blocks 1 to 4, last norm and head 5."""
    found = rates(Segmentor(backbones.build(VIT, 0)), DECAY)
    inside = "backbone.network."
    expected = {
        f"{inside}cls_token": (0.8 / 32, 0.0),
        f"{inside}pos_embed": (0.8 / 32, 0.0),
        f"{inside}patch_embed.proj.weight": (0.8 / 32, 0.05),
        f"{inside}patch_embed.proj.bias": (0.8 / 32, 0.0),
        f"{inside}blocks.0.attn.qkv.weight": (0.8 / 16, 0.05),
        f"{inside}blocks.0.norm1.weight": (0.8 / 16, 0.0),
        f"{inside}blocks.1.mlp.fc1.weight": (0.8 / 8, 0.05),
        f"{inside}blocks.1.mlp.fc1.bias": (0.8 / 8, 0.0),
        f"{inside}blocks.2.attn.proj.weight": (0.8 / 4, 0.05),
        f"{inside}blocks.3.mlp.fc2.weight": (0.8 / 2, 0.05),
        f"{inside}blocks.3.mlp.fc2.bias": (0.8 / 2, 0.0),
        f"{inside}norm.weight": (0.8, 0.0),
        f"{inside}norm.bias": (0.8, 0.0),
        "decode_head.0.weight": (0.8, 0.05),
        "decode_head.0.bias": (0.8, 0.0),
        "decode_head.1.weight": (0.8, 0.0),
    }
    for name, (rate, weight_decay) in expected.items():
        assert found[name] == (pytest.approx(rate), weight_decay), name


@pytest.mark.parametrize(
    "arch",
    [VIT, SWIN, "beit_w48_d3_patch16_32", "dinov3_w48_d3_patch16_reg4"],
)
def test_one_dimension_and_positions_have_no_decay(arch: str) -> None:
    built = Segmentor(backbones.build(arch, 0))
    found = rates(built, DECAY)
    places = {"pos_embed", "cls_token", "reg_token", "mask_token"}
    places |= {"relative_position_bias_table"}
    several = 0
    for name, parameter in built.named_parameters():
        last = name.rpartition(".")[2]
        bare = parameter.ndim == 1 or last in places or last == "bias"
        assert found[name][1] == (0.0 if bare else WEIGHT_DECAY), name
        several += bare and parameter.ndim > 1
    assert several, "some have more dimensions than one"


def test_rates_of_a_swin() -> None:
    """Blocks are counted through the stages; 6 layers and the head."""
    found = rates(Segmentor(backbones.build(SWIN, 0)), DECAY)
    inside = "backbone.network."
    for name, halvings in {
        "patch_embed.proj.weight": 6,
        "layers.0.blocks.0.attn.qkv.weight": 5,
        "layers.0.blocks.1.attn.qkv.weight": 4,
        "layers.1.downsample.reduction.weight": 4,
        "layers.1.blocks.0.mlp.fc1.weight": 3,
        "layers.1.blocks.2.mlp.fc1.weight": 1,
        "norm.weight": 0,
    }.items():
        assert found[f"{inside}{name}"][0] == pytest.approx(0.8 / 2**halvings), name


@pytest.mark.parametrize("arch", [VIT, "resnet18-w8"])
def test_one_rate_everywhere(arch: str) -> None:
    built = Segmentor(backbones.build(arch, 0), wrapped=arch == VIT)
    found = rates(built, 1.0)
    assert {rate for rate, _ in found.values()} == {LR}
    assert set(found) == {name for name, _ in built.named_parameters()}
    for name, parameter in built.named_parameters():
        if parameter.ndim == 1:
            assert found[name][1] == 0.0


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_network_that_no_rule_is_known_for(wrapped: bool) -> None:
    built = Segmentor(backbones.build("resnet18-w8", 0), wrapped=wrapped)
    with pytest.raises(ConfigError, match="no rule is known for resnet18-w8") as error:
        rates(built, 0.65)
    assert "layer_decay=0.65" in str(error.value)
    assert "--cfg-options optim_wrapper.paramwise_cfg.layer_decay=1.0" in str(
        error.value
    )
    strange = Segmentor(nn.Sequential(nn.Conv2d(3, 4, 1)), wrapped=wrapped)
    with pytest.raises(ConfigError, match="no rule is known for Sequential"):
        rates(strange, 0.65)


def test_a_head_named_as_the_networks_parts_has_the_full_rate() -> None:
    built = Segmentor(backbones.build(VIT, 0))
    built.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1)])
    built.patch_embed = nn.Conv2d(4, 4, 1)
    found = rates(built, DECAY)
    assert found["blocks.0.weight"] == (LR, WEIGHT_DECAY)
    assert found["patch_embed.weight"] == (LR, WEIGHT_DECAY)


def test_what_is_not_trained_is_in_no_group() -> None:
    built = Segmentor(backbones.build(VIT, 0))
    built.backbone.requires_grad_(False)
    assert set(rates(built, DECAY)) == {
        name for name, _ in built.named_parameters() if name.startswith("decode_head")
    }


def test_the_recipe_has_these_groups_in_the_real_segmentor() -> None:
    backbone = network(UPERNET)
    built = small_model(UPERNET, backbone)
    wrapper = build_optim_wrapper(built, recipe(UPERNET).optim_wrapper)
    groups = wrapper.optimizer.param_groups
    # Six blocks: layers 0 to 7, with and without decay, at 1e-4 and 0.65 a layer. The
    # last norm is not used by the taps of a pyramid, and not trained.
    found = sorted({round(group["lr"] / 1e-4, 6) for group in groups})
    assert found == pytest.approx(sorted(0.65**power for power in range(8)), rel=1e-4)
    names = {id(p): name for name, p in built.named_parameters()}
    top = {
        names[id(p)].split(".")[0]
        for group in groups
        if group["lr"] == pytest.approx(1e-4)
        for p in group["params"]
    }
    assert top == {"neck", "decode_head", "auxiliary_head"}
    held = {names[id(p)] for group in groups for p in group["params"]}
    left = set(names.values()) - held
    assert left == {"backbone.network.norm.weight", "backbone.network.norm.bias"}


def test_the_linear_recipe_trains_its_head_alone() -> None:
    built = small_model(LINEAR, network(LINEAR))
    wrapper = build_optim_wrapper(built, recipe(LINEAR).optim_wrapper)
    names = {id(p): name for name, p in built.named_parameters() if p.requires_grad}
    held = {
        names[id(p)]
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
        if id(p) in names
    }
    assert {name.split(".")[0] for name in held} == {"decode_head"}
    assert set(names.values()) == held

"""What every family of backbones promises, on small members of it."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from torch import Tensor, nn

from ssl_bench import backbones
from ssl_bench.backbones import Backbone
from ssl_bench.errors import BenchError, CheckpointError, UsageError

SMALL = {
    "beit": (
        "beit_w64_d2_patch8_32",
        "beit_w64_d2_patch8_h4_m96_abs_sharedrel_nobias_fcnorm_eps12_32",
        "beit_w64_d2_patch8_avg_abs_nonerel_noscale_32",
    ),
    "convnext": (
        "convnext_d1.1.2.1_c8.16.24.32",
        "convnextv2_d1.1.1.1_c8.16.32.64-k5-finaleps1e-12",
        "convnextv2_d1.1.1.1_c8.16.32.64-nonorm",
    ),
    "dinov3": (
        "dinov3_w64_d2_patch8_reg4",
        "dinov3_w64_d2_patch8_reg1_avg_h4_m96_swiglu_nobias_noscale_theta50_eps6",
    ),
    "efficientnet": (
        "efficientnet_n1.1.1.2.1.1.1_c8.8.8.8.16.16.24.24.32",
        "tf_efficientnet_n1.1.1.1.1.1.1_c8.8.8.8.16.16.24.24.32",
        "efficientnetv2_n1.2.1.1.1.1_c8.8.16.16.24.24.32.64",
    ),
    "mobilenet_v2": ("mobilenet_v2-x0.1", "mobilenet_v2-c8.8.8.16.16.16.24.24.32"),
    "resnet": (
        "resnet18-w8",
        "resnet34-w4",
        "resnet50-w8",
        "resnet14d-w8",
        "resnext14_4x32d-w8-caffe-bgr",
        "resnet10-w8-cifar-linearstem",
        "resnet10-w8-cifar-p2",
        "resnet10-w8-sobel",
    ),
    "resnet_clip": (
        "clip_resnet_1.2.1.1-w8-o24_64",
        "clip_resnet_1.1.1.1-w8",
    ),
    "swin": (
        "swin_e8_d2-2_h1-2_patch4_window4_48",
        "swin_e8_d2-1-1_h2-2-4_patch2_window4-3-2_ape_32",
        "swinv2_e8_d2-2_h1-2_patch4_window4_48",
        "swinv2_e8_d2-1_h2-2_patch4_window4_pre3-2_32",
    ),
    "vit": (
        "vit_w64_d2_patch16_32",
        "vit_w64_d2_patch8_reg4_gap_fcnorm_32",
        "vit_w64_d2_patch16_reg2_h4_48",
        "vit_w64_d2_patch8_prenorm_bothnorms_quickgelu_eps5_32",
        "vit_w64_d2_patch8_avg_swiglu_qknorm_nobias_nonorm_32",
        "vit_w64_d2_patch8_reg3_m96_fcnorm_gelutanh_32",
        "vit_w64_d2_patch8_cls_fcnorm_32",
    ),
}
NAMES = [name for names in SMALL.values() for name in names]
FAMILIES = backbones.families()


def perturb(network: nn.Module, seed: int = 7) -> None:
    """Give every parameter and every batch norm statistic a value of its own."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draw)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim == 1:
                tensor.add_(0.2 * noise)
            else:
                tensor.add_(0.02 * noise)


def images(backbone: Backbone, count: int = 2) -> Tensor:
    size = backbone.input.size or 48
    draw = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, size, size, generator=draw)


@functools.cache
def perturbed(name: str) -> Backbone:
    """Drawing a transformer's weights takes longer than most tests here."""
    made = backbones.build(name, seed=1)
    perturb(made)
    return made


@pytest.fixture(params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return copy.deepcopy(perturbed(request.param))


def test_every_family_is_tried_here() -> None:
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.parametrize("name", backbones.names())
def test_examples_are_names_of_their_family(name: str) -> None:
    spec = backbones.parse(name)
    assert spec.name == name
    assert name in FAMILIES[spec.family].EXAMPLES
    assert backbones.infer(backbones.skeleton(spec)) == spec


def test_the_architecture_is_told_from_the_weights(backbone: Backbone) -> None:
    spec = backbones.parse(backbone.arch)
    found = backbones.infer(backbone.state_dict())
    hidden = FAMILIES[spec.family].HIDDEN
    shown = {k: v for k, v in spec.options.items() if k not in hidden}
    assert {k: v for k, v in found.options.items() if k not in hidden} == shown


def test_every_tap_has_its_dimension(backbone: Backbone) -> None:
    taps = backbone.forward_taps(images(backbone), tuple(backbone.dims))
    assert list(backbone.dims)[-1] == "final"
    for tap, dim in backbone.dims.items():
        axis = 1 if taps[tap].ndim == 4 else 2
        assert taps[tap].shape[axis] == dim
        assert (taps[tap].ndim == 4) == (backbone.tap_pooling == "average")


@torch.inference_mode()
def test_a_tap_does_not_depend_on_which_others_are_asked(backbone: Backbone) -> None:
    batch = images(backbone)
    together = backbone.forward_taps(batch, tuple(backbone.dims))
    for tap in backbone.dims:
        alone = backbone.forward_taps(batch, (tap,))
        assert list(alone) == [tap]
        torch.testing.assert_close(alone[tap], together[tap])


@torch.inference_mode()
def test_the_inference_copy_computes_the_same(backbone: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    batch = images(backbone)
    fast = backbone.for_inference(torch.float32, "cpu")
    slow_taps = backbone.forward_taps(batch, tuple(backbone.dims))
    fast_taps = fast.forward_taps(batch, tuple(backbone.dims))
    for tap, slow in slow_taps.items():
        error = (fast_taps[tap] - slow).norm() / slow.norm()
        assert error < 1e-4, tap
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_inference_copy_computes_in_its_dtype(
    backbone: Backbone, dtype: torch.dtype
) -> None:
    fast = backbone.for_inference(dtype, "cpu")
    batch = images(backbone, count=1)
    taps = fast.forward_taps(batch, tuple(backbone.dims))
    assert {tensor.dtype for tensor in taps.values()} == {dtype}
    exact = backbone(batch)
    assert (taps["final"].float() - exact).norm() / exact.norm() < 0.05


def test_an_inference_copy_keeps_the_fingerprint(backbone: Backbone) -> None:
    fast = backbone.for_inference(torch.bfloat16, "cpu")
    assert fast.fingerprint == backbone.fingerprint
    assert fast.dims == backbone.dims
    assert fast.tap_pooling == backbone.tap_pooling


def test_a_tensor_moves_the_fingerprint(backbone: Backbone) -> None:
    state = dict(backbone.state_dict())
    whole = backbones.fingerprint(backbone.arch, state)
    assert whole == backbone.fingerprint
    for name, tensor in list(state.items())[:: max(1, len(state) // 12)]:
        changed = tensor.clone()
        changed.view(-1)[-1] += 1
        moved = backbones.fingerprint(backbone.arch, {**state, name: changed}) != whole
        assert moved == (not name.endswith("num_batches_tracked")), name


@pytest.mark.parametrize("name", [names[0] for names in SMALL.values()])
def test_the_same_seed_draws_the_same_weights(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = backbones.build(name, 1), backbones.build(name, 1)
    other = backbones.build(name, 12)
    assert torch.equal(torch.rand(3), expected), "the global generator was touched"
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert not one.training


def test_an_unknown_tap_names_the_nearest(backbone: Backbone) -> None:
    with pytest.raises(BenchError, match="Did you mean 'final'"):
        backbone.forward_taps(images(backbone), ("finale",))


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 32, 32), (2, 4, 32, 32)])
def test_what_is_no_batch_of_images_is_refused(
    backbone: Backbone, shape: tuple[int, ...]
) -> None:
    with pytest.raises(BenchError, match=r"takes images of shape \(B, 3, H, W\)"):
        backbone(torch.zeros(shape))


def test_an_integer_type_is_refused(backbone: Backbone) -> None:
    with pytest.raises(BenchError, match=r"torch\.int8"):
        backbone.for_inference(torch.int8, "cpu")


@pytest.mark.parametrize("name", ["resnet51", "resnet50-w0", "vit_tiny_patch16_225"])
def test_an_unknown_architecture_names_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown architecture.*Did you mean"):
        backbones.build(name, 0)


def test_weights_of_nothing_known_give_every_reason() -> None:
    with pytest.raises(CheckpointError, match=r"not resnet: .*not vit: "):
        backbones.infer({"some.weight": torch.zeros(3)})

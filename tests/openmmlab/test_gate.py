"""What is trained is what was loaded: every tensor, or no training."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch

from ssl_bench import backbones
from ssl_bench.backbones import ArchSpec, Backbone, BackboneWeights, Coverage
from ssl_bench.errors import BenchError
from ssl_bench.openmmlab import applying, gate
from tests.openmmlab.built import (
    C4,
    FCN,
    FPN,
    LINEAR,
    UPERNET,
    facts,
    fitted,
    model,
    network,
    small_model,
)

pytestmark = pytest.mark.filterwarnings("ignore")

COUNTER = "num_batches_tracked"
ALL = [FPN, C4, FCN, UPERNET, LINEAR]


def drawn(arch: str) -> Backbone:
    """Build a network no tensor of which has a value that anything starts at."""
    backbone = backbones.build(arch, 3)
    draw = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for tensor in backbone.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)
    return backbone


def home_of(name: str, which: str) -> str:
    """Return what a tensor of ours is called in OpenMMLab's model."""
    if which in (UPERNET, LINEAR):
        return f"backbone.network.{name}"
    if which == C4 and name.startswith("layer4."):
        return f"roi_head.shared_head.{name}"
    return f"backbone.{name}"


@pytest.mark.parametrize("which", ALL)
def test_every_tensor_arrives_and_is_counted(which: str) -> None:
    backbone = drawn(network(which).arch)
    built = small_model(which, backbone)
    fresh = backbones.build(backbone.arch, 9)
    if which in (UPERNET, LINEAR):
        built.backbone.network.load_state_dict(fresh.state_dict())
    with pytest.raises(BenchError, match="is not what the checkpoint holds"):
        gate.check(backbone, built)
    gate.place(backbone, built)
    state = backbone.state_dict()
    wanted = [name for name in state if not name.endswith(COUNTER)]
    assert gate.check(backbone, built) == len(wanted)
    there = built.state_dict()
    for name in wanted:
        assert torch.equal(there[home_of(name, which)], state[name]), name


@pytest.mark.parametrize(
    ("which", "name"),
    [
        (FPN, "layer4.1.conv2.weight"),
        (FPN, "bn1.running_mean"),
        (C4, "layer3.0.downsample.0.weight"),
        (C4, "conv1.weight"),
        # Regions pass through the last stage, in the head.
        (C4, "layer4.0.conv1.weight"),
        (C4, "layer4.1.bn2.running_var"),
        (FCN, "layer1.0.bn1.bias"),
        (UPERNET, "blocks.2.attn.qkv.weight"),
        (UPERNET, "pos_embed"),
        (LINEAR, "cls_token"),
    ],
)
def test_one_number_of_one_tensor_stops_the_run(which: str, name: str) -> None:
    backbone = drawn(network(which).arch)
    built = small_model(which, backbone)
    gate.place(backbone, built)
    gate.check(backbone, built)
    tensor = built.state_dict()[home_of(name, which)]
    with torch.no_grad():
        tensor.view(-1)[-1] += 1e-6 * tensor.view(-1)[-1].abs() + 1e-6
    with pytest.raises(BenchError) as error:
        gate.check(backbone, built)
    assert f"{name} is not what the checkpoint holds; nothing was" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (FPN, "layer2.0.conv1.weight"),
        (C4, "layer2.0.conv1.weight"),
        (C4, "layer4.0.conv1.weight"),
        (FCN, "layer4.0.conv1.weight"),
    ],
)
def test_a_tensor_that_is_skipped_in_placing_stops_the_run(
    which: str, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = drawn(network(which).arch)
    built = small_model(which, backbone)
    own = torch.Tensor.copy_
    skipped = built.state_dict()[home_of(left, which)].data_ptr()

    def forgetful(self: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        same = self.data_ptr() == skipped
        return self if same else own(self, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "copy_", forgetful)
        gate.place(backbone, built)
    with pytest.raises(BenchError, match=f"{re.escape(left)} is not what the check"):
        gate.check(backbone, built)


def test_the_deep_stem_of_mmsegmentation_stops_the_run() -> None:
    """Stock recipes have three convolutions there, which stay as they were drawn."""
    backbone = drawn("resnet18-w8")
    config = fitted(FCN, backbone)
    config.model.backbone.type = "ResNetV1c"
    built = model(applying.apply(config, facts(), FCN).config)
    gate.place(backbone, built)
    with pytest.raises(BenchError) as error:
        gate.check(backbone, built)
    said = str(error.value)
    assert "conv1.weight is not in the model" in said
    # conv1 and the batch norm's four; what is there instead came from nowhere.
    assert re.search(r"and \d+ more; nothing was trained", said)


def test_what_no_tensor_fills_stops_the_run() -> None:
    backbone = drawn("resnet18-w8")
    built = small_model(FPN, backbone)
    built.backbone.register_parameter("more", torch.nn.Parameter(torch.ones(2)))
    gate.place(backbone, built)
    with pytest.raises(BenchError, match=r"loaded: more was not loaded; nothing"):
        gate.check(backbone, built)


def test_another_width_stops_the_run() -> None:
    built = small_model(FPN, drawn("resnet18-w8"))
    other = drawn("resnet18-w16")
    gate.place(other, built)
    with pytest.raises(BenchError, match=r"is \(8, 3, 7, 7\), not \(16, 3, 7, 7\)"):
        gate.check(other, built)


def test_the_norm_that_no_checkpoint_has_is_exempt() -> None:
    backbone = drawn("resnet18-w8")
    built = small_model(C4, backbone)
    gate.place(backbone, built)
    head = built.roi_head.shared_head
    assert set(dict(head.norm.named_parameters())) == {"weight", "bias"}
    with torch.no_grad():
        for tensor in head.norm.state_dict().values():
            tensor.fill_(5)
    gate.check(backbone, built)
    # Only that one: a norm inside of the stage is not.
    with torch.no_grad():
        head.layer4[0].bn1.weight.fill_(5)
    with pytest.raises(BenchError, match=r"layer4\.0\.bn1\.weight"):
        gate.check(backbone, built)


def test_counters_of_batches_do_not_count() -> None:
    backbone = drawn("resnet18-w8")
    built = small_model(FPN, backbone)
    gate.place(backbone, built)
    built.backbone.bn1.num_batches_tracked.fill_(77)
    gate.check(backbone, built)


def loaded(backbone: Backbone, state: dict[str, torch.Tensor], partial: bool) -> None:
    arch = backbone.arch
    backbone.weights = BackboneWeights(
        arch=arch,
        state_dict=state,
        layout="",
        source="",
        sha256="",
        encoder="online",
        coverage=Coverage(matched=1),
        input=backbone.input,
        spec=ArchSpec("resnet", arch, {}),
        partial=partial,
    )


def test_it_is_the_file_that_is_compared_with() -> None:
    """A network that has moved since it was loaded is found out as well."""
    backbone = drawn("resnet18-w8")
    file = {k: v.clone() for k, v in copy.deepcopy(backbone).state_dict().items()}
    loaded(backbone, file, partial=False)
    built = small_model(FPN, backbone)
    gate.place(backbone, built)
    assert gate.check(backbone, built) == 100  # 20 layers of 5 tensors
    file["layer1.0.conv1.weight"][0] += 1
    with pytest.raises(BenchError, match=r"layer1\.0\.conv1\.weight is not what"):
        gate.check(backbone, built)
    # Partial weights leave open what the network drew.
    loaded(backbone, file, partial=True)
    gate.check(backbone, built)


def test_a_file_in_half_precision_is_compared_as_it_was_loaded() -> None:
    backbone = drawn("resnet18-w8")
    half = {k: v.half() for k, v in backbone.state_dict().items()}
    backbone.load_state_dict(half)
    loaded(backbone, half, partial=False)
    built = small_model(FPN, backbone)
    gate.place(backbone, built)
    assert gate.check(backbone, built) == 100

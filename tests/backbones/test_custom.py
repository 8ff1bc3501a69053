"""A network of the user's own, registered in mmengine's MODELS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from ssl_bench import backbones
from ssl_bench.backbones import InputSpec
from ssl_bench.errors import BenchError, CheckpointError, ConfigError
from ssl_bench.registry import MODELS


class Tiny(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.dims = {"final": width}
        self.input = InputSpec((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def forward_taps(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return {"final": self.norm(self.conv(images))}


class NoTaps(nn.Module):
    dims: ClassVar = {"layer": 3}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    MODELS.register_module(name="TinyOfTheTest", module=Tiny)
    MODELS.register_module(name="NoTapsOfTheTest", module=NoTaps)
    yield
    for name in ("TinyOfTheTest", "NoTapsOfTheTest"):
        MODELS.module_dict.pop(name)


def test_it_becomes_a_backbone() -> None:
    made = backbones.custom({"type": "TinyOfTheTest", "width": 5})
    assert made.arch == "TinyOfTheTest"
    assert made.dims == {"final": 5}
    assert made.input.std == (1.0, 1.0, 1.0)
    assert not made.training
    fast = made.for_inference(torch.bfloat16, "cpu")
    batch = torch.randn(2, 3, 8, 8)
    assert fast.forward_taps(batch, ("final",))["final"].dtype == torch.bfloat16
    torch.testing.assert_close(fast(batch).float(), made(batch), rtol=0.05, atol=0.05)
    assert fast.fingerprint == made.fingerprint
    with pytest.raises(BenchError, match="unknown tap of TinyOfTheTest 'layer9'"):
        made.forward_taps(batch, ("layer9",))


def test_its_weights_are_loaded_strictly() -> None:
    donor = Tiny()
    made = backbones.custom({"type": "TinyOfTheTest"}, donor.state_dict())
    batch = torch.randn(2, 3, 8, 8)
    expected = donor.eval().forward_taps(batch, ("final",))["final"]
    torch.testing.assert_close(made(batch), expected)
    state = dict(donor.state_dict())
    state.pop("conv.bias")
    with pytest.raises(CheckpointError, match=r"do not fill TinyOfTheTest.*conv\.bias"):
        backbones.custom({"type": "TinyOfTheTest"}, state)


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean TinyOfTheTest"):
        backbones.custom({"type": "TinyOfTheTests"})


def test_all_that_is_wrong_with_it_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        backbones.custom({"type": "NoTapsOfTheTest"})
    assert len(caught.value.complaints) == 2
    assert "forward_taps" in caught.value.complaints[0]
    assert "needs dims" in caught.value.complaints[1]

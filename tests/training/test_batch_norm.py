"""Batch norm over processes, against torch's on one process with all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, distributed, multiprocessing, nn

from ssl_bench import backbones
from ssl_bench.errors import BenchError
from ssl_bench.training.batch_norm import GatheredBatchNorm, synchronise

STEPS = 3
TOLERANCE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}

# Shape of an image, options of the norm, dtype; mean and deviation of the values.
CASES: Sequence[tuple[tuple[int, ...], dict[str, Any], torch.dtype, float]] = (
    ((5,), {}, torch.float32, 0.0),
    ((5,), {"affine": False, "eps": 1e-6}, torch.float32, 3.0),
    ((5, 7), {"affine": False}, torch.float32, 0.0),
    ((5, 4, 3), {}, torch.float32, -2.0),
    ((5, 4, 3), {"momentum": None}, torch.float64, 0.0),
    ((5, 4, 3), {"track_running_stats": False}, torch.float64, 0.0),
    ((5, 1, 1), {}, torch.float64, 1000.0),
)
SHARES = {2: (6, 3), 3: (5, 0, 4)}
"""Images of each process: never equally many, and once none."""


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def norm_of(case: int, kind: Any = None) -> nn.Module:
    """Return a norm whose affine parameters are not those that it begins with."""
    shape, options, dtype, _ = CASES[case]
    kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
    norm: nn.Module = (kind or kinds[len(shape)])(5, **options).to(dtype)
    for number, parameter in enumerate(norm.parameters()):
        parameter.data.copy_(1 + 0.3 * draw(number, 5))
    return norm


def images_of(case: int, step: int, count: int) -> tuple[Tensor, Tensor]:
    """Return inputs, and what the outputs are multiplied by in the loss."""
    shape, _, dtype, mean = CASES[case]
    made = mean + 1.5 * draw(10 * case + step, count, *shape)
    return made.to(dtype), draw(99 + step, count, *shape).to(dtype)


def steps_of(norm: nn.Module, case: int, count: int, images: slice) -> dict[str, Any]:
    """Train some steps on a part of the images, then evaluate on all of them."""
    found: dict[str, Any] = {"out": [], "grad": []}
    for step in range(STEPS):
        values, slopes = images_of(case, step, count)
        values = values[images].requires_grad_(True)
        out = norm(values)
        (out * slopes[images]).sum().backward()
        assert values.grad is not None
        found["out"].append(out.detach())
        found["grad"].append(values.grad)
    found |= {f"grad of {n}": p.grad for n, p in norm.named_parameters()}
    found |= {name: buffer.clone() for name, buffer in norm.named_buffers()}
    norm.eval()
    found["evaluated"] = norm(images_of(case, 0, count)[0]).detach()
    return found


def _work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    shares = SHARES[world]
    part = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    found: dict[str, Any] = {
        "cases": [
            steps_of(synchronise(norm_of(case), "cpu"), case, sum(shares), part)
            for case in range(len(CASES))
        ],
        "refused": _refused(),
        "network": _network(part, sum(shares)),
        "half": GatheredBatchNorm(5)(images_of(0, 0, 9)[0][part].bfloat16()).detach(),
    }
    torch.save(found, Path(folder) / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def _refused() -> list[str]:
    """Provoke the complaints; the first process alone has an image."""
    norm, said = GatheredBatchNorm(5), []
    one = torch.zeros(1 if distributed.get_rank() == 0 else 0, 5)
    for values in (one, torch.zeros(2, 4), torch.zeros(2, 5, 2, 2, 2)):
        try:
            norm(values)
        except BenchError as error:
            said.append(str(error))
    return said


NETWORK = "resnet18-w8-cifar"


def _network(part: slice, count: int) -> dict[str, Any]:
    """Compute gradients of a whole network, as DDP would add them up."""
    network = backbones.build(NETWORK, 0).train()
    kept = {id(p): name for name, p in network.named_parameters()}
    names = list(network.state_dict())
    assert synchronise(network, "cpu") is network
    norms = [m for m in network.modules() if isinstance(m, GatheredBatchNorm)]
    return {
        **_gradients(network, part, count),
        "same": kept == {id(p): name for name, p in network.named_parameters()}
        and names == list(network.state_dict()),
        "norms": len(norms),
    }


def _gradients(network: nn.Module, part: slice, count: int) -> dict[str, Any]:
    images = draw(4, count, 3, 16, 16).float()
    with_slopes = draw(5, count, 64, 2, 2).float()
    out = network(images[part])
    (out * with_slopes[part]).sum().backward()
    return {
        "out": out.detach(),
        "grads": {name: p.grad for name, p in network.named_parameters()},
        "buffers": dict(network.named_buffers()),
    }


@pytest.fixture(scope="module", params=[2, 3])
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What every process of a group of them found."""
    world: int = request.param
    folder = tmp_path_factory.mktemp(f"gloo{world}")
    multiprocessing.spawn(_work, (world, str(folder)), nprocs=world)
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_processes_compute_what_one_would(
    together: list[dict[str, Any]], case: int
) -> None:
    count = sum(SHARES[len(together)])
    alone = steps_of(norm_of(case), case, count, slice(None))
    parts = [found["cases"][case] for found in together]
    for key in ("out", "grad"):
        for step in range(STEPS):
            joined = torch.cat([part[key][step] for part in parts])
            torch.testing.assert_close(joined, alone[key][step], **TOLERANCE)
    for key, expected in alone.items():
        if key.startswith("grad of"):
            added = sum(part[key] for part in parts)
            torch.testing.assert_close(added, expected, **TOLERANCE)
        elif key not in ("out", "grad"):
            for part in parts:
                torch.testing.assert_close(part[key], expected, **TOLERANCE)


def test_half_precision_stays_and_is_close(together: list[dict[str, Any]]) -> None:
    out = torch.cat([found["half"] for found in together])
    assert out.dtype == torch.bfloat16
    expected = nn.BatchNorm1d(5)(images_of(0, 0, 9)[0].bfloat16().float())
    torch.testing.assert_close(out.float(), expected.detach(), rtol=8e-3, atol=8e-3)


def test_what_cannot_be_normed_is_refused(together: list[dict[str, Any]]) -> None:
    for found in together:
        few, narrow, deep = found["refused"]
        assert "all processes together have one" in few
        assert "a batch norm of 5 channels takes" in narrow and "(2, 4)" in narrow
        assert "(2, 5, 2, 2, 2)" in deep


def test_a_network_is_synchronised_in_place(together: list[dict[str, Any]]) -> None:
    parts = [found["network"] for found in together]
    assert [(part["same"], part["norms"]) for part in parts] == [(True, 20)] * len(
        parts
    )
    network = backbones.build(NETWORK, 0).train()
    # Every norm of the network is one: its convolutions' twenty.
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 20
    alone = _gradients(network, slice(None), sum(SHARES[len(parts)]))
    joined = torch.cat([part["out"] for part in parts])
    torch.testing.assert_close(joined, alone["out"], rtol=1e-5, atol=1e-5)
    for name, expected in alone["grads"].items():
        added = sum(part["grads"][name] for part in parts)
        scale = float(expected.abs().max())
        torch.testing.assert_close(added, expected, rtol=0, atol=1e-5 * scale)
    for part in parts:
        _same(part["buffers"], alone["buffers"])


def _same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_alone_it_is_torchs_own_to_the_bit(case: int) -> None:
    ours = steps_of(norm_of(case, GatheredBatchNorm), case, 9, slice(None))
    alone = steps_of(norm_of(case), case, 9, slice(None))
    assert ours.keys() == alone.keys()
    for key, expected in alone.items():
        torch.testing.assert_close(ours[key], expected, rtol=0, atol=0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_one_process_changes_nothing(device: str) -> None:
    norm = nn.BatchNorm1d(3)
    assert synchronise(norm, device) is norm
    network = nn.Sequential(norm, nn.Linear(3, 2))
    assert synchronise(network, device) is network and network[0] is norm


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there are two processes."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)


@pytest.mark.usefixtures("two")
def test_the_kind_goes_with_the_device() -> None:
    made = {
        device: synchronise(nn.Sequential(nn.BatchNorm2d(3)), device)
        for device in ("cpu", "cuda")
    }
    assert type(made["cpu"].get_submodule("0")) is GatheredBatchNorm
    assert type(made["cuda"].get_submodule("0")) is nn.SyncBatchNorm


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_everything_of_a_norm_is_kept(device: str) -> None:
    norm = nn.BatchNorm1d(3, eps=0.1, momentum=0.7).eval()
    norm.bias.requires_grad_(False)
    network = nn.ModuleDict({"first": norm, "again": norm, "other": nn.Linear(3, 2)})
    state = {name: value.data_ptr() for name, value in network.state_dict().items()}
    new: Any = synchronise(network, device).get_submodule("first")
    assert (new.eps, new.momentum, new.training) == (0.1, 0.7, False)
    assert new.weight is norm.weight and not new.bias.requires_grad
    assert new.running_mean is norm.running_mean
    told = {name: value.data_ptr() for name, value in network.state_dict().items()}
    assert told == state
    if device == "cpu":
        assert network["again"] is new
    bare: Any = synchronise(
        nn.BatchNorm1d(3, affine=False, track_running_stats=False), device
    )
    assert bare.weight is None and bare.bias is None and bare.running_mean is None


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_activation_of_a_norm_is_kept(device: str) -> None:
    norm = BatchNormAct2d(3, act_layer=nn.ReLU).eval()
    values = draw(1, 2, 3, 4, 4).float()
    expected = norm(values.clone()).detach()
    new = synchronise(nn.Sequential(norm), device)
    assert torch.equal(new.eval()(values), expected)
    assert float(expected.min()) == 0.0

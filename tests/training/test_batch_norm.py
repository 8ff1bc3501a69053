"""Batch norm over processes equals batch norm over their batches put together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from ssl_bench.errors import BenchError
from ssl_bench.training.batch_norm import GatheredBatchNorm, synchronise

SHAPES = {"rows": (7, 3), "places": (7, 3, 5), "maps": (7, 3, 4, 2)}
SHARES = {2: (4, 3), 3: (5, 2, 0)}
"""How the seven images are shared: unevenly, and with a process that gets none."""


def made(shape: tuple[int, ...], affine: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a norm, its input and the weights of its output in the loss."""
    draw = torch.Generator().manual_seed(4)
    norm = nn.BatchNorm2d(shape[1], eps=1e-4, momentum=0.3, affine=affine)
    if affine:
        norm.weight.data.normal_(generator=draw)
        norm.bias.data.normal_(generator=draw)
    images = torch.randn(shape, generator=draw) * 3 + 5
    return norm, images, torch.randn(shape, generator=draw)


def work(
    rank: int, world: int, shape: tuple[int, ...], affine: bool, folder: str
) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world
    )
    norm, images, slopes = made(shape, affine)
    holder = nn.Sequential(norm)
    state = {name: value.clone() for name, value in holder.state_dict().items()}
    synchronise(holder, "cpu")
    assert isinstance(holder[0], GatheredBatchNorm)
    assert holder.state_dict().keys() == state.keys()
    own = slice(sum(SHARES[world][:rank]), sum(SHARES[world][: rank + 1]))
    part = images[own].clone().requires_grad_(True)
    normed = holder.train()(part)
    (normed * slopes[own]).sum().backward()
    grads = [p.grad for p in holder.parameters()]
    for grad in grads:
        distributed.all_reduce(grad)
    found = {
        "normed": normed.detach(),
        "input": part.grad,
        "parameters": grads,
        "state": holder.state_dict(),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world", SHARES)
@pytest.mark.parametrize(
    ("shape", "affine"), [("rows", False), ("places", False), ("maps", True)]
)
def test_processes_are_one(
    world: int, shape: str, affine: bool, tmp_path: Path
) -> None:
    multiprocessing.spawn(
        work, (world, SHAPES[shape], affine, str(tmp_path)), nprocs=world
    )
    norm, images, slopes = made(SHAPES[shape], affine)
    images.requires_grad_(True)
    # torch's own, on all images at once, with the axes that it takes.
    wide = images.flatten(2) if images.ndim > 2 else images[:, :, None]
    normed = norm.train()(wide[..., None])[..., 0].view_as(images)
    (normed * slopes).sum().backward()

    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(
        torch.cat([part["normed"] for part in parts]), normed.detach(), **close
    )
    torch.testing.assert_close(
        torch.cat([part["input"] for part in parts]), images.grad, **close
    )
    for part in parts:
        for ours, parameter in zip(part["parameters"], norm.parameters(), strict=True):
            torch.testing.assert_close(ours, parameter.grad, rtol=1e-6, atol=1e-5)
        for name, value in norm.state_dict().items():
            torch.testing.assert_close(part["state"][f"0.{name}"], value, **close)


def test_alone_nothing_is_replaced() -> None:
    holder = nn.Sequential(nn.BatchNorm1d(3))
    assert synchronise(holder, "cpu") is holder
    assert type(holder[0]) is nn.BatchNorm1d


def test_a_wrong_shape_is_named() -> None:
    norm = GatheredBatchNorm(3)
    with pytest.raises(BenchError, match=r"\(N, C, H, W\), not \(2, 4\)"):
        norm(torch.zeros(2, 4))

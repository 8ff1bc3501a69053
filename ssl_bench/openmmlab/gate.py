"""The weights of a backbone inside a detector or segmentor: placed, then proven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench.backbones import COUNTER, Backbone
from ssl_bench.errors import BenchError

_SHOWN = 3


def place(backbone: Backbone, model: nn.Module) -> None:
    """Copy a network's tensors to where the model has them.

    Args:
        backbone: the loaded network.
        model: a detector or segmentor, freshly initialised.
    """
    homes = _homes(model)
    with torch.no_grad():
        for name, tensor in backbone.state_dict().items():
            home = homes.get(name)
            if home is not None and home.shape == tensor.shape:
                home.copy_(tensor)


def check(backbone: Backbone, model: nn.Module) -> int:
    """Compare every tensor of backbone and shared head with the checkpoint's.

    Args:
        backbone: the loaded network.
        model: the model about to be trained.

    Returns:
        The number of tensors that were compared.

    Raises:
        BenchError: for a tensor that differs, that the model lacks, or that no tensor
            of the checkpoint fills.
    """
    homes, wanted = _homes(model), _wanted(backbone)
    wrong = [f"{name} is not in the model" for name in wanted if name not in homes]
    wrong += [f"{name} was not loaded" for name in homes if name not in wanted]
    for name, tensor in wanted.items():
        home = homes.get(name)
        if home is None:
            continue
        if home.shape != tensor.shape:
            wrong.append(f"{name} is {tuple(home.shape)}, not {tuple(tensor.shape)}")
        elif not torch.equal(home.detach().cpu(), tensor.to(home.dtype)):
            wrong.append(f"{name} is not what the checkpoint holds")
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BenchError(
            f"the {backbone.arch} about to be trained is not what was loaded: "
            f"{'; '.join(wrong[:_SHOWN])}{more}; nothing was trained: please report it "
            "with the config"
        )
    return len(wanted)


def _wanted(backbone: Backbone) -> dict[str, Tensor]:
    """Return the checkpoint's tensors; the network's own where there is no file."""
    state: Mapping[str, Tensor] = backbone.state_dict()
    if backbone.weights is not None and not backbone.weights.partial:
        state = {**state, **backbone.weights.state_dict}
    return {name: tensor for name, tensor in state.items() if not _counts(name)}


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def _homes(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's tensors by the names of the backbone's."""
    inner: Any = model
    network = getattr(inner.backbone, "network", inner.backbone)
    found = dict(network.state_dict(keep_vars=True))
    shared = getattr(getattr(inner, "roi_head", None), "shared_head", None)
    if shared is not None:
        extra = f"{getattr(shared, 'norm_name', '')}."
        found |= {
            name: tensor
            for name, tensor in shared.state_dict(keep_vars=True).items()
            if not name.startswith(extra)
        }
    return {name: tensor for name, tensor in found.items() if not _counts(name)}

"""A Swin transformer V2 in torchvision's names.

Source: ``torchvision.models.swin_transformer``. One bias is there for queries, keys and
values; the keys' part of it is set to zero before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints import swin_buffers, torchvision_swin
from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "torchvision_swin_v2"
PRODUCERS = (Producer("torchvision", "torchvision (Swin V2)"),)

_JOINT = ".attn.qkv.bias"
_QUERY, _VALUE = ".attn.q_bias", ".attn.v_bias"
_STAGE = re.compile(r"features\.(\d*[13579])(\..+)")


def rename(key: str) -> str | None:
    """Return timm's name of a tensor, the bias under that of the queries."""
    ours = torchvision_swin.rename(key)
    if ours is None or not ours.endswith(_JOINT):
        return ours
    return ours.removesuffix(_JOINT) + _QUERY


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the bias apart."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        if name.endswith(_QUERY) and tensor.ndim == 1 and len(tensor) % 3 == 0:
            width = len(tensor) // 3
            found[name] = tensor[:width]
            found[name.removesuffix(_QUERY) + _VALUE] = tensor[2 * width :]
    return found


def shown(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the windows that the tables show, and the size of images they fill."""
    inner = {}
    for key, tensor in tensors.items():
        place = _STAGE.fullmatch(key)
        if place:
            inner[f"{int(place[1]) // 2}{place[2]}"] = tensor
    found = swin_buffers.shown(inner, "{stage}.{block}.attn.")
    return swin_buffers.with_size(found, tensors.get("features.0.0.weight"))


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=torchvision_swin.ANCHORS,
    needs=("*.logit_scale",),
    drop=swin_buffers.DROP,
    finish=finish,
    shown=shown,
)

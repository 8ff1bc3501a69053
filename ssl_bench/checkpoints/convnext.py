"""ConvNeXt of either version in the names of the official repositories.

Source: ``facebookresearch/ConvNeXt`` ``models/convnext.py`` and
``facebookresearch/ConvNeXt-V2`` ``models/convnextv2.py``; pre-trained alone (FCMAE), a
network has no last norm. ``facebookresearch/dinov3`` has the last norm twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ssl_bench.checkpoints.layout import Naming, Producer

LAYOUT = "convnext"
PRODUCERS = (
    Producer("convnext", "facebookresearch/ConvNeXt"),
    Producer("convnext_v2", "facebookresearch/ConvNeXt-V2"),
    Producer("dinov3", "facebookresearch/dinov3, ConvNeXt"),
)

AFFINE = r"(?:weight|bias)"
_KEY = re.compile(
    rf"downsample_layers\.(?P<down>[0-3])\.(?P<part>[01]\.{AFFINE})"
    rf"|stages\.(?P<stage>[0-3])\.(?P<block>\d+)\.(?:(?P<gamma>gamma)"
    rf"|(?P<layer>dwconv|norm|pwconv1|pwconv2)\.(?P<kind>{AFFINE})"
    r"|grn\.(?P<grn>gamma|beta))"
    rf"|norm\.(?P<last>{AFFINE})"
)
_LAYERS = {
    "dwconv": "conv_dw",
    "norm": "norm",
    "pwconv1": "mlp.fc1",
    "pwconv2": "mlp.fc2",
}
GRN = {"gamma": "weight", "beta": "bias"}


def rename(key: str) -> str | None:
    """Return our name of a tensor; None for one that no ConvNeXt has."""
    return our_name(_KEY.fullmatch(key), _LAYERS)


def our_name(found: re.Match[str] | None, layers: Mapping[str, str]) -> str | None:
    """Return our name of a tensor of any ConvNeXt; None for what is none.

    Args:
        found: what a code base's pattern found in a key. Its groups are ``last`` for
            the last norm, ``part`` for what stands before a stage (``down``, or else
            ``stage``), and in a ``block`` of a ``stage`` a ``layer`` with its
            ``kind``, a ``gamma`` or a ``grn``.
        layers: our names by theirs.
    """
    if found is None:
        return None
    said = found.groupdict()
    if said["last"]:
        return f"head.norm.{said['last']}"
    if said["part"]:
        return downsampling(int(said.get("down") or said["stage"]), said["part"])
    start = f"stages.{said['stage']}.blocks.{said['block']}"
    if said["layer"]:
        return f"{start}.{layers[said['layer']]}.{said['kind']}"
    if said.get("grn"):
        return f"{start}.mlp.grn.{GRN[said['grn']]}"
    return f"{start}.gamma"


def downsampling(stage: int, part: str) -> str:
    """Return our name of what stands before a stage; before the first is the stem."""
    return f"stages.{stage}.downsample.{part}" if stage else f"stem.{part}"


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the axes of length 1 away that others have beside the channels."""
    return {name: _squeezed(name, tensor) for name, tensor in tensors.items()}


def _squeezed(name: str, tensor: Tensor) -> Tensor:
    """Return scales as vectors and 1x1 convolutions as matrices."""
    if name.endswith((".mlp.fc1.weight", ".mlp.fc2.weight")):
        is_convolution = tensor.ndim == 4 and tensor.shape[2:] == (1, 1)
        return tensor.flatten(1) if is_convolution else tensor
    is_scale = name.endswith((".gamma", ".mlp.grn.weight", ".mlp.grn.bias"))
    return tensor.flatten() if is_scale and tensor.ndim > 1 else tensor


NAMING = Naming(
    LAYOUT,
    rename,
    anchors=(
        "downsample_layers.0.0.weight",
        "stages.0.0.dwconv.weight",
        "stages.3.0.dwconv.weight",
        "stages.0.0.pwconv1.weight",
    ),
    needs=("*.dwconv.weight",),
    drop={"last norm once more": ("norms.3.",)},
    finish=finish,
)

"""ConvNeXt, the first and the second version, of any depth and width; timm's names.

Source: Liu et al., A ConvNet for the 2020s, CVPR 2022; Woo et al., ConvNeXt V2, CVPR
2023 (global response norm in place of layer scale). Taps: ``stem``, ``layer1`` to
``layer4`` (maps after a stage) and ``final``, the layer norm of the mean of the last
map, as a map of one pixel: that is the vector before the classifier.

Names: ``convnext_tiny``, ``convnextv2_tiny``; other sizes by blocks and channels,
``convnext_d1.1.2.1_c8.16.32.64``. Then, where they differ: ``-k5`` kernel, ``-p2``
patch of the stem, ``-nols`` no layer scale (``-ls`` in version 2), ``-nonorm`` no last
norm, ``-eps1e-05`` eps of the norms and ``-finaleps1e-12`` eps of the last one only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from timm.models.convnext import ConvNeXt as TimmConvNeXt
from torch import Tensor, nn

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.weights import ArchSpec

FAMILY = "convnext"
EXAMPLES = (
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "convnext_large",
    "convnextv2_atto",
    "convnextv2_tiny",
    "convnextv2_base",
)
HIDDEN = ("eps", "final_eps")
"""Options that the weights do not show: a name, a layout or a producer says them."""

SIZES: dict[str, tuple[tuple[int, ...], int]] = {
    "atto": ((2, 2, 6, 2), 40),
    "femto": ((2, 2, 6, 2), 48),
    "pico": ((2, 2, 6, 2), 64),
    "nano": ((2, 2, 8, 2), 80),
    "tiny": ((3, 3, 9, 3), 96),
    "small": ((3, 3, 27, 3), 96),
    "base": ((3, 3, 27, 3), 128),
    "large": ((3, 3, 27, 3), 192),
    "xlarge": ((3, 3, 27, 3), 256),
    "huge": ((3, 3, 27, 3), 352),
    "xxlarge": ((3, 4, 30, 3), 384),
}
"""Blocks of each stage and channels of the first; they double from stage to stage."""

STAGES = 4
KERNEL = 7
PATCH = 4
EPS = 1e-6
MLP_RATIO = 4
LAYER_SCALE_START = 1e-6

NAME = re.compile(
    r"convnext(?P<v2>v2)?_(?:(?P<size>[a-z]+)"
    r"|d(?P<depths>\d+(?:\.\d+){3})_c(?P<dims>\d+(?:\.\d+){3}))"
    r"(?:-k(?P<kernel>\d+))?(?:-p(?P<patch>\d+))?(?P<scale>-ls|-nols)?"
    r"(?P<nonorm>-nonorm)?(?:-eps(?P<eps>1e-\d\d))?(?:-finaleps(?P<final>1e-\d\d))?"
)


class ConvNeXt(Backbone, TimmConvNeXt):  # type: ignore[misc]
    """Compute the maps of a ConvNeXt.

    Args:
        arch: its name.
        depths: number of blocks of each of the four stages.
        dims: channels of each of the four stages.
        kernel: pixels of an edge of the depthwise convolutions.
        patch: pixels of an edge that the stem makes one of.
        grn: whether there is global response norm, as in version 2.
        layer_scale: whether each branch has a learnt scale, as in version 1.
        final_norm: whether there is a norm after the pooling.
        eps: of every layer norm.
        final_eps: of the last layer norm; None for the same.
    """

    def __init__(
        self,
        arch: str,
        *,
        depths: tuple[int, ...],
        dims: tuple[int, ...],
        kernel: int,
        patch: int,
        grn: bool,
        layer_scale: bool,
        final_norm: bool,
        eps: float,
        final_eps: float | None,
    ) -> None:
        TimmConvNeXt.__init__(
            self,
            num_classes=0,
            depths=depths,
            dims=dims,
            kernel_sizes=kernel,
            ls_init_value=LAYER_SCALE_START if layer_scale else None,
            patch_size=patch,
            use_grn=grn,
            norm_eps=eps,
        )
        inner: Any = self
        inner.head.norm.eps = eps if final_eps is None else final_eps
        if not final_norm:
            inner.head.norm = nn.Identity()
        self.final_norm = final_norm
        self.arch = arch
        self.dims = {"stem": dims[0]}
        self.dims |= {f"layer{index}": dim for index, dim in enumerate(dims, start=1)}
        self.dims[self.FINAL] = dims[-1]

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute maps (B, C, H, W); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        found: dict[str, Tensor] = {}
        inner: Any = self
        map_BCHW = inner.stem(self.prepare(images_BCHW))
        if "stem" in left:
            found["stem"] = map_BCHW
            left.discard("stem")
        for index, stage in enumerate(inner.stages, start=1):
            if not left:
                break
            map_BCHW = stage(map_BCHW)
            if f"layer{index}" in left:
                found[f"layer{index}"] = map_BCHW
                left.discard(f"layer{index}")
        if self.FINAL in left and self.final_norm:
            map_BCHW = inner.head.norm(map_BCHW.mean((2, 3), keepdim=True))
        if self.FINAL in left:
            found[self.FINAL] = map_BCHW
        return found

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the final tap, not timm's classifier output."""
        return Backbone.forward(self, images_BCHW)


def parse(arch: str) -> ArchSpec | None:
    """Return the architecture that a name stands for; None if it is no ConvNeXt."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    depths, dims = _numbers(found["depths"]), _numbers(found["dims"])
    if found["size"]:
        if found["size"] not in SIZES:
            return None
        depths, width = SIZES[found["size"]]
        dims = tuple(width << stage for stage in range(STAGES))
    grn = found["v2"] is not None
    kernel, patch = int(found["kernel"] or KERNEL), int(found["patch"] or PATCH)
    if 0 in (*depths, *dims, kernel, patch) or patch > PATCH:
        return None
    made = spec(
        depths=depths,
        dims=dims,
        kernel=kernel,
        patch=patch,
        grn=grn,
        layer_scale=not grn if not found["scale"] else found["scale"] == "-ls",
        final_norm=found["nonorm"] is None,
        eps=float(found["eps"] or EPS),
        final_eps=float(found["final"]) if found["final"] else None,
    )
    return made if made.name == arch else None


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    return ConvNeXt(spec.name, **spec.options)


def infer(state_dict: Mapping[str, Tensor]) -> ArchSpec | str:
    """Read blocks and channels off names and shapes.

    Args:
        state_dict: tensors in timm's names.

    Returns:
        The architecture, or the reason why these are not the weights of one.
    """
    stem = state_dict.get("stem.0.weight")
    if stem is None or not any(name.endswith(".conv_dw.weight") for name in state_dict):
        missing = "stem.0.weight" if stem is None else "conv_dw.weight in any block"
        return f"there is no {missing}"
    if stem.ndim != 4 or stem.shape[1] != 3 or stem.shape[2] != stem.shape[3]:
        return (
            f"stem.0.weight has shape {tuple(stem.shape)}; a ConvNeXt's is (width, 3, "
            "patch, patch), on colour images"
        )
    if getattr(state_dict.get("stem.1.weight"), "ndim", 1) != 1:
        return "its stem has two convolutions; only stems of patches are supported"
    if any(name.startswith("norm_pre.") for name in state_dict):
        return "it has its last norm before the pooling, which is not supported"
    depths = [_count(state_dict, stage) for stage in range(STAGES)]
    kernels = [_depthwise(state_dict, stage) for stage in range(STAGES)]
    if 0 in depths or not all(kernels):
        return "there are not four stages of blocks with a depthwise convolution"
    dims, edges = zip(*filter(None, kernels), strict=True)
    if len(set(edges)) > 1:
        return f"its stages have kernels of {', '.join(map(str, edges))} pixels"
    if stem.shape[2] > PATCH:
        # timm trades the last stride for a dilation there; other codes do not.
        return (
            f"its stem has patches of {stem.shape[2]} pixels; up to {PATCH} are "
            "supported"
        )
    if stem.shape[2] == 2 and "stages.0.downsample.1.weight" not in state_dict:
        return "its stem has patches of 2 pixels and its first stage no downsampling"
    return spec(
        depths=tuple(depths),
        dims=dims,
        kernel=edges[0],
        patch=stem.shape[2],
        grn=any(".mlp.grn." in name for name in state_dict),
        layer_scale=any(name.endswith(".gamma") for name in state_dict),
        final_norm=any(name.startswith("head.norm.") for name in state_dict),
    )


def spec(
    *,
    depths: tuple[int, ...],
    dims: tuple[int, ...],
    kernel: int = KERNEL,
    patch: int = PATCH,
    grn: bool = False,
    layer_scale: bool = True,
    final_norm: bool = True,
    eps: float = EPS,
    final_eps: float | None = None,
) -> ArchSpec:
    """Name an architecture by its options; see `ConvNeXt`."""
    if final_eps == eps or not final_norm:
        final_eps = None
    doubled = tuple(dims[0] << stage for stage in range(STAGES))
    sizes = (size for size, known in SIZES.items() if known == (depths, dims[0]))
    size = next(sizes, None) if doubled == dims else None
    name = "convnextv2_" if grn else "convnext_"
    name += size or f"d{'.'.join(map(str, depths))}_c{'.'.join(map(str, dims))}"
    parts = {
        f"-k{kernel}": kernel != KERNEL,
        f"-p{patch}": patch != PATCH,
        "-ls" if layer_scale else "-nols": layer_scale == grn,
        "-nonorm": not final_norm,
        f"-eps{eps:.0e}": eps != EPS,
        f"-finaleps{final_eps or 0:.0e}": final_eps is not None,
    }
    options = {
        "depths": tuple(depths),
        "dims": tuple(dims),
        "kernel": kernel,
        "patch": patch,
        "grn": grn,
        "layer_scale": layer_scale,
        "final_norm": final_norm,
        "eps": eps,
        "final_eps": final_eps,
    }
    suffix = "".join(part for part, said in parts.items() if said)
    return ArchSpec(FAMILY, name + suffix, options)


def _count(state_dict: Mapping[str, Tensor], stage: int) -> int:
    """Count the blocks of a stage."""
    start = f"stages.{stage}.blocks."
    return len(
        {n[len(start) :].split(".")[0] for n in state_dict if n.startswith(start)}
    )


def _depthwise(state_dict: Mapping[str, Tensor], stage: int) -> tuple[int, int] | None:
    """Return channels and kernel of a stage: from any block, as one may be damaged."""
    for index in range(_count(state_dict, stage)):
        weight = state_dict.get(f"stages.{stage}.blocks.{index}.conv_dw.weight")
        if weight is not None and weight.ndim == 4:
            return weight.shape[0], weight.shape[2]
    return None


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (text or "0").split("."))

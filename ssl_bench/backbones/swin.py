"""Swin transformers V1 and V2: timm's, in timm's names, of any width and depth.

Source: Liu et al., Swin Transformer, ICCV 2021, and Swin Transformer V2, CVPR 2022.
Taps: ``stem`` (patches after their norm), ``layer1`` to ``layer4`` (maps after a stage,
before the next one merges patches), and ``final`` (the last map after the last norm).

Windows and masks belong to one size of images, which the name says:
``swin_tiny_patch4_window7_224``. No tensor shows that size, nor the windows of a V2,
nor the windows that a V2 was trained on before (``..._pre12-12-12-6_256``), which scale
the coordinates that its biases are computed from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.swin_attention import FoldedAttention
from ssl_bench.backbones.swin_names import infer, parse, spec
from ssl_bench.backbones.swin_windows import let_any_size
from ssl_bench.backbones.weights import IMAGENET_INPUT, ArchSpec, InputSpec
from ssl_bench.errors import BenchError

__all__ = ["EXAMPLES", "FAMILY", "HIDDEN", "build", "infer", "parse", "spec"]

FAMILY = "swin"
EXAMPLES = (
    "swin_tiny_patch4_window7_224",
    "swin_small_patch4_window7_224",
    "swin_base_patch4_window7_224",
    "swin_large_patch4_window7_224",
    "swinv2_tiny_patch4_window8_256",
    "swinv2_small_patch4_window8_256",
    "swinv2_base_patch4_window8_256",
)
HIDDEN = ("size", "windows", "pretrained", "eps")
"""Options that the weights do not show: the windows of a V1 are seen in its tables."""


class Swin(Backbone):
    """Compute the maps of a Swin transformer: what both versions share."""

    size: int
    any_size: bool = False

    def _set_up(
        self, arch: str, embed: int, stages: int, size: int, patch: int, ape: bool
    ) -> None:
        """Add what timm's class has not."""
        self.arch = arch
        self.size = size
        self.input = InputSpec(IMAGENET_INPUT.mean, IMAGENET_INPUT.std, size=size)
        self.dims = {"stem": embed}
        self.dims |= {f"layer{stage + 1}": embed << stage for stage in range(stages)}
        self.dims[self.FINAL] = embed << (stages - 1)
        if ape:
            count = (size // patch) ** 2
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, count, embed))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        add_hook: Any = self.register_load_state_dict_post_hook
        add_hook(_rebuild)

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute maps (B, C, H, W); see `Backbone.forward_taps`."""
        left = set(self.check_taps(taps))
        images_BCHW = self.prepare(images_BCHW)
        self._check_size(images_BCHW)
        found: dict[str, Tensor] = {}
        inner: Any = self
        map_BHWC = inner.patch_embed(images_BCHW)
        if hasattr(self, "absolute_pos_embed"):
            map_BHWC = map_BHWC + self.absolute_pos_embed.view(1, *map_BHWC.shape[1:])
        if "stem" in left:
            found["stem"] = map_BHWC.permute(0, 3, 1, 2)
            left.discard("stem")
        for index, stage in enumerate(inner.layers, start=1):
            if not left:
                break
            map_BHWC = stage(map_BHWC)
            if f"layer{index}" in left:
                found[f"layer{index}"] = map_BHWC.permute(0, 3, 1, 2)
                left.discard(f"layer{index}")
        if self.FINAL in left:
            found[self.FINAL] = inner.norm(map_BHWC).permute(0, 3, 1, 2)
        return found

    @property
    def one_size(self) -> str:
        """Why images must have the size in the name."""
        if isinstance(self, SwinV1) and not hasattr(self, "absolute_pos_embed"):
            return ""
        return (
            f"{self.arch} is tied to images of {self.size} x {self.size} pixels, and "
            "detection and segmentation have images of any size; take a Swin V1 "
            "without absolute positions"
        )

    def _check_size(self, images_BCHW: Tensor) -> None:
        height, width = images_BCHW.shape[2:]
        if not self.any_size and (height, width) != (self.size, self.size):
            other = f"{self.arch.rpartition('_')[0]}_{height}"
            hint = f", or --arch {other}" if height == width and parse(other) else ""
            raise BenchError(
                f"{self.arch} has windows for images of {self.size} x {self.size} "
                f"pixels, these are {height} x {width}; choose a transform that ends "
                f"at {self.size} pixels{hint}"
            )


class SwinV1(Swin, SwinTransformer):  # type: ignore[misc]
    """Compute the maps of a Swin transformer V1.

    Args:
        arch: its name.
        options: as `swin_names.spec` takes them.
    """

    def __init__(self, arch: str, **options: Any) -> None:
        SwinTransformer.__init__(self, **_arguments(options))
        self._set_up(arch, **_own(options))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the last map after its norm, not timm's classifier output."""
        return Backbone.forward(self, images_BCHW)

    def take_any_size(self) -> None:
        """Cut maps of any size into the windows of the weights."""
        super().take_any_size()
        inner: Any = self
        self.any_size = True
        inner.patch_embed.strict_img_size = False
        inner.patch_embed.dynamic_img_pad = True
        for stage in inner.layers:
            for index, block in enumerate(stage.blocks):
                let_any_size(block, shifted=index % 2 == 1)


class SwinV2(Swin, SwinTransformerV2):  # type: ignore[misc]
    """Compute the maps of a Swin transformer V2.

    Args:
        arch: its name.
        options: as `swin_names.spec` takes them.
    """

    def __init__(self, arch: str, **options: Any) -> None:
        pretrained = options["pretrained"] or (0,) * len(options["depths"])
        SwinTransformerV2.__init__(
            self, pretrained_window_sizes=pretrained, **_arguments(options)
        )
        self._set_up(arch, **_own(options))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the last map after its norm, not timm's classifier output."""
        return Backbone.forward(self, images_BCHW)

    @torch.no_grad()
    def fold(self) -> None:
        """Compute every window's biases once."""
        inner: Any = self
        for stage in inner.layers:
            for block in stage.blocks:
                block.attn = FoldedAttention(block.attn)


def build(spec: ArchSpec) -> Backbone:
    """Build the network with random weights drawn from torch's generator."""
    kind = SwinV2 if spec.options["version"] == 2 else SwinV1
    return kind(spec.name, **spec.options)


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Return what both of timm's classes are told.

    A window is given as a pair per stage: two bare numbers would be height and width.
    """
    return {
        "img_size": options["size"],
        "patch_size": options["patch"],
        "num_classes": 0,
        "embed_dim": options["embed"],
        "depths": options["depths"],
        "num_heads": options["heads"],
        "window_size": tuple((edge, edge) for edge in options["windows"]),
        "drop_path_rate": 0.0,
        "norm_layer": functools.partial(nn.LayerNorm, eps=options["eps"]),
    }


def _own(options: dict[str, Any]) -> dict[str, Any]:
    """Return what `Swin._set_up` is told."""
    kept = {name: options[name] for name in ("embed", "size", "patch", "ape")}
    return {**kept, "stages": len(options["depths"])}


def _rebuild(network: nn.Module, _: Any) -> None:
    """Compute the indices, masks and coordinates that no file is asked for.

    A network made without memory (meta) has none of them until its weights are there.
    """
    for module in network.modules():
        empty = {
            n: b for n, b in module._buffers.items() if b is not None and b.is_meta
        }
        for name, buffer in empty.items():
            module._buffers[name] = torch.empty_like(buffer, device="cpu")
        if empty:
            inner: Any = module
            inner.init_non_persistent_buffers()

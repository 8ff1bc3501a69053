"""A network with named taps: what every frozen and every trained protocol starts from.

Axes: B batch, C channels, H and W of images and maps, T tokens, D token width.
"""

from __future__ import annotations

import copy
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ssl_bench.backbones.weights import (
    IMAGENET_INPUT,
    BackboneWeights,
    InputSpec,
    fingerprint,
)
from ssl_bench.errors import BenchError, unknown

AVERAGE, CLASS_TOKEN, PATCH_MEAN = "average", "class_token", "patch_mean"
"""What `Backbone.tap_pooling` may be; `ssl_bench.pooling` does it."""


class Backbone(nn.Module):
    """Compute named taps of a network.

    Attributes:
        arch: name of the architecture.
        dims: channels (maps) or width (tokens) of every tap, in order of depth.
        input: statistics and size of the images that the weights were made for.
        tap_pooling: how the final tap becomes one vector: ``average`` over a map,
            ``class_token``, or ``patch_mean`` over the tokens that are patches.
        num_prefix_tokens: tokens before the patches; 0 for maps.
        weights: where the parameters came from; None for random initialisation.
        own_facts: what moves a feature and stands neither in ``arch`` nor in a tensor;
            part of the fingerprint.
    """

    FINAL: ClassVar[str] = "final"

    arch: str
    dims: dict[str, int]
    input: InputSpec = IMAGENET_INPUT
    tap_pooling: str = AVERAGE
    num_prefix_tokens: int = 0
    weights: BackboneWeights | None = None
    own_facts: Mapping[str, Any] = MappingProxyType({})
    _fingerprint: str | None = None
    _fingerprint_of: tuple[tuple[int, int], ...] = ()
    _for_inference: bool = False

    @abstractmethod
    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Compute the asked taps in one pass, and nothing beyond the deepest.

        Args:
            images_BCHW: normalised images, floating.
            taps: names out of ``dims``, in any order.

        Returns:
            By tap: a map (B, C, H, W) or tokens (B, T, D), in the parameters' dtype.

        Raises:
            BenchError: for an unknown tap, or images that the network cannot take.
        """

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the final tap."""
        return self.forward_taps(images_BCHW, (self.FINAL,))[self.FINAL]

    @property
    def fingerprint(self) -> str:
        """Digest of architecture and parameters, kept until a parameter changes.

        An inference copy carries the digest of the network it was made of.
        """
        if self._for_inference and self._fingerprint is not None:
            return self._fingerprint
        state = self.state_dict()
        seen = tuple(
            (t.data_ptr(), 0 if t.is_inference() else t._version)
            for t in state.values()
        )
        if self._fingerprint is None or self._fingerprint_of != seen:
            facts = dict(self.own_facts)
            told = f" {json.dumps(facts, sort_keys=True, default=str)}" if facts else ""
            self._fingerprint = fingerprint(self.arch + told, state)
            self._fingerprint_of = seen
        return self._fingerprint

    def for_inference(self, dtype: torch.dtype, device: torch.device | str) -> Self:
        """Return a copy that only computes features, as fast as eager mode allows.

        The copy is in evaluation mode, without gradients, in channels_last order and
        in ``dtype``; batch norm is folded into the convolutions. This network stays
        as it is.

        Args:
            dtype: floating type of parameters and outputs.
            device: where the copy lives.

        Raises:
            BenchError: if ``dtype`` is not a floating type.
        """
        if not dtype.is_floating_point:
            raise BenchError(
                f"features cannot be computed in {dtype}; use torch.float32, "
                "torch.bfloat16 or torch.float16"
            )
        digest = self.fingerprint
        clone = copy.deepcopy(self, {id(self.weights): self.weights})
        clone.eval().requires_grad_(False)
        clone.fold()
        clone.to(device=device, dtype=dtype)
        for parameter in clone.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.to(memory_format=torch.channels_last)
        clone._fingerprint = digest
        clone._for_inference = True
        return clone

    def fold(self) -> None:
        """Merge layers that only matter in training; nothing to do by default."""

    @property
    def one_size(self) -> str:
        """Why images must have the size in the name; empty where they need not."""
        return ""

    def take_any_size(self) -> None:
        """Get ready for images of any size.

        Raises:
            BenchError: if the network is tied to one size.
        """
        if self.one_size:
            raise BenchError(self.one_size)

    def check_taps(self, taps: Iterable[str]) -> frozenset[str]:
        """Return the asked taps as a set.

        Raises:
            BenchError: for a tap that this network does not have.
        """
        asked = frozenset(taps)
        for tap in sorted(asked - self.dims.keys()):
            raise BenchError(unknown(f"tap of {self.arch}", tap, self.dims))
        return asked

    def prepare(self, images_BCHW: Tensor) -> Tensor:
        """Return the images in the type and memory order of the parameters.

        Raises:
            BenchError: if the tensor is not a batch of images.
        """
        channels = self.input.channels
        if images_BCHW.ndim != 4 or images_BCHW.shape[1] != channels:
            raise BenchError(
                f"{self.arch} takes images of shape (B, {channels}, H, W), got "
                f"{tuple(images_BCHW.shape)}"
            )
        if not self._for_inference:
            return images_BCHW
        dtype = next(self.parameters()).dtype
        return images_BCHW.to(dtype=dtype, memory_format=torch.channels_last)

"""The model that mmengine's Runner trains: a backbone, frozen or not, and its heads.

Axes: B batch, H heads, K classes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional

from ssl_bench.backbones import Backbone
from ssl_bench.errors import BenchError
from ssl_bench.training.heads import Head, Source, pool_sources
from ssl_bench.training.mixing import Mixing, soft_cross_entropy


class DivergedError(BenchError):
    """Report a loss that is not finite any more."""


class Classifier(BaseModel):  # type: ignore[misc]
    """Classify images by one or many heads on one forward pass.

    A frozen backbone is no part of the module's state: a copy made for inference
    computes, without gradients and in evaluation mode whatever the module's mode is.

    Args:
        backbone: the loaded network; it is copied.
        heads: by name.
        frozen: whether only heads are trained.
        dtype: of the forward pass of the backbone.
        device: where everything is computed.
        chunk: images that a frozen backbone takes at once.
        norm_eval: whether batch norm of a trained backbone keeps its statistics.
        alone: whether a diverging head stops alone, the others going on.
        mixing: mixes images and labels in training, or None.
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, Head],
        *,
        frozen: bool,
        dtype: torch.dtype,
        device: torch.device,
        chunk: int,
        norm_eval: bool = False,
        alone: bool = False,
        mixing: Mixing | None = None,
    ) -> None:
        super().__init__()
        self.frozen, self.dtype, self.chunk = frozen, dtype, chunk
        self.norm_eval, self.alone, self.mixing = norm_eval, alone, mixing
        self.step, self.rank = 0, 0
        self.heads = nn.ModuleDict(heads)
        # At which step a head diverged; -1 while it has not. Part of checkpoints.
        self.register_buffer("dead_at_H", torch.full((len(heads),), -1))
        self._dead: dict[str, int] | None = None
        self.sources: list[Source] = list(
            dict.fromkeys(source for head in heads.values() for source in head.sources)
        )
        if frozen:
            network = backbone.for_inference(dtype, device)
        else:
            network = copy.deepcopy(backbone, {id(backbone.weights): backbone.weights})
            network.requires_grad_(True)
            self.backbone = network
        self._network = [
            network
        ]  # in a list: a frozen one is not of the module's state
        shape = (1, -1, 1, 1)
        mean = torch.tensor(backbone.input.mean).view(shape) * 255
        std = torch.tensor(backbone.input.std).view(shape) * 255
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @property
    def dead(self) -> dict[str, int]:
        """The heads that diverged, and at which step."""
        if self._dead is None:
            steps = self.dead_at_H.tolist()
            pairs = zip(self.heads, steps, strict=True)
            self._dead = {name: step for name, step in pairs if step >= 0}
        return self._dead

    def forget(self) -> None:
        """Read the state anew, after a checkpoint was loaded."""
        self._dead = None

    @property
    def network(self) -> Backbone:
        """The backbone that computes."""
        return self._network[0]

    def init_weights(self) -> None:
        """Leave the weights as they are.

        mmengine asks every module to draw its weights anew before training, and timm's
        transformers would do so.
        """

    def train(self, mode: bool = True) -> Classifier:
        """Set the mode of everything that is trained."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(
        self, images: Tensor, targets: Tensor, indices: Tensor, mode: str = "tensor"
    ) -> Any:
        """Compute losses or logits.

        Args:
            images: (B, 3, H, W) uint8.
            targets: (B,) int64.
            indices: (B,) int64, of the images in their data set.
            mode: ``loss``, ``predict`` or ``tensor``.

        Returns:
            ``loss``: the mean loss of every head by ``loss_<head>``. ``predict``: a
            list of logits (H, B, K) and targets (B,). ``tensor``: the logits.
        """
        del indices
        pixels = (images.float() - self.mean) / self.std
        if mode != "loss":
            vectors = self._vectors(pixels)
            logits_HBK = torch.stack([head(vectors) for head in self.heads.values()])
            return [logits_HBK, targets] if mode == "predict" else logits_HBK
        labels = targets
        if self.mixing is not None:
            pixels, labels = self.mixing(pixels, targets, self.step, self.rank)
        vectors = self._vectors(pixels)
        losses = {}
        for name, head in self.heads.items():
            if name in self.dead:
                _clear(head)  # the optimiser's momentum moves it still
                losses[f"loss_{name}"] = _nothing(head)
                continue
            logits_BK = head(vectors)
            losses[f"loss_{name}"] = (
                functional.cross_entropy(logits_BK, labels)
                if labels.ndim == 1
                else soft_cross_entropy(logits_BK, labels)
            )
        return losses

    def parse_losses(
        self, losses: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the heads' losses, and average what is logged over all processes.

        Raises:
            DivergedError: where a loss is not finite and its head may not stop alone.
        """
        from mmengine.dist import all_reduce

        shown = torch.stack([loss.detach() for loss in losses.values()])
        shown = shown.float()
        all_reduce(shown, "mean")
        bad = [
            n for n, ok in zip(losses, shown.isfinite().tolist(), strict=True) if not ok
        ]
        for key in bad:
            name = key.removeprefix("loss_")
            if name in self.dead:
                continue
            if not self.alone:
                raise DivergedError(f"the loss of {name} is not finite")
            self.dead[name] = self.step
            self.dead_at_H[list(self.heads).index(name)] = self.step
            head = self.heads[name]
            _clear(head)
            losses[key] = _nothing(head)
        total = torch.stack(list(losses.values())).sum()
        log = dict(zip(losses, shown.unbind(), strict=True))
        log = {key: value for key, value in log.items() if key not in bad}
        alive = [value for key, value in log.items() if key[5:] not in self.dead]
        log["loss"] = torch.stack(alive).sum() if alive else shown.new_zeros(())
        return total, log

    def _vectors(self, pixels: Tensor) -> dict[Source, Tensor]:
        taps = tuple(dict.fromkeys(tap for tap, _, _ in self.sources))
        if not self.frozen:
            with self._autocast():
                outputs = self.network.forward_taps(pixels, taps)
            return pool_sources(outputs, self.sources, self.network)
        parts: list[dict[Source, Tensor]] = []
        self.network.eval()  # whatever somebody did to it
        with torch.no_grad():
            for chunk in torch.split(pixels, self.chunk):
                outputs = self.network.forward_taps(chunk.to(self.dtype), taps)
                parts.append(pool_sources(outputs, self.sources, self.network))
        return {s: torch.cat([part[s] for part in parts]) for s in self.sources}

    def _autocast(self) -> Any:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.mean.device.type, self.dtype)


def _clear(head: nn.Module) -> None:
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()


def _nothing(head: nn.Module) -> Tensor:
    """Return a loss of 0 that depends on all parameters, as DDP wants it."""
    parts: Sequence[Tensor] = [p.sum() for p in head.parameters() if p.requires_grad]
    return torch.stack(list(parts)).sum() * 0.0

"""Heads of linear evaluation and fine-tuning: pooled taps in, logits out.

Axes: B batch, C channels of a map or width of a token, L places of a pooled map,
D dimensions of what a head sees, K classes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_bench import pooling
from ssl_bench.backbones import Backbone
from ssl_bench.errors import BenchError, ConfigError, unknown

OWN = "backbone"
"""Name of the backbone's own pooling rule."""

VOC07 = "voc07"
"""Name of the published pooling of the multi-head model, by tap."""

_LAST = re.compile(r"last(\d+)")
_NORMS = ("batch", "layer")
_NORM_KEYS = ("momentum", "eps", "affine")
_INITS = ("normal", "trunc_normal")
_POOLINGS = (OWN, VOC07, *pooling.KINDS)

Source = tuple[str, str, bool]
"""A tap, the rule that makes it a vector, and whether the final norm comes first."""


@dataclass(frozen=True)
class HeadSpec:
    """Say what a head sees and how it starts.

    Attributes:
        taps: of the backbone; ``last4`` stands for the last four blocks, and
            ``final/patch_mean`` for a tap with a pooling of its own. Vectors of several
            taps are concatenated.
        pooling: one rule or several, whose vectors are concatenated: ``backbone`` (its
            own), ``voc07`` (the published windows of the multi-head model), or a name
            that `ssl_bench.pooling.pool` takes.
        normed: norm tokens of a block by the backbone's final norm, as DINO does.
        norm: ``batch`` (without affine, channel by channel of a pooled map), ``layer``
            (with affine), or None.
        affine: whether the batch norm scales and shifts.
        momentum: of the batch norm.
        eps: of the norm.
        init: ``normal`` or ``trunc_normal``; biases begin at 0.
        init_std: its standard deviation.
    """

    taps: tuple[str, ...]
    pooling: tuple[str, ...]
    init: str
    init_std: float
    normed: bool = False
    norm: str | None = None
    affine: bool = False
    momentum: float | None = None
    eps: float | None = None


def read_head(name: str, values: Any) -> tuple[HeadSpec | None, list[str]]:
    """Read a head of a config.

    Args:
        name: of the head, for messages.
        values: ``dict(taps=[...], pooling=..., norm=..., init=..., init_std=...)``.

    Returns:
        The head, or None where it is wrong, and everything that is wrong with it.
    """
    where = f"model.heads.{name}"
    if not isinstance(values, Mapping):
        return None, [f"{where}={values!r} is not dict(taps=[...], pooling=...)"]
    fields = {item.name for item in dataclasses.fields(HeadSpec)}
    found = [
        f"{where}: {unknown('key of a head', key, sorted(fields))}"
        for key in values
        if key not in fields
    ]
    needed = ("taps", "pooling", "init", "init_std")
    found += [f"{where} needs {key}" for key in needed if key not in values]
    if found:
        return None, found
    read: dict[str, Any] = dict(values)
    for key in ("taps", "pooling"):
        words = [read[key]] if isinstance(read[key], str) else read[key]
        if not isinstance(words, list | tuple) or not all(
            isinstance(word, str) for word in words
        ):
            found.append(f"{where}.{key}={words!r} is not a name or a list of names")
            words = ("",)
        read[key] = tuple(words)
    std = read["init_std"]
    if not isinstance(std, int | float) or isinstance(std, bool) or std < 0:
        found.append(f"{where}.init_std={std!r} is not a number of 0 or more")
    norm = read.get("norm")
    if isinstance(norm, Mapping):
        known = ("type", *_NORM_KEYS)
        found += [
            f"{where}.norm: {unknown('key of a norm', key, known)}"
            for key in norm
            if key not in known
        ]
        read |= {"norm": norm.get("type", "batch")}
        read |= {key: norm[key] for key in _NORM_KEYS if key in norm}
    head = HeadSpec(**read)
    if head.norm is not None and head.norm not in _NORMS:
        found.append(f"{where}: {unknown('norm', head.norm, _NORMS)}")
    if head.init not in _INITS:
        found.append(f"{where}: {unknown('init', head.init, _INITS)}")
    if not head.taps or not head.pooling:
        found.append(f"{where} names no tap or no pooling")
    if head.norm == "batch" and (head.momentum is None or head.eps is None):
        found.append(f"{where}: a batch norm needs dict(momentum=..., eps=...)")
    if head.norm == "layer" and head.eps is None:
        found.append(f"{where}: a layer norm needs dict(type='layer', eps=...)")
    return head, found


def sources_of(
    head: HeadSpec, backbone: Backbone, image_size: tuple[int, int] | None
) -> list[Source]:
    """Return the vectors that a head sees, in their order.

    Args:
        head: which taps and poolings.
        backbone: says which taps it has.
        image_size: height and width of all images; None where they vary.

    Raises:
        BenchError: for a tap or pooling that this network does not have.
    """
    pairs = []
    for word in head.taps:
        name, _, own = word.partition("/")
        rules = (own,) if own else head.pooling
        pairs += [(tap, rules) for tap in _taps_of(name, backbone)]
    backbone.check_taps(tap for tap, _ in pairs)
    found = []
    for tap, rules in pairs:
        for rule in rules:
            if rule == OWN:
                rule = pooling.pooling_kind(backbone, tap)
            elif rule == VOC07:
                rule = pooling.voc07_sites(backbone, image_size, [tap])[0].pooling
            pooling.check_kind(rule)
            found.append((tap, rule, head.normed and tap != backbone.FINAL))
    return found


def _taps_of(word: str, backbone: Backbone) -> list[str]:
    match = _LAST.fullmatch(word)
    if match is None or word in backbone.dims:
        return [word]
    blocks = [tap for tap in backbone.dims if tap.startswith("block")]
    count = int(match[1])
    if not 0 < count <= len(blocks):
        raise BenchError(
            f"{word} asks for {count} blocks and {backbone.arch} has {len(blocks)}; "
            "take final, or a tap that it has: " + ", ".join(backbone.dims)
        )
    return blocks[-count:]


def pool_sources(
    outputs: Mapping[str, Tensor], sources: Sequence[Source], backbone: Backbone
) -> dict[Source, Tensor]:
    """Turn taps into the vectors that heads see, each once.

    Args:
        outputs: by tap, as `Backbone.forward_taps` gives them.
        sources: wanted vectors.
        backbone: the network that computed them.

    Returns:
        (B, C * L) float32 by source.
    """
    found = {}
    for source in dict.fromkeys(sources):
        tap, rule, normed = source
        values = outputs[tap]
        if normed:
            inner: Any = backbone
            values = inner.norm(values)
        found[source] = pooling.pool(values, rule, backbone)
    return found


class Head(nn.Module):
    """Concatenate vectors, norm them, and classify them linearly.

    Args:
        spec: what it sees and how it starts.
        sources: the vectors, from `sources_of`.
        dims: channels of every tap, as ``Backbone.dims``.
        classes: K.
        seed: of its initial weights; equal heads start equal.
    """

    def __init__(
        self,
        spec: HeadSpec,
        sources: Sequence[Source],
        dims: Mapping[str, int],
        classes: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.sources = list(sources)
        channels = [dims[tap] for tap, _, _ in sources]
        places = [_places(rule) for _, rule, _ in sources]
        if spec.norm == "batch" and len(set(places)) > 1:
            raise ConfigError(
                ["a batch norm needs one number of places for all of a head's taps"]
            )
        self.places = places[0]
        self.width = sum(c * n for c, n in zip(channels, places, strict=True))
        self.norm = self._norm(spec, sum(channels))
        self.fc = nn.Linear(self.width, classes)
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            if spec.init == "trunc_normal":
                nn.init.trunc_normal_(self.fc.weight, std=spec.init_std, generator=draw)
            else:
                self.fc.weight.normal_(std=spec.init_std, generator=draw)
            self.fc.bias.zero_()

    def _norm(self, spec: HeadSpec, channels: int) -> nn.Module:
        if spec.norm == "batch":
            assert spec.momentum is not None and spec.eps is not None
            return nn.BatchNorm1d(
                channels, eps=spec.eps, momentum=spec.momentum, affine=spec.affine
            )
        if spec.norm == "layer":
            assert spec.eps is not None
            return nn.LayerNorm(self.width, eps=spec.eps)
        return nn.Identity()

    def forward(self, vectors: Mapping[Source, Tensor]) -> Tensor:
        """Return logits (B, K), float32."""
        parts = [vectors[source] for source in self.sources]
        feats_BD = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if isinstance(self.norm, nn.modules.batchnorm._BatchNorm) and self.places > 1:
            # A channel's places share their statistics, as before the flattening.
            maps_BCL = feats_BD.view(len(feats_BD), -1, self.places)
            feats_BD = self.norm(maps_BCL).flatten(1)
        else:
            feats_BD = self.norm(feats_BD)
        logits: Tensor = self.fc(feats_BD)
        return logits


def _places(rule: str) -> int:
    """Return how many places of a map a pooling keeps."""
    for row in pooling.VOC07_POOLS:
        if rule in (row.exact, row.adaptive):
            return row.size**2
    return 1

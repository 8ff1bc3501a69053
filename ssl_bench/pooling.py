"""Turn the map or the tokens of a tap into one vector an image, always in float32.

Axes: B batch, C channels, H and W of a map, T tokens, D width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from ssl_bench.errors import BenchError, unknown

AVERAGE = "average"
CLASS_TOKEN = "class_token"
PATCH_MEAN = "patch_mean"
KINDS = (AVERAGE, CLASS_TOKEN, PATCH_MEAN)

FINAL = "final"


@dataclass(frozen=True)
class Voc07Pool:
    """Hold how one stage is pooled for the SVMs on VOC07.

    Attributes:
        feature: its published name.
        tap: where it is taken.
        width: channels that the stage has in a ResNet-50.
        window: kernel, stride and padding of the average over a map of 224 x 224
            pixels; the padding counts.
        size: edge of what comes out, and of the adaptive average.
    """

    feature: str
    tap: str
    width: int
    window: tuple[int, int, int]
    size: int

    @property
    def exact(self) -> str:
        """Name of the average by a fixed window."""
        return "average_{}_{}_{}".format(*self.window)

    @property
    def adaptive(self) -> str:
        """Name of the average to a fixed size."""
        return f"adaptive_{self.size}"


# Source: MMSelfSup 0.x, mmselfsup/models/utils/multi_pooling.py, POOL_PARAMS and
#     POOL_SIZES; the same windows in VISSL, configs/config/benchmark/
#     linear_image_classification/voc07.
VOC07_POOLS = (
    Voc07Pool("feat1", "stem", 64, (10, 10, 4), 12),
    Voc07Pool("feat2", "layer1", 256, (16, 8, 0), 6),
    Voc07Pool("feat3", "layer2", 512, (13, 5, 0), 4),
    Voc07Pool("feat4", "layer3", 1024, (8, 3, 0), 3),
    Voc07Pool("feat5", "layer4", 2048, (6, 1, 0), 2),
)
VOC07_IMAGE = (224, 224)
"""The images that the windows were made for."""

GAP = "gap"
"""Name of the final tap as one vector, beside the published features."""

_WINDOWS = {row.exact: row.window for row in VOC07_POOLS}
_SIZES = {row.adaptive: row.size for row in VOC07_POOLS}
_ALL = (*KINDS, *_WINDOWS, *_SIZES)


@dataclass(frozen=True)
class Site:
    """Say where a feature is taken and how it becomes a vector.

    Attributes:
        feature: what it is called in metrics: ``feat5``, ``gap``, or a tap's own name.
        tap: of the backbone.
        pooling: as `pool` takes it.
    """

    feature: str
    tap: str
    pooling: str


def global_average(map_BCHW: Tensor) -> Tensor:
    """Average a map over its pixels, summing in float32.

    Returns:
        (B, C) float32.

    Raises:
        BenchError: if the tensor is no map.
    """
    _check_map(map_BCHW)
    return map_BCHW.float().mean(dim=(2, 3))


def class_token(tokens_BTD: Tensor) -> Tensor:
    """Take the first token.

    Returns:
        (B, D) float32.

    Raises:
        BenchError: if the tensor holds no tokens.
    """
    return _tokens(tokens_BTD)[:, 0].float()


def patch_mean(tokens_BTD: Tensor, num_prefix: int) -> Tensor:
    """Average the tokens that stand for patches, in float32.

    Args:
        tokens_BTD: class and register tokens first, patches after them.
        num_prefix: how many tokens come before the patches.

    Returns:
        (B, D) float32.

    Raises:
        BenchError: if the tensor holds no patches.
    """
    if not 0 <= num_prefix < _tokens(tokens_BTD).shape[1]:
        raise BenchError(
            f"{tokens_BTD.shape[1]} tokens, of which {num_prefix} are no patches, "
            "leave nothing to average"
        )
    return tokens_BTD[:, num_prefix:].float().mean(dim=1)


def window_average(map_BCHW: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Average a map window by window, with its padding counted, and flatten it.

    Args:
        map_BCHW: the map.
        kernel: edge of the window.
        stride: from one window to the next.
        padding: zeros on every side.

    Returns:
        (B, C * H' * W') float32, in the order of ``flatten(1)``.

    Raises:
        BenchError: if the tensor is no map, or smaller than a window.
    """
    _check_map(map_BCHW)
    height, width = map_BCHW.shape[2:]
    if min(height, width) + 2 * padding < kernel:
        raise BenchError(
            f"a map of {height} x {width} pixels is smaller than the window of "
            f"{kernel}, which was made for images of 224 x 224; take an adaptive "
            f"pooling: {', '.join(_SIZES)}"
        )
    pooled = functional.avg_pool2d(
        map_BCHW.float(), kernel, stride, padding, count_include_pad=True
    )
    return pooled.flatten(1)


def adaptive_average(map_BCHW: Tensor, size: int) -> Tensor:
    """Average a map to ``size`` x ``size`` and flatten it.

    Returns:
        (B, C * size * size) float32, in the order of ``flatten(1)``.

    Raises:
        BenchError: if the tensor is no map.
    """
    _check_map(map_BCHW)
    return functional.adaptive_avg_pool2d(map_BCHW.float(), size).flatten(1)


class Pooled(Protocol):
    """Say what a network's taps are, as `ssl_bench.backbones.Backbone` does."""

    tap_pooling: str
    num_prefix_tokens: int


class Tapped(Pooled, Protocol):
    """Say which taps a network has, as `ssl_bench.backbones.Backbone` does."""

    arch: str
    dims: dict[str, int]


def pooling_kind(backbone: Pooled, tap: str) -> str:
    """Return the rule by which a tap becomes one vector.

    All taps of our networks are of one sort, so that the answer does not yet depend
    on ``tap``: maps are averaged, tokens follow the final one.
    """
    del tap
    return backbone.tap_pooling


def check_kind(kind: str) -> None:
    """Refuse the name of a rule that `pool` does not know.

    Raises:
        BenchError: with the nearest names.
    """
    if kind not in _ALL:
        raise BenchError(unknown("pooling", kind, _ALL))


def pool(features: Tensor, kind: str, backbone: Pooled) -> Tensor:
    """Pool a tap by the name of the rule.

    Args:
        features: map (B, C, H, W) or tokens (B, T, D).
        kind: ``average``, ``class_token`` or ``patch_mean``; or a rule of `VOC07_POOLS`
            that keeps several places of a map, as in ``average_6_1_0`` (kernel, stride,
            padding) or ``adaptive_2`` (size).
        backbone: says how many tokens come before the patches.

    Returns:
        (B, C) or (B, D), or (B, C * places), float32.

    Raises:
        BenchError: for an unknown rule, or one that does not fit the tensor.
    """
    check_kind(kind)
    if kind in _WINDOWS:
        return window_average(features, *_WINDOWS[kind])
    if kind in _SIZES:
        return adaptive_average(features, _SIZES[kind])
    if kind == CLASS_TOKEN:
        return class_token(features)
    if kind == PATCH_MEAN:
        return patch_mean(features, backbone.num_prefix_tokens)
    return global_average(features)


def voc07_sites(
    backbone: Tapped, image_size: tuple[int, int] | None, names: Sequence[str]
) -> list[Site]:
    """Return where the features of the SVMs on VOC07 are taken.

    Of maps, ``feat1`` to ``feat5`` are the stem and the four stages: by the published
    windows where widths and images are those that they were made for, else averaged to
    the same sizes. Of tokens, ``feat5`` is the final tap and the others are the blocks
    at one to four fifths of the depth. A tap's own name stands for the tap: a stage is
    averaged to its size, everything else as the backbone says.

    Args:
        backbone: says which taps there are.
        image_size: height and width of all images; None where they vary.
        names: out of ``feat1`` to ``feat5`` and the backbone's taps.

    Returns:
        One site a name, in their order.

    Raises:
        BenchError: for an unknown name, a tap that this network does not have, or two
            names that pool one tap in two ways.
    """
    find = _map_site if backbone.tap_pooling == AVERAGE else _token_site
    sites = [find(backbone, image_size, name) for name in names]
    first: dict[str, Site] = {}
    for site in sites:
        other = first.setdefault(site.tap, site)
        if other.pooling != site.pooling:
            raise BenchError(
                f"{other.feature} and {site.feature} both take the tap {site.tap}, "
                f"pooled by {other.pooling} and by {site.pooling}; ask for one of them"
            )
    return sites


def gap_site(backbone: Pooled) -> Site:
    """Return the final tap as one vector, by the backbone's own rule."""
    return Site(GAP, FINAL, backbone.tap_pooling)


def _map_site(backbone: Tapped, image_size: tuple[int, int] | None, name: str) -> Site:
    for row in VOC07_POOLS:
        if name == row.feature:
            _check_tap(backbone, row.tap, name)
            as_published = image_size == VOC07_IMAGE and _is_resnet50(backbone)
            return Site(name, row.tap, row.exact if as_published else row.adaptive)
        if name == row.tap and name in backbone.dims:
            return Site(name, name, row.adaptive)
    return _own_site(backbone, name)


def _is_resnet50(backbone: Tapped) -> bool:
    """Say whether the stages have the widths and the strides of a ResNet-50."""
    widths = all(backbone.dims.get(row.tap) == row.width for row in VOC07_POOLS)
    # A stem for CIFAR keeps the resolution: its maps are four times as wide and high.
    return widths and "cifar" not in backbone.arch.split("-")


def _token_site(
    backbone: Tapped, image_size: tuple[int, int] | None, name: str
) -> Site:
    del image_size
    features = [row.feature for row in VOC07_POOLS]
    if name not in features:
        return _own_site(backbone, name)
    if name == features[-1]:
        tap = FINAL
    else:
        depth = sum(bool(re.fullmatch(r"block\d+", tap)) for tap in backbone.dims)
        fifth = features.index(name) + 1
        tap = f"block{max(1, -(-depth * fifth // len(features)))}"
    _check_tap(backbone, tap, name)
    return Site(name, tap, backbone.tap_pooling)


def _own_site(backbone: Tapped, name: str) -> Site:
    """Return the site that a tap's own name stands for."""
    if name not in backbone.dims:
        known = [*(row.feature for row in VOC07_POOLS), *backbone.dims]
        raise BenchError(unknown(f"feature of {backbone.arch}", name, known))
    return Site(name, name, pooling_kind(backbone, name))


def _check_tap(backbone: Tapped, tap: str, feature: str) -> None:
    if tap not in backbone.dims:
        raise BenchError(
            f"{backbone.arch} has no tap {tap}, which {feature} is taken from; name "
            f"taps that it has instead: {', '.join(backbone.dims)}"
        )


def _check_map(map_BCHW: Tensor) -> None:
    if map_BCHW.ndim != 4:
        raise BenchError(
            f"a map to average has shape (B, C, H, W), got {tuple(map_BCHW.shape)}"
        )


def _tokens(tokens_BTD: Tensor) -> Tensor:
    if tokens_BTD.ndim != 3 or tokens_BTD.shape[1] == 0:
        raise BenchError(
            f"tokens to pool have shape (B, T, D), got {tuple(tokens_BTD.shape)}"
        )
    return tokens_BTD

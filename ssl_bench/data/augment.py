"""Random operations on training images, in place of torchvision's of the same name.

All take a PIL image in RGB, and `RandomErasing` pixels as well. They draw from the
global generators of torch, numpy and Python, which `ssl_bench.training.images` seeds
for every image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from ssl_bench.errors import ConfigError, unknown
from ssl_bench.registry import TRANSFORMS

# Source: Krizhevsky et al. 2012, section 4.1 (principal components of ImageNet's
#     colours); values as in MMSelfSup 0.x, mmselfsup/datasets/pipelines/transforms.py,
#     Lighting, for pixels from 0 to 1.
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
_WHITE = 255.0

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean colour in 8 bits."""

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
_RAND_SECTION = re.compile(r"(m|n|mmax|inc)\d+|(p|mstd)\d+(\.\d+)?|t(weights|3aw?)")


@TRANSFORMS.register_module()
class Lighting(nn.Module):
    """Shift the colours of an image along the principal components of ImageNet's.

    All pixels are shifted alike. Published code shifts floating-point pixels; here the
    result is rounded and clipped to 8 bits, since normalisation comes later.

    Args:
        std: of the normal multiples of the components.

    Raises:
        ConfigError: for a negative deviation.

    Source: Krizhevsky et al. 2012, section 4.1.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        if std < 0:
            raise ConfigError([f"std={std} is not 0 or more"])
        self.std = std

    def forward(self, image: Image.Image) -> Image.Image:
        """Return the shifted image, rounded and clipped to 8 bits."""
        multiples = torch.randn(3, dtype=torch.float64) * self.std
        values = torch.tensor(_EIGENVALUES, dtype=torch.float64)
        vectors = torch.tensor(_EIGENVECTORS, dtype=torch.float64)
        shift = (vectors @ (multiples * values)).numpy() * _WHITE
        pixels = np.asarray(image, dtype=np.float64) + shift
        return Image.fromarray(pixels.round().clip(0, _WHITE).astype(np.uint8))


@TRANSFORMS.register_module()
class RandAugment(nn.Module):
    """Apply a few random operations of random strength, as timm does.

    Args:
        config: timm's, as in ``rand-m9-mstd0.5-inc1``: magnitude 9, its deviation 0.5,
            operations that grow stronger with it; two operations an image.
        fill: colour of what an operation uncovers, R, G and B from 0 to 255.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``; None draws one of the
            last two, as timm does where none is named.

    Raises:
        ConfigError: with everything that is wrong with the arguments.

    Source: Cubuk et al. 2019, arXiv:1909.13719; timm, timm/data/auto_augment.py; fill
        and interpolation as facebookresearch/mae, util/datasets.py, passes them.
    """

    def __init__(
        self,
        config: str,
        fill: Sequence[int] = MEAN_COLOUR,
        interpolation: str | InterpolationMode | None = "bicubic",
    ) -> None:
        super().__init__()
        way = getattr(interpolation, "value", interpolation)
        if wrong := _rand_augment_complaints(config, fill, way):
            raise ConfigError(wrong)
        from timm.data.auto_augment import rand_augment_transform

        options: dict[str, Any] = {"img_mean": tuple(fill)}
        if way is not None:
            options["interpolation"] = Image.Resampling[str(way).upper()]
        self._operations = rand_augment_transform(config, options)
        for operation in self._operations.ops:
            if operation.name.startswith("Posterize"):
                operation.aug_fn = _posterize

    def forward(self, image: Image.Image) -> Image.Image:
        """Return the augmented image."""
        found: Image.Image = self._operations(image)
        return found


@TRANSFORMS.register_module()
class RandomErasing(nn.Module):
    """Replace a rectangle by noise, pixel by pixel, with a probability.

    timm draws standard normal noise after normalisation. Here normalisation comes
    later, on the device, with the statistics of the weights: the noise has ImageNet's
    mean and deviation, and is rounded and clipped to 8 bits. After normalisation by
    ImageNet's statistics it is timm's, less what lies beyond black (2.1 deviations) and
    white (2.2 to 2.6).

    Args:
        probability: that anything is erased.
        area: smallest and largest share of the image.
        aspect: smallest ratio of the sides; the largest is its inverse.

    Raises:
        ConfigError: for values out of range.

    Source: Zhong et al. 2017, arXiv:1708.04896; timm, timm/data/random_erasing.py.
    """

    _TRIES = 10
    _MEAN = (0.485 * _WHITE, 0.456 * _WHITE, 0.406 * _WHITE)
    _STD = (0.229 * _WHITE, 0.224 * _WHITE, 0.225 * _WHITE)

    def __init__(
        self, probability: float, area: Sequence[float], aspect: float = 0.3
    ) -> None:
        super().__init__()
        if wrong := _erasing_complaints(probability, area, aspect):
            raise ConfigError(wrong)
        self.probability, self.area = probability, (area[0], area[1])
        self.aspect = math.log(aspect), math.log(1 / aspect)

    def forward(self, image: Image.Image | Tensor) -> Tensor:
        """Return uint8 pixels (3, H, W), erased or not."""
        pixels = image if isinstance(image, Tensor) else functional.pil_to_tensor(image)
        if float(torch.rand(())) >= self.probability:
            return pixels
        height, width = pixels.shape[1:]
        for _ in range(self._TRIES):
            share = float(torch.empty(()).uniform_(*self.area)) * height * width
            ratio = math.exp(float(torch.empty(()).uniform_(*self.aspect)))
            tall, wide = (
                round(math.sqrt(share * ratio)),
                round(math.sqrt(share / ratio)),
            )
            if 0 < tall < height and 0 < wide < width:
                top = int(torch.randint(0, height - tall + 1, ()))
                left = int(torch.randint(0, width - wide + 1, ()))
                mean = torch.tensor(self._MEAN).view(3, 1, 1)
                std = torch.tensor(self._STD).view(3, 1, 1)
                noise = torch.randn(3, tall, wide) * std + mean
                pixels = pixels.clone()
                pixels[:, top : top + tall, left : left + wide] = (
                    noise.round().clamp(0, _WHITE).to(torch.uint8)
                )
                break
        return pixels


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the first bits of every channel; none at all leaves black.

    The strongest magnitude that timm draws keeps no bit. Pillow made black of that
    until it came to refuse it.
    """
    if bits >= 8:
        return image
    if bits < 1:
        return Image.new(image.mode, image.size)
    return ImageOps.posterize(image, bits)


def _rand_augment_complaints(
    config: str, fill: Sequence[int], way: object
) -> list[str]:
    found = []
    # timm passes over sections that it does not know.
    head, *sections = config.split("-") if isinstance(config, str) else [""]
    wrong = [text for text in sections if not _RAND_SECTION.fullmatch(text)]
    if head != "rand" or wrong:
        what = (
            f"{wrong[0]!r} in it is unknown" if wrong else "it should begin with rand"
        )
        found.append(
            f"config={config!r} is none of timm's ({what}); write it as in "
            "rand-m9-mstd0.5-inc1"
        )
    if len(fill) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in fill):
        found.append(f"fill={list(fill)} is not three whole numbers from 0 to 255")
    if way is not None and way not in _INTERPOLATIONS:
        found.append(unknown("interpolation", str(way), _INTERPOLATIONS))
    return found


def _erasing_complaints(
    probability: float, area: Sequence[float], aspect: float
) -> list[str]:
    found = []
    if not 0 <= probability <= 1:
        found.append(f"probability={probability} is not between 0 and 1")
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        found.append(
            f"area={list(area)} is not two shares above 0 and up to 1, the smaller one "
            "first"
        )
    if not 0 < aspect <= 1:
        found.append(f"aspect={aspect} is not above 0 and up to 1")
    return found

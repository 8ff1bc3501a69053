"""Read one image file as 8-bit RGB, or say in one sentence why that cannot be done."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ssl_bench.errors import DataError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".tiff")
)
"""What counts as an image in a folder, compared in lower case."""


class ImageError(DataError):
    """Report one image that cannot be used.

    Attributes:
        path: the file, or the place inside a file (``test_batch/17``).
        reason: why, without the path and without advice.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(
            f"cannot read image {path}: {reason}; repair or remove it, or pass "
            "--on-bad-image skip"
        )

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


def is_image_name(name: str) -> bool:
    """Return whether a file of this name is taken for an image: not hidden, known."""
    return not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS


def read_rgb(path: Path | str) -> Image.Image:
    """Read an image file as it is meant to be seen, in 8-bit RGB.

    The EXIF orientation is applied. 16-bit values keep their high byte, as Pillow
    itself does for 16-bit colour. Palettes, grey, CMYK and transparency are converted;
    the alpha channel is dropped, as torchvision's loader does.

    Args:
        path: the file.

    Returns:
        A loaded image in mode ``RGB``.

    Raises:
        ImageError: when the file is missing, empty, truncated, no image, larger than
            Pillow's limit on pixels, or of pixels without an agreed range.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of harmless damage in metadata, and of decompression bombs.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _to_rgb(_upright(image))
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever they please
        raise ImageError(path, _reason(path, error)) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata is not a damaged picture
        return image
    return image if orientation == 1 else ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy() if image.readonly else image
    if image.mode.startswith("I") or image.mode == "F":
        return _to_eight_bits(image).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    values_HW = np.asarray(image)
    if image.mode == "F" or values_HW.min() < 0 or values_HW.max() > 0xFFFF:
        reason = (
            f"its pixels are of mode {image.mode!r} and have no agreed range; convert "
            "it to 8 or 16 bits a channel"
        )
        raise ImageError(image_name(image), reason)
    return Image.fromarray((values_HW >> 8).astype(np.uint8))


def image_name(image: Image.Image) -> str:
    """Return the file that an image was opened from, or a stand-in for it."""
    return str(getattr(image, "filename", "")) or "in memory"


def _reason(path: Path | str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"it has more than {Image.MAX_IMAGE_PIXELS} pixels, Pillow's limit"
    if isinstance(error, UnidentifiedImageError):
        empty = Path(path).stat().st_size == 0
        return "the file is empty" if empty else "it is not an image that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]

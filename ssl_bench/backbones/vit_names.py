"""The names of vision transformers, which say what their weights do not show.

A name is ``vit_SIZE_patchN``, then what differs from the usual, then the pixels of the
images: ``vit_small_patch16_h12_224``. Sizes that nobody published are written by width
and number of blocks, ``vit_w96_d4_patch8_64``. What may stand between, in this order:

``reg4`` register tokens; ``gap`` no class token, ``avg`` the patch mean in spite of
one, ``cls`` the class token in spite of a norm after pooling; ``h12`` heads; ``m512``
inner width of the MLP; ``swiglu`` gated MLP; ``prenorm`` norm before the blocks;
``qknorm`` norms of query and key; ``nobias`` query, key and value without bias;
``fcnorm`` norm after pooling, ``bothnorms`` before and after, ``nonorm`` neither;
``quickgelu`` or ``gelutanh``; ``eps5`` for norms with 1e-5.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ssl_bench.backbones.backbone import CLASS_TOKEN, PATCH_MEAN
from ssl_bench.errors import BenchError

HEAD_WIDTH = 64
EPS = 1e-6
ACT = "gelu"
ACTS: Mapping[str, str] = MappingProxyType(
    {"gelu": "", "quick_gelu": "_quickgelu", "gelu_tanh": "_gelutanh"}
)
NORM, FC_NORM, BOTH_NORMS, NO_NORM = "norm", "fcnorm", "bothnorms", "nonorm"


@dataclass(frozen=True)
class Size:
    """Say what belongs to the name of a published size."""

    width: int
    depth: int
    heads: int
    hidden: int


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "tiny": Size(192, 12, 3, 768),
        "small": Size(384, 12, 6, 1536),
        "small768": Size(768, 8, 8, 2304),
        "base": Size(768, 12, 12, 3072),
        "large": Size(1024, 24, 16, 4096),
        "so400m": Size(1152, 27, 16, 4304),
        "huge": Size(1280, 32, 16, 5120),
        "giant": Size(1408, 40, 16, 6144),
        "giant1536": Size(1536, 40, 24, 6144),
        "gigantic": Size(1664, 48, 16, 8192),
    }
)
"""Source: timm's and OpenMMLab's tables; ``small768`` is their older 'small', 1536 is
DINOv2's giant, 1664 is OpenCLIP's bigG."""

NAME = re.compile(
    rf"vit_(?:(?P<kind>{'|'.join(SIZES)})|w(?P<width>\d+)_d(?P<depth>\d+))"
    r"_patch(?P<patch>\d+)(?:_reg(?P<registers>\d+))?(?:_(?P<pool>gap|avg|cls))?"
    r"(?:_h(?P<heads>\d+))?(?:_m(?P<hidden>\d+))?(?P<swiglu>_swiglu)?"
    r"(?P<pre_norm>_prenorm)?(?P<qk_norm>_qknorm)?(?P<nobias>_nobias)?"
    r"(?:_(?P<norms>fcnorm|bothnorms|nonorm))?(?P<act>_quickgelu|_gelutanh)?"
    r"(?:_eps(?P<eps>\d+))?_(?P<height>\d+)(?:x(?P<breadth>\d+))?"
)


def published(width: int, depth: int) -> tuple[str, Size | None]:
    """Return the middle of a name, and the published size of that name."""
    for name, size in SIZES.items():
        if (size.width, size.depth) == (width, depth):
            return name, size
    return f"w{width}_d{depth}", None


def usual_heads(width: int, depth: int) -> int:
    """Return the heads of a published size, or about one for 64 of the width."""
    size = published(width, depth)[1]
    if size is not None:
        return size.heads
    return divisor_near(width, HEAD_WIDTH)


def divisor_near(width: int, head: int) -> int:
    """Return the most heads that divide the width and are at least so wide."""
    start = max(1, width // head)
    return next(heads for heads in range(start, 0, -1) if width % heads == 0)


def usual_hidden(width: int, depth: int, swiglu: bool) -> int:
    """Return the inner width of the MLP where nothing else is said.

    A gated MLP has two thirds of four times the width, rounded up to eights, as
    DINOv2's has.
    """
    if swiglu:
        return (4 * width * 2 // 3 + 7) // 8 * 8
    size = published(width, depth)[1]
    return size.hidden if size is not None else 4 * width


def usual_pooling(class_token: bool, norms: str) -> str:
    """Return what becomes the feature where nothing else is said."""
    if class_token and norms not in (FC_NORM, BOTH_NORMS):
        return CLASS_TOKEN
    return PATCH_MEAN


def pixels(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of the images."""
    return (size, size) if isinstance(size, int) else size


def eps_suffix(eps: float, usual: float) -> str:
    """Return what a name says about the epsilon of the norms.

    Raises:
        BenchError: if it is not a power of ten.
    """
    if math.isclose(eps, usual, rel_tol=1e-6):
        return ""
    digits = round(-math.log10(eps)) if eps > 0 else 0
    if digits < 1 or not math.isclose(eps, 10.0**-digits, rel_tol=1e-6):
        raise BenchError(f"the norms' eps has to be a power of ten, got {eps}")
    return f"_eps{digits}"


def named(options: Mapping[str, Any]) -> str:
    """Return the name of an architecture.

    Raises:
        BenchError: for options that no network can have.
    """
    width, depth, heads = options["width"], options["depth"], options["heads"]
    check_heads(width, heads)
    if options["act"] not in ACTS:
        raise BenchError(f"act is one of {', '.join(ACTS)}, got {options['act']!r}")
    height, breadth = pixels(options["size"])
    parts = [
        f"vit_{published(width, depth)[0]}_patch{options['patch']}",
        f"_reg{options['registers']}" if options["registers"] else "",
        pool_suffix(options["pooling"], options["class_token"], options["norms"]),
        f"_h{heads}" if heads != usual_heads(width, depth) else "",
        f"_m{options['hidden']}"
        if options["hidden"] != usual_hidden(width, depth, options["swiglu"])
        else "",
        "_swiglu" if options["swiglu"] else "",
        "_prenorm" if options["pre_norm"] else "",
        "_qknorm" if options["qk_norm"] else "",
        "" if options["qkv_bias"] else "_nobias",
        "" if options["norms"] == NORM else f"_{options['norms']}",
        ACTS[options["act"]],
        eps_suffix(options["eps"], EPS),
        f"_{height}" if height == breadth else f"_{height}x{breadth}",
    ]
    return "".join(parts)


def pool_suffix(pooling: str, class_token: bool, norms: str) -> str:
    """Return what a name says about the pooling.

    Raises:
        BenchError: if there is no such pooling, or no class token to take.
    """
    if pooling == CLASS_TOKEN and not class_token:
        raise BenchError("there is no class token; pooling has to be patch_mean")
    if pooling not in (CLASS_TOKEN, PATCH_MEAN):
        raise BenchError(f"pooling is class_token or patch_mean, got {pooling!r}")
    if not class_token:
        return "_gap"
    if pooling == usual_pooling(class_token, norms):
        return ""
    return "_avg" if pooling == PATCH_MEAN else "_cls"


def pooling_of(suffix: str | None, norms: str) -> str:
    """Return the pooling that a name says."""
    said = {"gap": PATCH_MEAN, "avg": PATCH_MEAN, "cls": CLASS_TOKEN}
    return said.get(suffix or "", usual_pooling(suffix != "gap", norms))


def check_heads(width: int, heads: int) -> None:
    """Refuse a number of heads that does not divide the width.

    Raises:
        BenchError: with what to type.
    """
    if heads < 1 or width % heads:
        raise BenchError(
            f"tokens of width {width} do not divide into {heads} heads; name another "
            "number with --arch (..._hN_...)"
        )


def extent(said: Mapping[str, str | None]) -> tuple[int, int]:
    """Return width and number of blocks that the parts of a name say."""
    if said["kind"]:
        return SIZES[said["kind"]].width, SIZES[said["kind"]].depth
    return int(said["width"] or 0), int(said["depth"] or 0)


def options_of(arch: str) -> dict[str, Any] | None:
    """Return the options that a name says; None if it is no such name."""
    found = NAME.fullmatch(arch)
    if not found:
        return None
    said = found.groupdict()
    width, depth = extent(said)
    patch, height = int(said["patch"]), int(said["height"])
    breadth = int(said["breadth"] or height)
    if not all((width, depth, patch, height, breadth)):
        return None
    heads = int(said["heads"] or usual_heads(width, depth))
    if not heads or width % heads or height % patch or breadth % patch:
        return None
    norms = said["norms"] or NORM
    registers, swiglu = int(said["registers"] or 0), said["swiglu"] is not None
    acts = {suffix: act for act, suffix in ACTS.items()}
    return {
        "width": width,
        "depth": depth,
        "heads": heads,
        "hidden": int(said["hidden"] or usual_hidden(width, depth, swiglu)),
        "swiglu": swiglu,
        "patch": patch,
        "size": height if height == breadth else (height, breadth),
        "class_token": said["pool"] != "gap",
        "registers": registers,
        "embed_prefix": not registers,
        "layer_scale": False,
        "pre_norm": said["pre_norm"] is not None,
        "qk_norm": said["qk_norm"] is not None,
        "qkv_bias": said["nobias"] is None,
        "norms": norms,
        "pooling": pooling_of(said["pool"], norms),
        "act": acts[said["act"] or ""],
        "eps": 10.0 ** -int(said["eps"]) if said["eps"] else EPS,
    }

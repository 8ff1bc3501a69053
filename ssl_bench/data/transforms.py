"""From a PIL image to uint8 pixels, by a list of named operations.

A transform is written as data, so that it can stand in a config and in a record:
``({"type": "Resize", "size": 256}, {"type": "CenterCrop", "size": 224})``. ``type`` is
looked up among our registered `TRANSFORMS` first and then in
``torchvision.transforms.v2``. Scaling to mean and variance is no part of it: that
happens on the device, with the statistics that came with the weights.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

import ssl_bench.data.augment  # noqa: F401  (registers its operations)
from ssl_bench.data.images import ImageError, image_name
from ssl_bench.errors import ConfigError, unknown
from ssl_bench.registry import TRANSFORMS

Spec = tuple[dict[str, Any], ...]


def _resize(size: int | list[int]) -> dict[str, Any]:
    return {
        "type": "Resize",
        "size": size,
        "interpolation": "bilinear",
        "antialias": True,
    }


NAMED: dict[str, Spec] = {
    # Source: the test pipeline of MMSelfSup, OpenSelfSup and every protocol here.
    "imagenet": (_resize(256), {"type": "CenterCrop", "size": 224}),
    "small": (),
    "upsample224": (_resize(224), {"type": "CenterCrop", "size": 224}),
    # Source: the VOC07 SVM pipeline of MMSelfSup, OpenSelfSup and VISSL, the same for
    # both splits: short edge first, then both edges; no crop, no flip.
    "squash": (_resize(256), _resize([224, 224])),
}
"""``imagenet``: short edge 256, centre crop 224. ``small``: nothing, the native size.
``upsample224``: short edge 224, centre crop 224, for weights that take no small images.
``squash``: short edge 256, then 224 x 224 whatever the shape: nothing is cut off.
"""

_CONTAINERS = frozenset(
    {"Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder", "Transform"}
)
_PROBE_SIDE = 1024
_SMALL_PROBE = (90, 60)
_PROBE_SIZES = ((1024, 1024), (1100, 1500), (1400, 1030), _SMALL_PROBE)


class Pipeline:
    """Apply operations in order to a PIL image in RGB.

    Attributes:
        spec: the operations as data, which is what a record holds.
    """

    def __init__(self, spec: Spec, operations: Sequence[Callable[[Any], Any]]) -> None:
        self.spec = spec
        self._operations = tuple(operations)

    def __call__(self, image: Image.Image) -> Tensor:
        """Return (3, H, W) uint8 pixels.

        Raises:
            ImageError: for an image so long that resizing its short edge would make a
                picture larger than Pillow's limit.
        """
        name, result = image_name(image), image
        for operation in self._operations:
            if isinstance(result, Image.Image):
                _refuse_giant(operation, result, name)
            result = operation(result)
        return _to_pixels(result)


def names() -> list[str]:
    """Return the names of all operations."""
    return sorted({*TRANSFORMS.module_dict, *_torchvision()})


def resolve(transform: str | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Spec:
    """Return a transform as plain data.

    Args:
        transform: a name in `NAMED`, or the operations themselves, or one of them.

    Raises:
        ConfigError: for an unknown name, an item without ``type``, or a value that JSON
            cannot hold.
    """
    if isinstance(transform, str):
        if transform not in NAMED:
            raise ConfigError([unknown("transform", transform, NAMED)])
        return tuple(dict(item) for item in NAMED[transform])
    if isinstance(transform, Mapping):
        transform = [transform]
    found: list[str] = []
    spec: list[dict[str, Any]] = []
    for number, item in enumerate(transform, start=1):
        if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
            found.append(
                f"operation {number} of the transform is {item!r}; expected "
                "dict(type=NAME, ...)"
            )
            continue
        try:
            spec.append(json.loads(json.dumps(dict(item))))
        except (TypeError, ValueError) as error:
            found.append(f"transform {item['type']}: {error}; use plain values")
    if found:
        raise ConfigError(found)
    return tuple(spec)


def default_spec(name: str, size: int | None = None) -> Spec:
    """Return the test transform of a data set for a backbone.

    Args:
        name: the data set's ``transform_name``.
        size: the pixels that the weights were made for; None for weights that take any.

    Returns:
        The named transform; for another size than its own the same with that crop (or,
        for ``squash``, that height and width), the short edge in the proportion 256 to
        224. Small images stay as they are, or are brought to ``size``.
    """
    spec = resolve(name)
    if size is None:
        return spec
    if name == "small":
        return _resize(size), {"type": "CenterCrop", "size": size}
    if name == "squash":
        short_edge, (height, _) = (item["size"] for item in spec)
        return _resize(round(size * short_edge / height)), _resize([size, size])
    short_edge, crop = (item["size"] for item in spec)
    return _resize(round(size * short_edge / crop)), {
        "type": "CenterCrop",
        "size": size,
    }


def complaints(transform: str | Sequence[Mapping[str, Any]]) -> list[str]:
    """Return everything that is wrong with a transform, or an empty list."""
    try:
        build(transform)
    except ConfigError as error:
        return list(error.complaints)
    return []


def build(transform: str | Sequence[Mapping[str, Any]]) -> Pipeline:
    """Make the callable of a transform, and try it once on a grey image.

    Args:
        transform: as for `resolve`.

    Raises:
        ConfigError: with every unknown operation and every bad argument.
    """
    spec = resolve(transform)
    found: list[str] = []
    operations = [_operation(item, found) for item in spec]
    if found:
        raise ConfigError(found)
    _probe(spec, operations)
    return Pipeline(spec, operations)


def random_operations(spec: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the operations that do not always do the same, by name.

    Each is tried on a picture of noise under several seeds; nothing else of the global
    generators is touched.
    """
    side = 64
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    found = []
    for item in resolve(list(spec)):
        operation = build([item])
        seen = set()
        for seed in range(8):
            with seeded(seed):
                pixels = operation(noise)
            seen.add((tuple(pixels.shape), pixels.numpy().tobytes()))
        if len(seen) > 1:
            found.append(str(item["type"]))
    return found


def output_size(
    transform: str | Sequence[Mapping[str, Any]],
) -> tuple[int, int] | None:
    """Return the size that every image ends in, by trying images of several shapes.

    Args:
        transform: as for `resolve`.

    Returns:
        Height and width; None if they depend on the image, or on chance.

    Raises:
        ConfigError: with everything that is wrong with the transform.
    """
    pipeline = build(transform)
    found: set[tuple[int, ...]] = set()
    for size in _PROBE_SIZES:
        for seed in range(4):
            with seeded(seed):
                try:
                    pixels = pipeline(Image.new("RGB", size))
                except Exception:
                    if size == _SMALL_PROBE:  # too small for a crop: it ends nowhere
                        break
                    raise
            found.add(tuple(pixels.shape[1:]))
    if len(found) > 1:
        return None
    height, width = found.pop()
    return height, width


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of torch, numpy and Python, and put them back afterwards.

    Args:
        seed: from 0 to 2**32 - 1.
    """
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _torchvision() -> dict[str, Any]:
    return {
        name: found
        for name, found in vars(v2).items()
        if isinstance(found, type)
        and issubclass(found, v2.Transform)
        and name not in _CONTAINERS
    }


def _operation(item: Mapping[str, Any], found: list[str]) -> Callable[[Any], Any]:
    arguments = dict(item)
    kind = arguments.pop("type")
    # Only our own registry: its parents hold OpenMMLab's transforms, which take dicts.
    known = {**_torchvision(), **TRANSFORMS.module_dict}
    made = known.get(kind)
    if made is None:
        found.append(unknown("transform operation", kind, known))
        return _nothing
    if wrong := _argument_complaints(kind, made, arguments):
        found.extend(wrong)
        return _nothing
    try:
        if isinstance(mode := arguments.get("interpolation"), str):
            arguments["interpolation"] = InterpolationMode(mode)
        operation: Callable[[Any], Any] = made(**arguments)
    except Exception as error:
        found.append(f"transform {kind}({_written(item)}): {error}")
        return _nothing
    return operation


def _argument_complaints(
    kind: str, made: Any, arguments: Mapping[str, Any]
) -> list[str]:
    parameters = inspect.signature(made).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    complaints = [
        unknown(f"argument of transform {kind}", name, parameters)
        for name in arguments
        if name not in parameters
    ]
    complaints += [
        f"transform {kind} needs the argument {name!r}"
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_POSITIONAL
        and name not in arguments
    ]
    return complaints


def _probe(spec: Spec, operations: Sequence[Callable[[Any], Any]]) -> None:
    result: Any = Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE), (128, 128, 128))
    with seeded(0):
        for item, operation in zip(spec, operations, strict=True):
            try:
                result = operation(result)
            except Exception as error:
                text = f"transform {item['type']}({_written(item)}): {error}"
                raise ConfigError([text]) from error
    try:
        _to_pixels(result)
    except TypeError as error:
        raise ConfigError(
            [f"the transform {[item['type'] for item in spec]} {error}"]
        ) from error


def _to_pixels(result: Any) -> Tensor:
    if isinstance(result, Image.Image):
        result = v2.functional.pil_to_tensor(result)
    if (
        not isinstance(result, Tensor)
        or result.dtype != torch.uint8
        or result.ndim != 3
        or result.shape[0] != 3
    ):
        what = type(result).__name__
        if isinstance(result, Tensor):
            what = f"a tensor of type {result.dtype} and shape {tuple(result.shape)}"
        raise TypeError(
            f"leaves {what}; it must leave a PIL image in RGB or uint8 pixels of shape "
            "(3, H, W): leave scaling and normalisation out, the backbone does them"
        )
    return result.as_subclass(Tensor)


def _refuse_giant(operation: object, image: Image.Image, name: str) -> None:
    size = getattr(operation, "size", None)
    if not isinstance(operation, v2.Resize) or not isinstance(size, list | tuple):
        return
    short, long = sorted(image.size)
    limit = Image.MAX_IMAGE_PIXELS
    if len(size) == 1 and limit is not None and size[0] ** 2 * long / short > limit:
        reason = (
            f"it measures {image.width} x {image.height} px, and with its short edge "
            f"at {size[0]} px it would have more than {limit} pixels, Pillow's limit"
        )
        raise ImageError(name, reason)


def _written(item: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in item.items() if k != "type")


def _nothing(image: Any) -> Any:
    return image

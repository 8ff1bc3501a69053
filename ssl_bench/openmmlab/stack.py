"""Which of OpenMMLab's packages are there, whether they fit, what to type if not."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass

from ssl_bench.errors import BenchError
from ssl_bench.versions import installed_version

MODULES = {
    "mmcv": ("onedl-mmcv", "mmcv"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
}
"""Import names, and the distributions that provide them: maintained fork, upstream."""

INSTALL = (
    "pip install 'setuptools<81' wheel ninja psutil && MMCV_WITH_OPS=1 pip install "
    "--no-build-isolation onedl-mmcv==2.3.6 onedl-mmdetection==3.5.1 "
    "onedl-mmsegmentation==1.4.2 imaug==0.4.3 pycocotools"
)
"""What brings them all; mmcv compiles its ops for a GPU where CUDA's compiler is."""

REBUILD = f"pip uninstall -y onedl-mmcv mmcv; pip cache remove onedl_mmcv; {INSTALL}"


@dataclass(frozen=True)
class Part:
    """Say what is known of one package.

    Attributes:
        module: its import name.
        provider: distribution and version, or empty.
        problem: why it cannot be used; empty where it can.
        advice: what to type then.
    """

    module: str
    provider: str
    problem: str = ""
    advice: str = ""


def provider_of(module: str) -> str:
    """Return distribution and version that provide an import name, or nothing."""
    for name in MODULES[module]:
        version = installed_version(name)
        if version is not None:
            return f"{name} {version}"
    return ""


@functools.cache
def examine(module: str) -> Part:
    """Import one of the packages and, of mmcv, call an operation of its own.

    Args:
        module: ``mmcv``, ``mmdet`` or ``mmseg``.
    """
    provider = provider_of(module)
    if not provider and importlib.util.find_spec(module) is None:
        return Part(module, "", "not installed", INSTALL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
            if module == "mmcv":
                _call_ops()
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        if module == "mmcv":
            problem = f"its compiled operations do not work ({why})"
            return Part(module, provider, problem, REBUILD)
        # Upstream asserts a range of versions of mmcv and mmengine at import.
        return Part(module, provider, f"does not import ({why})", INSTALL)
    return Part(module, provider)


def _call_ops() -> None:
    import torch
    from mmcv.ops import RoIAlign, nms

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    _, kept = nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    pooled = RoIAlign(1, aligned=True)(
        torch.ones(1, 1, 2, 2), torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]])
    )
    if kept.tolist() != [0] or float(pooled) != 1.0:
        raise BenchError("nms and RoIAlign give wrong results")


def require(protocol: str) -> None:
    """Make sure that what a protocol needs is there and works.

    Args:
        protocol: ``detect`` or ``segment``.

    Raises:
        BenchError: with what is wrong and what to type.
    """
    for module in ("mmcv", "mmdet" if protocol == "detect" else "mmseg"):
        part = examine(module)
        if part.problem:
            raise BenchError(
                f"{protocol} runs on OpenMMLab's packages, and {module}"
                f"{f' ({part.provider})' if part.provider else ''} is not usable: "
                f"{part.problem}; type: {part.advice}"
            )


@functools.cache
def register(protocol: str) -> None:
    """Let mmengine know the models, data sets and metrics of a protocol, and ours."""
    require(protocol)
    with (
        warnings.catch_warnings(),
        _hidden("mmpretrain"),
        redirect_stdout(io.StringIO()),
    ):
        # Each says what it could not import.
        warnings.simplefilter("ignore")
        if protocol == "detect":
            from mmdet.utils import register_all_modules

            register_all_modules(init_default_scope=False)
            importlib.import_module("ssl_bench.openmmlab.detection_modules")
        else:
            from mmseg.utils import register_all_modules

            register_all_modules(init_default_scope=False)
            importlib.import_module("ssl_bench.openmmlab.segmentation_modules")


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let a package that is not needed pass for missing.

    MMDetection imports mmpretrain where it is there, and mmpretrain does not import
    beside today's transformers.
    """
    there = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if there is not None:
            sys.modules[module] = there

"""Packages that are missing, broken or wrong: one line, and what to type."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ssl_bench.errors import BenchError
from ssl_bench.openmmlab import stack

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _examined_anew() -> Iterator[None]:
    """Let every test examine for itself, and no other test see what it found."""
    stack.examine.cache_clear()
    yield
    stack.examine.cache_clear()


def without(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a package and what provides it be absent."""
    absent = stack.MODULES[module]
    version, find = stack.installed_version, importlib.util.find_spec
    monkeypatch.setattr(
        stack, "installed_version", lambda n: None if n in absent else version(n)
    )
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == module else find(name, *more),
    )


def refusal(protocol: str) -> str:
    with pytest.raises(BenchError) as error:
        stack.require(protocol)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"{protocol} runs on OpenMMLab's packages, and ")
    return said


def test_what_is_there_is_fit() -> None:
    for module, (fork, _) in stack.MODULES.items():
        part = stack.examine(module)
        assert part.problem == part.advice == ""
        assert part.module == module
        assert part.provider.split()[0] == fork
    stack.require("detect")
    stack.require("segment")


@pytest.mark.parametrize(
    ("protocol", "module"),
    [
        ("detect", "mmcv"),
        ("detect", "mmdet"),
        ("segment", "mmcv"),
        ("segment", "mmseg"),
    ],
)
def test_a_package_that_is_missing(
    protocol: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(module, monkeypatch)
    said = refusal(protocol)
    assert f"and {module} is not usable: not installed; type: pip install" in said
    # Whoever types it gets all of them, each at one version.
    for package in ("onedl-mmcv==", "onedl-mmdetection==", "onedl-mmsegmentation=="):
        assert package in said
    assert "MMCV_WITH_OPS=1" in said
    assert "--no-build-isolation" in said


def test_only_what_the_protocol_needs_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without("mmseg", monkeypatch)
    stack.require("detect")
    stack.examine.cache_clear()
    monkeypatch.undo()
    without("mmdet", monkeypatch)
    stack.require("segment")


def test_a_package_without_a_distribution_counts_as_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a checkout on the path."""
    monkeypatch.setattr(stack, "installed_version", lambda name: None)
    assert stack.examine("mmseg") == stack.Part("mmseg", "")


def test_the_maintained_fork_comes_before_upstream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = {"onedl-mmcv": "2.3.6", "mmcv": "2.1.0", "mmsegmentation": "1.2.2"}
    monkeypatch.setattr(stack, "installed_version", there.get)
    assert stack.provider_of("mmcv") == "onedl-mmcv 2.3.6"
    assert stack.provider_of("mmseg") == "mmsegmentation 1.2.2"
    assert stack.provider_of("mmdet") == ""


@pytest.mark.parametrize("protocol", ["detect", "segment"])
def test_operations_that_fail(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ModuleNotFoundError("No module named\n 'mmcv._ext'")

    monkeypatch.setattr(stack, "_call_ops", broken)
    said = refusal(protocol)
    assert f"mmcv ({stack.provider_of('mmcv')}) is not usable" in said
    assert "do not work (No module named 'mmcv._ext')" in said
    # pip keeps the wheel without operations, and would take it again.
    assert "type: pip uninstall -y onedl-mmcv mmcv; pip cache remove" in said
    assert said.index("pip cache remove") < said.index("pip install")


def test_an_error_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError

    monkeypatch.setattr(stack, "_call_ops", broken)
    assert "do not work (RuntimeError)" in refusal("detect")


@pytest.mark.parametrize("which", ["nms", "RoIAlign"])
def test_operations_that_give_wrong_results(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mmcv.ops

    def keeps_both(*_: Any, **__: Any) -> Any:
        return None, torch.tensor([0, 1])

    def pools_nothing(*_: Any, **__: Any) -> Any:
        return lambda maps, regions: torch.zeros(1, 1, 1, 1)

    wrong = {"nms": keeps_both, "RoIAlign": pools_nothing}[which]
    monkeypatch.setattr(mmcv.ops, which, wrong)
    assert "(nms and RoIAlign give wrong results)" in refusal("detect")


@pytest.mark.parametrize("protocol", ["detect", "segment"])
def test_a_package_that_does_not_import(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"detect": "mmdet", "segment": "mmseg"}[protocol]
    real = importlib.import_module

    def refuse(name: str, *more: Any) -> Any:
        if name == module:
            raise AssertionError("MMCV==2.3.6 is used but incompatible.\nPlease")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", refuse)
    said = refusal(protocol)
    assert f"{module} ({stack.provider_of(module)}) is not usable" in said
    assert "does not import (MMCV==2.3.6 is used but incompatible. Please)" in said
    assert said.endswith(f"type: {stack.INSTALL}")


@pytest.mark.parametrize("protocol", ["detect", "segment"])
def test_registering_leaves_mmpretrain_as_it_was(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.register(protocol)
    stack.register.__wrapped__(protocol)
    assert sys.modules.get("mmpretrain", "absent") is not None
    assert importlib.util.find_spec("mmpretrain") is not None


def test_a_hidden_package_does_not_import_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "wave"  # of the standard library, and nobody's here
    monkeypatch.delitem(sys.modules, name, raising=False)
    with stack._hidden(name), pytest.raises(ImportError):
        importlib.import_module(name)
    assert name not in sys.modules
    there = importlib.import_module(name)
    with stack._hidden(name), pytest.raises(ImportError):
        importlib.import_module(name)
    assert sys.modules[name] is there
    with pytest.raises(KeyError), stack._hidden(name):
        raise KeyError
    assert sys.modules[name] is there


def test_models_data_sets_and_metrics_are_known_afterwards() -> None:
    stack.register("detect")
    stack.register("segment")
    import mmdet.registry
    import mmseg.registry
    from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope

    for name in ("BackboneTaps", "LastStageExtraNorm", "SimpleFeaturePyramid"):
        assert mmdet.registry.MODELS.get(name).__name__ == name
    for name in ("BackboneTaps", "LinearHead"):
        assert mmseg.registry.MODELS.get(name).__name__ == name
    for name in ("CocoPrecision", "VocPrecision"):
        assert mmdet.registry.METRICS.get(name).__name__ == name
    assert mmseg.registry.METRICS.get("ClassIoU").__name__ == "ClassIoU"
    assert mmseg.registry.DATASETS.get("ImagesAndMaps").__name__ == "ImagesAndMaps"
    assert OPTIM_WRAPPER_CONSTRUCTORS.get("BackboneLayerDecay") is not None
    # A run names its own scope; none is left behind for others.
    assert DefaultScope.get_current_instance() is None

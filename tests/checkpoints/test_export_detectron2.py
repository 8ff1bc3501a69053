"""The pickles that detectron2 reads, by a plain unpickler and by our own reader."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench import checkpoints
from ssl_bench.checkpoints import export
from tests.checkpoints.exports import assert_same_when_read_again, weights_of


def as_mmselfsup_does(key: str) -> str:
    """Rename by the rules of protocols.md 1.5, one replacement after another."""
    if "layer" not in key:
        key = f"stem.{key}"
    for stage in (1, 2, 3, 4):
        key = key.replace(f"layer{stage}", f"res{stage + 1}")
    for index in (1, 2, 3):
        key = key.replace(f"bn{index}", f"conv{index}.norm")
    key = key.replace("downsample.0", "shortcut")
    return key.replace("downsample.1", "shortcut.norm")


def unpickled(path: Path) -> dict[str, Any]:
    """Read the file as detectron2 does; it was written by this test."""
    found: dict[str, Any] = pickle.loads(path.read_bytes(), encoding="latin1")
    return found


@pytest.mark.parametrize("arch", ["resnet18", "resnet50-w8", "resnext50_32x4d-w16"])
def test_names_and_arrays_are_those_of_the_known_converter(
    arch: str, tmp_path: Path
) -> None:
    weights = weights_of(arch, tmp_path)
    export.save(weights, tmp_path / "out.pkl", "detectron2")
    tree = unpickled(tmp_path / "out.pkl")
    assert tree["__author__"] == "ssl_bench"
    assert tree["matching_heuristics"] is True
    expected = {as_mmselfsup_does(k): v for k, v in weights.state_dict.items()}
    assert tree["model"].keys() == expected.keys()
    for key, array in tree["model"].items():
        assert isinstance(array, np.ndarray)
        assert np.array_equal(array, expected[key].numpy())
    assert tree["model"]["res3.0.shortcut.norm.num_batches_tracked"] == 7


def test_old_versions_of_numpy_find_the_functions(tmp_path: Path) -> None:
    export.save(weights_of("resnet50-w4", tmp_path), tmp_path / "a.pkl", "detectron2")
    content = (tmp_path / "a.pkl").read_bytes()
    opcodes = list(pickletools.genops(content))
    named = {arg for code, arg, _ in opcodes if code.name == "GLOBAL"}
    assert named == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }
    assert not any(code.name == "STACK_GLOBAL" for code, _, _ in opcodes)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50-w4", "resnet50-w4-caffe-bgr"])
def test_it_is_read_again(arch: str, tmp_path: Path) -> None:
    weights = weights_of(arch, tmp_path)
    assert_same_when_read_again(weights, tmp_path, "detectron2", ".pkl")


def test_half_precision_becomes_what_numpy_has(tmp_path: Path) -> None:
    weights = weights_of("resnet50-w4", tmp_path)
    half = {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in weights.state_dict.items()
    }
    torch.save(half, tmp_path / "half.pth")
    weights = checkpoints.load(tmp_path / "half.pth")
    export.save(weights, tmp_path / "out.pkl", "detectron2")
    arrays = unpickled(tmp_path / "out.pkl")["model"]
    assert arrays["stem.conv1.weight"].dtype == np.float32
    assert checkpoints.load(tmp_path / "out.pkl").fingerprint == weights.fingerprint


def test_the_settings_that_go_with_it_are_said(tmp_path: Path) -> None:
    lines = export.usage(weights_of("resnet18", tmp_path), "detectron2", None)
    assert lines == [
        "MODEL.PIXEL_MEAN [123.675, 116.28, 103.53]",
        "MODEL.PIXEL_STD [58.395, 57.12, 57.375]",
        "INPUT.FORMAT RGB",
        "MODEL.RESNETS.DEPTH 18",
        "MODEL.RESNETS.RES2_OUT_CHANNELS 64",
        "MODEL.RESNETS.STRIDE_IN_1X1 False",
    ]


def test_settings_of_unusual_networks(tmp_path: Path) -> None:
    said = export.usage(
        weights_of("resnet50-w8-caffe-bgr", tmp_path), "detectron2", None
    )
    assert "MODEL.PIXEL_MEAN [103.53, 116.28, 123.675]" in said
    assert "INPUT.FORMAT BGR" in said
    assert "MODEL.RESNETS.STRIDE_IN_1X1 True" in said
    assert "MODEL.RESNETS.STEM_OUT_CHANNELS 8" in said
    assert "MODEL.RESNETS.RES2_OUT_CHANNELS 32" in said
    assert "MODEL.RESNETS.WIDTH_PER_GROUP 8" in said

"""Pickles of numpy arrays, as the converters for detectron2 write them."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from ssl_bench import checkpoints
from tests.producers.small import resnet
from tests.producers.torchvision_cnn import bottlenecks, converted


def test_arrays_come_back_as_the_tensors_they_were(tmp_path: Path) -> None:
    network = resnet(81)
    path = tmp_path / "converted.pkl"
    model = {key: t.numpy() for key, t in converted(network.state_dict()).items()}
    tree = {"model": model, "__author__": "MMSelfSup", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(tree))
    weights = checkpoints.load(path)
    assert weights.layout == "detectron2"
    assert weights.arch == "resnet18-w16"
    assert weights.coverage.dropped["head before conversion"] == (
        "stem.fc.weight",
        "stem.fc.bias",
    )
    for name, tensor in network.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(weights.state_dict[name], tensor), name


def test_msra_weights_are_bgr_in_values_up_to_255(tmp_path: Path) -> None:
    """A pixel of OpenMMLab's: blue, green, red, minus (103.53, 116.28, 123.675)."""
    path = tmp_path / "caffe.pth"
    torch.save(bottlenecks(82).state_dict(), path)
    weights = checkpoints.load(path, producer="detectron")
    assert weights.arch == "resnet14-caffe-bgr"
    network = checkpoints.load_backbone(path, producer="detectron")
    pixel = torch.tensor([200.0, 100.0, 50.0]) / 255
    mean, std = torch.tensor(weights.input.mean), torch.tensor(weights.input.std)
    seen = network.prepare(
        ((pixel - mean) / std)[None, :, None, None].expand(1, 3, 2, 2)
    )
    expected = torch.tensor([50 - 103.53, 100 - 116.28, 200 - 123.675])
    torch.testing.assert_close(seen[0, :, 0, 0], expected, rtol=1e-4, atol=1e-4)

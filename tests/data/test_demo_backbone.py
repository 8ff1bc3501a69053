"""The bundled backbone and the tool that made it."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import ssl_bench
from ssl_bench import backbones
from ssl_bench.data import scenes

HOME = Path(ssl_bench.__file__).parent
BUNDLED = HOME / "bundled/digit-scenes_resnet18-w24.pth"


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    path = HOME.parent / "tools/train_demo_backbone.py"
    spec = importlib.util.spec_from_file_location("train_demo_backbone", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_bundled_file_fills_the_network_under_its_own_names() -> None:
    content = torch.load(BUNDLED, weights_only=True)
    assert set(content) == {"state_dict", "meta"}
    network = backbones.build("resnet18-w24", 0)
    assert network.load_state_dict(content["state_dict"], strict=True)
    for name, tensor in content["state_dict"].items():
        assert tensor.is_contiguous() and tensor.device.type == "cpu"
        assert tensor.isfinite().all()
        counter = name.endswith("num_batches_tracked")
        assert tensor.dtype == (torch.int64 if counter else torch.float32)
    size = sum(parameter.numel() for parameter in network.parameters())
    assert 1.5e6 < size < 1.7e6
    assert BUNDLED.stat().st_size < 6.6e6


def test_figures_beside_it_are_worth_evaluating_and_of_these_scenes() -> None:
    meta = torch.load(BUNDLED, weights_only=True)["meta"]
    figures = json.loads(BUNDLED.with_suffix(".json").read_text(encoding="utf-8"))
    assert {key: figures[key] for key in meta} == meta
    assert (meta["arch"], meta["dataset"]) == ("resnet18-w24", "digit-scenes")
    assert meta["version"] == scenes.VERSION
    assert figures["data_seed"] == scenes.DEFAULT_SEED
    assert 75 <= figures["knn_top1_k20"] <= 95
    assert 20 <= figures["knn_top1_k20_random"] <= 38
    assert figures["seconds"] < 40 * 60


def test_loss_by_hand(tool: ModuleType) -> None:
    # Four views of two samples on the axes: cosines 1 within a pair, 0 across.
    views = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    samples = torch.tensor([7, 9, 7, 9])
    loss = tool.contrast(views, samples, 0.5)
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_loss_averages_over_several_positives(tool: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(7, 5, generator=generator)
    samples = [1, 2, 1, 1, 2, 3, 3]
    unit = [view / view.norm() for view in views]
    total = 0.0
    for i in range(7):
        others = [j for j in range(7) if j != i]
        scores = {j: math.exp(float(unit[i] @ unit[j]) / 0.2) for j in others}
        same = [j for j in others if samples[j] == samples[i]]
        rest = sum(scores.values())
        total += sum(-math.log(scores[j] / rest) for j in same) / len(same)
    loss = tool.contrast(views, torch.tensor(samples), 0.2)
    assert loss.item() == pytest.approx(total / 7, rel=1e-5)


def test_loss_has_a_finite_gradient(tool: ModuleType) -> None:
    views = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    views.requires_grad_()
    tool.contrast(views, torch.tensor([0, 0, 1, 1, 2, 2]), 0.1).backward()
    assert views.grad is not None and views.grad.isfinite().all()


def test_partners_show_the_same_sample_in_another_picture(tool: ModuleType) -> None:
    samples = torch.tensor([5, 3, 5, 3, 5, 8, 3, 5])
    seen = set()
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        partners = tool.draw_partners(samples, generator)
        assert (samples[partners] == samples).all()
        assert sorted(partners.tolist()) == list(range(8))
        own = partners == torch.arange(8)
        assert own.tolist() == [False] * 5 + [True] + [False] * 2
        seen.add(int(partners[0]))
    assert seen == {2, 4, 7}


def test_views_repeat_with_the_seed_and_keep_their_range(tool: ModuleType) -> None:
    pictures = torch.randint(
        0, 256, (6, 3, 96, 96), generator=torch.Generator().manual_seed(2)
    ).to(torch.uint8)
    first, second, other = (
        tool.augment(pictures, 64, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert first.shape == (6, 3, 64, 64)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert first.isfinite().all() and first.abs().max() < 20


@pytest.mark.usefixtures("_one_thread")
def test_tool_writes_a_loadable_file_and_its_figures(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = scenes.SceneCounts(imagenet_train=64, imagenet_val=20)
    root = tmp_path / "scenes"
    scenes.generate(root, seed=0, counts=counts, styles=("imagenet",))
    bank, query = tool.read_split(root, "train"), tool.read_split(root, "val")
    assert bank.images_BCHW.shape == (64, 3, 96, 96)
    assert bank.labels_B.bincount().tolist() == [7, 7, 7, 7] + [6] * 6
    recipe = tool.Recipe(epochs=1, pairs=16, sizes=((0.0, 32),))
    network, loss = tool.train(bank, recipe)
    again, same = tool.train(bank, recipe)
    assert loss == same and not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert 0 <= tool.knn_top1(network, bank, query) <= 100
    tool.save(network, tmp_path / "out.pth", {"arch": tool.ARCH})
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    assert content["meta"] == {"arch": "resnet18-w24"}
    backbones.build(tool.ARCH, 1).load_state_dict(content["state_dict"], strict=True)

"""k-NN of a foreign checkpoint equals k-NN on the producer's own forward pass.

The independent side uses the producer's model, torchvision's own classic transforms and
k-NN by loops in float64; only the images are shared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torchvision import transforms

from ssl_bench import cli

CLASSES = 5
TRAIN, VAL = 8, 5


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tinted stripes of five directions under noise: k-NN is often right, and errs."""
    root = tmp_path_factory.mktemp("textures")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:120, 0:150]
    for split, count in (("train", TRAIN), ("val", VAL)):
        for label in range(CLASSES):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                angle = np.pi * (label + rng.normal(0, 0.35)) / CLASSES
                wave = np.cos(angle) * rows + np.sin(angle) * columns
                grey = 128 + 50 * np.sin(wave / rng.uniform(2, 6))
                hue = 2 * np.pi * (label / CLASSES + np.arange(3) / 3)
                tint = 0.9 + 0.2 * np.cos(hue) + rng.normal(0, 0.12, 3)
                pixels = grey[..., None] * tint
                pixels = pixels + rng.normal(0, 40, (120, 150, 3))
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(folder / f"{i}.png")
    return root


def stir(model: torch.nn.Module) -> torch.nn.Module:
    """Give batch norms statistics and affine parameters of their own."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model


def make(build: Callable[[], torch.nn.Module], seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().eval()


def resnet_features(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    model.fc = torch.nn.Identity()
    return model(images)


def timm_map(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model.forward_features(images).mean((2, 3))


def timm_class_token(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model.forward_features(images)[:, 0]


def torchvision_class_token(
    model: torch.nn.Module, images: torch.Tensor
) -> torch.Tensor:
    model.heads = torch.nn.Identity()
    return model(images)


def small_vit() -> torch.nn.Module:
    return torchvision.models.VisionTransformer(224, 16, 12, 3, 192, 768)


PRODUCERS = {
    "torchvision-resnet18-untrained": (
        lambda: make(torchvision.models.resnet18),
        resnet_features,
    ),
    "torchvision-resnet50-stirred": (
        lambda: stir(make(torchvision.models.resnet50)),
        resnet_features,
    ),
    "timm-resnet34-stirred": (
        lambda: stir(make(lambda: timm.create_model("resnet34"))),
        timm_map,
    ),
    "timm-vit-tiny-untrained": (
        lambda: make(lambda: timm.create_model("vit_tiny_patch16_224")),
        timm_class_token,
    ),
    "torchvision-vit-untrained": (lambda: make(small_vit), torchvision_class_token),
}


def knn_top1(
    query: np.ndarray,
    targets: np.ndarray,
    bank: np.ndarray,
    bank_targets: np.ndarray,
    k: int,
) -> float:
    """Vote by loops: exp(similarity / 0.07), the smaller index and class first."""
    bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
    right = 0
    for feature, target in zip(query, targets, strict=True):
        similarities = bank @ (feature / np.linalg.norm(feature))
        votes = np.zeros(CLASSES)
        for index in np.argsort(-similarities, kind="stable")[:k]:
            votes[bank_targets[index]] += np.exp((similarities[index] - 1) / 0.07)
        right += int(np.argmax(votes)) == target
    return 100 * right / len(targets)


def independent(
    root: Path, model: torch.nn.Module, features: Callable[..., torch.Tensor], k: int
) -> float:
    pipeline = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    found = {}
    for split in ("train", "val"):
        rows, targets = [], []
        for label, folder in enumerate(sorted((root / split).iterdir())):
            for path in sorted(folder.iterdir()):
                rows.append(pipeline(Image.open(path).convert("RGB")))
                targets.append(label)
        with torch.no_grad():
            feats = torch.cat([features(model, r[None]) for r in rows])
        found[split] = feats.double().numpy(), np.array(targets)
    return knn_top1(*found["val"], *found["train"], k)


@pytest.mark.slow
@pytest.mark.parametrize("producer", PRODUCERS)
def test_same_top1_as_the_producers_own_forward_pass(
    producer: str,
    textures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    build, features = PRODUCERS[producer]
    model = build()
    path = tmp_path / "model.pth"
    torch.save(model.state_dict(), path)
    words = [
        "knn", "--pretrain", str(path), "--dataset", "folder", "--data-root",
        str(textures), "--results", str(tmp_path / "results"), "--workers", "0",
        "--json", "--cfg-options", "settings.topk=5,10", "settings.votes=weighted",
    ]  # fmt: skip
    assert cli.main(words) == 0
    record = json.loads(capsys.readouterr().out)
    values = {metric["name"]: metric["value"] for metric in record["metrics"]}
    for k in (5, 10):
        right = independent(textures, model, features, k)
        assert values[f"top1_k{k}"] == pytest.approx(right, abs=1e-9), k
        assert 30 < right < 100, "the images are too easy or too hard to tell anything"

"""What every test has at hand: a cache of its own, a small folder of images."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

# Before torch is imported: waiting threads must not spin on cores that others need.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch
from PIL import Image

# mmpretrain, which writes checkpoints that are read here, has multimodal models that do
# not import beside today's transformers, and takes them in once pycocotools is there.
sys.modules.setdefault(
    "mmpretrain.models.multimodal", ModuleType("mmpretrain.models.multimodal")
)


@pytest.fixture(autouse=True, scope="session")
def _two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _own_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep caches and data roots of the user out of the tests."""
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("SSL_BENCH_DATA", raising=False)
    yield


def draw_image(seed: int, colour: tuple[int, int, int], size: int = 40) -> Image.Image:
    """Draw noise around a colour, so that classes can be told apart."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-40, 40, (size, size, 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Class folders: 3 classes, 8 train and 4 val images each, PNG."""
    colours = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (210, 50, 40)}
    root = tmp_path / "photos"
    for label, (name, colour) in enumerate(colours.items()):
        for split, count, start in (("train", 8, 0), ("val", 4, 500)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                draw_image(start + 100 * label + i, colour).save(folder / f"{i}.png")
    return root

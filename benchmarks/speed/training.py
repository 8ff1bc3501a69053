"""Training: 52 heads on one pass against one head, and our loop against a bare one.

Images are JPEG files of noise, 256 pixels, read from disk; the networks are at random
initialisation. Of every run the training epoch is timed, not its evaluation.

- ``heads``: a frozen ResNet-50 at 224 pixels with 1,000 classes, one head, then the 52
  of a sweep (13 learning rates x 4 weight decays).
- ``semi``: a ResNet-18 trained whole with two groups of learning rates, through our
  Runner and through a plain PyTorch loop with the same model, images and loader.

    python -m benchmarks.speed.training
    python -m benchmarks.speed.training --images 128 --repeats 1   # a quick look
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from PIL import Image
from torch.nn import functional

from benchmarks.speed import measure
from ssl_bench import data
from ssl_bench.backbones import Backbone
from ssl_bench.checkpoints import load_backbone
from ssl_bench.config import read_config
from ssl_bench.data import transforms
from ssl_bench.resources import config_names
from ssl_bench.training.heads import Head, pool_sources, sources_of
from ssl_bench.training.images import TrainImages
from ssl_bench.training.job import Job
from ssl_bench.training.loaders import train_loader
from ssl_bench.training.recipe import Recipe
from ssl_bench.training.run import train

CLASSES = 1000
BARS = {"heads_52_to_1": 1.3, "semi_to_bare": 0.95}
SWEEP = {
    "lr": tuple(float(f"{10 ** (e / 4):.4g}") for e in range(-8, 5)),
    "wd": (0.0, 1e-6, 1e-5, 1e-4),
}
_SPANS: list[float] = []


@HOOKS.register_module()
class TrainingClock(Hook):  # type: ignore[misc]
    """Note how long each epoch trained."""

    priority = "VERY_LOW"

    def before_train_epoch(self, runner: Any) -> None:
        """Begin."""
        del runner
        self._begin = time.perf_counter()

    def after_train_epoch(self, runner: Any) -> None:
        """End."""
        del runner
        _SPANS.append(time.perf_counter() - self._begin)


def write_images(folder: Path, count: int, classes: int) -> None:
    """Write class folders of noise: ``count`` to train on, one a class to test."""
    rng = np.random.default_rng(0)
    for split, total in (("train", count), ("val", classes)):
        for number in range(total):
            place = folder / split / f"c{number % classes:04d}"
            place.mkdir(parents=True, exist_ok=True)
            coarse = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((256, 256))
            image.save(place / f"{number}.jpg", quality=90)


def job_of(folder: Path, work: Path, config: str, arch: str, **more: Any) -> Job:
    """Return a run of one epoch of a shipped recipe on these images."""
    options = {
        "train_cfg.max_epochs": 1,
        "train_cfg.val_interval": 1,
        "custom_hooks": [{"type": "TrainingClock"}],
        **more.pop("options", {}),
    }
    recipe = Recipe(config, read_config(config_names()[config], options))
    splits = [data.open_dataset("folder", split, folder) for split in ("train", "val")]
    return Job(
        recipe=dataclasses.replace(recipe, **more),
        backbone=load_backbone("none", arch=arch),
        train=splits[0],
        test=splits[1].select(range(32)),
        transform=transforms.default_spec("imagenet"),
        seed=0,
        device=torch.device("cpu"),
        dtype="fp32",
        workers=0,
        test_batch=32,
        work_dir=work,
        identity={},
    )


def timed(job: Job) -> float:
    """Return the seconds of the training epoch."""
    _SPANS.clear()
    train(job)
    return _SPANS[-1]


def bare_loop(job: Job) -> float:
    """Train the same for an epoch by a plain loop, and return its seconds."""
    config = job.recipe.config
    spec = job.recipe.heads["head"]
    network: Backbone = copy.deepcopy(job.backbone).requires_grad_(True).train()
    sources = sources_of(spec, network, None)
    head = Head(spec, sources, network.dims, len(job.train.classes), job.seed)
    lr = float(config.optim_wrapper.optimizer.lr)
    groups: list[dict[str, Any]] = [
        {"params": list(network.parameters())},
        {"params": list(head.parameters()), "lr": lr},
    ]
    optimizer = torch.optim.SGD(
        groups,
        lr=lr,
        momentum=0.9,
        weight_decay=float(config.optim_wrapper.optimizer.weight_decay),
    )
    loader = train_loader(
        TrainImages(job.train, job.recipe.train_transform, job.seed),
        batch=job.recipe.base_batch,
        accumulate=1,
        seed=job.seed,
        rank=0,
        world=1,
        workers=0,
        pin_memory=False,
    )
    mean = torch.tensor(network.input.mean).view(1, -1, 1, 1) * 255
    std = torch.tensor(network.input.std).view(1, -1, 1, 1) * 255
    begin = time.perf_counter()
    for images, targets, _ in loader:
        pixels = (images.float() - mean) / std
        outputs = network.forward_taps(pixels, ("final",))
        logits = head(pool_sources(outputs, sources, network))
        loss = functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return time.perf_counter() - begin


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    batch = args.images // 2
    options = {
        "auto_scale_lr.base_batch_size": batch,
        "train_dataloader.batch_size": batch,
    }
    found: dict[str, list[float]] = {k: [] for k in ("one", "many", "ours", "bare")}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_images(root / "wide", args.images, min(CLASSES, args.images))
        heads = ("linear_folder", "resnet50")
        whole = ("semi_folder_10pct", "resnet18")
        semi = {**options, "fraction": None}
        for _ in range(args.repeats):
            one = job_of(root / "wide", root / "w", *heads, options=options)
            many = job_of(
                root / "wide", root / "w", *heads, options=options, sweep=SWEEP
            )
            ours = job_of(root / "wide", root / "w", *whole, options=semi)
            found["one"].append(timed(one))
            found["many"].append(timed(many))
            found["bare"].append(bare_loop(ours))
            found["ours"].append(timed(ours))
            print(
                {key: round(times[-1], 2) for key, times in found.items()}, flush=True
            )
    pairs = zip(found["many"], found["one"], strict=True)
    loops = zip(found["bare"], found["ours"], strict=True)
    report = {
        "what": f"{args.images} JPEG images of 256 px, batch {batch}, one epoch",
        "heads_52_to_1": measure.spread([many / one for many, one in pairs]),
        "semi_to_bare": measure.spread([bare / ours for bare, ours in loops]),
        "bars": BARS,
        "seconds": {key: measure.spread(times) for key, times in found.items()},
        "machine": measure.machine(("ssl_bench", "torch", "onedl-mmengine")),
    }
    measure.write("training", report, args.out)


if __name__ == "__main__":
    main()

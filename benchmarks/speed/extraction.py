"""Feature extraction against the plain eager loop: ResNet-50, 224 px, on the CPU.

Both sides get the same normalised float32 tensors in memory and give the global average
of the last map. The plain loop is torchvision's own model in eval mode under
``torch.no_grad``, which is what k-NN scripts do; ours folds batch norm, runs
channels_last in inference mode, and in bf16 where asked. A last figure reads JPEG files
through the whole of `extract_features`, and says what bounds it.

    python -m benchmarks.speed.extraction --repeats 5
    python -m benchmarks.speed.extraction --images 32 --repeats 1   # a quick look
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image

from benchmarks.speed import measure
from ssl_bench import data
from ssl_bench.backbones import Backbone, build
from ssl_bench.data.loading import loader
from ssl_bench.features import DTYPES, Extraction, FeatureStore, extract_features
from ssl_bench.pooling import pool, pooling_kind

ARCH = "resnet50"
SIZE = 224
# A common photograph's size: what JPEG decoding costs depends on it.
JPEG_SIZE = (500, 375)
SEED = 0


def plain_loop(
    model: torch.nn.Module, batches: list[torch.Tensor]
) -> Callable[[], torch.Tensor]:
    """Return the loop that every k-NN script has."""

    def run() -> torch.Tensor:
        features = []
        with torch.no_grad():
            for images in batches:
                features.append(model(images))
        return torch.cat(features)

    return run


def our_loop(
    backbone: Backbone, batches: list[torch.Tensor], dtype: str
) -> Callable[[], torch.Tensor]:
    """Return our forward pass over tensors in memory, set-up outside the clock."""
    model = backbone.for_inference(DTYPES[dtype], "cpu")
    kind = pooling_kind(backbone, "final")

    def run() -> torch.Tensor:
        features = []
        with torch.inference_mode():
            for images in batches:
                placed = images.to(DTYPES[dtype], memory_format=torch.channels_last)
                out = model.forward_taps(placed, ["final"])["final"]
                features.append(pool(out, kind, backbone).float())
        return torch.cat(features)

    return run


def relative_error(found: torch.Tensor, right: torch.Tensor) -> float:
    """Return the largest deviation, relative to the largest feature."""
    return float((found - right).abs().max() / right.abs().max())


def write_photographs(root: Path, count: int) -> Path:
    """Write smooth coloured noise as JPEG in class folders."""
    rng = np.random.default_rng(SEED)
    for split in ("train", "val"):
        for i in range(count if split == "train" else 2):
            folder = root / split / str(i % 2)
            folder.mkdir(parents=True, exist_ok=True)
            small = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(small).resize(JPEG_SIZE, Image.Resampling.BICUBIC).save(
                folder / f"{i}.jpg", quality=90
            )
    return root


def from_files(backbone: Backbone, count: int, repeats: int, workers: int) -> Any:
    """Measure decoding alone, and extraction from JPEG files in fp32 and bf16."""
    with tempfile.TemporaryDirectory() as folder:
        root = write_photographs(Path(folder) / "photos", count)
        dataset = data.open_dataset("folder", "train", root)
        transform = data.transforms.build("imagenet")
        batches = [list(range(i, min(i + 32, count))) for i in range(0, count, 32)]
        run = 0

        def decode() -> None:
            for _ in loader(dataset, transform, batches, workers=workers):
                pass

        def extract(dtype: str) -> Callable[[], None]:
            def go() -> None:
                nonlocal run
                run += 1
                extract_features(
                    backbone,
                    dataset,
                    extraction=Extraction(
                        device="cpu", dtype=dtype, batch_size=32, workers=workers
                    ),
                    store=FeatureStore(Path(folder) / f"store-{run}"),
                )

            return go

        runs = measure.interleaved(
            {
                "decode": decode,
                "fp32": extract("fp32"),
                "bf16": extract("bf16"),
            },
            repeats,
        )
    return {
        "images": count,
        "jpeg_size": JPEG_SIZE,
        "workers": workers,
        "seconds": {name: run.describe() for name, run in runs.items()},
        "decode_share_of_fp32": measure.spread(
            [a / b for a, b in zip(runs["decode"].wall, runs["fp32"].wall, strict=True)]
        ),
        "decode_share_of_bf16": measure.spread(
            [a / b for a, b in zip(runs["decode"].wall, runs["bf16"].wall, strict=True)]
        ),
        "bound": "the forward pass: decoding uses the same cores and takes the share "
        "above; with a GPU the decoding becomes the limit",
    }


def main() -> None:
    """Run the measurement and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    backbone = build(ARCH, SEED)
    peer = torchvision.models.resnet50()
    peer.fc = torch.nn.Identity()
    peer.load_state_dict(backbone.state_dict())
    peer.eval()
    generator = torch.Generator().manual_seed(SEED)
    batches = [
        torch.randn(args.batch_size, 3, SIZE, SIZE, generator=generator)
        for _ in range(max(1, args.images // args.batch_size))
    ]
    contenders = {
        "plain": plain_loop(peer, batches),
        "ours_fp32": our_loop(backbone, batches, "fp32"),
        "ours_bf16": our_loop(backbone, batches, "bf16"),
    }
    features = {name: run() for name, run in contenders.items()}  # also the warm-up
    runs = measure.interleaved(contenders, args.repeats)
    macs = 4.09e9 * args.batch_size * len(batches)
    report = {
        "what": "ResNet-50, 224 px, tensors in memory, CPU",
        "images": args.batch_size * len(batches),
        "batch_size": args.batch_size,
        "threads": cores,
        "plain_over_ours_fp32": measure.ratio(runs["plain"], runs["ours_fp32"]),
        "plain_over_ours_bf16": measure.ratio(runs["plain"], runs["ours_bf16"]),
        "relative_error_fp32": relative_error(features["ours_fp32"], features["plain"]),
        "relative_error_bf16": relative_error(features["ours_bf16"], features["plain"]),
        "gflops": {
            name: measure.spread([2 * macs / s / 1e9 for s in run.wall])
            for name, run in runs.items()
        },
        "seconds": {name: run.describe() for name, run in runs.items()},
        "from_jpeg": from_files(backbone, args.images, max(1, args.repeats - 2), cores),
        "machine": measure.machine(("torch", "torchvision", "pillow")),
    }
    measure.write("extraction", report, args.out)


if __name__ == "__main__":
    main()

"""Small images and small recipes for tests of the training protocols."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ssl_bench import cli

SIDE = 32
ARCH = "resnet18-w8"
VIT = "vit_w64_d2_patch16_32"


def write_images(root: Path, train: Sequence[int], val: Sequence[int]) -> Path:
    """Write class folders of coloured noise: so many images of each class."""
    rng = np.random.default_rng(5)
    tones = rng.integers(40, 200, (len(train), 3))
    for split, counts in (("train", train), ("val", val)):
        for label, count in enumerate(counts):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(-40, 40, (SIDE + 4, SIDE + 4, 3))
                pixels = (tones[label] + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def write_config(
    path: Path,
    protocol: str,
    *,
    heads: Mapping[str, Any] | None = None,
    optimizer: Mapping[str, Any] | None = None,
    batch: int = 8,
    epochs: int = 2,
    **more: Any,
) -> Path:
    """Write a whole config of a small recipe."""
    head = {"taps": ["final"], "pooling": "backbone", "init": "normal"}
    model = {
        "type": "Classifier",
        "frozen": protocol == "linear",
        "heads": heads or {"head": {**head, "init_std": 0.01}},
        **more.pop("model", {}),
    }
    values = {
        "protocol": protocol,
        "dataset": "folder",
        "arch": "*",
        "model": model,
        "train_dataloader": {
            "batch_size": batch,
            "dataset": {"transform": [{"type": "RandomCrop", "size": SIDE}]},
        },
        "auto_scale_lr": {"base_batch_size": batch},
        "optim_wrapper": {
            "optimizer": dict(optimizer or {"type": "SGD", "lr": 0.1, "momentum": 0.9}),
            **more.pop("optim_wrapper", {}),
        },
        "train_cfg": {"by_epoch": True, "max_epochs": epochs, "val_interval": 1},
        "transform": [{"type": "CenterCrop", "size": SIDE}],
        **more,
    }
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    return path


def words(
    protocol: str, config: Path | str, root: Path, out: Path, *more: str
) -> list[str]:
    """Return the command line of a run that is kept below ``out``."""
    arch = [] if "--arch" in more else ["--arch", ARCH]
    return [
        *(protocol, str(config), "--pretrain", "none", *arch),
        *("--dataset", "folder", "--data-root", str(root), "--device", "cpu"),
        *("--results", str(out / "results"), "--work-dir", str(out / "run")),
        *more,
    ]


def run(capsys: Any, line: Sequence[str]) -> dict[str, Any]:
    """Run a command in this process, and return its record."""
    capsys.readouterr()
    code = cli.main([*line, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    record: dict[str, Any] = json.loads(captured.out)
    return record


def metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the values of a record by name."""
    return {m["name"]: m["value"] for m in record["metrics"]}


def steps(out: Path) -> list[dict[str, float]]:
    """Return what every step logged."""
    with (out / "run" / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: float(value) for key, value in row.items()} for row in rows]


def weights(out: Path) -> dict[str, torch.Tensor]:
    """Return the model's state of the last checkpoint."""
    paths = [*(out / "run").glob("epoch_*.pth"), *(out / "run").glob("iter_*.pth")]
    paths.sort(key=lambda path: int(path.stem.partition("_")[2]))
    # mmengine keeps a history of numbers beside the tensors, in classes of its own.
    found: dict[str, torch.Tensor] = torch.load(paths[-1], weights_only=False)[
        "state_dict"
    ]
    return found


def together(line: Sequence[str], processes: int) -> subprocess.CompletedProcess[str]:
    """Run a command in several processes that torchrun starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = [
        *(sys.executable, "-m", "torch.distributed.run"),
        *(f"--nproc_per_node={processes}", f"--master_port={port}"),
        *("-m", "ssl_bench"),
    ]
    return subprocess.run(
        [*launcher, *line, "--launcher", "pytorch"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )

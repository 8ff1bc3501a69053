"""One training run as data, and where it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_dist_info

from ssl_bench.backbones import Backbone
from ssl_bench.data import ImageDataset
from ssl_bench.errors import BenchError
from ssl_bench.files import atomic_write_text
from ssl_bench.progress import note
from ssl_bench.training.checkpoints import newest_whole
from ssl_bench.training.loop import HISTORY
from ssl_bench.training.recipe import Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_IDENTITY = "run.json"


@dataclass(frozen=True)
class Job:
    """Hold one training run.

    Attributes:
        recipe: what is trained.
        backbone: the loaded network; it is copied.
        train: images to train on.
        test: images to evaluate on.
        transform: what is done to a test image.
        seed: of every draw.
        device: where everything is computed.
        dtype: ``fp32``, ``bf16`` or ``fp16``.
        workers: processes that decode.
        test_batch: images of one step of evaluation.
        work_dir: where checkpoints and logs go.
        identity: everything that the result depends on; a work dir of another one is
            not gone on with.
        resume: go on from the last whole checkpoint.
        deterministic: ask for deterministic kernels.
    """

    recipe: Recipe
    backbone: Backbone
    train: ImageDataset
    test: ImageDataset
    transform: Sequence[Mapping[str, Any]]
    seed: int
    device: torch.device
    dtype: str
    workers: int
    test_batch: int
    work_dir: Path
    identity: Mapping[str, Any]
    resume: bool = False
    deterministic: bool = False


_LEFT = ("epoch_*.pth", "iter_*.pth", "best_*.pth", HISTORY, "last_checkpoint")
"""What a run leaves and another must not find."""


def starting_point(
    work_dir: Path, *, identity: Mapping[str, Any], resume: bool
) -> Path | None:
    """Return the checkpoint to go on from, or None, and say which.

    Args:
        work_dir: of the run; what an earlier one left is removed unless it goes on.
        identity: of the run, as plain JSON.
        resume: whether to go on.

    Raises:
        BenchError: where the work dir holds a run of something else.
    """
    rank, _world = get_dist_info()
    marker = work_dir / _IDENTITY
    newest = newest_whole(work_dir)
    if newest is not None and resume:
        try:
            known = json.loads(marker.read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
        wanted = json.loads(json.dumps(dict(identity)))
        if known != wanted:
            differing = sorted(
                key for key in {*known, *wanted} if known.get(key) != wanted.get(key)
            )
            pairs = "; ".join(
                f"{key}: there {_brief(known.get(key))}, here {_brief(wanted.get(key))}"
                for key in differing[:3]
            )
            raise BenchError(
                f"{work_dir} holds a run of something else ({pairs}); name another "
                "--work-dir, or leave out --resume to begin anew there"
            )
        note(f"going on from {newest.name} in {work_dir}")
        return newest
    if resume:
        note(f"nothing to go on from in {work_dir}: beginning")
    if rank == 0:
        work_dir.mkdir(parents=True, exist_ok=True)
        if newest is not None:
            note(f"beginning anew in {work_dir}; --resume goes on with {newest.name}")
        for pattern in _LEFT:
            for old in work_dir.glob(pattern):
                old.unlink(missing_ok=True)
        atomic_write_text(marker, json.dumps(dict(identity), indent=1) + "\n")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
    return None


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

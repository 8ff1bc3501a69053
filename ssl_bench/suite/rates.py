"""How many images a second: kept from earlier extractions, or measured on a few."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ssl_bench.backbones import Backbone
from ssl_bench.data import ImageDataset, loader, transforms
from ssl_bench.errors import BenchError
from ssl_bench.features import DTYPES, Extraction, resolve_device, transform_facts
from ssl_bench.features.runner import Runner, true_fp32
from ssl_bench.files import atomic_write_text
from ssl_bench.pooling import FINAL, pooling_kind
from ssl_bench.results.record import digest

_FEW, _RUNS, _LONG = 16, 4, 20.0
_ALONE = 256
"""Up to so many images no processes are started to decode them."""

_ENOUGH = 256
"""Images that an extraction needs for its rate to be kept."""

Spec = Sequence[Mapping[str, Any]]


class Rates:
    """Estimate the time of extractions on this machine.

    Args:
        root: the cache; measured rates lie in ``rates/`` below it.
        extraction: device, precision, batch and workers.
    """

    def __init__(self, root: Path, extraction: Extraction) -> None:
        self.folder = root / "rates"
        self.how = extraction
        self.device = resolve_device(extraction.device)
        self._measured: dict[str, tuple[float, float] | None] = {}

    def seconds(
        self, backbone: Backbone, split: ImageDataset, transform: Spec, images: int
    ) -> float | None:
        """Return how long a number of images takes; None where it cannot be told.

        A rate of an earlier extraction counts; without one, a few images are decoded
        and go through the network.
        """
        if not images:
            return 0.0
        name = self._name(backbone, split, transform)
        kept = self._kept(name)
        if kept is not None:
            return images / kept
        if name not in self._measured:
            try:
                self._measured[name] = self._measure(backbone, split, transform)
            except (BenchError, RuntimeError):  # the extraction itself will say it
                self._measured[name] = None
        found = self._measured[name]
        return None if found is None else images * self._each(*found, images)

    def keep(
        self,
        backbone: Backbone,
        split: ImageDataset,
        transform: Spec,
        images: int,
        seconds: float,
    ) -> None:
        """Keep the rate of an extraction, if it was long enough to count."""
        if images < _ENOUGH or seconds <= 0:
            return
        name = self._name(backbone, split, transform)
        facts = {"images_per_second": images / seconds}
        atomic_write_text(self.folder / f"{name}.json", json.dumps(facts) + "\n")

    def _name(self, backbone: Backbone, split: ImageDataset, transform: Spec) -> str:
        gpu = self.device.type == "cuda"
        facts = {
            "arch": backbone.arch,
            "dataset": split.name,
            "split": split.split,
            "transform": transform_facts(backbone, transform),
            "dtype": self.how.dtype,
            "batch_size": self.how.batch_size,
            "workers": self.how.workers,
            "device": torch.cuda.get_device_name(self.device) if gpu else "cpu",
            "cores": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
        }
        return digest(facts)[:32]

    def _kept(self, name: str) -> float | None:
        try:
            tree = json.loads((self.folder / f"{name}.json").read_text("utf-8"))
            rate = float(tree["images_per_second"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return rate if 0 < rate < float("inf") else None

    def _measure(
        self, backbone: Backbone, split: ImageDataset, transform: Spec
    ) -> tuple[float, float]:
        """Return the seconds of an image on one core and in the network."""
        most = self.how.batch_size if self.device.type == "cuda" else _FEW
        few = list(range(min(most, self.how.batch_size, len(split))))
        dtype = DTYPES[self.how.dtype]
        model = backbone.for_inference(dtype, self.device)
        kinds = {FINAL: pooling_kind(backbone, FINAL)}
        runner = Runner(model, backbone, kinds, dtype, self.device)
        images_BCHW = torch.empty(0)

        def decode() -> None:
            nonlocal images_BCHW
            feed = loader(split, transforms.build(transform), [few], 0, "skip")
            images_BCHW = next(iter(feed)).images_BCHW

        decoding = _shortest(decode)
        with true_fp32(self.device):
            computing = _shortest(lambda: runner(images_BCHW))
        return decoding / len(few), computing / len(few)

    def _each(self, decoding: float, computing: float, images: int) -> float:
        """Return the seconds of one of many images."""
        cores = len(os.sched_getaffinity(0))
        workers = cores if self.how.workers is None else self.how.workers
        if images <= _ALONE and self.how.workers is None:
            workers = 1
        decoding /= max(1, min(workers, cores))
        if self.device.type == "cuda":
            return max(decoding, computing)
        return decoding + computing  # both want the same cores


def _shortest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs; the first ones are slower."""
    seconds = []
    for _ in range(_RUNS):
        start = time.monotonic()
        work()
        seconds.append(time.monotonic() - start)
        if sum(seconds) > _LONG:
            break
    return min(seconds)

"""CIFAR-10: 50,000 training and 10,000 test images of 10 classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ssl_bench.data.cifar import Cifar
from ssl_bench.registry import DATASETS

DATASET = "cifar10"


@DATASETS.register_module(name=DATASET)
class Cifar10(Cifar):
    """Read ``cifar-10-batches-py``; the test batch is the split ``val``."""

    name = DATASET
    folders = ("cifar10", "cifar", "cifar-10-batches-py")
    layout = (
        "cifar-10-batches-py/ with data_batch_1 to data_batch_5, test_batch and "
        "batches.meta"
    )
    batches_folder = "cifar-10-batches-py"
    batches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": tuple(f"data_batch_{n}" for n in range(1, 6)),
        "val": ("test_batch",),
    }
    labels_key = "labels"
    meta_file = "batches.meta"
    names_key = "label_names"

"""CIFAR-100: 50,000 training and 10,000 test images of 100 fine classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ssl_bench.data.cifar import Cifar
from ssl_bench.registry import DATASETS

DATASET = "cifar100"


@DATASETS.register_module(name=DATASET)
class Cifar100(Cifar):
    """Read ``cifar-100-python`` with its fine labels; ``test`` is the split ``val``."""

    name = DATASET
    folders = ("cifar100", "cifar", "cifar-100-python")
    layout = "cifar-100-python/ with train, test and meta"
    batches_folder = "cifar-100-python"
    batches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("train",),
        "val": ("test",),
    }
    labels_key = "fine_labels"
    meta_file = "meta"
    names_key = "fine_label_names"

"""Data sets: one file each, found by its marker, opened by name."""

from __future__ import annotations

from ssl_bench.data.catalogue import find_root, get_dataset, names, open_dataset
from ssl_bench.data.image_list import ImageDataset, check_pair
from ssl_bench.data.images import ImageError, read_rgb
from ssl_bench.data.loading import Batch, collate, loader
from ssl_bench.data.roots import cache_dir

__all__ = [
    "Batch",
    "ImageDataset",
    "ImageError",
    "cache_dir",
    "check_pair",
    "collate",
    "find_root",
    "get_dataset",
    "loader",
    "names",
    "open_dataset",
    "read_rgb",
]

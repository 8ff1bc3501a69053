"""What a frozen protocol works on: one matrix of features with its targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_bench.errors import FeatureError


@dataclass(frozen=True)
class Features:
    """Hold the features of one split at one tap.

    Attributes:
        feats_ND: float32, one row an image in the order of the data set; memory-mapped
            where it comes from a file.
        targets: (N,) int64 class indices, or (N, C) int8 with 1 / 0 / -1.
        tap: where the features were taken.
        pooling: how a map or tokens became a vector.
        dataset: name of the data set.
        split: its split.
        fingerprint: digest of everything that the features depend on.
        classes: class names, in the order of the targets; empty where unknown.
        skipped: images left out, with the reason for each.
    """

    feats_ND: NDArray[np.float32]
    targets: NDArray[Any]
    tap: str
    pooling: str
    dataset: str
    split: str
    fingerprint: str
    classes: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of images."""
        return int(self.feats_ND.shape[0])


def check_features(features: Features, chunk: int = 16384) -> None:
    """Refuse features from which no number can be trusted.

    Args:
        features: read chunk by chunk, so that a mapped file stays on disk.
        chunk: rows looked at together.

    Raises:
        FeatureError: when there is no image, a row holds NaN or infinity, or all rows
            of two or more are the same.
    """
    feats_ND = features.feats_ND
    where = f"{features.split} features of {features.dataset} at {features.tap}"
    cause = (
        "the backbone overflowed or its weights are damaged: try --dtype fp32, and "
        "ssl-bench extract --dry-run on the checkpoint",
        "the backbone collapsed or was not loaded: look at ssl-bench extract --dry-run",
    )
    if features.tap == "given":
        where = f"{features.dataset}/{features.split}_features.npy"
        cause = ("mend what wrote the file", "mend what wrote the file")
    if feats_ND.ndim != 2 or not feats_ND.size:
        raise FeatureError(
            f"{where} have shape {feats_ND.shape}; need (images, dimensions), neither 0"
        )
    first_D = np.asarray(feats_ND[0])
    constant = len(features) > 1
    for start in range(0, len(features), chunk):
        block_ND = np.asarray(feats_ND[start : start + chunk])
        finite_N = np.isfinite(block_ND).all(axis=1)
        if not finite_N.all():
            row = start + int(np.argmin(finite_N))
            raise FeatureError(
                f"{where} hold NaN or infinity, first in row {row}; {cause[0]}"
            )
        constant = constant and bool((block_ND == first_D).all())
    if constant:
        raise FeatureError(
            f"{where} are the same for all {len(features)} images; {cause[1]}"
        )

"""What the full and the low-shot SVM share: variants, labels, and the work itself."""

from __future__ import annotations

from ssl_bench.svms.labels import Place, Split, check_splits, split_of
from ssl_bench.svms.machine import Machine
from ssl_bench.svms.variants import VARIANTS, SvmSettings, Variant, sites_of

__all__ = [
    "VARIANTS",
    "Machine",
    "Place",
    "Split",
    "SvmSettings",
    "Variant",
    "check_splits",
    "sites_of",
    "split_of",
]

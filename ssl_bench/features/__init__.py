"""Features: extracted once for all protocols, kept on disk, or brought in files."""

from __future__ import annotations

from ssl_bench.features.extract import extract_features, feature_key, transform_facts
from ssl_bench.features.extraction import DTYPES, Extraction, resolve_device
from ssl_bench.features.features import Features, check_features
from ssl_bench.features.folder import ROLES, read_folder, write_folder
from ssl_bench.features.store import FeatureStore

__all__ = [
    "DTYPES",
    "ROLES",
    "Extraction",
    "FeatureStore",
    "Features",
    "check_features",
    "extract_features",
    "feature_key",
    "read_folder",
    "resolve_device",
    "transform_facts",
    "write_folder",
]

"""Requests that contradict themselves are refused before anything is looked up."""

from __future__ import annotations

from typing import Any

import pytest

import ssl_bench
from ssl_bench.errors import UsageError


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"encoder": "ema"}, "--encoder"),
        ({"layout": "moco", "prefix": "a."}, "--format, --prefix"),
        ({"allow_partial": True}, "--allow-partial"),
        ({"options": {"producer": "timm"}}, "producer"),
    ],
)
def test_random_initialisation_reads_no_file(
    options: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=f"reads no file: leave out {named}$"):
        ssl_bench.evaluate("none", arch="resnet18-w4", **options)

"""What ``import ssl_bench`` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ssl_bench


def test_public_names_are_sorted_and_there() -> None:
    assert ssl_bench.__all__ == sorted(ssl_bench.__all__)
    for name in ssl_bench.__all__:
        assert getattr(ssl_bench, name) is not None


def test_public_functions_are_documented() -> None:
    for name in ("evaluate", "extract_features", "load_backbone"):
        text = getattr(ssl_bench, name).__doc__
        for word in ("Args:", "Returns:", "Raises:"):
            assert word in text, (name, word)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = ssl_bench.nothing


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, ssl_bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

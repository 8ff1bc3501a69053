"""One folder for all launchers, so that each plain command runs once."""

from __future__ import annotations

import pytest

from tests.benchmarks.launched import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))

"""Put configs, suites and published figures into the wheel; metadata: setup.cfg."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Folders that stand at the top of the checkout, and their place in the package.
CARRIED = {
    "configs": "configs",
    "suites": "suites",
    "results/references": "references",
}


class BuildWithData(build_py):
    """Copy the carried folders below ``ssl_bench/.mim`` of the build."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        for source, name in CARRIED.items():
            target = Path(self.build_lib) / "ssl_bench" / ".mim" / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__")
            )


setup(cmdclass={"build_py": BuildWithData})

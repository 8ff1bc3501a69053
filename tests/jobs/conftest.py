"""A Slurm for the tests of this folder, and a folder to submit from."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import cli
from ssl_bench.resources import find_dir
from tests.jobs import slurm

PATIENCE = 180.0


@pytest.fixture(scope="session")
def cluster() -> Iterator[slurm.Slurm]:
    with slurm.running() as found:
        yield found


class Site:
    """Submit from a folder, look at the cells, wait for them."""

    def __init__(
        self, folder: Path, cluster: slurm.Slurm, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._cluster, self._capsys = cluster, capsys

    def say(self, *words: str, code: int = 0) -> str:
        """Run a command here; return what it prints, or its error."""
        self._capsys.readouterr()
        found = cli.main(words)
        captured = self._capsys.readouterr()
        assert found == code, captured.err
        return captured.err if code else captured.out

    def submit(self, *words: str) -> list[str]:
        """Submit without GPUs; return the names of the jobs."""
        at = words.index("--") if "--" in words else len(words)
        gpus = [] if "--retry" in words else ["--gpus", "0"]
        line = ["submit", *gpus, "--json", *words[:at], *words[at:]]
        return [cell["job"] for cell in json.loads(self.say(*line))["cells"]]

    def cells(self) -> dict[str, Any]:
        """Return what ``ssl-bench jobs`` knows, by job."""
        self._capsys.readouterr()
        cli.main(["jobs", "--json"])
        rows = json.loads(self._capsys.readouterr().out)
        return {row["job"]: row for row in rows}

    def wait(self, job: str, *states: str) -> dict[str, Any]:
        """Wait until a cell is in one of the states; return what is known of it."""

        def there() -> Any:
            row = self.cells()[job]
            return row if row["state"] in states else None

        return self.until(there, lambda: str(self.cells()[job]))

    def until(
        self, holds: Callable[[], Any], why: Callable[[], str] = lambda: "in vain"
    ) -> Any:
        """Wait for something, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := holds()):
            assert time.monotonic() < deadline, why()
            time.sleep(0.2)
        return found

    def slurm(self, *command: str) -> None:
        """Run one of Slurm's commands."""
        subprocess.run(
            command, check=True, env=self._cluster.environment(), capture_output=True
        )

    def records(self, results: str | Path) -> dict[str, Any]:
        """Return key and metrics of every record below a results folder."""
        paths = (self.folder / results / "records").rglob("*.json")
        return {
            tree["key"]: {m["name"]: m["value"] for m in tree["metrics"]}
            for tree in (json.loads(path.read_text()) for path in paths)
        }


@pytest.fixture
def site(
    tmp_path: Path,
    cluster: slurm.Slurm,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Site:
    """A folder on the cluster."""
    environment = cluster.environment()
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path, cluster, capsys)


def write_checkpoints(folder: Path, epochs: Sequence[int]) -> None:
    """Write the bundled backbone as checkpoints of a run, each a bit different."""
    bundled = next(find_dir("bundled").glob("*.pth"))
    tree = torch.load(bundled, weights_only=True)
    folder.mkdir(parents=True)
    for epoch in epochs:
        state = tree.get("state_dict", tree)
        name = next(key for key in state if key.endswith("conv1.weight"))
        state[name] = state[name] * (1 + epoch / 100)
        torch.save(tree, folder / f"epoch_{epoch}.pth")

"""One process and two give the same losses and the same accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training import small

VOC07 = {
    f"feature{number}": {
        "taps": [tap],
        "pooling": "voc07",
        "norm": {"type": "batch", "momentum": 0.1, "eps": 1e-5},
        "init": "normal",
        "init_std": 0.01,
    }
    for number, tap in enumerate(("stem", "layer1", "layer4"), start=1)
}
CLASS_TOKEN = {
    "head": {
        "taps": ["final"],
        "pooling": "class_token",
        "init": "normal",
        "init_std": 0.01,
    }
}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "average": ("linear", small.ARCH, {}),
    "class token": ("linear", small.VIT, {"heads": CLASS_TOKEN}),
    "multi-head": ("linear", small.ARCH, {"heads": VOC07}),
    "semi": (
        "semi",
        small.ARCH,
        {
            "model": {"norm_eval": True},
            "fraction": 0.5,
            "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
            "optim_wrapper": {"paramwise_cfg": {"head_lr_mult": 10}},
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol, arch, values = CASES[case]
    root = small.write_images(tmp_path / "images", (15, 11, 9), (5, 3, 3))
    config = small.write_config(tmp_path / "recipe.py", protocol, **values)
    one, two = tmp_path / "one", tmp_path / "two"
    alone = small.run(capsys, small.words(protocol, config, root, one, "--arch", arch))
    done = small.together(
        [*small.words(protocol, config, root, two, "--arch", arch), "--json"], 2
    )
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)

    losses = [row["loss"] for row in small.steps(one)]
    assert len(losses) >= 4
    assert [row["loss"] for row in small.steps(two)] == pytest.approx(losses, abs=1e-4)
    assert small.metrics(shared) == pytest.approx(small.metrics(alone))
    assert shared["key"] == alone["key"]
    assert shared["environment"]["processes"] == 2
    assert shared["details"]["training"]["per_process_batch"] == 4

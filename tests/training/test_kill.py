"""A run that is killed again and again ends as the undisturbed one does."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training import small

KILLS = 10


@pytest.mark.slow
def test_ten_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = small.write_images(tmp_path / "images", (12, 10, 9), (4, 3, 3))
    config = small.write_config(
        tmp_path / "recipe.py",
        "semi",
        fraction=0.9,
        epochs=120,
        batch=6,
        param_scheduler=[
            {"type": "CosineAnnealingLR", "by_epoch": True, "eta_min": 0.0},
        ],
        optimizer={"type": "SGD", "lr": 0.02, "momentum": 0.9},
    )
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    expected = small.run(capsys, small.words("semi", config, root, calm))

    line = small.words("semi", config, root, rough, "--resume")
    command = [sys.executable, "-m", "ssl_bench", *line]
    draw = random.Random(3)
    for number in range(KILLS):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = ""
            while "going on from" not in said and "beginning" not in said:
                said = process.stderr.readline()
                assert said, "it ended before it began"
            # The first is killed when it has something to lose, however slow it is.
            while not number and not any((rough / "run").glob("epoch_*.pth")):
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(draw.uniform(0.0, 1.6))
            assert process.poll() is None, "it must not be done before it is killed"
            process.send_signal(signal.SIGKILL)
        assert not number or "going on from" in said

    record = small.run(capsys, line)

    assert small.metrics(record) == small.metrics(expected)
    assert record["details"]["epochs"] == expected["details"]["epochs"]
    assert small.steps(rough) == small.steps(calm)
    ours, theirs = small.weights(rough), small.weights(calm)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

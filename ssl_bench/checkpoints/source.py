"""From what the user names to one file."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ssl_bench.checkpoints import reader
from ssl_bench.errors import CheckpointError

NONE = "none"
"""What ``--pretrain`` says for random initialisation."""

_EPOCH = re.compile(r"epoch_(\d+)\.pth")
_log = logging.getLogger(__name__)


def resolve(pretrain: str | Path) -> Path:
    """Return the checkpoint file that is meant.

    Args:
        pretrain: a file, or a folder of a training run, of which the newest complete
            ``epoch_*.pth`` is taken; one that is cut off is passed over, and said.

    Raises:
        CheckpointError: if a folder has no complete checkpoint.
    """
    path = Path(pretrain).expanduser()
    if not path.is_dir():
        return path
    epochs = sorted(
        (
            (int(found[1]), entry)
            for entry in path.iterdir()
            if (found := _EPOCH.fullmatch(entry.name))
        ),
        reverse=True,
    )
    for _, entry in epochs:
        try:
            reader.check(entry)
        except CheckpointError as error:
            _log.warning("passed over: %s", error)
        else:
            return entry
    if epochs:
        raise CheckpointError(
            f"no epoch_*.pth in {path} is complete; name a whole file"
        )
    others = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.suffix in (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors")
    )
    hint = f"; name one of {', '.join(others)}" if others else "; name a file"
    raise CheckpointError(f"the folder {path} has no epoch_*.pth{hint}")

"""From what the user names to one file."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from ssl_bench.checkpoints import reader
from ssl_bench.errors import CheckpointError

NONE = "none"
"""What ``--pretrain`` says for random initialisation."""

HUGGING_FACE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What Hugging Face's save_pretrained calls the weights in its folder.

Source: huggingface/transformers src/transformers/utils/__init__.py.
"""

_EPOCH = re.compile(r"epoch_(\d+)\.pth")
_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".pkl", ".safetensors")
_log = logging.getLogger(__name__)


def resolve(pretrain: str | Path, *, whole: bool = True) -> Path:
    """Return the checkpoint file that is meant.

    Args:
        pretrain: a file; a folder of a training run, of which the newest complete
            ``epoch_*.pth`` is taken (one that is cut off is passed over, and said); or
            a folder of Hugging Face with weights in one format.
        whole: whether the check sums of tensors count too when a file is called
            complete; without, nothing but its structure is read.

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
            if whole:
                reader.read(entry, digest=False)
            else:
                reader.peek(entry)
        except CheckpointError as error:
            _log.warning("passed over: %s", error)
        else:
            return entry
    if epochs:
        raise CheckpointError(
            f"no epoch_*.pth in {path} is complete; name a whole file"
        )
    weights = [path / name for name in HUGGING_FACE if (path / name).is_file()]
    if len(weights) == 1:
        return weights[0]
    others = sorted(
        entry.name
        for entry in path.iterdir()
        if entry.suffix in _SUFFIXES or entry.name in HUGGING_FACE
    )
    hint = f"; name one of {', '.join(others)}" if others else "; name a file"
    raise CheckpointError(f"the folder {path} has no epoch_*.pth{hint}")

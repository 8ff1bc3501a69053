"""Read a checkpoint that lies in several files, listed by an index.

Source: huggingface/transformers src/transformers/modeling_utils.py: the index is JSON,
``{"metadata": {...}, "weight_map": {key: file}}``, and the files lie beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ssl_bench.checkpoints.formats.mapped import Digest, Mapped
from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.checkpoints.formats.safetensors_file import parse_json
from ssl_bench.errors import CheckpointError

SUFFIX = ".index.json"
_LONGEST = 8 << 20
_MOST = 1000

ReadShard = Callable[[Path], tuple[Any, Digest | None]]
"""From a shard to what it holds and its digest."""


class Shards:
    """Compute the digest of several files from their digests.

    It is the sha256 of the lines that sha256sum prints for them, sorted by name.

    Args:
        digests: by name of the file.
    """

    def __init__(self, digests: Mapping[str, Digest]) -> None:
        self._digests = digests

    def __str__(self) -> str:
        lines = [f"{self._digests[name]}  {name}\n" for name in sorted(self._digests)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def stop(self) -> None:
        """Give up; nobody will ask."""
        for digest in self._digests.values():
            digest.stop()


def load(
    path: Path, file: Mapped, read: ReadShard
) -> tuple[dict[str, Any], Shards | None]:
    """Return the tensors of all files of an index, and their digest.

    Args:
        path: the index.
        file: its content.
        read: reads one shard.

    Raises:
        CheckpointError: if the index is damaged, or a shard is missing, damaged or not
            what the index says.
    """
    places = _places(file)
    tensors: dict[str, Any] = {}
    digests: dict[str, Digest] = {}
    for name in sorted(set(places.values())):
        keys = {key for key, shard in places.items() if shard == name}
        tree, digest = read(_beside(path, name))
        if digest is not None:
            digests[name] = digest
        if not isinstance(tree, dict) or set(tree) != keys:
            there = set(tree) if isinstance(tree, dict) else set()
            odd = sorted(map(shown, there ^ keys))
            raise CheckpointError(
                f"its part {name} does not hold what the index says "
                f"({', '.join(odd[:3])}); copy or download all parts again"
            )
        tensors |= tree
    return {key: tensors[key] for key in places}, Shards(digests) if digests else None


def _places(file: Mapped) -> dict[str, str]:
    """Return the file of every key."""
    if file.size > _LONGEST:
        raise CheckpointError("it is too large for an index of checkpoint files")
    try:
        index = parse_json(bytes(file.view))
    except CheckpointError as error:
        raise CheckpointError(
            "it is no index of checkpoint files, or is damaged; copy or download it "
            "again"
        ) from error
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise CheckpointError("it is no index of checkpoint files (no weight_map)")
    for name in places.values():
        if (
            not isinstance(name, str)
            or not name.isprintable()
            or not name.strip(". ")
            or set(name) & set('/\\:*?"<>|')
            or len(name) > 255
        ):
            raise CheckpointError(
                f"its index names the file {shown(name)}; only plain names of files "
                "beside it are read"
            )
    if len(set(places.values())) > _MOST:
        raise CheckpointError("its index names more files than any checkpoint has")
    return places


def _beside(path: Path, name: str) -> Path:
    place = path.parent / name
    if not place.is_file():
        raise CheckpointError(
            f"its part {name} is missing; copy or download it beside the index"
        )
    return place

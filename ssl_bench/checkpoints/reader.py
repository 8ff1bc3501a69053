"""Open checkpoint files of any origin without executing anything that is in them.

The format is told from the content, never from the name: torch's zip files (.pth, .pt,
.pth.tar, .ckpt, .bin) and TorchScript programs, torch's older files, plain pickles
(.pkl), .safetensors, and the indexes of checkpoints in several files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bench.checkpoints.formats import (
    legacy,
    repetition,
    safetensors_file,
    shards,
    unpickle,
)
from ssl_bench.checkpoints.formats.archive import Archive
from ssl_bench.checkpoints.formats.mapped import Digest, Mapped
from ssl_bench.checkpoints.formats.pickle_machine import Budget
from ssl_bench.errors import CheckpointError

_HEAD = 512
_ZIP = b"PK\x03\x04"
_TAR = slice(257, 262)
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|c[\w.]+\r?\n[\w.]+\r?\n|\([dl]p\d+\r?\n|[\]}][q\x94]"
)

_LEGACY = re.compile(rb"\x80.(\x95.{8})?" + re.escape(legacy.MAGIC), re.DOTALL)

_FOREIGN = {
    b"version https://git-lfs": "a git-lfs pointer, not the file; run: git lfs pull",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"\x89HDF": "an HDF5 file (Keras); convert it to a torch state dict first",
    b"\x93NUMPY": "a NumPy array, not a checkpoint",
}


@dataclass(frozen=True)
class Payload:
    """Hold what a file contains, before anybody knows what it means.

    Used in a ``with`` statement it ends the digest that nobody will ask for; the
    tensors stay.

    Attributes:
        tree: dictionaries, lists, tensors and placeholders.
        source: name of the file, without its folder.
        path: the file as it was named, for messages.
        digest: of the file, perhaps still being computed.
        metadata: text that came beside the tensors (safetensors only).
    """

    tree: Any
    source: str
    path: str
    digest: str | Digest | shards.Shards
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Digest of the file; of several files, of the list of their digests."""
        return str(self.digest)

    def __enter__(self) -> Payload:
        return self

    def __exit__(self, *error: object) -> None:
        if not isinstance(self.digest, str):
            self.digest.stop()


def read(path: Path, *, digest: bool = True) -> Payload:
    """Read a checkpoint file.

    Tensors are memory-mapped where the format allows; nothing in the file is executed.
    Check sums are verified where the format has them, while a thread computes the
    digest.

    Args:
        path: a file, or the index of a checkpoint in several files.
        digest: whether its sha256 is computed too.

    Raises:
        CheckpointError: if the file is missing, empty, cut off, damaged, hostile, or
            no checkpoint at all; one sentence that names it.
    """
    return _open(path, digest=digest, lazy=False)


def peek(path: Path) -> Payload:
    """Read a checkpoint file without its tensors' numbers: no digest, no check sums.

    The tensors have their shapes and types, and are read from the file once somebody
    looks at their values.

    Raises:
        CheckpointError: as `read`.
    """
    return _open(path, digest=False, lazy=True)


def _open(path: Path, *, digest: bool, lazy: bool) -> Payload:
    running: list[Digest] = []
    size = 0

    def open_one(path: Path) -> tuple[Any, Mapping[str, str]]:
        nonlocal size
        file = _map(path, lazy=lazy)
        size += file.size
        if digest:
            running.append(Digest(file))
        return _parse(file)

    def open_shard(path: Path) -> tuple[Any, Digest | None]:
        tree, _ = open_one(path)
        return tree, running[-1] if digest else None

    total: Digest | shards.Shards | None
    try:
        if path.name.endswith(shards.SUFFIX):
            tree, total = shards.load(path, _map(path, lazy=lazy), open_shard)
            metadata: Mapping[str, str] = {}
        else:
            tree, metadata = open_one(path)
            total = running[-1] if digest else None
        repetition.check(tree, size)
    except BaseException as error:
        for one in running:
            one.stop()
        if isinstance(error, (OSError, _MissingError, CheckpointError)):
            raise CheckpointError(_sentence(path, error)) from error
        raise
    return Payload(tree, path.name, str(path), total or "", metadata)


class _MissingError(Exception):
    """A sentence that is complete as it is."""


def _sentence(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or error}"
    if isinstance(error, _MissingError):
        return str(error)
    return f"{path} cannot be used: {error}"


def _map(path: Path, *, lazy: bool) -> Mapped:
    """Map a file, which has to be one."""
    if path.is_dir():
        raise _MissingError(f"{path} is a folder; name a checkpoint file in it")
    try:
        if path.exists() and not path.is_file():
            raise _MissingError(f"{path} is no file; name a checkpoint file")
        with path.open("rb") as handle:
            if not path.stat().st_size:
                raise CheckpointError("it is empty; copy or download it again")
            return Mapped.open(handle, lazy=lazy)
    except FileNotFoundError as error:
        raise _MissingError(f"{path} does not exist; check the path") from error


def _parse(file: Mapped) -> tuple[Any, Mapping[str, str]]:
    """Read the content by its first bytes."""
    head = bytes(file.view[:_HEAD])
    if head.startswith(_ZIP):
        return Archive(file).load(), {}
    if _LEGACY.match(head):
        return legacy.load(file), {}
    if head[8:9] == b"{":
        return safetensors_file.load(file)
    if _PICKLE.match(head):
        return _plain_pickle(file), {}
    raise CheckpointError(_what_instead(head))


def _plain_pickle(file: Mapped) -> Any:
    """Read a pickle that torch.save did not write: arrays, or tensors as bytes."""
    tree, end = unpickle.load_from(
        file.view, 0, nested=legacy.load_nested, budget=Budget(file.size)
    )
    if end != file.size:
        raise CheckpointError(
            f"its pickle is damaged ({file.size - end} bytes follow its end)"
        )
    return tree


def _what_instead(head: bytes) -> str:
    """Say what a file is that is no checkpoint."""
    for magic, sentence in _FOREIGN.items():
        if head.startswith(magic):
            return f"it is {sentence}"
    if head[_TAR] == b"ustar":
        return (
            "it is a tar archive; unpack it and name the checkpoint in it (if torch "
            "0.1 wrote it, save it again with a newer torch)"
        )
    text = head.lstrip()[:80].decode("ascii", "ignore").lower()
    if text.startswith(("<!doctype", "<html", "<?xml")):
        return "it is a web page, not a checkpoint; the download needs another address"
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if printable == len(head):
        return "it is a text file, not a checkpoint"
    return (
        "it is of no known format; expected a file written by torch.save or a "
        ".safetensors file, perhaps it is cut off"
    )

"""Open checkpoint files of any origin without executing anything that is in them.

The format is told from the content, never from the name: torch's zip files (.pth, .pt,
.pth.tar, .ckpt, .bin), torch's older files, and .safetensors.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ssl_bench.checkpoints.archive import Archive
from ssl_bench.errors import CheckpointError

_HEAD = 512
_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""torch's magic number as its older files begin with it, pickled."""

_FOREIGN = {
    b"version https://git-lfs": "a git-lfs pointer, not the file; run: git lfs pull",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"\x89HDF": "an HDF5 file (Keras); convert it to a torch state dict first",
    b"\x93NUMPY": "a NumPy array, not a checkpoint",
    b"\x80": "a pickle that torch.save did not write; load it where you trust it and "
    "save its tensors with safetensors",
}


@dataclass(frozen=True)
class Payload:
    """Hold what a file contains, before anybody knows what it means.

    Attributes:
        tree: dictionaries, lists, tensors and placeholders.
        source: name of the file, without its folder.
        path: the file as it was named, for messages.
        sha256: digest of the file.
        metadata: text that came beside the tensors (safetensors only).
    """

    tree: Any
    source: str
    path: str
    sha256: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> Payload:
    """Read a checkpoint file.

    Tensors are memory-mapped where the format allows; nothing in the file is executed.

    Raises:
        CheckpointError: if the file is missing, empty, cut off, damaged, hostile, or
            no checkpoint at all; one sentence that names it.
    """
    return _open(path, digest=True)


def check(path: Path) -> None:
    """Make sure that a file is whole, without computing its digest.

    Raises:
        CheckpointError: as `read`.
    """
    _open(path, digest=False)


def _open(path: Path, *, digest: bool) -> Payload:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name a checkpoint file in it")
    try:
        with path.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest() if digest else ""
            handle.seek(0)
            tree, metadata = _parse(path, handle)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist; check the path, or pass --pretrain none with "
            "--arch for random initialisation"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    return Payload(tree, path.name, str(path), sha256, metadata)


def _parse(path: Path, handle: BinaryIO) -> tuple[Any, dict[str, str]]:
    """Read the content by its first bytes."""
    head = handle.read(_HEAD)
    handle.seek(0)
    if not head:
        raise CheckpointError("it is empty; copy or download it again")
    if head.startswith(_ZIP):
        return Archive(handle).load(), {}
    if head.startswith(_LEGACY):
        return _legacy(handle), {}
    if head[8:9] == b"{":
        return _safetensors(path)
    raise CheckpointError(_what_instead(head))


def _what_instead(head: bytes) -> str:
    """Say what a file is that is no checkpoint."""
    for magic, sentence in _FOREIGN.items():
        if head.startswith(magic):
            return f"it is {sentence}"
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


def _legacy(handle: BinaryIO) -> Any:
    """Read torch's older format by its safe loader, and by nothing else."""
    try:
        return torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise CheckpointError(
            "it is in torch's old format, and its safe loader refuses it "
            f"({_blocked(str(error)) or reason}); where you trust the file, write its "
            "state dict anew with torch.save"
        ) from error
    except Exception as error:
        # A damaged file can fail in nearly any way; none of them is ours.
        raise CheckpointError(
            "it is in torch's old format and is cut off or damaged; copy or download "
            "it again"
        ) from error


def _blocked(message: str) -> str:
    """Return the sentence of torch's error that names what was refused."""
    for line in message.splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip().partition(". ")[0].partition(": ")[2] or line.strip()
    return ""


def _safetensors(path: Path) -> tuple[Any, dict[str, str]]:
    """Read a .safetensors file; its tensors are memory-mapped."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"it looks like a .safetensors file but is cut off or damaged ({error}); "
            "copy or download it again"
        ) from error

"""Read torch's zip files: the pickle by our own reader, the tensors by memory map."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ssl_bench.checkpoints.formats import pickled_modules, unpickle
from ssl_bench.checkpoints.formats.mapped import Mapped
from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.checkpoints.formats.zip_directory import DEFLATED, STORED, read_directory
from ssl_bench.errors import CheckpointError

_CHUNK = 1 << 20
_SMALL = 1 << 16
_UNPACKED = 64 << 20
"""Bytes that the compressed entries of any file may take; larger files get more."""


class Archive:
    """Give out the entries of a mapped torch zip file.

    Args:
        file: the file. If it is lazy, only its small entries are compared with their
            check sums.

    Raises:
        CheckpointError: if the file is cut off, damaged, or no torch file.
    """

    def __init__(self, file: Mapped) -> None:
        self._file = file
        self._entries = read_directory(file.view)
        self._unpacked: dict[str, Tensor] = {}
        self._checked: set[str] = set()
        self._root = self._find_root()
        self._check_unpacked()
        self._check_sums()
        self._check_byte_order()

    def _find_root(self) -> str:
        pickles = [
            name.removesuffix("data.pkl")
            for name in self._entries
            if name.endswith("/data.pkl") and name.count("/") == 1
        ]
        if len(pickles) != 1:
            raise CheckpointError(
                "it is a zip file but not one of torch's (no data.pkl in it); expected "
                "a file written by torch.save or a .safetensors file"
            )
        return pickles[0]

    def _check_byte_order(self) -> None:
        name = f"{self._root}byteorder"
        if name not in self._entries:
            return
        order = bytes(self._read(name)).decode("ascii", "replace").strip()
        if order != sys.byteorder:
            raise CheckpointError(
                f"its numbers are {shown(order)}-endian and this machine is "
                f"{sys.byteorder}-endian; save it again on such a machine"
            )

    def _check_sums(self) -> None:
        """Compare the check sums; torch can be told to write files without them.

        Such files have no entry with a right sum; a damaged file has both.
        """
        stored = [
            name
            for name, entry in self._entries.items()
            if entry.method == STORED and entry.size
        ]
        if self._file.lazy:
            stored = [name for name in stored if self._entries[name].size <= _SMALL]
        wrong = [name for name in stored if self._sum(name) != self._entries[name].crc]
        if wrong and (
            len(wrong) < len(stored) or any(self._entries[n].crc for n in wrong)
        ):
            raise CheckpointError(
                f"it is damaged: the check sum of {shown(wrong[0])} is wrong; copy or "
                "download it again"
            )

    def _check_unpacked(self) -> None:
        total = sum(e.size for e in self._entries.values() if e.method == DEFLATED)
        if total > _UNPACKED + self._file.size * 3 // 2:
            raise CheckpointError(
                f"its compressed entries claim {total} bytes, far more than weights "
                "shrink to a file of its size; unpack it and save it again with "
                "torch.save"
            )

    def _sum(self, name: str) -> int:
        """Return the check sum of an entry as it lies in the file."""
        entry, crc = self._entries[name], 0
        for chunk in self._file.chunks(entry.begin, entry.begin + entry.packed):
            crc = zlib.crc32(chunk, crc)
        return crc

    def _slice(self, name: str) -> memoryview:
        entry = self._entries[name]
        return self._file.view[entry.begin : entry.begin + entry.packed]

    def _read(self, name: str) -> memoryview | bytearray:
        """Return the content of an entry."""
        entry = self._entries[name]
        if entry.method == STORED:
            return self._slice(name)
        content, place = bytearray(entry.size), 0
        for part in self._parts(name):
            content[place : place + len(part)] = part
            place += len(part)
        return content

    def _parts(self, name: str) -> Iterator[bytes]:
        """Yield a compressed entry piece by piece, and check its size and sum."""
        entry = self._entries[name]
        damaged = CheckpointError(
            f"its entry {shown(name)} is damaged; copy or download it again"
        )
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        size, crc = 0, 0
        try:
            for part in _inflate(unpacker, self._slice(name)):
                size, crc = size + len(part), zlib.crc32(part, crc)
                if size > entry.size or unpacker.unused_data:
                    raise damaged
                yield part
        except zlib.error as error:
            raise damaged from error
        if not unpacker.eof or size != entry.size or crc != entry.crc:
            raise damaged
        self._checked.add(name)

    def _storage(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """Return a storage as a flat tensor, mapped where the file stores it plainly.

        Args:
            key: its name in the pickle.
            dtype: element type.
            count: number of elements that the pickle claims.

        Raises:
            CheckpointError: if it is not in the file, or not of that size.
        """
        name = f"{self._root}data/{key}"
        entry = self._entries.get(name)
        if entry is None:
            raise CheckpointError(f"its tensor data {shown(key)} is missing")
        if entry.size != count * dtype.itemsize:
            raise CheckpointError(
                f"its tensor data {shown(key)} has {entry.size} bytes, expected "
                f"{count * dtype.itemsize}"
            )
        if entry.method == STORED or not count:
            return self._file.tensor(entry.begin, dtype, count)
        if self._file.lazy:
            return torch.empty(count, dtype=dtype, device="meta")
        if key not in self._unpacked:
            content = self._read(name)
            self._unpacked[key] = torch.frombuffer(content, dtype=torch.uint8)
        return self._unpacked[key].view(dtype)

    def load(self) -> Any:
        """Return the object that the file holds; of a program, its state dict.

        Raises:
            CheckpointError: if the pickle is damaged or names something refused.
        """
        content = bytes(self._read(f"{self._root}data.pkl"))
        tree = unpickle.load(content, self._storage, size=self._file.size)
        for name, entry in self._entries.items():
            unread = entry.method == DEFLATED and name not in self._checked
            if unread and not self._file.lazy:
                for _ in self._parts(name):
                    pass
        if f"{self._root}constants.pkl" in self._entries:
            return pickled_modules.program_state_dict(tree)
        return tree


def _inflate(unpacker: Any, packed: memoryview) -> Iterator[bytes]:
    """Unpack in pieces of a bounded size, whatever the packed bytes grow to."""
    for begin in range(0, len(packed), _CHUNK):
        left: memoryview | bytes = packed[begin : begin + _CHUNK]
        while left:
            yield unpacker.decompress(left, _CHUNK)
            left = unpacker.unconsumed_tail
    # What did not fit into the last piece, at most a few hundred bytes.
    yield unpacker.flush()

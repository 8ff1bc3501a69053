"""Read torch's zip files: the pickle by our own reader, the tensors by memory map."""

from __future__ import annotations

import mmap
import struct
import sys
import zipfile
import zlib
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ssl_bench.checkpoints import unpickle
from ssl_bench.errors import CheckpointError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED = 0x1


class Archive:
    """Map a torch zip file and give out its entries.

    The map is private: writing to a tensor that comes from it does not reach the file.

    Args:
        handle: the open file; it may be closed once the archive is made.

    Raises:
        CheckpointError: if the file is cut off, damaged, or no torch file.
    """

    def __init__(self, handle: BinaryIO) -> None:
        try:
            with zipfile.ZipFile(handle) as listing:
                self._entries = {info.filename: info for info in listing.infolist()}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CheckpointError(
                "it is cut off or damaged (the zip directory at its end cannot be "
                "read); copy or download it again"
            ) from error
        self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        self.root = self._find_root()
        self._check_byte_order()
        for name in self._entries:
            self._span(name)
        self._check_sums()

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
        if f"{pickles[0]}constants.pkl" in self._entries:
            raise CheckpointError(
                "it is a TorchScript program, not a checkpoint; save its state dict "
                "instead: torch.save(torch.jit.load(FILE).state_dict(), OUT)"
            )
        return pickles[0]

    def _check_byte_order(self) -> None:
        name = f"{self.root}byteorder"
        if name not in self._entries:
            return
        order = self.read(name).decode("ascii", "replace").strip()
        if order != sys.byteorder:
            raise CheckpointError(
                f"its numbers are {order}-endian and this machine is "
                f"{sys.byteorder}-endian; save it again on such a machine"
            )

    def _check_sums(self) -> None:
        """Compare the check sums; torch can be told to write files without them.

        Such files have no entry with a right sum; a damaged file has both.
        """
        wrong = [
            name
            for name, info in self._entries.items()
            if info.compress_type == zipfile.ZIP_STORED
            and zlib.crc32(self._slice(name)) != info.CRC
        ]
        if wrong and len(wrong) < len(self._entries):
            raise CheckpointError(
                f"it is damaged: the check sum of {wrong[0]} is wrong; copy or "
                "download it again"
            )

    def _span(self, name: str) -> tuple[int, int]:
        """Return where the stored bytes of an entry begin and end."""
        info = self._entries[name]
        start = info.header_offset
        header = self._map[start : start + _LOCAL_HEADER.size]
        if len(header) < _LOCAL_HEADER.size or info.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"its entry {name} cannot be read")
        magic, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        begin = start + _LOCAL_HEADER.size + name_length + extra_length
        end = begin + info.compress_size
        if magic != _LOCAL_MAGIC or start < 0 or end > len(self._map):
            raise CheckpointError(f"its entry {name} lies outside the file")
        return begin, end

    def _slice(self, name: str) -> memoryview:
        begin, end = self._span(name)
        return memoryview(self._map)[begin:end]

    def read(self, name: str) -> bytes:
        """Return the content of an entry.

        Raises:
            CheckpointError: if it cannot be unpacked.
        """
        info = self._entries[name]
        packed = self._slice(name)
        if info.compress_type == zipfile.ZIP_STORED:
            return bytes(packed)
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise CheckpointError(f"its entry {name} is compressed in an unusual way")
        try:
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            content = unpacker.decompress(packed, info.file_size + 1)
        except zlib.error as error:
            raise CheckpointError(f"its entry {name} is damaged ({error})") from error
        if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise CheckpointError(f"its entry {name} is damaged")
        return content

    def storage(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """Return a storage as a flat tensor, mapped where the file stores it plainly.

        Args:
            key: its name in the pickle.
            dtype: element type.
            count: number of elements that the pickle claims.

        Raises:
            CheckpointError: if it is not in the file, or not of that size.
        """
        name = f"{self.root}data/{key}"
        info = self._entries.get(name)
        if info is None:
            raise CheckpointError(f"its tensor data {key} is missing")
        if info.file_size != count * dtype.itemsize:
            raise CheckpointError(
                f"its tensor data {key} has {info.file_size} bytes, expected "
                f"{count * dtype.itemsize}"
            )
        if not count:
            return torch.empty(0, dtype=dtype)
        begin, _ = self._span(name)
        if info.compress_type == zipfile.ZIP_STORED and not begin % dtype.itemsize:
            if info.compress_size != info.file_size:
                raise CheckpointError(f"its tensor data {key} is damaged")
            return torch.frombuffer(self._map, dtype=dtype, count=count, offset=begin)
        return torch.frombuffer(bytearray(self.read(name)), dtype=dtype)

    def load(self) -> Any:
        """Return the object that the file holds.

        Raises:
            CheckpointError: if the pickle is damaged or names something refused.
        """
        return unpickle.load(self.read(f"{self.root}data.pkl"), self.storage)

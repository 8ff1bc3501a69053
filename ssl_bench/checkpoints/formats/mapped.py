"""A file in memory by map: its bytes are read when they are looked at."""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from typing import BinaryIO

import torch
from torch import Tensor

_CHUNK = 1 << 20
"""Bytes that are read at once: few enough to stay in a core's cache."""

_THREAD = 1 << 20
"""From this size on, a digest is worth a thread."""


class Mapped:
    """Hold the bytes of a file, and views of them as tensors.

    The map is private: writing to a tensor that comes from it does not reach the file.

    Attributes:
        view: all bytes.
        size: their number.
        lazy: whether no tensor is to be read; one that is not aligned is then left so.
    """

    def __init__(
        self,
        content: mmap.mmap | bytearray | memoryview,
        *,
        lazy: bool = False,
        descriptor: int | None = None,
    ) -> None:
        self._content = content
        self._descriptor = descriptor
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)
        self.view = memoryview(content)
        self.size = len(content)
        self.lazy = lazy
        self._copies: dict[tuple[int, int], Tensor] = {}

    @classmethod
    def open(cls, handle: BinaryIO, *, lazy: bool = False) -> Mapped:
        """Map an open file that is not empty; it may be closed then."""
        content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        if lazy and hasattr(mmap, "MADV_RANDOM"):
            # Or else the system reads what lies around every header.
            content.madvise(mmap.MADV_RANDOM)
        return cls(content, lazy=lazy, descriptor=os.dup(handle.fileno()))

    def chunks(self, begin: int, end: int) -> Iterator[memoryview]:
        """Yield bytes piece by piece, each good until the next is asked for.

        They are read, not looked at in the map, whose pages cost more to bring in than
        the copy.
        """
        if self._descriptor is None:
            yield self.view[begin:end]
            return
        buffer = memoryview(bytearray(min(_CHUNK, max(end - begin, 0))))
        while begin < end:
            part = buffer[: end - begin]
            count = os.preadv(self._descriptor, [part], begin)
            if not count:
                return  # cut off meanwhile: the sums will differ
            yield part[:count]
            begin += count

    def tensor(self, begin: int, dtype: torch.dtype, count: int) -> Tensor:
        """Return elements as a flat tensor, mapped if they are aligned, else copied.

        Args:
            begin: position of the first byte.
            dtype: element type.
            count: number of elements; they lie inside.
        """
        if not count:
            return torch.empty(0, dtype=dtype)
        if self.lazy or not begin % dtype.itemsize:
            return torch.frombuffer(
                self._content, dtype=dtype, count=count, offset=begin
            )
        end = begin + count * dtype.itemsize
        if (begin, end) not in self._copies:
            content = bytearray(self.view[begin:end])
            self._copies[begin, end] = torch.frombuffer(content, dtype=torch.uint8)
        return self._copies[begin, end].view(dtype)


class Digest:
    """Compute the sha256 of a file beside other work.

    Args:
        file: whose bytes they are.
    """

    def __init__(self, file: Mapped) -> None:
        self._digest = hashlib.sha256()
        self._file = file
        self._stopped = False
        self._thread: threading.Thread | None = None
        if file.size < _THREAD:
            self._run()
        else:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        for chunk in self._file.chunks(0, self._file.size):
            if self._stopped:
                return
            self._digest.update(chunk)

    def stop(self) -> None:
        """Give up, where it is not finished: nobody will ask."""
        self._stopped = True
        if self._thread is not None:
            # Or it would read on while the program ends and the file is closed.
            self._thread.join()

    def __str__(self) -> str:
        """Return 64 hex digits, waiting for them where need be."""
        if self._thread is not None:
            self._thread.join()
        return self._digest.hexdigest()

"""Read the directory of a zip file, believing nothing in it.

Source: PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (central header),
4.3.14 to 4.3.16 (end of the directory) and 4.5.3 (64-bit sizes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ssl_bench.checkpoints.formats.placeholder import shown
from ssl_bench.errors import CheckpointError

STORED = 0
DEFLATED = 8

_ENTRIES = 100_000
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 1 << 16
_UTF8 = 0x800
_ENCRYPTED = 0x2041
"""Encryption, strong encryption and a masked directory."""
_SIZES_FOLLOW = 0x8
_FULL = 0xFFFFFFFF
_FULL_COUNT = 0xFFFF
_WIDE = 1
_DOWNLOAD = "copy or download it again"


@dataclass(frozen=True, slots=True)
class Entry:
    """Say where the bytes of an entry lie.

    Attributes:
        begin: position of its first byte.
        packed: number of bytes there.
        size: number of bytes when unpacked.
        crc: check sum of those.
        method: `STORED` or `DEFLATED`.
    """

    begin: int
    packed: int
    size: int
    crc: int
    method: int


def read_directory(view: memoryview) -> dict[str, Entry]:
    """Return the entries of a zip file by name.

    Raises:
        CheckpointError: if the directory is missing or damaged, if entries overlap, lie
            outside or have names that do, or are packed in an unknown way.
    """
    try:
        first, last, count = _bounds(view)
        entries, starts = _entries(view, first, last, count)
    except (struct.error, ValueError) as error:
        raise CheckpointError(
            "it is cut off or damaged (the zip directory at its end cannot be read); "
            f"{_DOWNLOAD}"
        ) from error
    _check_overlap(entries, starts, first)
    return entries


def _bounds(view: memoryview) -> tuple[int, int, int]:
    """Return where the directory begins and ends, and its number of entries."""
    begin = max(0, len(view) - _END.size - _LONGEST_COMMENT)
    tail = bytes(view[begin:])
    place = tail.rfind(b"PK\x05\x06")
    if place < 0:
        raise ValueError
    end = begin + place
    _, *disks, here, count, size, first, comment = _END.unpack_from(view, end)
    if end + _END.size + comment != len(view) or any(disks) or here != count:
        raise ValueError
    stop = end
    locator = end - _LOCATOR.size
    if locator >= 0 and bytes(view[locator : locator + 4]) == b"PK\x06\x07":
        _, disk, stop, total = _LOCATOR.unpack_from(view, locator)
        if disk or total > 1 or stop + _END64.size > locator:
            raise ValueError
        wide = _END64.unpack_from(view, stop)
        if wide[0] != b"PK\x06\x06" or stop + 12 + wide[1] != locator:
            raise ValueError
        narrow = (here, count, size, first)
        for old, new, full in zip(
            narrow, wide[6:], (_FULL_COUNT, _FULL_COUNT, _FULL, _FULL), strict=True
        ):
            if old not in (new, full):
                raise ValueError
        _, count, size, first = wide[6:]
    if first + size != stop or count > size // _CENTRAL.size:
        raise ValueError
    if count > _ENTRIES:
        raise CheckpointError(f"it has {count} entries, which no checkpoint has")
    return first, stop, count


def _entries(
    view: memoryview, place: int, end: int, count: int
) -> tuple[dict[str, Entry], dict[str, int]]:
    """Return the entries, and where their local headers begin."""
    entries: dict[str, Entry] = {}
    starts: dict[str, int] = {}
    for _ in range(count):
        fields = _CENTRAL.unpack_from(view, place)
        magic, _, _, flags, method, _, _, crc, packed, size = fields[:10]
        name_size, extra_size, comment_size, _, _, _, start = fields[10:]
        extra = place + _CENTRAL.size + name_size
        raw = bytes(view[extra - name_size : extra])
        place = extra + extra_size + comment_size
        if magic != b"PK\x01\x02" or place > end:
            raise ValueError
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
        wide = bytes(view[extra : extra + extra_size])
        size, packed, start = _widened(wide, size, packed, start)
        if name in entries:
            raise CheckpointError(f"its entry {shown(name)} is there twice")
        _check_kind(name, flags, method, packed == size)
        begin = _begin(view, name, raw, start, (flags, method, crc, packed, size))
        entries[name] = Entry(begin, packed, size, crc, method)
        starts[name] = start
    if place != end:
        raise ValueError
    return entries, starts


def _widened(extra: bytes, *numbers: int) -> list[int]:
    """Return numbers with their 64-bit values where the 32 bits are all set."""
    place = 0
    values: list[int] = []
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == _WIDE:
            body = extra[place + 4 : place + 4 + length]
            values = [n for (n,) in struct.iter_unpack("<Q", body[: length // 8 * 8])]
        place += 4 + length
    found = iter(values)
    return [next(found, n) if n == _FULL else n for n in numbers]


def _check_kind(name: str, flags: int, method: int, same: bool) -> None:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or "\0" in name:
        raise CheckpointError(
            f"its entry {shown(name)} points outside of the archive; get the file from "
            "its publisher again"
        )
    if flags & _ENCRYPTED:
        raise CheckpointError(
            f"its entry {shown(name)} cannot be read without a password; unpack it and "
            "save it again with torch.save"
        )
    if method not in (STORED, DEFLATED):
        raise CheckpointError(
            f"its entry {shown(name)} is compressed in an unusual way; unpack it and "
            "save it again with torch.save"
        )
    if method == STORED and not same:
        raise CheckpointError(f"its entry {shown(name)} is damaged; {_DOWNLOAD}")


def _begin(
    view: memoryview,
    name: str,
    raw: bytes,
    start: int,
    facts: tuple[int, int, int, int, int],
) -> int:
    """Return where the bytes of an entry begin, by its local header."""
    outside = CheckpointError(
        f"its entry {shown(name)} lies outside the file; {_DOWNLOAD}"
    )
    if start + _LOCAL.size > len(view):
        raise outside
    fields = _LOCAL.unpack_from(view, start)
    begin: int = start + _LOCAL.size + fields[-2] + fields[-1]
    if begin + facts[3] > len(view):
        raise outside
    there = fields[2], fields[3], *fields[6:9]
    # Sums and sizes that follow the data, or do not fit, stand in the directory only.
    told = 2 if facts[0] & _SIZES_FOLLOW else 5
    same = all(
        old == new or (new == _FULL and place > 2)
        for place, (old, new) in enumerate(zip(facts[:told], there[:told], strict=True))
    )
    if (
        fields[0] != b"PK\x03\x04"
        or not same
        or view[start + _LOCAL.size : start + _LOCAL.size + fields[-2]] != raw
    ):
        raise CheckpointError(
            f"its entry {shown(name)} is damaged (two headers differ); {_DOWNLOAD}"
        )
    return begin


def _check_overlap(
    entries: dict[str, Entry], starts: dict[str, int], directory: int
) -> None:
    order = sorted(entries, key=starts.__getitem__)
    for name, following in zip(order, [*order[1:], ""], strict=True):
        entry = entries[name]
        limit = starts[following] if following else directory
        if entry.begin + entry.packed > limit:
            raise CheckpointError(
                f"its entry {shown(name)} overlaps what follows; {_DOWNLOAD}"
            )

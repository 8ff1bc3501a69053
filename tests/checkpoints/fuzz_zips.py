"""Zip files that lie about themselves, made from a whole one by hand."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

ABSURD = (2**31 - 1, 2**32 - 2, 2**32 - 1)


def archives(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (what was done, the file)."""
    yield from absurd_fields(whole)
    yield from ends(whole)
    yield from rewritten(whole)
    yield from bombs()
    yield from crowds()


def centrals(content: bytes) -> list[int]:
    """Return where the headers of the directory begin."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        place, count = file.start_dir, len(file.infolist())
    places = []
    for _ in range(count):
        places.append(place)
        place += 46 + sum(struct.unpack_from("<3H", content, place + 28))
    return places


def absurd_fields(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Put numbers into the directory that no file of this size can mean."""
    places = centrals(whole)
    fields = {"packed size": 20, "size": 24, "place": 42}
    for number, place in enumerate(places[::6]):
        for (name, offset), value in (
            (field, v) for field in fields.items() for v in ABSURD
        ):
            changed = bytearray(whole)
            struct.pack_into("<L", changed, place + offset, value)
            yield f"entry {number}: {name} {value}", bytes(changed)
        for name, offset, small in (
            ("encrypted", 8, 1),
            ("strongly encrypted", 8, 0x41),
            ("bzip2", 10, 12),
            ("lzma", 10, 14),
            ("unknown method", 10, 99),
            ("long name", 28, 65535),
            ("long extra", 30, 65535),
            ("long comment", 32, 65535),
        ):
            changed = bytearray(whole)
            struct.pack_into("<H", changed, place + offset, small)
            yield f"entry {number}: {name}", bytes(changed)


def ends(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Change the end of the directory."""
    end = whole.rfind(b"PK\5\6")
    wide = whole.rfind(b"PK\6\6")
    for name, place, form, values in (
        ("entries", end + 10, "<H", (0, 1, 65534)),
        ("entries here", end + 8, "<H", (0, 1, 65534)),
        ("size of the directory", end + 12, "<L", (0, 1, 2**32 - 2)),
        ("place of the directory", end + 16, "<L", (0, 1, len(whole), 2**32 - 2)),
        ("comment", end + 20, "<H", (1, 65535)),
        ("disk", end + 4, "<H", (1,)),
        ("wide entries", wide + 32, "<Q", (0, 2**40, 2**64 - 1)),
        ("wide size", wide + 40, "<Q", (0, 2**40, 2**64 - 1)),
        ("wide place", wide + 48, "<Q", (0, 2**40, 2**64 - 1)),
        ("wide record", wide + 4, "<Q", (0, 2**40, 2**64 - 1)),
        ("wide end", wide + 56 + 8, "<Q", (0, 2**40, 2**64 - 1)),
    ):
        for value in values:
            changed = bytearray(whole)
            struct.pack_into(form, changed, place, value)
            yield f"{name}: {value}", bytes(changed)
    yield "garbage behind", whole + b"garbage"
    yield "garbage before", whole[:4] + b"garbage" + whole[4:]
    yield "twice", whole + whole
    yield "end only", whole[:4] + whole[end:]


def rewritten(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Write the entries anew, with one change each."""
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        entries = [(info.filename, file.read(info)) for info in file.infolist()]
    root = entries[0][0].split("/")[0]
    pickled = dict(entries)[f"{root}/data.pkl"]
    used = [name for name, _ in entries if "/data/" in name]
    for name in used:
        rest = [(n, c) for n, c in entries if n != name]
        yield f"without {name}", rezipped(rest)
        short = [(n, c[:-1] if n == name else c) for n, c in entries]
        yield f"{name} is short", rezipped(short)
    for name in (
        "../evil",
        f"{root}/../../evil",
        "/evil",
        "..\\evil",
        f"{root}/data/../evil",
        "\\evil",
        "a\\..\\evil",
    ):
        yield f"with {name}", rezipped([*entries, (name, b"evil")], literal=True)
        yield f"first {name}", rezipped([(name, b"evil"), *entries], literal=True)
    yield "pickle twice", rezipped([*entries, (f"{root}/data.pkl", b"N.")])
    yield "storage twice", rezipped([*entries, (used[0], bytes(4))])
    yield "two roots", rezipped([*entries, ("other/data.pkl", pickled)])
    yield "no pickle", rezipped([e for e in entries if "data.pkl" not in e[0]])
    yield "pickle elsewhere", rezipped([("a/b/data.pkl", pickled)])
    yield (
        "program without tensors",
        rezipped([(f"{root}/data.pkl", b"N."), (f"{root}/constants.pkl", b"N.")]),
    )
    order = [(n, b"big" if n.endswith("byteorder") else c) for n, c in entries]
    yield "other byte order", rezipped(order)
    places = centrals(whole)
    start = struct.unpack_from("<L", whole, places[2] + 42)
    for number in (3, 7, 20):
        changed = bytearray(whole)
        struct.pack_into("<L", changed, places[number] + 42, *start)
        yield f"entry {number} lies on another", bytes(changed)


def rezipped(entries: list[tuple[str, bytes]], *, literal: bool = False) -> bytes:
    import warnings

    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as file:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name if literal else zipfile.ZipInfo(name).filename
            file.writestr(info, content)
    return buffer.getvalue()


def bombs() -> Iterator[tuple[str, bytes]]:
    """Pack gigabytes of nothing, in data, in the pickle and beside."""
    unpacker = zlib.compressobj(9, zlib.DEFLATED, -15)
    chunk = bytes(1 << 20)
    body = b"".join(unpacker.compress(chunk) for _ in range(1024)) + unpacker.flush()
    for name in ("a/data.pkl", "a/data/0", "a/byteorder", "a/other"):
        for claimed in (1 << 30, 1 << 20, 4):
            entries = [(n, b"N.") for n in ("a/data.pkl",) if n != name]
            yield (
                f"bomb in {name} says {claimed}",
                with_packed(entries, name, body, claimed),
            )


def with_packed(
    entries: list[tuple[str, bytes]], name: str, body: bytes, claimed: int
) -> bytes:
    """Add an entry that is packed already and claims a size."""
    content = bytearray(rezipped([*entries, (name, body)]))
    for sign, size, method in ((b"PK\3\4", 22, 8), (b"PK\1\2", 24, 10)):
        place = content.rfind(sign)
        struct.pack_into("<L", content, place + size, claimed)
        struct.pack_into("<H", content, place + method, zipfile.ZIP_DEFLATED)
    return bytes(content)


def crowds() -> Iterator[tuple[str, bytes]]:
    """Give directories with more entries than any file has."""
    for count in (70_000, 150_000):
        entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 16)
        size = count * len(entry)
        tail = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 0, 0, 0, 0, count, count, size, 4
        )
        tail += struct.pack("<4sLQL", b"PK\6\7", 0, 4 + size, 1)
        tail += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, size, 4, 0)
        yield f"{count} entries without names", b"PK\3\4" + entry * count + tail

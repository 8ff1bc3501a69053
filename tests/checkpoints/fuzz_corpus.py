"""The corpus: every way that we know to damage a checkpoint, or to make it hostile."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tests.checkpoints.fuzz_formats import Format, formats
from tests.checkpoints.fuzz_hostile import pickles
from tests.checkpoints.fuzz_zips import archives

REFUSED = "refused"
UNUSED = "in bytes that nothing is made of"
DATA = "in tensor data without a check sum"
UNSUMMED = "in structure without a check sum:"
INERT = "names classes that nobody calls"

TRUNCATIONS = {"zip": 320, "packed zip": 160, "old torch": 160}
FLIPS = 110
FLIPS_UNSEEN = 14
WHOLE: dict[str, Format] = {}


@dataclass(frozen=True)
class Case:
    """Hold one file of the corpus.

    Attributes:
        group: for the counts.
        name: says what was done.
        file: its name in a folder of its own.
        content: its bytes; None for a folder.
        expect: `REFUSED`, or why it may be read.
        beside: further files of the folder.
        origin: the format that it was made from.
        part: what part of its structure was changed.
    """

    group: str
    name: str
    file: str
    content: bytes | None
    expect: str = REFUSED
    beside: tuple[tuple[str, bytes], ...] = ()
    origin: Format | None = None
    part: str = ""


def corpus(canary: str) -> list[Case]:
    """Return all cases; hostile ones try to make the file ``canary``."""
    draw = np.random.default_rng(0)
    cases: list[Case] = []
    for whole in formats():
        WHOLE[whole.name] = whole
        cases += truncated(whole, draw)
        cases += flipped(whole, draw)
        cases += wrong_magic(whole, draw)
    cases += no_checkpoints(draw)
    cases += hostile_headers()
    cases += hostile_indexes()
    for name, file, content, inert in pickles(canary):
        expect = INERT if inert else REFUSED
        cases.append(Case("hostile pickle", name, file, content, expect))
    plain = WHOLE["zip"].content
    cases += [Case("zip trick", n, "model.pth", c) for n, c in archives(plain)]
    return cases


def truncated(whole: Format, draw: np.random.Generator) -> Iterator[Case]:
    """Cut at the boundaries, and one byte before and behind them."""
    places = {p + d for p in whole.boundaries for d in (-1, 0, 1)} | {0}
    places = {p for p in places if 0 <= p < len(whole.content)}
    count = min(TRUNCATIONS.get(whole.name, 110), len(places))
    for place in sorted(draw.choice(sorted(places), count, replace=False).tolist()):
        yield change(whole, "truncated", f"at {place}", whole.content[:place])


def flipped(whole: Format, draw: np.random.Generator) -> Iterator[Case]:
    """Flip bytes in every kind of place."""
    kinds = {UNUSED: whole.unused, DATA: whole.data}
    taken = [b for spans in kinds.values() for span in spans for b in range(*span)]
    rest = np.setdiff1d(np.arange(len(whole.content)), taken)
    for kind, spans in kinds.items():
        places = [b for span in spans for b in range(*span)]
        count = min(FLIPS_UNSEEN, len(places))
        for place in draw.choice(places, count, replace=False).tolist():
            yield flip(whole, place, draw, kind)
    kind = REFUSED if whole.summed else UNSUMMED
    for place in draw.choice(rest, FLIPS, replace=False).tolist():
        yield flip(whole, place, draw, kind)


def flip(whole: Format, place: int, draw: np.random.Generator, expect: str) -> Case:
    damaged = bytearray(whole.content)
    damaged[place] ^= int(draw.integers(1, 256))
    name = f"byte {place} is {damaged[place]:#04x}"
    case = change(whole, "flipped", name, bytes(damaged), expect)
    return replace(case, part=whole.part(place)) if expect == UNSUMMED else case


def wrong_magic(whole: Format, draw: np.random.Generator) -> Iterator[Case]:
    """Spoil the first bytes; a JSON text, a tensor's file or a pickle needs more."""
    if not whole.summed:
        for length in (4, 8, 16):
            noise = draw.bytes(length)
            yield change(whole, "magic", f"{noise!r}", noise + whole.content[length:])
        return
    for magic in (b"PK\5\6", b"PK\1\2", b"Rar!", b"\0\0\0\0", b"pk\3\4", b"PK\3\5"):
        yield change(whole, "magic", f"{magic!r}", magic + whole.content[4:])


def change(
    whole: Format, how: str, name: str, content: bytes, expect: str = REFUSED
) -> Case:
    group = f"{whole.name}: {how}"
    return Case(group, name, whole.file, content, expect, whole.beside, whole)


def no_checkpoints(draw: np.random.Generator) -> Iterator[Case]:
    """Give what people have under the name of a checkpoint."""
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    contents: dict[str, bytes | None] = {
        "folder": None,
        "0 bytes": b"",
        "text": b"Access denied: you need to log in\n",
        "page": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
        "page in capitals": b"\n\n <HTML><HEAD></HEAD></HTML>",
        "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "git-lfs": lfs,
        "gzip": b"\x1f\x8b\x08\x00" + draw.bytes(100),
        "HDF5": b"\x89HDF\r\n\x1a\n" + draw.bytes(100),
        "npy": b"\x93NUMPY\x01\x00" + draw.bytes(100),
        "tar": bytes(257) + b"ustar" + bytes(250),
        "JSON": b'{"error": "not found"}',
        "zeros": bytes(5000),
        "empty zip": b"PK\5\6" + bytes(18),
    }
    suffixes = ("pth", "pt", "pth.tar", "ckpt", "bin", "pkl", "safetensors")
    for (name, content), suffix in itertools.product(contents.items(), suffixes):
        yield Case("no checkpoint", f"{name} as {suffix}", f"model.{suffix}", content)
    for length in (1, 2, 7, 8, 9, 30, 100, 1000, 100_000):
        for turn in range(4):
            noise = draw.bytes(length)
            yield Case("noise", f"{length} bytes, {turn}", "model.pth", noise)


def with_header(header: bytes, data: bytes, length: int = -1) -> bytes:
    size = len(header) if length < 0 else length
    return size.to_bytes(8, "little") + header + data


def hostile_headers() -> Iterator[Case]:
    """Give .safetensors files with a whole backbone, whose headers lie about a part."""
    content = WHOLE["safetensors"].content
    end = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:end]), content[end:]
    tensor, other = header["bn1.bias"], header["bn1.weight"]
    begin, stop = tensor["data_offsets"]
    lies: dict[str, object] = {
        "shape of 2**60": {**tensor, "shape": [2**60]},
        "shape of 2**70": {**tensor, "shape": [2**70]},
        "many axes": {**tensor, "shape": [1] * 1000 + [2]},
        "negative shape": {**tensor, "shape": [-2]},
        "two negatives": {**tensor, "shape": [-1, -2]},
        "shape of text": {**tensor, "shape": ["2"]},
        "true": {**tensor, "shape": [2, True]},
        "float": {**tensor, "shape": [2.0]},
        "no list": {**tensor, "shape": 2},
        "shape too small": {**tensor, "shape": [1]},
        "type": {**tensor, "dtype": "F31"},
        "type of four bits": {**tensor, "dtype": "F4", "shape": [16]},
        "type of no text": {**tensor, "dtype": ["F32"]},
        "negative place": {**tensor, "data_offsets": [-8, 0]},
        "place outside": {**tensor, "data_offsets": [len(data), len(data) + 8]},
        "place of 2**63": {**tensor, "data_offsets": [2**63, 2**63 + 8]},
        "backwards": {**tensor, "data_offsets": [stop, begin]},
        "three places": {**tensor, "data_offsets": [begin, stop, stop]},
        "hole": {**tensor, "shape": [1], "data_offsets": [begin + 4, stop]},
        "overlap": {**tensor, "data_offsets": other["data_offsets"]},
        "more": {**tensor, "code": "eval"},
        "less": {"dtype": "F32", "shape": [2]},
        "no tensor": [],
        "nothing": None,
    }
    for name, lie in lies.items():
        text = json.dumps({**header, "bn1.bias": lie}).encode()
        yield header_case(name, with_header(text, data))
    text = json.dumps(header).encode()
    inner = text[1:]
    first = b'{"bn1.bias": %b, ' % json.dumps(tensor).encode()
    meta = b'{"__metadata__": '
    bare = json.dumps({k: v for k, v in header.items() if k[0] != "_"}).encode()[1:]
    contents = {
        "a name twice": with_header(first + inner, data),
        "deep": with_header(meta + b"[" * 200_000 + b"]" * 200_000 + b"," + bare, data),
        "digits": with_header(meta + b"9" * 100_000 + b"," + bare, data),
        "metadata of numbers": with_header(meta + b'{"a": 1},' + bare, data),
        "metadata no object": with_header(meta + b"[]," + bare, data),
        "no object": with_header(b"[" + text + b"]", data),
        "no JSON": with_header(text[:-1] + b"]", data),
        "no UTF-8": with_header(meta + b'{"\xff": "a"},' + bare, data),
        "length of 2**63": with_header(text, data, 2**63),
        "length of 2**64 - 1": with_header(text, data, 2**64 - 1),
        "length of the file": with_header(text, data, len(text) + len(data)),
        "length of 0": with_header(text, data, 0),
        "length of 1": with_header(text, data, 1),
        "data too short": with_header(text, data[:-1]),
        "data too long": with_header(text, data + b"\0"),
        "many small things": with_header(
            meta + b"{" + b'"":[],' * 1_300_000 + b'"a":1},' + bare, data
        ),
    }
    for name, changed in contents.items():
        yield header_case(name, changed)


def header_case(name: str, content: bytes) -> Case:
    return Case("safetensors: lies", name, "model.safetensors", content)


def hostile_indexes() -> Iterator[Case]:
    """Give indexes that name what is not theirs to name."""
    whole = WHOLE["index"]
    names: tuple[object, ...] = (
        "../model.safetensors",
        "/etc/passwd",
        "/dev/zero",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "C:b",
        "\0",
        "\n",
        "file:///etc/passwd",
        "x" * 300,
        "gone.safetensors",
        whole.file,
        None,
        5,
        ["a"],
        {"a": "b"},
    )
    facts = json.loads(whole.content)
    for name in names:
        for key in ("conv1.weight", "os.system"):
            places = {**facts["weight_map"], key: name}
            content = json.dumps({"weight_map": places}).encode()
            yield Case(
                "index: lies",
                f"{key} in {name!r}",
                whole.file,
                content,
                beside=whole.beside,
            )

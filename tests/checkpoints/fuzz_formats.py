"""One small checkpoint in every format, and where each keeps what no check covers.

The places are found with zipfile, pickletools and json alone, never with the reader
under test.
"""

from __future__ import annotations

import bisect
import io
import json
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor

from ssl_bench import backbones

Span = tuple[int, int]
LOCAL = 30
CENTRAL = 46


@dataclass(frozen=True)
class Format:
    """Hold a whole file and what is known of its bytes.

    Attributes:
        name: of the format, for the counts.
        file: what it is called in its folder.
        content: a checkpoint that is read without complaint.
        boundaries: where one part of the file ends and the next begins.
        data: where tensors lie that no check sum covers.
        unused: where bytes lie that nothing is made of (padding, dates, versions).
        summed: whether all else is covered by a check sum or compared with something.
        beside: further files of the folder.
        opcodes: where those of its pickles begin, and their names.
    """

    name: str
    file: str
    content: bytes
    boundaries: tuple[int, ...]
    data: tuple[Span, ...] = ()
    unused: tuple[Span, ...] = ()
    summed: bool = True
    beside: tuple[tuple[str, bytes], ...] = ()
    opcodes: tuple[tuple[int, str], ...] = ()

    def part(self, place: int) -> str:
        """Return what part of the structure a byte belongs to."""
        before = bisect.bisect_right(self.opcodes, (place, "~"))
        return self.opcodes[before - 1][1] if self.opcodes else "JSON"


def formats() -> list[Format]:
    """Return the checkpoint in every format."""
    tensors = dict(backbones.build("resnet18-w2", 1).state_dict())
    return [
        torch_zip("zip", saved(tensors)),
        torch_zip("packed zip", packed(saved(tensors))),
        old(tensors),
        plain(tensors, 2),
        plain(tensors, 4),
        single(tensors),
        index(tensors),
        shard(tensors),
    ]


def saved(tensors: dict[str, Tensor], *, new: bool = True) -> bytes:
    buffer = io.BytesIO()
    tree = {"state_dict": tensors, "epoch": 3}
    torch.save(tree, buffer, _use_new_zipfile_serialization=new)
    return buffer.getvalue()


def packed(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return buffer.getvalue()


def torch_zip(name: str, content: bytes) -> Format:
    return Format(
        name,
        "model.pth",
        content,
        tuple(sorted({place for span in zip_parts(content) for place in span[1]})),
        unused=tuple(s for kind, s in zip_parts(content) if kind == "unused"),
    )


def zip_parts(content: bytes) -> Iterator[tuple[str, Span]]:
    """Yield the parts of a zip file, by what PKWARE's APPNOTE says they are.

    Versions, dates, disks and attributes mean nothing here; neither do the padding,
    the sums and sizes of a local header whose flag says that the directory has them,
    nor what then follows the data.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        infos = sorted(file.infolist(), key=lambda info: info.header_offset)
        directory = file.start_dir
    following = [info.header_offset for info in infos[1:]] + [directory]
    for info, after in zip(infos, following, strict=True):
        start = info.header_offset
        name, extra = struct.unpack_from("<2H", content, start + 26)
        data = start + LOCAL + name + extra
        yield "unused", (start + 4, start + 6)
        yield "unused", (start + 10, start + (26 if info.flag_bits & 8 else 14))
        yield "name", (start + LOCAL, start + LOCAL + name)
        yield "unused", (data - extra, data)
        yield "data", (data, data + info.compress_size)
        yield "unused", (data + info.compress_size, after)
    place = directory
    for _ in infos:
        sizes = struct.unpack_from("<3H", content, place + 28)
        yield "unused", (place + 4, place + 8)
        yield "unused", (place + 12, place + 16)
        yield "unused", (place + 34, place + 42)
        yield "name", (place + CENTRAL, place + CENTRAL + sizes[0])
        place += CENTRAL + sum(sizes)
    if content[place : place + 4] == b"PK\6\6":
        yield "unused", (place + 12, place + 24)
        yield "end", (place, place + 56)
        place += 76
    yield "end", (place, len(content))


def pickle_end(content: bytes, start: int = 0) -> int:
    """Return where a pickle ends."""
    stream = io.BytesIO(content[start:])
    for _ in pickletools.genops(stream):
        pass
    return start + stream.tell()


def opcodes(content: bytes, start: int = 0) -> list[tuple[int, str]]:
    """Return where the opcodes of a pickle begin, and their names."""
    stream = io.BytesIO(content[start:])
    return [
        (start + place, opcode.name)
        for opcode, _, place in pickletools.genops(stream)
        if place is not None
    ]


def arguments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes that opcodes carry, and where each ends."""
    stream = io.BytesIO(content)
    for _, argument, _ in pickletools.genops(stream):
        if isinstance(argument, (str, bytes)):
            raw = argument.encode() if isinstance(argument, str) else argument
            yield stream.tell(), raw


def old(tensors: dict[str, Tensor]) -> Format:
    content = saved(tensors, new=False)
    # Storages are named by their addresses, which should be the same every time.
    keys = sorted(str(t.untyped_storage()._cdata) for t in tensors.values())
    for number, key in enumerate(keys):
        content = content.replace(key.encode(), b"%0*d" % (len(key), number))
    codes: list[tuple[int, str]] = []
    # Where the numbers were in training means nothing: all come to the CPU now.
    devices: list[Span] = []
    place = 0
    for _ in range(5):  # magic number, version, machine, object, list of storages
        codes += opcodes(content, place)
        ends = [end for end, text in arguments(content[place:]) if text == b"cpu"]
        devices += [(place + end - 3, place + end) for end in ends]
        place = pickle_end(content, place)
    codes.append((place, "number of elements"))
    boundaries, data = [start for start, _ in codes], []
    # The numbers lie in the order of the storages' names, which are their addresses.
    for tensor in sorted(
        tensors.values(), key=lambda tensor: str(tensor.untyped_storage()._cdata)
    ):
        size = tensor.numel() * tensor.element_size()
        assert int.from_bytes(content[place : place + 8], "little") == tensor.numel()
        data.append((place + 8, place + 8 + size))
        place += 8 + size
        boundaries += [place - size - 8, place - size, place]
    assert place == len(content)
    return Format(
        "old torch",
        "old.pth",
        content,
        tuple(boundaries),
        tuple(data),
        tuple(devices),
        summed=False,
        opcodes=tuple(codes),
    )


def plain(tensors: dict[str, Tensor], protocol: int) -> Format:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    content = pickle.dumps({"model": arrays}, protocol)
    # Protocol 2 has bytes as text of the same characters, in UTF-8.
    raws = {array.tobytes() for array in arrays.values()}
    raws |= {raw.decode("latin1").encode() for raw in raws}
    data = [
        (end - len(argument), end)
        for end, argument in arguments(content)
        if argument in raws
    ]
    codes = opcodes(content)
    return Format(
        f"plain pickle {protocol}",
        f"model{protocol}.pkl",
        content,
        tuple(start for start, _ in codes),
        tuple(data),
        summed=False,
        opcodes=tuple(codes),
    )


def single(tensors: dict[str, Tensor]) -> Format:
    content = safetensors.torch.save(tensors, {"format": "pt"})
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    ends = {
        begin + facts["data_offsets"][1] for k, facts in header.items() if k[0] != "_"
    }
    return Format(
        "safetensors",
        "model.safetensors",
        content,
        tuple(sorted({*range(9), begin - 1, begin, *ends})),
        ((begin, len(content)),),
        summed=False,
    )


def parts(tensors: dict[str, Tensor]) -> tuple[bytes, list[bytes], list[str]]:
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    half = len(tensors) // 2
    keys = list(tensors)[:half], list(tensors)[half:]
    places = {key: name for ks, name in zip(keys, names, strict=True) for key in ks}
    files = [safetensors.torch.save({k: tensors[k] for k in ks}) for ks in keys]
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": places}, indent=1)
    return text.encode(), files, names


def index(tensors: dict[str, Tensor]) -> Format:
    content, files, names = parts(tensors)
    end = content.find(b'"weight_map"')
    return Format(
        "index",
        "model.safetensors.index.json",
        content,
        tuple(i for i, byte in enumerate(content) if byte in b'{}":,\n'),
        unused=((content.find(b'"metadata"'), end),),
        summed=False,
        beside=tuple(zip(names, files, strict=True)),
    )


def shard(tensors: dict[str, Tensor]) -> Format:
    """Return a checkpoint of two parts of which the first is the one that changes."""
    text, files, names = parts(tensors)
    begin = 8 + int.from_bytes(files[0][:8], "little")
    return Format(
        "part of an index",
        names[0],
        files[0],
        (0, 4, 8, begin, len(files[0]) // 2),
        ((begin, len(files[0])),),
        summed=False,
        beside=(("model.safetensors.index.json", text), (names[1], files[1])),
    )

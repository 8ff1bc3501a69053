"""Pickles that want memory, time or the stack: refused before they get them.

Each is at most a few megabytes; what it asks for is far beyond any machine.
"""

from __future__ import annotations

import pickle
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ssl_bench.checkpoints import reader
from ssl_bench.checkpoints.formats import unpickle
from ssl_bench.errors import CheckpointError

PRIME = 2**61 - 1
"""Python's hash of whole numbers is their remainder by it."""


def long(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def doubled(times: int, pair: bytes) -> bytes:
    """Hold a list twice, the result twice, and so on."""
    return b"]\x94" + b"".join(b"(h%ch%c%s\x94" % (i, i, pair) for i in range(times))


BOMBS = {
    "deep lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": b")" + b"\x85" * 100_000 + b".",
    "deep dictionaries": b"}" + b"K\x00}" * 5_000 + b"s" * 5_000 + b".",
    "deep tuple as a key": b"})" + b"\x85" * 100_000 + b"Ns.",
    "deep placeholders": b"ca\nb\n" + b")R" * 100_000 + b".",
    "endless repetition, tuples": doubled(60, b"t") + b".",
    "endless repetition, lists": doubled(60, b"l") + b".",
    "tuple of endless repetition as a key": b"}" + doubled(60, b"t") + b"Ns.",
    "itself": b"]\x94h\x00a.",
    "memo at the end of the numbers": b"Nr\xff\xff\xff\xff.",
    "memo in text": b"Np99999999999\n.",
    "long of 2 GB": b"\x8b\xff\xff\xff\x7f" + bytes(100) + b".",
    "long of many digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "text of 2**63": b"\x8d" + b"\xff" * 7 + b"\x7f" + b"a.",
    "bytes of 2**63": b"\x8e" + b"\xff" * 7 + b"\x7f" + b"a.",
    "array of 2**63": b"\x96" + b"\xff" * 7 + b"\x7f" + b"a.",
    "frame of 2**63": b"\x95" + b"\xff" * 7 + b"\x7f" + b"N.",
    "many lists": b"(" + b"]" * 5_000_000 + b"l.",
    "many marks": b"(" * 3_000_000 + b".",
    "many sets": b"(" + b"\x8f" * 5_000_000 + b"l.",
    "many numbers": b"(" + b"M\x00\x80" * 3_000_000 + b"l.",
    "many remembered": b"N" + b"\x94" * 3_000_000 + b".",
    "many names": b"".join(b"cx\n%d\n0" % i for i in range(300_000)) + b"N.",
    "copies of a long list": b"(" + b"K\x01" * 100_000 + b"l\x94" + b"("
    b"c__builtin__\nlist\n\x94" + b"h\x01h\x00\x85R" * 100_000 + b"l.",
    "copies of a long text": b"X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"\x94("
    b"c_codecs\nencode\n\x94" + b"h\x01h\x00\x85R" * 100_000 + b"l.",
    "wide text": b"("
    + (b"X\x00\x00\x10\x00" + b"\xf0\x9f\x98\x80" * (1 << 18)) * 3
    + b"l.",
    "numbers of one hash": b"}("
    + b"".join(long(i * PRIME) + b"N" for i in range(1, 50_000))
    + b"u.",
    "complex numbers as keys": b"}(c__builtin__\ncomplex\nK\x01K\x02\x86RNu.",
    "many tuples as keys": b"}("
    + b"".join(b"J%s\x85N" % i.to_bytes(4, "little") for i in range(50_000))
    + b"u.",
}
HARMLESS = {"wide text", "deep placeholders", "memo at the end of the numbers"}
"""What is no harm at its size and may be read."""


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Give this process 1.5 GB more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (3 << 29)
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_time(name: str) -> None:
    start = time.process_time()
    if name in HARMLESS:
        unpickle.load(BOMBS[name])
    else:
        with pytest.raises(CheckpointError) as caught:
            unpickle.load(BOMBS[name])
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert "MemoryError" not in str(caught.value)
    assert time.process_time() - start < 4


def test_what_is_shared_or_circular_among_objects_is_read() -> None:
    """Modules refer to their parents, settings to one another."""
    tree = unpickle.load(b"ca\nb\n)R\x94}(Vself\nh\x00ub.")
    assert tree.state["self"] is tree


def test_a_file_cannot_change_what_the_next_one_gets() -> None:
    """BUILD sets attributes on whatever lies on the stack, in Python's own machine."""
    state = b"}(Vkinds\nNV__class__\nNV__dict__\nNV__call__\nNV__new__\nNub0"
    names = [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nfloat32\n",
        b"ccollections\nOrderedDict\n",
        b"c__builtin__\nset\n",
        b"cnumpy\ndtype\n",
        b"ccollections\nOrderedDict\n)R",
        b"ca\nb\n",
    ]
    for name in names:
        unpickle.load(name + state + b"N.")
    tree = unpickle.load(
        b"}(Vx\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\n"
        b"V0\nVcpu\nK\x02tQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n"
        b")RtRVd\nctorch\nfloat32\nVo\nccollections\nOrderedDict\n)Ru.",
        lambda key, dtype, count: torch.zeros(count, dtype=dtype),
    )
    assert tree["x"].tolist() == [0.0, 0.0]
    assert tree["d"] is torch.float32
    assert tree["o"] == {}


def test_state_of_a_bare_name_is_ignored() -> None:
    tree = unpickle.load(b"(ca\nb\n\x94K\x05bh\x00)Rl.")
    assert [item.state for item in tree] == [None, None]


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n0N.",
        b"\x8c\x02os\x8c\x06system\x930N.",
        b"(ios\nsystem\n0N.",
        b"\x8c\x05posix\x8c\x06system\x930N.",
        b"V__builtin__\nVeval\n\x930N.",
        b"\x8c\x08builtins\x8c\x0deval.__call__\x930N.",
        b"ctorch.serialization.os\nsystem\n0N.",
        b"ctorch\nserialization.os.system\n0N.",
        b"cnumpy.builtins\neval\n0N.",
        b"cio\nopen\n0N.",
        b"ctorch\nload\n0N.",
        b"\x82\x010N.",
        b"\x83\x01\x000N.",
        b"\x84\x01\x00\x00\x000N.",
    ],
)
@pytest.mark.parametrize("protocol", [b"", b"\x80\x04", b"\x80\x05"])
def test_programs_are_refused_through_every_opcode(
    tmp_path: Path, opcodes: bytes, protocol: bytes
) -> None:
    """Even where what they name is thrown away at once."""
    path = tmp_path / "x.pkl"
    # Something before it, so that a pickle of protocol 0 is recognised.
    path.write_bytes(protocol + b"]q\x000" + opcodes)
    with pytest.raises(CheckpointError, match=r"asks to run|extension code"):
        reader.read(path)


def test_every_opcode_of_python_is_known() -> None:
    for name, code in vars(pickle).items():
        if name.isupper() and isinstance(code, bytes) and len(code) == 1:
            reason = ""
            try:
                unpickle.load(code)
            except CheckpointError as error:
                reason = str(error)
            assert ("no opcode" in reason) == ("BUFFER" in name), name

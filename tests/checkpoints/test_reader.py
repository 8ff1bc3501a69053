"""Opening files: every format, and everything that can be wrong with one."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from ssl_bench import checkpoints
from ssl_bench.checkpoints import reader
from ssl_bench.errors import CheckpointError, UsageError


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        reader.read(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.pth.tar", "a.ckpt", "a.bin", "a"])
@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_of_any_name(
    tmp_path: Path, tensors: dict[str, Tensor], name: str, legacy: bool
) -> None:
    path = tmp_path / name
    torch.save(
        {"state_dict": tensors, "epoch": 3},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    payload = reader.read(path)
    assert payload.source == name
    assert payload.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert payload.tree["epoch"] == 3
    for key, tensor in tensors.items():
        assert torch.equal(payload.tree["state_dict"][key], tensor)


def test_safetensors(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    payload = reader.read(path)
    assert payload.metadata == {"format": "pt"}
    assert all(torch.equal(payload.tree[key], t) for key, t in tensors.items())


def test_tensors_are_mapped_and_the_file_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"x": torch.ones(1000)}, path)
    before = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = reader.read(path).tree["x"]
    tensor.zero_()
    assert path.read_bytes() == before


def test_a_big_file_costs_no_memory_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "big.pth"
    torch.save({"x": torch.ones(16 << 20)}, path)  # 64 MiB

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("RssAnon"))

    before = anonymous()
    payload = reader.read(path)
    assert float(payload.tree["x"].sum()) == 16 << 20
    assert anonymous() - before < 16 << 10


def test_compressed_archives_are_read_too(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    # As large as the pieces in which it is unpacked, and a little more or less.
    sizes = (1 << 20, (1 << 20) + 1, (1 << 22) - 100, (1 << 22) + 258)
    tensors |= {f"{n}": torch.zeros(n, dtype=torch.uint8) for n in sizes}
    torch.save(tensors, tmp_path / "plain.pth")
    path = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    read = reader.read(path).tree
    assert all(torch.equal(read[key], tensor) for key, tensor in tensors.items())


def test_files_written_without_check_sums_are_read(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    path = tmp_path / "a.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tensors, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(reader.read(path).tree["bn1.weight"], tensors["bn1.weight"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n  <html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"Access denied\n", "text file"),
        (b"\x1f\x8b\x08\x00abc", "gzip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"\x80\x04K\x01.!", "1 bytes follow its end"),
        (bytes(257) + b"ustar", "tar archive"),
        (bytes(range(200)), "no known format"),
        (b"PK\x03\x04" + bytes(100), "cut off or damaged"),
        (b"\xff" * 8 + b"{", "safetensors file but is cut off"),
    ],
)
def test_what_is_no_checkpoint_is_said(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert said in message(path)


def test_a_missing_file_a_folder_and_an_unreadable_one(tmp_path: Path) -> None:
    assert "does not exist" in message(tmp_path / "nowhere.pth")
    assert "is a folder" in message(tmp_path)
    loop = tmp_path / "loop.pth"
    loop.symlink_to(loop)
    assert "cannot be read" in message(loop)


def test_other_zip_files_are_no_checkpoints(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    assert "not one of torch's" in message(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "s.pt", "w") as file:
        file.writestr("m/data.pkl", b"N.")
        file.writestr("m/constants.pkl", b"N.")
    assert "TorchScript" in message(tmp_path / "s.pt")


def test_numbers_of_the_other_byte_order_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as file:
        file.writestr("archive/data.pkl", b"N.")
        file.writestr("archive/byteorder", b"big")
    assert "big-endian" in message(tmp_path / "a.pth")


def test_old_files_have_placeholders_too(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"x": Path("/x")}, path, _use_new_zipfile_serialization=False)
    found = reader.read(path).tree["x"]
    assert found.origin == f"{type(path).__module__}.PosixPath"


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_file_cut_off_anywhere_is_an_error(
    tmp_path: Path, tensors: dict[str, Tensor], kind: str
) -> None:
    whole = tmp_path / "whole"
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, whole)
    else:
        torch.save(tensors, whole, _use_new_zipfile_serialization=kind == "zip")
    content = whole.read_bytes()
    draw = np.random.default_rng(0)
    random = draw.integers(1, len(content), 40).tolist()
    path = tmp_path / "cut.pth"
    for length in sorted({*range(24), 600, len(content) - 1, *random}):
        path.write_bytes(content[:length])
        message(path)


def test_flipped_bytes_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"x": torch.ones(500), "y": torch.zeros(500)}, path)
    content = path.read_bytes()
    draw = np.random.default_rng(0)
    noticed = 0
    for place in draw.integers(0, len(content), 60).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            payload = reader.read(path)
        except CheckpointError:
            noticed += 1
        else:  # padding, names or dates: whatever is read has to be right
            assert torch.equal(payload.tree["x"], torch.ones(500))
            assert torch.equal(payload.tree["y"], torch.zeros(500))
    assert noticed > 40


def test_storages_have_to_be_there_with_their_size(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(10)}, tmp_path / "a.pth")
    for name, size in (("missing", None), ("short", 39), ("long", 41)):
        path = tmp_path / f"{name}.pth"
        with (
            zipfile.ZipFile(tmp_path / "a.pth") as old,
            zipfile.ZipFile(path, "w") as new,
        ):
            for info in old.infolist():
                if not info.filename.endswith("data/0"):
                    new.writestr(info.filename, old.read(info))
                elif size is not None:
                    new.writestr(info.filename, bytes(size))
        said = message(path)
        assert ("is missing" if size is None else f"has {size} bytes") in said


def test_check_does_without_a_digest(tmp_path: Path, tensors: dict[str, Any]) -> None:
    path = tmp_path / "a.pth"
    torch.save(tensors, path)
    reader.read(path, digest=False)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="cut off"):
        reader.read(path, digest=False)


def test_no_digest_outlives_a_refusal(tmp_path: Path) -> None:
    """A thread that reads on while the program ends prints a traceback."""
    path = tmp_path / "a.pth"
    torch.save({"x": torch.ones(32_000_000)}, path)
    assert checkpoints.layouts()
    with pytest.raises(UsageError):
        checkpoints.load(path, layout="no such layout")
    assert [thread for thread in threading.enumerate() if "_run" in thread.name] == []


def resident(path: Path) -> int:
    """Return how many pages of a file are in memory (Linux)."""
    library = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as handle:
        view = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
        flags = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(view)
        address = ctypes.c_void_p(ctypes.addressof(first))
        assert not library.mincore(address, ctypes.c_size_t(len(view)), flags)
        del first
        view.close()
    return sum(flag & 1 for flag in flags)


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_peek_reads_no_numbers(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.pth"
    tensors = {f"{i}": torch.randn(1 << 20) for i in range(8)}  # 4 MiB each
    if kind == "safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(path) > 100:
        pytest.skip("this file system keeps files in memory")
    payload = reader.peek(path)
    assert resident(path) < 200  # of 8192
    assert payload.sha256 == ""
    assert payload.tree["3"].shape == (1 << 20,)
    assert torch.equal(payload.tree["3"], tensors["3"])


def test_a_peek_compares_small_entries_only(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"x": torch.ones(1 << 17)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert reader.peek(path).tree["x"].shape == (1 << 17,)
    with pytest.raises(CheckpointError, match="check sum"):
        reader.read(path)


def test_a_pipe_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "is no file" in message(tmp_path / "pipe.pth")

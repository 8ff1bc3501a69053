"""Small files that stand for huge ones: refused before anybody follows them."""

from __future__ import annotations

import argparse
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_bench import backbones
from ssl_bench.backbones.token_backbone import count_blocks
from ssl_bench.checkpoints import inspection, publish, reader
from ssl_bench.checkpoints.formats import unpickle
from ssl_bench.errors import CheckpointError

ONE = torch.ones(2)


def saved(path: Path, tree: Any) -> Path:
    torch.save(tree, path)
    return path


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def long(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def tensor(
    kind: str, count: int, size: tuple[int, ...] = (), stride: tuple[int, ...] = ()
) -> bytes:
    """Write a tensor on storage 0 by hand."""
    places = [b"(" + b"".join(map(long, axes)) + b"t" for axes in (size, stride)]
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + text("storage")
        + b"ctorch\n"
        + kind.encode()
        + b"\n"
        + text("0")
        + text("cpu")
        + long(count)
        + b"tQK\x00"
        + b"".join(places)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def doubled(depth: int) -> Any:
    tree: Any = {"x": ONE}
    for _ in range(depth):
        tree = {"a": tree, "b": tree}
    return tree


def shared_modules(times: int) -> torch.nn.Module:
    module: torch.nn.Module = torch.nn.Linear(2, 2)
    for _ in range(times):
        module = torch.nn.Sequential(module, module)
    return module


def expanded(width: int) -> dict[str, torch.Tensor]:
    """A whole ResNet-18 of some width, of one number."""
    places = backbones.skeleton(backbones.parse(f"resnet18-w{width}"))
    return {k: torch.ones(()).expand(v.shape) for k, v in places.items()}


HUGE: dict[str, Callable[[], Any]] = {
    "one number, repeated": lambda: {"x.weight": torch.ones(1).expand(1 << 40)},
    "a network of one number": lambda: expanded(2000),
    "one tensor of many names": lambda: {f"blocks.{i}.w": ONE for i in range(20_000)},
    "a name of a megabyte": lambda: {"blocks.0." * 100_000: ONE},
    "a number of 5,000 digits": lambda: {f"blocks.{'9' * 5000}.w": ONE},
    "modules in modules": lambda: shared_modules(15),
    "one network many times": lambda: [shared_modules(10)] * 1000,
    "dictionaries in dictionaries": lambda: doubled(20),
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("read", [reader.read, reader.peek])
def test_what_repeats_itself_is_refused(
    tmp_path: Path, name: str, read: Callable[[Path], Any]
) -> None:
    path = saved(tmp_path / "x.pth", HUGE[name]())
    assert path.stat().st_size < 2 << 20
    with pytest.raises(CheckpointError, match="cannot be used") as caught:
        read(path)
    assert len(str(caught.value)) < 400


def test_shared_weights_are_read(tmp_path: Path) -> None:
    """Twelve blocks of one set of weights, and small tensors that are expanded."""
    weight = torch.randn(64, 64)
    state = {f"blocks.{i}.weight": weight for i in range(12)}
    state["bias"] = torch.ones(1).expand(64)
    read = reader.read(saved(tmp_path / "x.pth", state)).tree
    assert torch.equal(read["blocks.11.weight"], weight)
    assert read["bias"].tolist() == [1.0] * 64


BYTES = b"B" + struct.pack("<I", 1 << 20) + bytes(1 << 20)


def old_torch() -> bytes:
    buffer = io.BytesIO()
    torch.save(
        {"x": torch.zeros(1 << 18)}, buffer, _use_new_zipfile_serialization=False
    )
    return buffer.getvalue()


COPIES = {
    "arrays": b"cnumpy.core.numeric\n_frombuffer\n\x94("
    + BYTES
    + b"cnumpy\ndtype\n("
    + text("f4")
    + b"\x89\x88tRJ\x00\x00\x04\x00"
    + text("C")
    + b"t\x9400",
    "torch files": b"ctorch.storage\n_load_from_bytes\n\x94B"
    + struct.pack("<I", len(old_torch()))
    + old_torch()
    + b"\x85\x9400",
}


@pytest.mark.parametrize("name", COPIES)
def test_one_array_cannot_be_copied_without_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04](" + COPIES[name] + b"h\x00h\x01R" * 500 + b"e.")
    with pytest.raises(CheckpointError, match="more numbers than a file"):
        reader.read(path)
    path.write_bytes(b"\x80\x04](" + COPIES[name] + b"h\x00h\x01R" * 20 + b"e.")
    assert len(reader.read(path).tree) == 20


def test_names_of_what_calls_give_do_not_grow() -> None:
    tree = unpickle.load(b"](ca\nb\n" + b")R\x94" * 1000 + b"e.")
    assert [item.origin for item in tree] == ["a.b()"]


def test_long_names_are_within_the_budget() -> None:
    names = b"".join(text(f"{i:04}" + "m" * 1000) + b"\x940" for i in range(300))
    pairs = b"".join(
        b"j%bj%b\x930" % (struct.pack("<I", i), struct.pack("<I", j))
        for i in range(300)
        for j in range(300)
    )
    with pytest.raises(CheckpointError, match="far more than a file"):
        unpickle.load(names + pairs + b"N.")


def test_parts_of_a_storage_are_within_the_budget() -> None:
    part = b"(" + text("v") + b"K\x00K\x02t"
    place = text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    pickle = b"](" + b"(" + place + b"K\x04" + part + b"t\x94" + b"0" + b"h\x00Q"
    with pytest.raises(CheckpointError, match="far more than a file"):
        unpickle.load(pickle + b"h\x00Q" * 200_000 + b"e.", lambda *_: torch.zeros(4))


def test_a_storage_of_several_types_is_copied_once(tmp_path: Path) -> None:
    """Where it is not aligned, every type would be a copy of its own."""
    kinds = {"FloatStorage": 6, "IntStorage": 6, "HalfStorage": 12, "CharStorage": 24}
    content = b"}(" + b"".join(
        text(kind) + tensor(kind, count, (count,), (1,))
        for kind, count in kinds.items()
    )
    for pad in range(4):
        path = tmp_path / f"{pad}.pth"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", b"\x80\x02" + content + b"u.")
            file.writestr("archive/pad", bytes(pad))
            file.writestr("archive/data/0", bytes(range(24)))
        tree = reader.read(path).tree
        both = tree["FloatStorage"], tree["IntStorage"]
        assert len({one.untyped_storage().data_ptr() for one in both}) == 1
        assert tree["CharStorage"].tolist() == list(range(24))


@pytest.mark.parametrize(
    ("size", "stride"),
    [((1,) * 65, (1,) * 65), ((2**62, 2**62, 0), (1, 1, 1)), ((0, 2**60), (1, 1))],
)
def test_absurd_shapes_are_refused(
    size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    content = tensor("FloatStorage", 4, size, stride) + b"."
    with pytest.raises(CheckpointError, match="claims an absurd"):
        unpickle.load(content, lambda *_: torch.zeros(4))


def test_an_absurd_empty_shape_in_safetensors_is_refused(tmp_path: Path) -> None:
    facts = {"dtype": "F32", "shape": [2**59, 2**59, 0], "data_offsets": [0, 0]}
    header = json.dumps({"x": facts}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="absurd"):
        reader.read(path)


def nested(width: int, depth: int) -> argparse.Namespace:
    inner: Any = 1
    for _ in range(depth):
        inner = argparse.Namespace(**{f"k{i}": inner for i in range(width)})
    found: argparse.Namespace = inner
    return found


@pytest.mark.parametrize(("width", "depth"), [(300, 3), (2, 40)])
def test_settings_that_refer_to_one_another_have_an_end(
    tmp_path: Path, width: int, depth: int
) -> None:
    """Objects may share others; each is written and shown a bounded number of times."""
    path = saved(tmp_path / "x.pth", {"w": ONE, "args": nested(width, depth)})
    facts = inspection.inspect(path)
    assert len(facts["entries"]) <= 26
    done = publish.publish(path, tmp_path / "out.pth")
    tree = torch.load(done.path, weights_only=True)
    assert torch.equal(tree["w"], ONE)
    assert done.path.stat().st_size < 1 << 20


def test_views_are_published_without_growing(tmp_path: Path) -> None:
    """Those that overlap stay views of one storage; others get their own."""
    base = torch.randn(1 << 16)
    tree = {f"x{i}": base[i : i + (1 << 15)] for i in range(50)}
    tree |= {"one": base[:1].expand(1 << 15), "part": torch.randn(1 << 16)[:10]}
    done = publish.publish(saved(tmp_path / "x.pth", tree), tmp_path / "out.pth")
    again = torch.load(done.path, weights_only=True)
    assert all(torch.equal(again[name], value) for name, value in tree.items())
    assert done.path.stat().st_size < 3 * base.nbytes
    assert again["part"].untyped_storage().nbytes() == 40


def test_a_number_in_a_name_is_no_depth() -> None:
    names = [f"blocks.{index}.norm1.weight" for index in (0, 1, 3, 999_999_999)]
    assert count_blocks(names[:3]) == 4
    assert count_blocks(names) == 8

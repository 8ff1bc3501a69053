from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from ssl_bench import data
from ssl_bench.data.safe_pickle import read_pickle
from ssl_bench.errors import DataError

TEN = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]


def batch(seed: int, labels: list[int], key: str = "labels") -> dict[str, Any]:
    draw = np.random.RandomState(seed)
    pixels = draw.randint(0, 256, (len(labels), 3072), dtype=np.uint8)
    return {"data": pixels, key: labels, "batch_label": f"batch {seed}"}


def write(path: Path, content: Any, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    for number, name in enumerate(TEN):
        write(folder / name, batch(number, [number % 3, 2]))
    write(folder / "batches.meta", {"label_names": ["plane", "car", "bird"]})
    return folder


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-100-python"
    for number, name in enumerate(("train", "test")):
        content = batch(number, [3, 0, 1], "fine_labels") | {"coarse_labels": [0] * 3}
        write(folder / name, content)
    names = {"fine_label_names": list("abcd"), "coarse_label_names": ["x"]}
    write(folder / "meta", names)
    return folder


def unchecked(monkeypatch: pytest.MonkeyPatch, kind: Any) -> Any:
    """torchvision's reader without its md5 sums, which our small files do not have."""
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    return kind


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_same_images_as_torchvision(
    name: str,
    split: str,
    ten: Path,
    hundred: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = unchecked(monkeypatch, CIFAR10 if name == "cifar10" else CIFAR100)
    reference = kind(str(tmp_path), train=split == "train")

    found = data.open_dataset(name, split, tmp_path)

    assert list(found.classes) == reference.classes
    assert len(found) == len(reference) > 0
    for index in range(len(found)):
        image, label, _ = found[index]
        expected, expected_label = reference[index]
        assert label == expected_label
        assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_the_folder_itself_and_the_one_above_are_the_same_data(
    ten: Path, tmp_path: Path
) -> None:
    inner, outer = (data.open_dataset("cifar10", "val", p) for p in (ten, tmp_path))

    assert inner.fingerprint() == outer.fingerprint()
    assert list(inner.samples) == ["test_batch/0", "test_batch/1"]


def test_bytes_keys_and_python_2_pickles(ten: Path) -> None:
    pixels = bytes(range(256)) * 12
    # What Python 2 and its numpy wrote: byte strings for keys, names and pixels.
    old = (
        b"\x80\x02}q\x01(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87"
        b"R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
        + pixels
        + b"tbU\x06labels]K\x01au."
    )
    (ten / "test_batch").write_bytes(old)

    found = data.open_dataset("cifar10", "val", ten)

    assert found.targets.tolist() == [1]
    assert np.asarray(found.image(0))[0, :4].tolist() == [[i, i, i] for i in range(4)]
    write(ten / "test_batch", {k.encode(): v for k, v in batch(0, [1]).items()})
    assert data.open_dataset("cifar10", "val", ten).targets.tolist() == [1]


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    content = batch(1, [1, 2]) | {"raw": b"\x00\xff", "group": {"a", "b"}}
    write(tmp_path / "a", content, protocol)

    found = read_pickle(tmp_path / "a")

    assert np.array_equal(found["data"], content["data"])
    assert (found["raw"], found["group"]) == (b"\x00\xff", {"a", "b"})


class Hostile:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("place", ["data_batch_3", "batches.meta"])
def test_nothing_is_executed(ten: Path, tmp_path: Path, place: str) -> None:
    trap = tmp_path / "trap"
    for hostile, named in (
        (Hostile(os.mkdir, str(trap)), "posix.mkdir"),
        (Hostile(eval, f"open({str(trap)!r}, 'w')"), "builtins.eval"),
        (Hostile(Path, "x"), f"{Path.__module__}.Path"),
        (Hostile(getattr, "x", "upper"), "builtins.getattr"),
    ):
        write(ten / place, {"data": hostile, "labels": [0]}, protocol=4)
        with pytest.raises(DataError, match=f"{place}: refused: it names {named}"):
            data.open_dataset("cifar10", "train", ten)
        assert not trap.exists()


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    # A forged one would hold pointers to anywhere.
    write(tmp_path / "a", np.array([None, 1], dtype=object))
    write(tmp_path / "b", Hostile(np.dtype, [("a", "u1"), ("b", "O")]))

    for name in "ab":
        with pytest.raises(DataError, match="refused: an array of objects"):
            read_pickle(tmp_path / name)


def test_other_codecs_are_refused(tmp_path: Path) -> None:
    import codecs

    write(tmp_path / "a", Hostile(codecs.encode, "x", "zip"))

    with pytest.raises(DataError, match="refused: the codec 'zip'"):
        read_pickle(tmp_path / "a")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_batch(ten: Path, share: float) -> None:
    path = ten / "data_batch_2"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(DataError, match=r"cannot read .*data_batch_2: .* damaged"):
        data.open_dataset("cifar10", "train", ten)


def test_all_missing_batches_are_named(ten: Path) -> None:
    (ten / "data_batch_2").unlink()
    (ten / "data_batch_5").unlink()

    with pytest.raises(DataError, match="lacks data_batch_2, data_batch_5; expected"):
        data.open_dataset("cifar10", "train", ten)
    assert len(data.open_dataset("cifar10", "val", ten)) == 2


def changed(**entries: Any) -> dict[str, Any]:
    content = batch(0, [0, 1]) | entries
    return {key: value for key, value in content.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(data=None), "has no entry 'data'"),
        (changed(labels=None), "has no entry 'labels'"),
        ([1, 2], "has no entry 'labels'|has no entry 'data'"),
        (changed(data=np.zeros((2, 3071), np.uint8)), r"shape \(2, 3071\).*N x 3072"),
        (changed(data=np.zeros((2, 3072), np.float32)), "type float32; expected"),
        (changed(data=np.zeros(6144, np.uint8)), r"shape \(6144,\)"),
        (changed(data=np.zeros((0, 3072), np.uint8), labels=[]), r"shape \(0, 3072\)"),
        (changed(data=[[0] * 3072] * 2), "'data' is list"),
        (changed(labels=[0]), "list of 2 labels from 0 to 2"),
        (changed(labels=[0, 3]), "labels from 0 to 2"),
        (changed(labels=[0, -1]), "labels from 0 to 2"),
        (changed(labels=[0, 1.5]), "labels from 0 to 2"),
        (changed(labels=[[0], [1, 2]]), "labels from 0 to 2"),
    ],
)
def test_wrong_content_is_named(ten: Path, content: Any, message: str) -> None:
    write(ten / "test_batch", content)

    with pytest.raises(DataError, match=message) as caught:
        data.open_dataset("cifar10", "val", ten)
    assert "test_batch" in str(caught.value)


def test_class_names_have_to_be_a_list(ten: Path) -> None:
    write(ten / "batches.meta", {"label_names": "plane"})

    with pytest.raises(DataError, match="'label_names' is not a list of class names"):
        data.open_dataset("cifar10", "val", ten)


def test_fingerprint_follows_the_pixels(ten: Path) -> None:
    before = data.open_dataset("cifar10", "val", ten)
    content = batch(5, [2, 2])
    content["data"][1, 0] ^= 1
    write(ten / "test_batch", content)
    after = data.open_dataset("cifar10", "val", ten)

    assert after.fingerprint() != before.fingerprint()
    assert after.fingerprint(True) != before.fingerprint(True)

"""Low-shot draws, against a plain loop and against the standard library's generator."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ssl_bench.data import lowshot
from ssl_bench.data import names as dataset_names
from ssl_bench.errors import DataError
from tests.reference import svm as reference


def targets(seed: int, images: int, classes: int) -> NDArray[np.int8]:
    """Draw targets of which a fifth shows the class and a tenth is difficult."""
    share = np.random.default_rng(seed).random((images, classes))
    return np.where(share < 0.2, 1, np.where(share < 0.9, 0, -1)).astype(np.int8)


def mersenne_order(key: list[int], count: int) -> list[int]:
    """Shuffle 0 ... count - 1 by the standard library's Mersenne Twister.

    Its seed, in digits of 32 bits, fills the state as an array of seeds does in numpy;
    the last digit must not be 0. Fisher and Yates from the end, indices by masking bits
    and trying again.
    """
    twister = random.Random(sum(digit << 32 * i for i, digit in enumerate(key)))
    order = list(range(count))
    for i in range(count - 1, 0, -1):
        mask = (1 << i.bit_length()) - 1
        j = twister.getrandbits(32) & mask
        while j > i:
            j = twister.getrandbits(32) & mask
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize("shots", [1, 2, 5, 96])
@pytest.mark.parametrize(("images", "classes"), [(1, 1), (9, 2), (120, 5)])
def test_draw_equals_the_plain_loop(images: int, classes: int, shots: int) -> None:
    targets_NC = targets(images, images, classes)
    for sample in range(3):
        found = lowshot.draw(targets_NC, seed=7, sample=sample, shots=shots)
        slow = reference.draw(targets_NC, 7, sample, shots)
        assert found.dtype == np.int8
        np.testing.assert_array_equal(found, slow)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_draw_is_of_the_mersenne_twister_whatever_numpy_is(dtype: type) -> None:
    """Every image is positive: a draw of k is the head of the shuffled images."""
    all_positive = np.ones((50, 4), dtype=dtype)
    found = lowshot.draw(all_positive, seed=2024, sample=3, shots=6)
    for c in (1, 2, 3):
        head = mersenne_order([2024, 3, 6, c], 50)[:6]
        assert set(np.flatnonzero(found[:, c] == 1)) == set(head)


@pytest.mark.parametrize("shots", [1, 3])
def test_a_draw_has_k_positives_and_k_negatives_for_each_other_class(
    shots: int,
) -> None:
    targets_NC = targets(1, 300, 6)
    drawn_NC = lowshot.draw(targets_NC, seed=0, sample=0, shots=shots)
    assert ((drawn_NC == 1).sum(axis=0) == shots).all()
    assert ((drawn_NC == 0).sum(axis=0) == 5 * shots).all()
    taken = drawn_NC != -1
    np.testing.assert_array_equal(drawn_NC[taken], targets_NC[taken])


def test_draws_repeat_and_differ() -> None:
    targets_NC = targets(2, 300, 4)
    kept = targets_NC.copy()

    def one(seed: int = 0, sample: int = 0, shots: int = 4) -> bytes:
        return lowshot.draw(targets_NC, seed=seed, sample=sample, shots=shots).tobytes()

    assert one() == one()
    assert len({one(), one(seed=1), one(sample=1), one(shots=5)}) == 4
    np.testing.assert_array_equal(targets_NC, kept)


def test_a_class_draws_alone() -> None:
    """Other columns may change; a column's draw stays, as long as they are as many."""
    one_NC, other_NC = targets(3, 200, 3), targets(4, 200, 3)
    other_NC[:, 1] = one_NC[:, 1]
    one = lowshot.draw(one_NC, seed=5, sample=1, shots=8)
    other = lowshot.draw(other_NC, seed=5, sample=1, shots=8)
    np.testing.assert_array_equal(one[:, 1], other[:, 1])
    assert (one[:, 0] != other[:, 0]).any()


SMALL = np.array([[1, 0, -1], [1, 0, 0], [0, 0, 1], [0, -1, 0], [1, 0, 0]])


def test_all_are_taken_where_there_are_too_few() -> None:
    """k = 3 asks for 3 positives and 6 negatives; no column has so many negatives."""
    np.testing.assert_array_equal(lowshot.draw(SMALL, seed=0, sample=0, shots=3), SMALL)
    np.testing.assert_array_equal(
        lowshot.draw(SMALL, seed=9, sample=4, shots=1000), SMALL
    )


def test_shortages_name_the_classes() -> None:
    names = ("bird", "boat", "sheep")
    assert lowshot.shortages(SMALL, names, [1, 2, 4]) == [
        "class 'bird' has 3 positive images, too few for k = 4",
        "class 'boat' has no positive image to draw",
        "class 'sheep' has 1 positive image, too few for k = 2, 4",
    ]
    assert lowshot.shortages(SMALL[:, :1], names[:1], [3, 1]) == []


def test_digest_by_hand() -> None:
    one = np.array([[1, 0], [-1, 1], [0, 0]], dtype=np.int8)
    two = np.array([[-1]], dtype=np.int8)
    expected = hashlib.sha256(b"(3, 2)\x01\x00\xff\x01\x00\x00(1, 1)\xff").hexdigest()
    assert lowshot.draw_digest([one, two]) == expected
    assert lowshot.draw_digest([np.asfortranarray(one), two]) == expected
    assert lowshot.draw_digest([one.astype(np.int32), two]) == expected
    assert lowshot.draw_digest([two, one]) != expected
    assert lowshot.draw_digest([one.reshape(2, 3), two]) != expected


def write(folder: Path, array: Any, sample: int = 1, k: int = 2) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"train_targets_sample{sample}_k{k}.npy", array)


def read(folder: Path, samples: int = 1, shots: tuple[int, ...] = (2,)) -> Any:
    return lowshot.read_sample_files(
        folder, samples=samples, shots=shots, images=5, classes=3
    )


def test_reads_the_distributed_files(tmp_path: Path) -> None:
    given = {
        (sample, k): targets(10 * sample + k, 5, 3).astype(np.int32)
        for sample in range(5)
        for k in (1, 96)
    }
    for (sample, k), array in given.items():
        write(tmp_path, array, sample + 1, k)
    found = read(tmp_path, 5, (1, 96))
    assert found.keys() == given.keys()
    for key, array in given.items():
        assert found[key].dtype == np.int8
        assert type(found[key]) is np.ndarray
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (SMALL[:4], r"int64 of shape \(4, 3\); need int32 of shape \(5, 3\)"),
        (SMALL.T, r"of shape \(3, 5\)"),
        (SMALL[:, 0], r"of shape \(5,\)"),
        (SMALL[:0], r"of shape \(0, 3\)"),
        (SMALL.astype(np.float32), "float32 of shape"),
        (SMALL == 1, "bool of shape"),
        (np.where(SMALL == 1, 2, SMALL), "holds 2; need 1, 0 and -1 alone"),
        (np.where(SMALL == 1, -2, SMALL), "holds -2"),
        (np.where(SMALL == 1, 257, SMALL), "holds 257"),
        (SMALL.astype(object), "not a readable .npy array"),
    ],
)
def test_refuses_files_that_do_not_fit(
    tmp_path: Path, array: np.ndarray, words: str
) -> None:
    write(tmp_path, array)
    with pytest.raises(DataError, match=f"train_targets_sample1_k2.npy.*{words}"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04....", b"\x93NUMPY"])
def test_refuses_what_is_no_array(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train_targets_sample1_k2.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"_k2.npy is not a readable \.npy array"):
        read(tmp_path)


def test_refuses_an_archive_and_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "train_targets_sample1_k2.npy"
    with path.open("wb") as file:
        np.savez(file, SMALL)
    with pytest.raises(DataError, match="not a readable"):
        read(tmp_path)
    write(tmp_path, SMALL)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="not a readable"):
        read(tmp_path)


def test_tells_everything_at_once(tmp_path: Path) -> None:
    write(tmp_path, SMALL, 1, 2)
    write(tmp_path, SMALL[:2], 2, 2)
    write(tmp_path, SMALL * 3, 2, 4)
    with pytest.raises(DataError) as caught:
        read(tmp_path, 3, (2, 4))
    text = str(caught.value)
    assert text.startswith(f"low-shot targets in {tmp_path}: missing are ")
    assert (
        "train_targets_sample1_k4.npy, train_targets_sample3_k2.npy, "
        "train_targets_sample3_k4.npy; " in text
    )
    assert "train_targets_sample2_k2.npy is int64 of shape (2, 3)" in text
    assert "train_targets_sample2_k4.npy holds 3" in text
    assert "sample1_k2" not in text


def test_says_when_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder.*sample1_k2\.npy"):
        read(tmp_path / "nowhere")


def test_is_no_data_set() -> None:
    assert not [name for name in dataset_names() if "shot" in name]

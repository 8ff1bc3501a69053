from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_bench import data
from ssl_bench.data import loading, transforms
from ssl_bench.data.folder import Folder
from ssl_bench.data.images import ImageError
from ssl_bench.errors import ConfigError, DataError

SMALL = transforms.build("small")


@pytest.fixture
def photos(tmp_path: Path) -> Folder:
    """Ten images of one grey each: image i has the value i."""
    for number in range(10):
        path = tmp_path / "train" / "a" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (number,) * 3).save(path)
    return Folder(tmp_path, "train")


def spoil(photos: Folder, *numbers: int) -> None:
    for number in numbers:
        (photos.root / photos.samples[number]).write_text("not a picture")


def values(batches: Any) -> list[list[int]]:
    return [batch.images_BCHW[:, 0, 0, 0].tolist() for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_what_was_asked_for(photos: Folder, workers: int) -> None:
    wanted = [[3, 1], [0], [9, 8, 7], [1]]

    feed = loading.loader(photos, SMALL, wanted, workers)
    first, second = list(feed), list(feed)

    assert len(feed) == 4
    assert values(first) == values(second) == wanted
    assert [list(batch.indices) for batch in first] == wanted
    assert first[2].images_BCHW.shape == (3, 3, 4, 6)
    assert first[2].images_BCHW.dtype == torch.uint8
    assert not any(batch.bad for batch in first)


def test_no_batches(photos: Folder) -> None:
    assert list(loading.loader(photos, SMALL, [])) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_stops_with_one_sentence(photos: Folder, workers: int) -> None:
    spoil(photos, 4)

    with pytest.raises(ImageError) as caught:
        list(loading.loader(photos, SMALL, [[0, 1], [3, 4]], workers))

    assert str(caught.value) == (
        f"cannot read image {photos.root}/train/a/4.png: it is not an image that "
        "Pillow knows; repair or remove it, or pass --on-bad-image skip"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_listed(photos: Folder, workers: int) -> None:
    spoil(photos, 1, 4, 5)
    wanted = [[0, 1, 2], [4, 5], [6]]

    batches = list(loading.loader(photos, SMALL, wanted, workers, on_bad_image="skip"))

    assert [batch.indices for batch in batches] == [(0, 2), (), (6,)]
    assert values(batches) == [[0, 2], [], [6]]
    reason = "it is not an image that Pillow knows"
    assert [batch.bad for batch in batches] == [
        ((1, reason),),
        ((4, reason), (5, reason)),
        (),
    ]
    assert len(batches[1].images_BCHW) == 0


def test_what_a_transform_refuses_is_named_too(photos: Folder) -> None:
    path = photos.root / photos.samples[2]
    Image.new("RGB", (5000, 1)).save(path)
    transform = transforms.build("imagenet")

    with pytest.raises(ImageError, match=rf"{path}: it measures 5000 x 1 px"):
        list(loading.loader(photos, transform, [[2]]))


@pytest.mark.parametrize("workers", [0, 1])
def test_different_sizes_in_one_batch(photos: Folder, workers: int) -> None:
    Image.new("RGB", (7, 4)).save(photos.root / photos.samples[2])
    wanted = [[0, 1, 2]]

    for way in ("error", "skip"):
        with pytest.raises(DataError) as caught:
            list(loading.loader(photos, SMALL, wanted, workers, on_bad_image=way))
        text = str(caught.value)
        assert f"{photos.root}/train/a/0.png is 6 x 4 px" in text
        assert f"{photos.root}/train/a/2.png is 7 x 4 px" in text
        assert "'imagenet'" in text
    assert len(list(loading.loader(photos, SMALL, [[0, 1], [2]], workers))) == 2


def test_collate() -> None:
    items = [(torch.full((3, 2, 2), i, dtype=torch.uint8), i * 2, i) for i in (5, 3)]

    images, targets, indices = data.collate(items)

    assert images[:, 0, 0, 0].tolist() == [5, 3]
    assert (targets.tolist(), targets.dtype) == ([10, 6], torch.int64)
    assert (indices.tolist(), indices.dtype) == ([5, 3], torch.int64)


def test_collate_of_several_labels_and_of_sizes_that_differ() -> None:
    labels = np.array([1, 0, -1], np.int8)
    items = [(torch.zeros((3, 2, 2), dtype=torch.uint8), labels, 0)]

    assert data.collate(items * 2)[1].tolist() == [[1, 0, -1]] * 2
    assert data.collate(items)[1].dtype == torch.int8
    other = (torch.zeros((3, 2, 5), dtype=torch.uint8), labels, 7)
    with pytest.raises(DataError, match="image 0 is 2 x 2 px and image 7 is 5 x 2 px"):
        data.collate([*items, other])


def test_bad_settings(photos: Folder) -> None:
    with pytest.raises(ConfigError, match=r"'skips'.*'skip'"):
        loading.loader(photos, SMALL, [[0]], on_bad_image="skips")
    with pytest.raises(ConfigError, match="workers is -1"):
        loading.loader(photos, SMALL, [[0]], workers=-1)


def test_nothing_is_drawn_from_the_global_generator(photos: Folder) -> None:
    before = torch.random.get_rng_state()

    list(loading.loader(photos, SMALL, [[0]], workers=1))

    assert torch.equal(torch.random.get_rng_state(), before)


def die(image: Image.Image) -> torch.Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return torch.empty(0)


def test_a_killed_worker_is_said_in_one_sentence(photos: Folder) -> None:
    with pytest.raises(DataError, match=r"one of the 1 processes .* fewer --workers"):
        list(loading.loader(photos, die, [[0], [1]], workers=1))


def broken(image: Image.Image) -> torch.Tensor:
    raise RuntimeError("a mistake in the code")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_the_code_is_not_taken_for_a_bad_image(
    photos: Folder, workers: int
) -> None:
    with pytest.raises(RuntimeError, match="a mistake in the code"):
        list(loading.loader(photos, broken, [[0]], workers, on_bad_image="skip"))


def test_ctrl_c_shows_no_traceback_of_a_worker(photos: Folder) -> None:
    code = """
        import signal, sys, time, torch
        from pathlib import Path
        from ssl_bench.data import loading
        from ssl_bench.data.folder import Folder

        # A shell's background jobs inherit an ignored SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def slow(image):
            time.sleep(0.2)
            return torch.zeros((3, 1, 1), dtype=torch.uint8)

        photos = Folder(Path(sys.argv[1]), "train")
        try:
            for _ in loading.loader(photos, slow, [[i] for i in range(10)] * 50, 2):
                print("batch", flush=True)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(photos.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "batch\n"
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors == ""

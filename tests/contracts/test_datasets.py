"""What every data set promises, checked on a tiny one that the test lays out."""

from __future__ import annotations

import itertools
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_bench import data
from ssl_bench.data import scenes, transforms
from ssl_bench.data.image_list import ImageDataset
from ssl_bench.errors import BenchError, ConfigError, DataError
from tests.data.fake_devkit import write_devkit

Builder = Callable[[Path], None]

BUILDERS: dict[str, Builder] = {}
TRAIN, VAL = (5, 3, 4), (2, 1, 2)  # images by class
NAMES = data.names()


def builds(name: str) -> Callable[[Builder], Builder]:
    def register(builder: Builder) -> Builder:
        BUILDERS[name] = builder
        return builder

    return register


def pixels(number: int, side: int) -> np.ndarray:
    draw = np.random.RandomState(number)
    return draw.randint(0, 256, (side, side, 3), dtype=np.uint8)


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, 20)).save(path)


@builds("folder")
def build_folder(root: Path) -> None:
    number = itertools.count()
    for split, counts in (("train", TRAIN), ("val", VAL)):
        for label, count in enumerate(counts):
            for i in range(count):
                save(root / split / f"class{label}" / f"{i}.png", next(number))


@builds("imagenet")
def build_imagenet(root: Path) -> None:
    number = itertools.count()
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for split, counts in (("train", TRAIN), ("val", VAL)):
        for label, count in enumerate(counts):
            for i in range(count):
                name = f"n0{label}/n0{label}_{i}" if split == "train" else f"{label}{i}"
                save(root / split / f"{name}.JPEG", next(number))
                lines[split].append(f"{name}.JPEG {label}")
    (root / "meta").mkdir()
    for split, texts in lines.items():
        (root / "meta" / f"{split}.txt").write_text("\n".join(texts) + "\n")


def write_lists(root: Path, lists: dict[str, str], images: str) -> None:
    """Write images below ``images`` and a list of each split, by its path."""
    number = itertools.count()
    for split, counts in (("train", TRAIN), ("val", VAL)):
        lines = []
        for label, count in enumerate(counts):
            for i in range(count):
                name = f"{label}/{split}_{i}.jpg"
                save(root / images / name, next(number))
                lines.append(f"{name} {label}\n")
        path = root / lists[split]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines))


@builds("places205")
def build_places205(root: Path) -> None:
    folder = "trainvalsplit_places205"
    lists = {s: f"{folder}/{s}_places205.csv" for s in ("train", "val")}
    write_lists(root, lists, "data/vision/torralba/deeplearning/images256")


@builds("inat18")
def build_inat18(root: Path) -> None:
    lists = {split: f"meta/{split}.txt" for split in ("train", "val")}
    write_lists(root, lists, "train_val2018")


def cifar(
    folder: Path, batches: dict[str, int], labels: str, meta: str, names: str
) -> None:
    folder.mkdir(parents=True)
    for number, (batch, count) in enumerate(batches.items()):
        draw = np.random.RandomState(number)
        content = {
            "data": draw.randint(0, 256, (count, 3072), dtype=np.uint8),
            labels: [i % 3 for i in range(count)],
        }
        (folder / batch).write_bytes(pickle.dumps(content))
    (folder / meta).write_bytes(pickle.dumps({names: ["cat", "dog", "ship"]}))


@builds("cifar10")
def build_cifar10(root: Path) -> None:
    batches = {f"data_batch_{n}": 3 for n in range(1, 6)} | {"test_batch": 5}
    folder = root / "cifar-10-batches-py"
    cifar(folder, batches, "labels", "batches.meta", "label_names")


@builds("cifar100")
def build_cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    counts = {"train": 13, "test": 5}
    cifar(folder, counts, "fine_labels", "meta", "fine_label_names")


@builds("digit-scenes")
def build_digit_scenes(root: Path) -> None:
    counts = scenes.SceneCounts(
        imagenet_train=23, imagenet_val=12, voc_trainval=13, voc_test=9
    )
    scenes.generate(root, seed=3, counts=counts, styles=("imagenet", "voc"))


# By image: 1 there, 0 not there, -1 left out, of three classes.
SEVERAL = ("100", "110", "011", "001", "000", "0-10", "10-1", "111", "010", "101")
SEVERAL_OF = {"train": (*SEVERAL, "110", "001"), "val": SEVERAL[:5]}


def labels_of(text: str) -> list[int]:
    return [int(label) for label in re.findall("-?[01]", text)]


@builds("voc07")
def build_voc07(root: Path) -> None:
    raw = {1: "1", 0: "-1", -1: "0"}
    rows = [
        {
            f"{2 * i + odd:06d}": " ".join(raw[label] for label in labels_of(text))
            for i, text in enumerate(SEVERAL_OF[split])
        }
        for odd, split in enumerate(("train", "val"))
    ]
    write_devkit(root.parent, *rows)


@builds("multilabel")
def build_multilabel(root: Path) -> None:
    number = itertools.count()
    for split, texts in SEVERAL_OF.items():
        lines = ["image,cow,bus,sheep"]
        for i, text in enumerate(texts):
            name = f"{split}-images/{i}.png"
            save(root / name, next(number))
            lines.append(",".join([name, *map(str, labels_of(text))]))
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {}
    for name in NAMES:
        folder = data.get_dataset(name).folders[0]
        roots[name] = tmp_path_factory.mktemp(name) / folder
        BUILDERS[name](roots[name])
    return roots


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(name: str, built: dict[str, Path]) -> Path:
    return built[name]


@pytest.fixture
def own_root(root: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(root, tmp_path / "other" / root.name))


def pair(name: str, root: Path) -> tuple[ImageDataset, ImageDataset]:
    train, val = data.get_dataset(name).splits
    return data.open_dataset(name, train, root), data.open_dataset(name, val, root)


def file_of(dataset: ImageDataset, index: int) -> Path:
    path = dataset.root / dataset.samples[index]
    return path if path.exists() else path.parent  # a record inside a batch file


def test_every_data_set_is_covered_here() -> None:
    assert set(NAMES) == set(BUILDERS)
    assert {"cifar10", "cifar100", "digit-scenes", "folder", "imagenet"} <= set(NAMES)
    assert {"multilabel", "voc07", "places205", "inat18"} <= set(NAMES)


def test_the_class_says_what_it_is(name: str) -> None:
    kind = data.get_dataset(name)

    assert kind.name == name
    assert len(kind.splits) == 2
    assert kind.transform_name in transforms.NAMED
    assert kind.folders
    assert kind.layout
    assert (kind.__doc__ or "").strip()


def test_lengths_and_labels(name: str, root: Path) -> None:
    for split in pair(name, root):
        assert len(split) == len(split.samples) == len(split.targets) > 0
        assert split.targets.dtype == (np.int64 if split.targets.ndim == 1 else np.int8)
        assert split.targets.max() < len(split.classes)
        assert len(set(split.classes)) == len(split.classes)
        assert len(set(split.samples)) == len(split)
        assert all(isinstance(name, str) for name in split.classes)
        assert not any(Path(path).is_absolute() for path in split.samples)


def test_items(name: str, root: Path) -> None:
    for split in pair(name, root):
        image, target, index = split[len(split) - 1]
        assert (image.mode, index) == ("RGB", len(split) - 1)
        assert np.array_equal(target, split.targets[-1])
        assert type(target) in (int, np.ndarray)
        assert np.array_equal(np.asarray(image), np.asarray(split.image(index)))


def test_the_pair_fits_together(name: str, root: Path) -> None:
    train, val = pair(name, root)

    data.check_pair(train, val)
    assert train.classes == val.classes
    assert train.bundled == val.bundled
    assert train.fingerprint() != val.fingerprint()


def test_a_data_set_travels_into_a_worker(name: str, root: Path) -> None:
    split = pair(name, root)[0]

    again = pickle.loads(pickle.dumps(split))

    assert again.fingerprint() == split.fingerprint()
    assert np.array_equal(np.asarray(again.image(1)), np.asarray(split.image(1)))


def test_its_transform_and_the_loader_take_it(name: str, root: Path) -> None:
    split = pair(name, root)[0]
    transform = transforms.build(split.transform_name)

    batches = list(data.loader(split, transform, [[2, 0], [1]]))

    assert [batch.indices for batch in batches] == [(2, 0), (1,)]
    assert [len(batch.images_BCHW) for batch in batches] == [2, 1]
    expected = transform(split.image(2))
    assert torch.equal(batches[0].images_BCHW[0], expected)


@pytest.mark.parametrize("way", ["itself", "above", "variable", "default"])
def test_where_it_is_found(
    name: str, root: Path, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SSL_BENCH_DATA", raising=False)
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    given: Path | None = None
    if way == "itself":
        given = root
    elif way == "above":
        given = root.parent
    elif data.get_dataset(name).bundled:
        return  # without a root it makes itself: tests/data/test_digit_scenes.py
    elif way == "variable":
        monkeypatch.setenv("SSL_BENCH_DATA", str(root.parent))
    else:
        Path("data").symlink_to(root.parent)
    expected = pair(name, root)[0].fingerprint()

    split = data.open_dataset(name, data.get_dataset(name).splits[0], given)

    assert split.fingerprint() == expected
    assert data.find_root(name, given).is_dir()


@pytest.mark.parametrize("content", ["nothing", "something else", "no folder"])
def test_not_there(name: str, tmp_path: Path, content: str) -> None:
    root = tmp_path / "elsewhere"
    if content != "no folder":
        root.mkdir()
    if content == "something else":
        save(root / "holiday" / "beach.jpg", 1)
    kind = data.get_dataset(name)

    with pytest.raises(DataError) as caught:
        data.open_dataset(name, kind.splits[0], root)

    for part in (name, str(root), "--data-root", kind.layout):
        assert part in str(caught.value)


def test_empty_folders_of_the_right_names(name: str, own_root: Path) -> None:
    for path in [p for p in own_root.rglob("*") if p.is_file()]:
        path.unlink()

    with pytest.raises(DataError, match=rf"{name}|{own_root}"):
        pair(name, own_root)


def test_the_same_files_elsewhere_are_the_same_data(
    name: str, root: Path, own_root: Path
) -> None:
    for here, there in zip(pair(name, root), pair(name, own_root), strict=True):
        for contents in (False, True):
            assert here.fingerprint(contents) == there.fingerprint(contents)
        assert here.fingerprint(True) != here.fingerprint(False)


def test_the_order_of_the_list_is_no_matter(name: str, root: Path) -> None:
    split = pair(name, root)[0]

    turned = split.select(range(len(split) - 1, -1, -1))

    assert turned.samples[0] == split.samples[len(split) - 1]
    assert turned.fingerprint() == split.fingerprint()
    assert turned.fingerprint(True) == split.fingerprint(True)


# Their pixels are read on opening, so that the plain fingerprint follows them already.
IN_MEMORY = {"cifar10", "cifar100"}


def test_fingerprint_follows_labels_paths_and_sizes(name: str, own_root: Path) -> None:
    split = pair(name, own_root)[0]
    before = split.fingerprint()

    relabelled = split.select(range(len(split)))
    relabelled.targets[0] = (relabelled.targets[0] + 1) % 2
    assert relabelled.fingerprint() != before
    assert split.select(range(1, len(split))).fingerprint() != before
    path = file_of(split, 0)
    path.write_bytes(path.read_bytes() + b"\0")
    if name not in IN_MEMORY:
        assert split.fingerprint() != before


def test_contents_follow_every_byte(name: str, own_root: Path) -> None:
    split = pair(name, own_root)[0]
    before = split.fingerprint(), split.fingerprint(contents=True)
    path = file_of(split, 0)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path.write_bytes(content)

    split = pair(name, own_root)[0]

    assert (split.fingerprint() == before[0]) == (name not in IN_MEMORY)
    assert split.fingerprint(contents=True) != before[1]


@pytest.mark.parametrize("limit", [1, 2, 7, 10])
def test_a_subset_is_balanced_and_drawn_from_its_seed(
    name: str, root: Path, limit: int
) -> None:
    split = pair(name, root)[0]
    everything = list(split.samples)

    part = split.subset(limit, seed=5)
    again = split.subset(limit, seed=5)
    draws = {tuple(split.subset(limit, seed).samples) for seed in range(8)}

    assert len(part) == limit
    assert list(part.samples) == list(again.samples)
    places = [everything.index(path) for path in part.samples]
    assert places == sorted(places)
    assert np.array_equal(part.targets, split.targets[places])
    assert np.array_equal(np.asarray(part.image(0)), np.asarray(split.image(places[0])))
    assert len(draws) > 1
    assert part.fingerprint() != split.fingerprint()
    if split.targets.ndim == 1:
        have = np.bincount(split.targets, minlength=len(split.classes))
        got = np.bincount(part.targets, minlength=len(split.classes))
        # No class has two images more than another that still had some to give.
        assert all(g >= got.max() - 1 or g == h for g, h in zip(got, have, strict=True))


def test_a_limit_beyond_the_end_and_one_below_one(name: str, root: Path) -> None:
    split = pair(name, root)[0]

    assert list(split.subset(10**6, 0).samples) == list(split.samples)
    assert split.subset(len(split), 0).fingerprint() == split.fingerprint()
    for limit in (0, -3):
        with pytest.raises(DataError, match=f"limit of {limit} images"):
            split.subset(limit, 0)


def test_unknown_split_and_option(name: str, root: Path) -> None:
    first = data.get_dataset(name).splits[0]

    with pytest.raises(DataError, match=f"unknown split of data set {name} 'tain'"):
        data.open_dataset(name, "tain", root)
    with pytest.raises(ConfigError, match=f"unknown option of data set {name} 'depht'"):
        data.open_dataset(name, first, root, depht=3)


def test_no_draw_from_the_global_generators(name: str, root: Path) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()

    split = pair(name, root)[0].subset(6, 1)
    list(data.loader(split, transforms.build(split.transform_name), [[0], [1]]))

    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_with_several_labels_an_image(name: str, root: Path) -> None:
    kind = data.get_dataset(name)
    view = data.get_dataset(name, several=True)

    assert view.name == name
    assert view.several is None or view is not kind
    assert (view is kind) == (kind.several is None)
    assert view.transform_name in transforms.NAMED
    opened = [
        data.open_dataset(name, split, root, several=True) for split in view.splits
    ]
    data.check_pair(*opened)
    for split in opened:
        assert type(split) is view
        assert (split.bundled, split.own) == (kind.bundled, kind.own)
        assert split.root == data.find_root(name, root, several=True) or view is kind
        assert len(split.fingerprint()) == 64
        assert split.image(0).mode == "RGB"
        if view is not kind or split.targets.ndim == 2:
            assert split.targets.dtype == np.int8
            assert split.targets.shape == (len(split), len(split.classes))
            assert set(np.unique(split.targets).tolist()) <= {-1, 0, 1}


def test_which_data_sets_have_several_labels(built: dict[str, Path]) -> None:
    found = {n for n, root in built.items() if pair(n, root)[0].targets.ndim == 2}
    views = {n for n in built if data.get_dataset(n).several is not None}

    assert found == {"multilabel", "voc07"}
    assert views == {"digit-scenes"}


def test_unknown_data_set() -> None:
    for call in (data.get_dataset, data.find_root):
        with pytest.raises(BenchError, match=r"data set 'cifar11'\. .*'cifar10'"):
            call("cifar11")

"""Extraction: the right rows, in the right order, once, whatever the batches."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_bench import backbones, data
from ssl_bench.backbones import Backbone
from ssl_bench.errors import BenchError, DataError, FeatureError, UsageError
from ssl_bench.features import (
    Extraction,
    Features,
    FeatureStore,
    check_features,
    extract_features,
    feature_key,
    resolve_device,
)
from ssl_bench.features.store import STORE_VERSION

ARCH = "resnet18-w8"
SMALL = Extraction(batch_size=5, workers=0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return backbones.build(ARCH, seed=0)


@pytest.fixture
def train(image_folder: Path) -> data.ImageDataset:
    return data.open_dataset("folder", "train", image_folder)


def by_hand(backbone: Backbone, dataset: data.ImageDataset) -> np.ndarray:
    """Compute final features one image at a time, with torch alone."""
    rows = []
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    for path in dataset.samples:
        image = Image.open(dataset.root / path)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255
        with torch.no_grad():
            out = backbone.eval().forward_taps(((pixels - mean) / std)[None], ["final"])
        rows.append(out["final"].mean((2, 3))[0].numpy())
    return np.stack(rows)


def test_rows_are_the_backbones_own_in_order(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    found = extract_features(backbone, train, transform="small", extraction=SMALL)[
        "final"
    ]
    expected = by_hand(backbone, train)
    assert found.feats_ND.dtype == np.float32
    assert found.feats_ND.shape == (24, backbone.dims["final"])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.feats_ND, expected, atol=1e-4 * scale)
    assert found.targets.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert found.classes == ("blue", "green", "red")


@pytest.mark.parametrize("batch_size", [1, 7, 24, 100])
def test_batch_size_and_workers_move_nothing(
    backbone: Backbone, train: data.ImageDataset, tmp_path: Path, batch_size: int
) -> None:
    def features(how: Extraction, name: str) -> np.ndarray:
        store = FeatureStore(tmp_path / name)
        taken = extract_features(
            backbone, train, transform="small", extraction=how, store=store
        )
        return np.array(taken["final"].feats_ND)

    one = features(SMALL, "a")
    other = features(Extraction(batch_size=batch_size, workers=1), "b")
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_one_pass_takes_several_taps(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    taps = ("stem", "layer2", "final")
    found = extract_features(backbone, train, taps, transform="small", extraction=SMALL)
    assert tuple(found) == taps
    for tap in taps:
        assert found[tap].feats_ND.shape == (24, backbone.dims[tap])
        alone = extract_features(
            backbone, train, (tap,), transform="small", extraction=SMALL
        )
        assert alone[tap].fingerprint == found[tap].fingerprint


def test_finished_features_are_not_computed_again(
    backbone: Backbone,
    train: data.ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FeatureStore(tmp_path / "store")
    first = extract_features(
        backbone, train, transform="small", extraction=SMALL, store=store
    )["final"]

    def fail(*_: object) -> None:
        raise AssertionError("extracted again")

    monkeypatch.setattr(type(backbone), "for_inference", fail)
    second = extract_features(
        backbone, train, transform="small", extraction=SMALL, store=store
    )["final"]
    assert np.array_equal(first.feats_ND, second.feats_ND)
    assert isinstance(second.feats_ND, np.memmap)


def test_an_interrupted_run_goes_on_where_it_was(
    backbone: Backbone,
    train: data.ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Break after the second shard of five; the second run computes only the rest."""
    monkeypatch.setattr("ssl_bench.features.shards._SHARD_IMAGES", 5)
    whole = extract_features(
        backbone,
        train,
        transform="small",
        extraction=SMALL,
        store=FeatureStore(tmp_path / "whole"),
    )["final"]

    store = FeatureStore(tmp_path / "broken")
    from ssl_bench.features.store import ShardWriter

    write = ShardWriter.write
    written: list[int] = []

    def stop_at_the_third(self: ShardWriter, number: int, *rest: object) -> None:
        if number == 2 and 2 not in written:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardWriter, "write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        extract_features(
            backbone, train, transform="small", extraction=SMALL, store=store
        )
    assert written == [0, 1]
    written.append(2)
    resumed = extract_features(
        backbone, train, transform="small", extraction=SMALL, store=store
    )["final"]
    assert written == [0, 1, 2, 2, 3, 4]
    assert (
        Path(store.path(resumed.fingerprint) / "features.npy").read_bytes()
        == Path(
            FeatureStore(tmp_path / "whole").path(whole.fingerprint) / "features.npy"
        ).read_bytes()
    )


def test_every_input_changes_the_feature_key(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    spec = data.transforms.resolve("small")
    arguments = {
        "backbone": backbone,
        "dataset": train,
        "tap": "final",
        "transform": spec,
        "dtype": "fp32",
        "data_fingerprint": train.fingerprint(),
        "pooling": "average",
    }
    plain = feature_key(**arguments)
    val = copy.copy(train)  # the same images in the same order, called otherwise
    val.split = "val"
    subset = train.subset(6, seed=0)
    changes = {
        "backbone": backbones.build(ARCH, seed=1),
        "dataset": val,
        "tap": "layer3",
        "transform": data.transforms.resolve("imagenet"),
        "dtype": "bf16",
        "data_fingerprint": subset.fingerprint(),
        "pooling": "adaptive_2",
    }
    assert set(changes) == set(arguments)
    for name, value in changes.items():
        assert feature_key(**{**arguments, name: value}) != plain, name
    assert feature_key(**arguments) == plain


def test_the_backbones_own_pooling_keeps_its_key(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    """The digest of the fields as they were when features were first kept."""
    order = hashlib.sha256(np.repeat(np.arange(3), 8).tobytes())
    for name in train.samples:
        order.update(name.encode() + b"\0")
    fields = {
        "store": STORE_VERSION,
        "weights": backbone.fingerprint,
        "arch": ARCH,
        "tap": "layer3",
        "pooling": "average",
        "data": train.fingerprint(),
        "dataset": "folder",
        "split": "train",
        "order": order.hexdigest(),
        "transform": {
            "operations": [],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "dtype": "fp32",
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    expected = hashlib.sha256(text.encode()).hexdigest()[:32]
    found = extract_features(
        backbone, train, ("layer3",), transform="small", extraction=SMALL
    )
    assert found["layer3"].fingerprint == expected
    assert found["layer3"].pooling == "average"


def test_taps_are_pooled_as_asked_in_one_pass(
    backbone: Backbone,
    train: data.ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images of 40 px have maps of 20, 10, 5, 3 and 2: adaptive_2 leaves layer4."""
    store = FeatureStore(tmp_path / "store")
    passes = []
    for_inference = type(backbone).for_inference

    def count(self: Backbone, *rest: object) -> Backbone:
        passes.append(1)
        return for_inference(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(backbone), "for_inference", count)
    found = extract_features(
        backbone,
        train,
        ("stem", "layer4", "final"),
        transform="small",
        extraction=SMALL,
        store=store,
        poolings={"stem": "adaptive_12", "layer4": "adaptive_2"},
    )
    assert len(passes) == 1
    assert found["stem"].feats_ND.shape == (24, 8 * 12 * 12)
    assert found["layer4"].feats_ND.shape == (24, 64 * 2 * 2)
    assert [f.pooling for f in found.values()] == [
        "adaptive_12",
        "adaptive_2",
        "average",
    ]
    # Four places of one map, averaged, are the map's average.
    mean_ND = found["layer4"].feats_ND.reshape(24, 64, 4).mean(axis=2)
    np.testing.assert_allclose(mean_ND, found["final"].feats_ND, rtol=1e-4, atol=1e-6)
    pixels = torch.stack(
        [
            torch.from_numpy(np.asarray(Image.open(train.root / p)).copy())
            for p in train.samples
        ]
    ).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        taps = backbone.eval().forward_taps((pixels / 255 - mean) / std, ["stem"])
    expected = torch.nn.AdaptiveAvgPool2d(12)(taps["stem"]).flatten(1).numpy()
    np.testing.assert_allclose(
        found["stem"].feats_ND, expected, atol=1e-4 * np.abs(expected).max()
    )
    plain = extract_features(
        backbone, train, ("layer4",), transform="small", extraction=SMALL, store=store
    )["layer4"]
    assert len(passes) == 2
    assert plain.fingerprint != found["layer4"].fingerprint
    assert plain.feats_ND.shape == (24, 64)


def test_poolings_that_cannot_be_are_refused_before_any_work(
    backbone: Backbone, train: data.ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("extracted")

    monkeypatch.setattr(type(backbone), "for_inference", fail)
    with pytest.raises(BenchError, match="Did you mean 'adaptive_2'"):
        extract_features(backbone, train, poolings={"final": "adaptve_2"})
    with pytest.raises(BenchError, match=r"for layer4, .* asked for \(final\)"):
        extract_features(backbone, train, poolings={"layer4": "adaptive_2"})


def test_bf16_features_are_near_and_kept_apart(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    fp32 = extract_features(backbone, train, transform="small", extraction=SMALL)
    bf16 = extract_features(
        backbone,
        train,
        transform="small",
        extraction=Extraction(dtype="bf16", batch_size=5, workers=0),
    )
    a, b = fp32["final"], bf16["final"]
    assert a.fingerprint != b.fingerprint
    assert b.feats_ND.dtype == np.float32
    error = np.linalg.norm(a.feats_ND - b.feats_ND) / np.linalg.norm(a.feats_ND)
    assert 0 < error < 0.02


def test_bad_image_is_named_or_skipped_and_counted(
    backbone: Backbone, train: data.ImageDataset, image_folder: Path, tmp_path: Path
) -> None:
    bad = image_folder / "train" / "green" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    dataset = data.open_dataset("folder", "train", image_folder)
    store = FeatureStore(tmp_path / "store")
    with pytest.raises(DataError, match=r"green/3\.png"):
        extract_features(
            backbone, dataset, transform="small", extraction=SMALL, store=store
        )
    skipping = Extraction(batch_size=5, workers=0, on_bad_image="skip")
    found = extract_features(
        backbone, dataset, transform="small", extraction=skipping, store=store
    )["final"]
    assert len(found) == 23
    assert found.targets.tolist() == [0] * 8 + [1] * 7 + [2] * 8
    assert list(found.skipped) == ["train/green/3.png"]
    # The cache must not hide the bad image from a run that wants to know.
    with pytest.raises(DataError, match=r"green/3\.png"):
        extract_features(
            backbone, dataset, transform="small", extraction=SMALL, store=store
        )


def test_unknown_tap_gets_the_nearest(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    with pytest.raises(BenchError, match="'layer4'"):
        extract_features(backbone, train, ["layer5"], extraction=SMALL)


def test_bad_extraction_is_refused_with_everything_wrong(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    how = Extraction(dtype="fp31", batch_size=0, workers=-1, on_bad_image="ignore")
    with pytest.raises(BenchError) as caught:
        extract_features(backbone, train, extraction=how)
    for word in ("'fp32'", "batch size 0", "workers -1", "bad-image"):
        assert word in str(caught.value)


def test_devices() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="'gpu'"):
        resolve_device("gpu")
    with pytest.raises(BenchError, match="cuda:99"):
        resolve_device("cuda:99")


def given(feats: np.ndarray) -> Features:
    return Features(feats, np.zeros(len(feats), int), "final", "x", "d", "train", "k")


def test_features_from_which_nothing_follows_are_refused() -> None:
    fine = np.arange(12, dtype=np.float32).reshape(4, 3)
    check_features(given(fine))
    check_features(given(fine[:1]))
    broken = fine.copy()
    broken[2, 1] = np.nan
    with pytest.raises(FeatureError, match="row 2"):
        check_features(given(broken), chunk=2)
    with pytest.raises(FeatureError, match="the same for all 4"):
        check_features(given(np.ones((4, 3), np.float32)), chunk=2)
    with pytest.raises(FeatureError, match="shape"):
        check_features(given(np.ones((0, 3), np.float32)))


def test_another_order_of_the_same_images_is_not_taken_for_this_one(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    first = extract_features(backbone, train, transform="small", extraction=SMALL)
    order = np.random.default_rng(0).permutation(24)
    other = extract_features(
        backbone, train.select(order), transform="small", extraction=SMALL
    )
    a, b = first["final"], other["final"]
    assert b.targets.tolist() == a.targets[order].tolist()
    np.testing.assert_allclose(b.feats_ND, a.feats_ND[order], rtol=1e-4, atol=1e-5)


def test_changed_weights_are_not_taken_for_the_old_ones(
    train: data.ImageDataset,
) -> None:
    backbone = backbones.build(ARCH, seed=3)
    before = extract_features(backbone, train, transform="small", extraction=SMALL)
    with torch.no_grad():
        backbone.conv1.weight.mul_(-1)
    after = extract_features(backbone, train, transform="small", extraction=SMALL)
    assert before["final"].fingerprint != after["final"].fingerprint
    assert not np.allclose(before["final"].feats_ND, after["final"].feats_ND)


def test_verified_features_are_those_of_these_bytes(
    backbone: Backbone, train: data.ImageDataset, tmp_path: Path
) -> None:
    """Bitmaps keep their size whatever they show."""
    for path in train.samples:
        Image.open(train.root / path).save(train.root / f"{path[:-4]}.bmp")
        (train.root / path).unlink()
    dataset = data.open_dataset("folder", "train", train.root)
    store = FeatureStore(tmp_path / "store")
    verifying = Extraction(batch_size=5, workers=0, verify_data=True)
    arguments = {"transform": "small", "extraction": verifying, "store": store}
    before = extract_features(backbone, dataset, **arguments)["final"]
    Image.new("RGB", (40, 40)).save(dataset.root / dataset.samples[0])
    again = data.open_dataset("folder", "train", train.root)
    assert again.fingerprint() == dataset.fingerprint()
    after = extract_features(backbone, again, **arguments)["final"]
    assert not np.array_equal(before.feats_ND[0], after.feats_ND[0])
    assert np.array_equal(before.feats_ND[8:], after.feats_ND[8:])


def test_a_repaired_image_is_extracted(
    backbone: Backbone, train: data.ImageDataset, tmp_path: Path
) -> None:
    path = train.root / train.samples[3]
    whole = path.read_bytes()
    path.write_bytes(b"\0" * len(whole))
    dataset = data.open_dataset("folder", "train", train.root)
    skipping = Extraction(batch_size=5, workers=0, on_bad_image="skip")
    arguments = {"transform": "small", "store": FeatureStore(tmp_path / "store")}
    found = extract_features(backbone, dataset, extraction=skipping, **arguments)
    assert len(found["final"]) == 23
    path.write_bytes(whole)
    found = extract_features(backbone, dataset, extraction=SMALL, **arguments)
    assert len(found["final"]) == 24


def test_a_run_goes_on_with_the_batch_that_it_began_with(
    backbone: Backbone,
    train: data.ImageDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ssl_bench.features.shards._SHARD_IMAGES", 5)
    from ssl_bench.features.store import ShardWriter

    write = ShardWriter.write
    written: list[int] = []

    def stop_once(self: ShardWriter, number: int, *rest: object) -> None:
        if number == 2 and 2 not in written:
            written.append(2)
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ShardWriter, "write", stop_once)
    arguments = {"transform": "small", "store": FeatureStore(tmp_path / "store")}
    with pytest.raises(KeyboardInterrupt):
        extract_features(backbone, train, extraction=SMALL, **arguments)
    other = Extraction(batch_size=7, workers=0)
    found = extract_features(backbone, train, extraction=other, **arguments)
    assert len(found["final"]) == 24
    assert written == [0, 1, 2, 2, 3, 4]
    assert "batch size of 5" in capsys.readouterr().err


def test_a_transform_that_draws_at_random_is_refused(
    backbone: Backbone, train: data.ImageDataset
) -> None:
    crop = [{"type": "RandomCrop", "size": 32}]
    with pytest.raises(BenchError, match="RandomCrop"):
        extract_features(backbone, train, transform=crop, extraction=SMALL)

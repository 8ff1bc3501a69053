"""From a request to a record, and what is chosen when the user says nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_bench
from ssl_bench import backbones, checkpoints, cli
from ssl_bench.errors import BenchError, ConfigError, UsageError
from ssl_bench.features import Extraction
from ssl_bench.results.store import RecordStore
from ssl_bench.suite.request import Request, model_name

QUICK = Extraction(batch_size=8, workers=0)
OPTIONS = {"transform": "small", "settings.topk": [3]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work_dirs") / "simclr" / "epoch_7.pth"
    path.parent.mkdir()
    torch.save(backbones.build("resnet18-w8", seed=4).state_dict(), path)
    return path


def evaluate(
    checkpoint: Path | str, folder: Path, **more: object
) -> ssl_bench.suite.Record:  # type: ignore[name-defined]
    arguments = {"options": OPTIONS, "extraction": QUICK, **more}
    return ssl_bench.evaluate(
        str(checkpoint), "knn", dataset="folder", data_root=folder, **arguments
    )[0]


def test_a_record_says_everything(checkpoint: Path, image_folder: Path) -> None:
    record = evaluate(checkpoint, image_folder)
    assert record.name == "simclr_epoch_7"
    assert record.evaluation == "knn_folder"
    assert record.identity.arch == "resnet18-w8"
    assert record.identity.settings["topk"] == [3]
    assert set(record.identity.data) == {"train", "val"}
    assert record.checkpoint["source"] == "epoch_7.pth"
    sha256 = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert record.checkpoint["sha256"] == sha256
    assert record.dataset["counts"] == {"train": 24, "val": 12}
    assert record.dataset["bundled"] is False
    assert record.selection == "none"
    assert record.environment["batch_size"] == 8
    assert record.code["version"] == ssl_bench.__version__
    assert record.tabled
    assert json.loads(json.dumps(record.to_json()))["key"] == record.key


def test_three_colours_are_easy_even_at_random_initialisation(
    checkpoint: Path, image_folder: Path
) -> None:
    metric = evaluate(checkpoint, image_folder).metric("top1_k3")
    assert metric is not None
    assert metric.value == 100.0
    assert metric.count == 12


def test_a_finished_evaluation_is_not_run_again(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = RecordStore(tmp_path / "results")
    first = evaluate(checkpoint, image_folder, store=store)

    def fail(_: object) -> None:
        raise AssertionError("run again")

    with monkeypatch.context() as patch:
        patch.setattr("ssl_bench.protocols.knn.run", fail)
        again = evaluate(checkpoint, image_folder, store=store)
        assert again == first
        with pytest.raises(AssertionError):
            evaluate(checkpoint, image_folder, store=store, rerun=True)
    evaluate(checkpoint, image_folder, store=store, rerun=True)
    assert len(list((tmp_path / "results").rglob("*.json"))) == 1


def test_a_rerun_that_differs_is_kept_and_said(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = RecordStore(tmp_path / "results")
    evaluate(checkpoint, image_folder, store=store)
    monkeypatch.setattr("ssl_bench.protocols.knn.topk_accuracy", lambda *_: 12.5)
    evaluate(checkpoint, image_folder, store=store, rerun=True)
    assert len(list((tmp_path / "results").rglob("*.json"))) == 2
    err = capsys.readouterr().err
    assert "DIFFER" in err
    assert "12.5" in err


@pytest.mark.parametrize(
    "change",
    [
        {"options": {**OPTIONS, "settings.topk": [4]}},
        {"options": {**OPTIONS, "transform": "imagenet"}},
        {"extraction": Extraction(batch_size=8, workers=0, dtype="bf16")},
        {"seed": 1},
        {"limit": 9},
    ],
)
def test_what_moves_the_number_changes_the_key(
    checkpoint: Path, image_folder: Path, change: dict[str, object]
) -> None:
    plain = evaluate(checkpoint, image_folder)
    assert evaluate(checkpoint, image_folder, **change).key != plain.key


def test_what_cannot_move_it_leaves_the_key(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    plain = evaluate(checkpoint, image_folder)
    other = evaluate(
        checkpoint,
        image_folder,
        extraction=Extraction(batch_size=3, workers=1),
        name="another name",
        verify_data=True,
        work_dir=tmp_path / "work",
        options={**OPTIONS, "settings.backend": "torch", "settings.bank_chunk": 5},
    )
    assert other.key == plain.key
    assert set(other.dataset["contents"]) == {"train", "val"}
    assert (tmp_path / "work" / "knn_folder.py").is_file()
    assert (tmp_path / "work" / f"{other.key}.json").is_file()


def test_raw_and_extracted_checkpoints_share_the_key(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clean.safetensors"
    checkpoints.save(checkpoints.load(checkpoint), out)
    assert evaluate(out, image_folder).key == evaluate(checkpoint, image_folder).key


def test_changed_data_change_the_key(checkpoint: Path, image_folder: Path) -> None:
    before = evaluate(checkpoint, image_folder).key
    (image_folder / "val" / "red" / "0.png").unlink()
    assert evaluate(checkpoint, image_folder).key != before


def test_limit_is_class_balanced_and_marked(
    checkpoint: Path, image_folder: Path
) -> None:
    record = evaluate(checkpoint, image_folder, limit=9)
    assert record.dataset["counts"] == {"train": 9, "val": 9}
    assert record.identity.limit == 9
    assert not record.tabled


def test_skipped_images_are_in_the_record(checkpoint: Path, image_folder: Path) -> None:
    (image_folder / "val" / "red" / "2.png").write_bytes(b"no image")
    skipping = Extraction(batch_size=8, workers=0, on_bad_image="skip")
    record = evaluate(checkpoint, image_folder, extraction=skipping)
    assert record.dataset["counts"]["val"] == 11
    assert "val/red/2.png" in record.dataset["skipped"]
    with pytest.raises(BenchError, match=r"red/2\.png"):
        evaluate(checkpoint, image_folder)


def test_random_initialisation_is_seeded(image_folder: Path) -> None:
    one = evaluate("none", image_folder, arch="resnet18-w8", seed=1)
    two = evaluate("none", image_folder, arch="resnet18-w8", seed=2)
    assert one.name == "random_resnet18-w8"
    assert one.identity.weights != two.identity.weights
    assert one.checkpoint["source"] == "none"


def test_given_features_need_no_backbone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for role, count in (("train", 20), ("test", 6)):
        np.save(tmp_path / f"{role}_features.npy", rng.normal(size=(count, 4)))
        np.save(tmp_path / f"{role}_targets.npy", np.arange(count) % 2)
    record = ssl_bench.evaluate(protocols="knn", features=tmp_path)[0]
    assert record.identity.arch == "given"
    assert record.evaluation == "knn_given"
    assert record.dataset["given"] is True


def test_a_directory_takes_its_newest_whole_epoch(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    for epoch in (2, 10):
        state = backbones.build("resnet18-w8", seed=epoch).state_dict()
        torch.save(state, tmp_path / f"epoch_{epoch}.pth")
    whole = tmp_path / "epoch_10.pth"
    (tmp_path / "epoch_11.pth").write_bytes(whole.read_bytes()[:5000])
    assert evaluate(tmp_path, image_folder).key == evaluate(whole, image_folder).key


def test_a_published_name_is_known_by_its_own_digest(tmp_path: Path) -> None:
    raw = tmp_path / "raw.pth"
    torch.save(backbones.build("resnet18-w8", seed=4).state_dict(), raw)
    digits = hashlib.sha256(raw.read_bytes()).hexdigest()[:8]
    config, folder = "simclr_resnet50_8xb32-coslr-200e_in1k", tmp_path.name
    names = {
        f"{config}_20220428-{digits}.pth": config,
        f"resnet50-{digits}.pth": "resnet50",
        f"{config}_20220428-00000000.pth": f"{folder}_{config}_20220428-00000000",
    }
    for file, expected in names.items():
        path = tmp_path / file
        path.write_bytes(raw.read_bytes())
        backbone = checkpoints.load_backbone(path)
        assert model_name(Request(pretrain=str(path)), backbone) == expected


def test_a_known_sha256_gives_the_published_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "references"
    folder.mkdir()
    (folder / "published_results.csv").write_text(
        "source_path,algorithm,config,benchmark,dataset,metric,value\n"
    )
    digits = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8]
    (folder / "checkpoints.csv").write_text(
        f"sha256,config,source_path\n{digits},simclr_resnet50_in1k,a zoo\n"
    )
    monkeypatch.setattr("ssl_bench.resources.find_dir", lambda _: folder)
    backbone = checkpoints.load_backbone(checkpoint)
    name = model_name(Request(pretrain=str(checkpoint)), backbone)
    assert name == "simclr_resnet50_in1k"


def test_a_custom_backbone_comes_through_the_config(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_network.py").write_text(
        "import torch\n"
        "from ssl_bench.registry import MODELS\n"
        "@MODELS.register_module()\n"
        "class Colours(torch.nn.Module):\n"
        "    dims = {'final': 4}\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 1)\n"
        "    def forward_taps(self, images, taps):\n"
        "        return {tap: self.conv(images) for tap in taps}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save(
        {"conv.weight": torch.randn(4, 3, 1, 1), "conv.bias": torch.zeros(4)},
        tmp_path / "colours.pth",
    )
    imports = {"custom_imports.imports": ["my_network"]}
    config = tmp_path / "mine.py"
    config.write_text(
        "protocol = 'knn'\ndataset = 'folder'\ntransform = 'small'\n"
        "backbone = dict(type='Colours')\nsettings = dict(topk=(3,))\n"
    )
    from_file = evaluate(
        tmp_path / "colours.pth", image_folder, config=str(config), options=imports
    )
    assert from_file.metrics[0].value == 100.0
    assert from_file.checkpoint["layout"] == "custom"
    with pytest.raises(ConfigError, match="Colour"):
        evaluate(
            tmp_path / "colours.pth",
            image_folder,
            config=str(config),
            options={**imports, "backbone.type": "Colour"},
        )


def test_requests_that_contradict_themselves() -> None:
    with pytest.raises(UsageError, match="--arch"):
        ssl_bench.evaluate("none")
    with pytest.raises(UsageError, match="--limit 0"):
        ssl_bench.evaluate(limit=0)
    with pytest.raises(BenchError, match="'knn'"):
        ssl_bench.evaluate(protocols="knnn")


def test_missing_data_say_what_to_type(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="--data-root"):
        ssl_bench.evaluate(str(checkpoint), data_root=tmp_path / "nothing")


def knn_words(checkpoint: Path, folder: Path, results: Path) -> list[str]:
    return [
        "knn", "--pretrain", str(checkpoint), "--dataset", "folder", "--data-root",
        str(folder), "--results", str(results),
    ]  # fmt: skip


def test_command_line_prints_json_and_nothing_else(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [
        *knn_words(checkpoint, image_folder, tmp_path / "r"),
        *("--workers", "0", "--cfg-options", "transform=small", "settings.topk=3"),
    ]
    assert cli.main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert record["metrics"][0]["name"] == "top1_k3"
    assert "config: knn_folder" in captured.err
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert "already evaluated" in captured.err
    # 12 of 12: Wilson's lower end is 12 / (12 + 1.96 ** 2) = 75.75 %.
    assert "| top1_k3 | 100.00 | 75.75 to 100.00 | 12 |" in captured.out


def test_dry_run_runs_nothing(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*knn_words(checkpoint, image_folder, tmp_path / "r"), "--dry-run"]
    assert cli.main(words) == 0
    assert "train 24, val 12" in capsys.readouterr().out
    assert not (tmp_path / "r").exists()


def test_features_command_writes_what_knn_reads(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    words = [
        "features", str(out), "--pretrain", str(checkpoint), "--dataset", "folder",
        "--data-root", str(image_folder), "--workers", "0", "--batch-size", "8",
        "--cfg-options", "transform=small",
    ]  # fmt: skip
    assert cli.main(words) == 0
    assert np.load(out / "train_features.npy").shape == (24, 64)
    assert np.load(out / "test_targets.npy").tolist() == [0] * 4 + [1] * 4 + [2] * 4
    given = ssl_bench.evaluate(
        protocols="knn", features=out, options={"settings.topk": [3]}
    )[0]
    direct = evaluate(checkpoint, image_folder)
    assert [m.value for m in given.metrics] == [m.value for m in direct.metrics]
    out = tmp_path / "taps"
    words[1] = str(out)
    assert cli.main([*words, "taps=layer3,final"]) == 0
    assert (out / "layer3" / "train_features.npy").is_file()
    assert (out / "final" / "test_targets.npy").is_file()
    assert cli.main([*words, "tpas=layer3"]) == 1
    assert "'taps'" in capsys.readouterr().err


def test_features_command_says_which_weights_it_took(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    del tensors["bn1.bias"]
    torch.save(tensors, tmp_path / "part.pth")
    words = [
        "features", str(tmp_path / "out"), "--pretrain", str(tmp_path / "part.pth"),
        "--dataset", "folder", "--data-root", str(image_folder), "--workers", "0",
        "--allow-partial", "--cfg-options", "transform=small",
    ]  # fmt: skip
    assert cli.main([*words, "producer=detectron"]) == 0
    said = capsys.readouterr().err
    assert "loaded part.pth: " in said
    assert "-bgr, layout resnet_flat, online, " in said
    assert "IN PART" in said
    assert "warning: loaded in part: 1 tensors are missing" in said


def test_left_over_keys_are_counted_in_the_warning(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    torch.save({**tensors, "extra.weight": torch.ones(2)}, tmp_path / "more.pth")
    record = evaluate(tmp_path / "more.pth", image_folder, allow_partial=True)
    assert "loaded in part: 1 keys have no place" in record.warnings


def test_skipped_images_do_not_hide_from_a_later_run(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path / "results")
    (image_folder / "val" / "red" / "2.png").write_bytes(b"no image")
    skipping = Extraction(batch_size=8, workers=0, on_bad_image="skip")
    record = evaluate(checkpoint, image_folder, store=store, extraction=skipping)
    assert record.warnings[-1] == "1 unreadable images were left out"
    with pytest.raises(BenchError, match=r"red/2\.png"):
        evaluate(checkpoint, image_folder, store=store)


def test_verified_data_are_compared_with_a_finished_record(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    store = RecordStore(tmp_path / "results")
    evaluate(checkpoint, image_folder, store=store)
    with pytest.raises(BenchError, match="unverified"):
        evaluate(checkpoint, image_folder, store=store, verify_data=True)
    again = evaluate(
        checkpoint, image_folder, store=store, verify_data=True, rerun=True
    )
    assert set(again.dataset["contents"]) == {"train", "val"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": {"settings.topk": [3], "settings.votes": ["weighted"]}}, ()),
        ({"options": {"settings.topk": [3], "transform": "imagenet"}}, ()),
        ({"options": OPTIONS}, ("another transform",)),
        (
            {"options": {"settings.topk": [3], "settings.query": "train"}},
            ("query=train",),
        ),
        (
            {"options": {"settings.topk": [3], "settings.tap": "layer3"}},
            ("tap=layer3",),
        ),
        (
            {
                "options": {"settings.topk": [3]},
                "extraction": Extraction(batch_size=8, workers=0, dtype="bf16"),
            },
            ("dtype=bf16",),
        ),
    ],
)
def test_what_leaves_the_published_protocol_is_said(
    checkpoint: Path,
    image_folder: Path,
    change: dict[str, object],
    said: tuple[str, ...],
) -> None:
    assert evaluate(checkpoint, image_folder, **change).deviations == said


def test_given_features_stay_out_of_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for role, count in (("train", 20), ("test", 6)):
        np.save(tmp_path / f"{role}_features.npy", rng.normal(size=(count, 4)))
        np.save(tmp_path / f"{role}_targets.npy", np.arange(count) % 2)
    record = ssl_bench.evaluate(
        protocols="knn", features=tmp_path, dataset="imagenet", name="mine"
    )[0]
    assert not record.tabled


def test_a_partly_loaded_backbone_stays_marked_after_extraction(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["left_over.weight"] = torch.ones(3)
    torch.save(state, tmp_path / "partial.pth")
    weights = checkpoints.load(tmp_path / "partial.pth", allow_partial=True)
    checkpoints.save(weights, tmp_path / "clean.pth")
    assert evaluate(tmp_path / "clean.pth", image_folder).partial


def test_options_of_a_custom_backbone_are_part_of_its_identity() -> None:
    from ssl_bench.backbones.custom import custom
    from ssl_bench.registry import MODELS

    @MODELS.register_module(force=True)
    class Powered(torch.nn.Module):
        dims = {"final": 3}  # noqa: RUF012

        def __init__(self, power: int) -> None:
            super().__init__()
            self.power = power

        def forward_taps(self, images: torch.Tensor, taps: list[str]) -> object:
            return dict.fromkeys(taps, images**self.power)

    one, two = (custom({"type": "Powered", "power": p}) for p in (1, 2))
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == custom({"type": "Powered", "power": 1}).fingerprint


def test_a_random_transform_is_a_complaint(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mine.py"
    config.write_text(
        "protocol = 'knn'\ndataset = 'folder'\n"
        "transform = [dict(type='RandomCrop', size=32)]\n"
    )
    with pytest.raises(ConfigError, match="RandomCrop draws at random"):
        evaluate(checkpoint, image_folder, config=str(config), options={})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none(seed: int) -> None:
    with pytest.raises(UsageError, match="--seed"):
        ssl_bench.evaluate(seed=seed)


def test_a_whole_checkpoint_never_inherits_a_partial_record(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    """The removed tensor is what it would be initialised to: the values are equal."""
    state = torch.load(checkpoint, weights_only=True)
    del state["bn1.bias"]
    torch.save(state, tmp_path / "partial.pth")
    store = RecordStore(tmp_path / "results")
    part = evaluate(
        tmp_path / "partial.pth",
        image_folder,
        store=store,
        allow_partial=True,
        name="same",
    )
    whole = evaluate(checkpoint, image_folder, store=store, name="same")
    assert part.partial
    assert not whole.partial
    assert whole.key != part.key


def test_two_folders_never_share_a_name_in_a_table(
    checkpoint: Path, image_folder: Path, tmp_path: Path
) -> None:
    one = evaluate(checkpoint, image_folder).dataset["name"]
    (image_folder / "val" / "red" / "0.png").unlink()
    two = evaluate(checkpoint, image_folder).dataset["name"]
    assert one.startswith("folder:photos-")
    assert two.startswith("folder:photos-")
    assert one != two


def test_what_was_loaded_is_said(
    checkpoint: Path, image_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(checkpoint, image_folder)
    err = capsys.readouterr().err
    assert "loaded epoch_7.pth: resnet18-w8, layout resnet_flat, online" in err
    assert "100 tensors, all filled" in err


def test_numbers_that_cannot_be_kept_are_said(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise BenchError("the disk is full")

    monkeypatch.setattr(RecordStore, "add", full)
    with pytest.raises(BenchError, match="full"):
        evaluate(checkpoint, image_folder, store=RecordStore(tmp_path / "r"))
    assert "top1_k3 100.00" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_said_first(
    checkpoint: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("in the way")
    words = knn_words(checkpoint, image_folder, tmp_path / "file" / "r")

    def fail(_: object) -> None:
        raise AssertionError("run although nothing can be kept")

    monkeypatch.setattr("ssl_bench.protocols.knn.run", fail)
    assert cli.main(words) == 1
    assert "cannot write" in capsys.readouterr().err

"""From a request to a plan: what is taken, what moves the key, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from ssl_bench import backbones, cli, suite
from ssl_bench.errors import BenchError, ConfigError, DataError, UsageError
from ssl_bench.features import Extraction
from ssl_bench.openmmlab import reading, stack
from ssl_bench.openmmlab.offered import offer_split
from tests.openmmlab import small

pytestmark = pytest.mark.filterwarnings("ignore")

NETWORKS = {
    "resnet": small.ARCH,
    "maps": "swin_tiny_patch4_window7_224",
    "tokens": small.VIT,
    "any": small.VIT,
}
RECIPES = [(p, name) for p in ("detect", "segment") for name in reading.recipes(p)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_scenes(tmp_path_factory.mktemp("dense") / "digit-scenes")


def plan(protocol: str, root: Path, **more: Any) -> tuple[suite.Request, suite.Plan]:
    values = {
        "pretrain": "none",
        "arch": small.ARCH,
        "dataset": "digit-scenes",
        "data_root": root,
        "extraction": Extraction(device="cpu"),
        **more,
    }
    request = suite.Request(**values)
    return request, suite.plan_evaluation(request, protocol)


def key(protocol: str, root: Path, **more: Any) -> str:
    return suite.identify(*plan(protocol, root, **more)).key()


@pytest.mark.parametrize(("protocol", "name"), RECIPES)
def test_every_recipe_takes_the_scenes(protocol: str, name: str, scenes: Path) -> None:
    kind = reading.read_recipe(reading.recipes(protocol)[name], {}).backbones
    _, found = plan(protocol, scenes, config=name, arch=NETWORKS[kind])
    fitted = found.settings.fitted
    stack.register(protocol)
    for role, split in found.dataset.items():
        if protocol == "segment":
            offer_split(role, split)
    scope = {"detect": "mmdet", "segment": "mmseg"}[protocol]
    with DefaultScope.overwrite_default_scope(scope):
        for loader, count in (("train_dataloader", 8), ("val_dataloader", 4)):
            dataset = DATASETS.build(fitted[loader].dataset)
            assert len(dataset) in (count, 0)  # 32 pixels is the least of the published
            if len(dataset):
                item = dataset[0]
                assert item["inputs"].shape[0] == 3
                classes = dataset.metainfo["classes"]
                assert len(classes) == (10 if protocol == "detect" else 11)
    if protocol == "detect":
        assert fitted.model.roi_head.bbox_head.num_classes == 10
    else:
        assert fitted.model.decode_head.num_classes == 11


@pytest.mark.parametrize(
    ("protocol", "arch", "wanted"),
    [
        ("detect", small.ARCH, "mask-rcnn_fpn_digit-scenes"),
        ("detect", small.VIT, "mask-rcnn_vit_sfp_ms-1x_coco"),
        ("detect", "swin_tiny_patch4_window7_224", "mask-rcnn_swin_fpn_1x_coco"),
        ("detect", "resnext50_32x4d", "mask-rcnn_swin_fpn_1x_coco"),
        ("segment", small.ARCH, "fcn-d8_digit-scenes"),
        ("segment", small.VIT, "vit_upernet_digit-scenes"),
    ],
)
def test_what_is_taken_without_a_name(
    protocol: str, arch: str, wanted: str, scenes: Path
) -> None:
    assert plan(protocol, scenes, arch=arch)[1].config_name == wanted


@pytest.mark.parametrize(
    ("dataset", "protocol", "wanted"),
    [
        ("voc0712", "detect", "faster-rcnn_r50-c4_ms-24k_voc0712"),
        ("coco", "detect", "mask-rcnn_r50_fpn_ms-1x_coco"),
        ("folder", "detect", "mask-rcnn_r50_fpn_ms-1x_coco"),
        ("voc12aug", "segment", "fcn_r50-d8_4xb4-20k_voc12aug-512x512"),
        ("cityscapes", "segment", "fcn_r50-d8_4xb2-40k_cityscapes-769x769"),
        ("folder", "segment", "fcn_r50-d8_4xb4-20k_voc12aug-512x512"),
    ],
)
def test_what_a_resnet_is_trained_by(dataset: str, protocol: str, wanted: str) -> None:
    assert reading.fitting_recipe(protocol, dataset, "resnet") == wanted


@pytest.mark.parametrize("old", reading.KNOWN_NAMES)
def test_the_names_of_older_tools(old: str, scenes: Path) -> None:
    protocol = "segment" if old.startswith("fcn") else "detect"
    found = plan(protocol, scenes, config=old)[1]
    assert found.config_name == reading.KNOWN_NAMES[old]


@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"optim_wrapper.optimizer.lr": 0.2}},
        {"options": {"train_dataloader.batch_size": 4}},
        {"options": {"train_cfg.max_epochs": 2}},
        {"options": {"model.roi_head.bbox_head.fc_out_channels": 32}},
        {"options": {"val_dataloader.dataset.pipeline.1.scale": (100, 100)}},
        {"short": 0.5},
        {"seed": 1},
        {"limit": 3},
        {"arch": "resnet18-w16"},
        {"config": "mask-rcnn_r50_fpn_ms-1x_coco"},
        {"extraction": Extraction(device="cpu", dtype="bf16")},
    ],
    ids=str,
)
def test_what_moves_the_number_changes_the_key(changed: Any, scenes: Path) -> None:
    assert key("detect", scenes) != key("detect", scenes, **changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"options": {"train_dataloader.num_workers": 3}},
        {"options": {"default_hooks.logger.interval": 3}},
        {"options": {"train_cfg.val_interval": 3}},
        {"extraction": Extraction(device="cpu", workers=3)},
        {"work_dir": Path("elsewhere")},
        {"resume": True},
        {"name": "another"},
    ],
    ids=str,
)
def test_what_cannot_move_it_leaves_the_key(changed: Any, scenes: Path) -> None:
    assert key("detect", scenes) == key("detect", scenes, **changed)
    _, found = plan("detect", scenes, **changed)
    assert found.settings.deviations() == ()


def test_deviations_are_said(scenes: Path) -> None:
    options = {"optim_wrapper.optimizer.lr": 0.5}
    _, found = plan("detect", scenes, options=options, short=0.5)
    assert found.settings.deviations() == (
        "optim_wrapper.optimizer.lr=0.5",
        "short=0.5",
    )


@pytest.mark.parametrize(
    ("protocol", "more", "error", "said"),
    [
        ("detect", {"dataset": "cocoo"}, ConfigError, "'coco'"),
        ("segment", {"dataset": "coco"}, ConfigError, "Known: ade20k"),
        ("detect", {"config": "fcn-d8_digit-scenes"}, ConfigError, "not of 'detect'"),
        ("detect", {"config": "mask-rcnn"}, BenchError, "unknown recipe of detect"),
        ("detect", {"sweep": {"lr": [1]}}, UsageError, "neither grid nor sweep"),
        ("detect", {"short": 0.0}, UsageError, "--short 0 is not above 0"),
        ("detect", {"short": 1.5}, UsageError, "--short 1.5 is not above 0"),
        ("detect", {"trained": Path("gone.pth")}, BenchError, "gone.pth cannot be"),
        ("knn", {"short": 0.5}, UsageError, "neither short nor trained"),
        (
            "detect",
            {"extraction": Extraction(on_bad_image="skip")},
            UsageError,
            "--on-bad-image",
        ),
        (
            "segment",
            {"config": "vit_upernet_digit-scenes"},
            ConfigError,
            "takes a plain transformer .* with the taps stem, layer1",
        ),
        (
            "segment",
            {
                "config": "vit_upernet_digit-scenes",
                "arch": small.VIT,
                "options": {"model.backbone.taps": ["block1", "block9"]},
            },
            ConfigError,
            "its neck takes 4 out of block1, .*, as in block2,block3,block4,block6",
        ),
        (
            "detect",
            {"arch": "swinv2_tiny_patch4_window8_256", "short": 0.5},
            BenchError,
            "tied to images of 256",
        ),
    ],
    ids=str,
)
def test_refusals(
    protocol: str, more: Any, error: type[BenchError], said: str, scenes: Path
) -> None:
    with pytest.raises(error, match=said):
        plan(protocol, scenes, **more)


def test_boxes_alone_need_no_mask_head(scenes: Path, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    (root / "annotations").mkdir(parents=True)
    for name in ("train2017", "val2017"):
        (root / name).symlink_to(scenes / "coco" / name)
        file = scenes / "coco" / "annotations" / f"instances_{name}.json"
        content = json.loads(file.read_text())
        for one in content["annotations"]:
            del one["segmentation"]
        (root / "annotations" / file.name).write_text(json.dumps(content))
    request, found = plan("detect", root, dataset="folder")
    model = found.settings.fitted.model
    assert (model.type, model.roi_head.mask_head) == ("FasterRCNN", None)
    assert found.settings.fitted.val_evaluator.metric == ["bbox"]
    assert "no mask head" in suite.deviations(request, found)


def spoil_json(root: Path) -> None:
    (root / "annotations" / "instances_val2017.json").write_text('{"images": [')


def lose_image(root: Path) -> None:
    next((root / "train2017").iterdir()).unlink()


def flatten_box(root: Path) -> None:
    file = root / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] = 0
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_json, "instances_val2017.json"),
        (lose_image, "missing"),
        (flatten_box, "box"),
    ],
)
def test_annotations_that_would_spoil_the_number(
    spoil: Any, said: str, scenes: Path, tmp_path: Path
) -> None:
    import shutil

    root = tmp_path / "mine"
    shutil.copytree(scenes / "coco", root)
    spoil(root)
    with pytest.raises(DataError, match=said):
        plan("detect", root, dataset="folder")


def test_label_maps_that_would_spoil_the_number(scenes: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "mine"
    shutil.copytree(scenes / "VOCdevkit" / "VOC2007", root)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "trainval.txt").rename(lists / "train.txt")
    (lists / "test.txt").rename(lists / "val.txt")
    plan("segment", root, dataset="folder")
    first = (lists / "train.txt").read_text().split()[0]
    labels = root / "SegmentationClass" / f"{first}.png"
    with Image.open(labels) as picture:
        picture.resize((20, 20)).save(labels)
    with pytest.raises(DataError, match=rf"{first}"):
        plan("segment", root, dataset="folder")


def test_an_error_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = stack.Part("mmcv", "onedl-mmcv 2.3.6", "its ops are not there", "build it")
    monkeypatch.setattr(stack, "examine", lambda module: broken)
    assert cli.main(["detect", "--pretrain", "none", "--arch", small.ARCH]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "detect runs on OpenMMLab's packages" in err
    assert err.strip().endswith("type: build it")
    assert cli.main(["doctor"]) in (0, 1)
    out = capsys.readouterr().out
    assert "its ops are not there" in out
    assert "build it" in out


def test_networks_of_the_tests_are_what_they_are_for() -> None:
    from ssl_bench.openmmlab.fitting import kind_of

    for kind in ("resnet", "maps", "tokens"):
        assert kind_of(backbones.build(NETWORKS[kind], 0)) == kind


def write_voc(root: Path) -> Path:
    """Write three images of each part of VOC 2007 and 2012, a dog in each."""
    for year, part in (("2007", "trainval"), ("2012", "trainval"), ("2007", "test")):
        home = root / f"VOC{year}"
        lists = home / "ImageSets" / "Main"
        for folder in (lists, home / "JPEGImages", home / "Annotations"):
            folder.mkdir(parents=True, exist_ok=True)
        names = [f"{year}_{part}_{number}" for number in range(3)]
        (lists / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            Image.new("RGB", (80, 60)).save(home / "JPEGImages" / f"{name}.jpg")
            (home / "Annotations" / f"{name}.xml").write_text(
                "<annotation><size><width>80</width><height>60</height><depth>3</depth>"
                "</size><object><name>dog</name><difficult>0</difficult><bndbox>"
                "<xmin>11</xmin><ymin>21</ymin><xmax>41</xmax><ymax>51</ymax></bndbox>"
                "</object></annotation>"
            )
    return root


@pytest.mark.parametrize(
    ("limit", "counts"), [(None, (6, 3)), (4, (4, 3)), (2, (2, 2))]
)
def test_both_years_of_voc_below_a_relative_root(
    limit: int | None,
    counts: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_voc(tmp_path / "VOCdevkit")
    monkeypatch.chdir(tmp_path)
    root = Path("VOCdevkit")
    _, found = plan("detect", root, dataset="voc0712", limit=limit)
    assert found.config_name == "faster-rcnn_r50-c4_ms-24k_voc0712"
    stack.register("detect")
    loaders = ("train_dataloader", "val_dataloader")
    with DefaultScope.overwrite_default_scope("mmdet"):
        for loader, count in zip(loaders, counts, strict=True):
            dataset = DATASETS.build(found.settings.fitted[loader].dataset)
            assert len(dataset) == count
            sample = dataset[len(dataset) - 1]["data_samples"]
            assert sample.gt_instances.labels.tolist() == [11]  # the twelfth of twenty
            assert len(dataset.metainfo["classes"]) == 20
    # Loaded after the resize, boxes are those of the file; the kit counts from 1.
    assert sample.gt_instances.bboxes.tensor.tolist() == [[10, 20, 40, 50]]

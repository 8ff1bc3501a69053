"""Every shipped recipe of detection and segmentation: what its name says is so."""

from __future__ import annotations

import ast
import re

import pytest

from ssl_bench.errors import BenchError, ConfigError
from ssl_bench.openmmlab import reading
from tests.openmmlab.built import DETECT, SEGMENT, recipe, steps

pytestmark = pytest.mark.filterwarnings("ignore")

ALL = DETECT + SEGMENT
BOXES = re.compile(
    r"(?P<model>faster|mask)-rcnn(?:_(?P<arch>r50|swin|vit))?[-_](?P<neck>c4|fpn|sfp)"
    r"(?:_(?P<ms>ms-)?(?P<length>24k|1x|2x))?_(?P<data>voc0712|coco|digit-scenes)"
)
MAPS = re.compile(
    r"(?:(?P<arch>vit|swin)_)?(?P<head>fcn|upernet|linear)(?:-head)?(?P<r50>_r50)?(?P<d8>-d8)?"
    r"(?:_(?P<gpus>\d)xb(?P<batch>\d)-(?P<thousands>\d+)k)?"
    r"_(?P<data>ade20k|voc12aug|cityscapes|digit-scenes)"
    r"(?:-(?P<height>\d+)x(?P<width>\d+))?"
)
LENGTHS = {
    "24k": ("max_iters", 24000, [18000, 22000]),
    "1x": ("max_epochs", 12, [8, 11]),
    "2x": ("max_epochs", 24, [16, 22]),
}
NECKS = {"fpn": "FPN", "sfp": "SimpleFeaturePyramid"}
HEADS = {"fcn": "FCNHead", "upernet": "UPerHead", "linear": "LinearHead"}
IN_ARCH = {"r50": "resnet", "swin": "maps", "vit": "tokens"}
PUBLISHED_BOXES = [n for n in DETECT if not n.endswith("digit-scenes")]
PUBLISHED_MAPS = [n for n in SEGMENT if not n.endswith("digit-scenes")]


def said(name: str) -> dict[str, str | None]:
    found = (BOXES if name in DETECT else MAPS).fullmatch(name)
    assert found is not None, f"{name} has no known form"
    return found.groupdict()


def docstring(name: str) -> str:
    path = {**reading.recipes("detect"), **reading.recipes("segment")}[name]
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text is not None
    return text


def test_there_are_the_published_recipes_and_small_ones() -> None:
    # Seven of MMSelfSup, one for Swin and one for ViT each, and those for a laptop.
    assert len(PUBLISHED_BOXES) == 7
    assert len(PUBLISHED_MAPS) == 5
    assert len(ALL) == 17


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_reads_and_has_no_complaint(name: str) -> None:
    config = recipe(name)
    protocol = "detect" if name in DETECT else "segment"
    assert config.protocol == protocol
    assert reading.complaints(config, name, protocol) == []
    assert config.dataset == said(name)["data"]
    other = {"detect": "segment", "segment": "detect"}[protocol]
    assert reading.complaints(config, name, other) != []


@pytest.mark.parametrize("name", DETECT)
def test_the_name_of_a_detector_tells_the_truth(name: str) -> None:
    words, config = said(name), recipe(name)
    model = config.model
    assert model.type == {"faster": "FasterRCNN", "mask": "MaskRCNN"}[words["model"]]
    assert bool(model.roi_head.get("mask_head")) == (words["model"] == "mask")
    if words["neck"] == "c4":
        assert model.get("neck") is None
        assert model.roi_head.shared_head.type == "LastStageExtraNorm"
    else:
        assert model.neck.type == NECKS[words["neck"]]
        assert model.roi_head.get("shared_head") is None
    if words["arch"]:
        assert config.backbones == IN_ARCH[words["arch"]]
    train = steps(config.train_dataloader.dataset)
    if words["ms"]:
        assert len(train["RandomChoiceResize"]["scales"]) > 1
    elif words["length"]:
        assert "RandomChoiceResize" not in train
        assert train["Resize"]["scale"] == (1333, 800)
    if words["length"]:
        key, length, milestones = LENGTHS[words["length"]]
        assert {k: v for k, v in config.train_cfg.items() if k.startswith("max_")} == {
            key: length
        }
        main = config.param_scheduler[-1]
        assert main.type == "MultiStepLR"
        assert main.gamma == 0.1
        assert main.milestones == milestones
        assert main.by_epoch is (key == "max_epochs")


@pytest.mark.parametrize("name", SEGMENT)
def test_the_name_of_a_segmentor_tells_the_truth(name: str) -> None:
    words, config = said(name), recipe(name)
    model = config.model
    assert model.decode_head.type == HEADS[words["head"]]
    if words["head"] == "fcn":
        assert words["d8"], "eight pixels a step"
        strides = model.backbone.strides
        assert 4 * strides[0] * strides[1] * strides[2] * strides[3] == 8
        assert config.backbones == "resnet"
    elif words["head"] == "linear":
        assert config.backbones == "any"
        assert model.backbone.frozen is True
    else:
        assert config.backbones == IN_ARCH[words["arch"]]
    if words["batch"]:
        batch, base = config.train_dataloader.batch_size, config.auto_scale_lr
        assert batch == int(words["batch"])
        assert base.base_batch_size == int(words["gpus"]) * batch
        assert config.train_cfg.max_iters == 1000 * int(words["thousands"])
    if words["height"]:
        crop = (int(words["height"]), int(words["width"]))
        train = steps(config.train_dataloader.dataset)
        assert tuple(train["RandomCrop"]["crop_size"]) == crop
        assert tuple(model.data_preprocessor.size) == crop
        if model.test_cfg.mode == "slide":
            assert tuple(model.test_cfg.crop_size) == crop


@pytest.mark.parametrize("name", ALL)
def test_a_schedule_ends_with_training(name: str) -> None:
    config = recipe(name)
    train = config.train_cfg
    length = train.get("max_iters") or train.max_epochs
    main = config.param_scheduler[-1]
    assert main.end == length
    assert main.by_epoch is ("max_epochs" in train)
    assert all(m < length for m in main.get("milestones", ()))
    assert length % train.val_interval == 0, "the last step is evaluated"
    for warm in config.param_scheduler[:-1]:
        assert warm.type == "LinearLR"
        assert warm.by_epoch is False
        assert warm.begin == 0
        if main.type == "PolyLR":
            assert warm.end == main.begin


@pytest.mark.parametrize("name", PUBLISHED_BOXES)
def test_sixteen_images_on_eight_gpus(name: str) -> None:
    config = recipe(name)
    assert config.train_dataloader.batch_size == 2
    assert config.auto_scale_lr.base_batch_size == 16


@pytest.mark.parametrize("name", ALL)
def test_small_recipes_have_the_batch_of_one_process(name: str) -> None:
    config = recipe(name)
    if config.dataset == "digit-scenes":
        assert config.train_dataloader.batch_size == 8
        assert config.auto_scale_lr.base_batch_size == 8


@pytest.mark.parametrize("name", ALL)
def test_a_docstring_says_how_this_recipe_is_had(name: str) -> None:
    config = recipe(name)
    text = docstring(name)
    commands = re.findall(r"^ {4}ssl-bench (\w+) *(\S*)", text, re.MULTILINE)
    assert commands
    for protocol, word in commands:
        assert protocol == config.protocol
        if word and not word.startswith("-"):
            assert word == name
        else:
            assert config.get("default"), "another is taken where none is named"


@pytest.mark.parametrize(("old", "new"), reading.KNOWN_NAMES.items())
def test_older_names_find_the_same_recipe(old: str, new: str) -> None:
    assert new in PUBLISHED_BOXES + PUBLISHED_MAPS
    protocol = "segment" if old.startswith("fcn") else "detect"
    name, path = reading.resolve(old, protocol)
    assert (name, path.stem) == (new, new)
    assert reading.resolve(f"{old}.py", protocol) == (name, path)


def test_an_unknown_name_is_refused_with_near_ones() -> None:
    with pytest.raises(BenchError, match="mask-rcnn_r50_fpn_ms-1x_coco"):
        reading.resolve("mask-rcnn_r50_fpn_ms-3x_coco", "detect")


@pytest.mark.parametrize(
    ("protocol", "dataset", "kind", "name"),
    [
        ("detect", "coco", "resnet", "mask-rcnn_r50_fpn_ms-1x_coco"),
        ("detect", "coco", "maps", "mask-rcnn_swin_fpn_1x_coco"),
        ("detect", "coco", "tokens", "mask-rcnn_vit_sfp_ms-1x_coco"),
        ("detect", "digit-scenes", "resnet", "mask-rcnn_fpn_digit-scenes"),
        ("segment", "voc12aug", "resnet", "fcn_r50-d8_4xb4-20k_voc12aug-512x512"),
        ("segment", "cityscapes", "resnet", "fcn_r50-d8_4xb2-40k_cityscapes-769x769"),
        ("segment", "ade20k", "tokens", "vit_upernet_8xb2-160k_ade20k-512x512"),
        ("segment", "ade20k", "maps", "swin_upernet_8xb2-160k_ade20k-512x512"),
        # The data first, and a plain ResNet has four maps too.
        ("segment", "ade20k", "resnet", "swin_upernet_8xb2-160k_ade20k-512x512"),
        ("segment", "digit-scenes", "resnet", "fcn-d8_digit-scenes"),
        ("segment", "digit-scenes", "tokens", "vit_upernet_digit-scenes"),
        # A folder of one's own takes the published recipe.
        ("segment", "mine", "resnet", "fcn_r50-d8_4xb4-20k_voc12aug-512x512"),
        ("segment", "mine", "tokens", "vit_upernet_8xb2-160k_ade20k-512x512"),
        ("detect", "mine", "maps", "mask-rcnn_swin_fpn_1x_coco"),
    ],
)
def test_the_recipe_that_is_taken_where_none_is_named(
    protocol: str, dataset: str, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every file is read for every answer; once is enough here.
    monkeypatch.setattr(reading, "read_recipe", lambda path, _: recipe(path.stem))
    assert reading.fitting_recipe(protocol, dataset, kind) == name


def test_a_network_that_no_recipe_is_for_is_told_all_of_them() -> None:
    with pytest.raises(ConfigError, match="linear_8xb2-40k_ade20k-512x512"):
        reading.fitting_recipe("segment", "ade20k", "any")

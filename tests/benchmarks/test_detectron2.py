"""The recipes for detectron2 against the published numbers, and what refuses to train.

detectron2 itself is not installed here: its registry and evaluators are stood in for.
"""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ssl_bench import backbones
from ssl_bench.cli import main

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection" / "detectron2"
RECIPES = sorted(p.name for p in FOLDER.glob("*.yaml") if not p.name.startswith("Base"))
VOC_SIZES = [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
COCO_SIZES = [640, 672, 704, 736, 768, 800]


def recipe(name: str) -> dict[str, Any]:
    """Return a recipe with its base below it."""
    tree: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    base = tree.pop("_BASE_", None)
    return tree if base is None else merged(recipe(base), tree)


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        inner = both.get(key)
        if isinstance(inner, dict):
            both[key] = merged(inner, value)
        else:
            both[key] = value
    return both


def load_script() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("train_net", FOLDER / "train_net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def test_the_recipes_are_these() -> None:
    assert RECIPES == [
        "cityscapes_mask_rcnn_R_50_FPN_moco.yaml",
        "coco_R_50_C4_1x_moco.yaml",
        "coco_R_50_C4_2x_moco.yaml",
        "coco_R_50_FPN_1x_moco.yaml",
        "coco_R_50_FPN_2x_moco.yaml",
        "coco_R_50_RetinaNet_1x_moco.yaml",
        "coco_keypoint_rcnn_R_50_FPN_2x_moco.yaml",
        "pascal_voc_R_50_C4_24k_moco.yaml",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_what_goes_with_every_extracted_file(name: str) -> None:
    found = recipe(name)
    model = found["MODEL"]
    assert model["PIXEL_MEAN"] == [123.675, 116.28, 103.53]
    assert model["PIXEL_STD"] == [58.395, 57.12, 57.375]
    assert found["INPUT"]["FORMAT"] == "RGB"
    assert model["RESNETS"]["STRIDE_IN_1X1"] is False
    assert model["RESNETS"]["NORM"] == "SyncBN"
    assert model["RESNETS"]["DEPTH"] == 50
    assert model["BACKBONE"]["FREEZE_AT"] == 0
    assert found["TEST"]["PRECISE_BN"]["ENABLED"] is True
    assert "WEIGHTS" not in model
    assert found["VERSION"] == 2


@pytest.mark.parametrize(
    ("name", "batch", "rate", "steps", "iterations", "classes", "masks"),
    [
        ("pascal_voc_R_50_C4_24k_moco", 16, 0.02, [18000, 22000], 24000, 20, False),
        ("coco_R_50_C4_1x_moco", 16, 0.02, [60000, 80000], 90000, 80, True),
        ("coco_R_50_C4_2x_moco", 16, 0.02, [120000, 160000], 180000, 80, True),
        ("coco_R_50_FPN_1x_moco", 16, 0.02, [60000, 80000], 90000, 80, True),
        ("coco_R_50_FPN_2x_moco", 16, 0.02, [120000, 160000], 180000, 80, True),
        ("cityscapes_mask_rcnn_R_50_FPN_moco", 8, 0.01, [18000], 24000, 8, True),
    ],
)
def test_the_schedules_are_the_published_ones(
    name: str,
    batch: int,
    rate: float,
    steps: list[int],
    iterations: int,
    classes: int,
    masks: bool,
) -> None:
    found = recipe(f"{name}.yaml")
    solver = found["SOLVER"]
    assert solver["IMS_PER_BATCH"] == batch
    assert solver["BASE_LR"] == rate
    assert solver["STEPS"] == steps
    assert solver["MAX_ITER"] == iterations
    assert found["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == classes
    assert found["MODEL"]["MASK_ON"] is masks


def test_voc_is_trained_on_both_years_and_tested_on_2007() -> None:
    found = recipe("pascal_voc_R_50_C4_24k_moco.yaml")
    assert found["DATASETS"]["TRAIN"] == ["voc_2007_trainval", "voc_2012_trainval"]
    assert found["DATASETS"]["TEST"] == ["voc_2007_test"]
    assert found["INPUT"]["MIN_SIZE_TRAIN"] == VOC_SIZES
    assert found["INPUT"]["MIN_SIZE_TEST"] == 800
    assert found["SOLVER"]["WARMUP_ITERS"] == 100


@pytest.mark.parametrize("name", [n for n in RECIPES if n.startswith("coco_R")])
def test_coco_is_2017(name: str) -> None:
    found = recipe(name)
    assert found["DATASETS"]["TRAIN"] == ["coco_2017_train"]
    assert found["DATASETS"]["TEST"] == ["coco_2017_val"]
    assert found["INPUT"]["MIN_SIZE_TRAIN"] == COCO_SIZES
    assert found["INPUT"]["MIN_SIZE_TEST"] == 800


def test_keypoints_are_those_of_people() -> None:
    found = recipe("coco_keypoint_rcnn_R_50_FPN_2x_moco.yaml")
    model, solver = found["MODEL"], found["SOLVER"]
    assert model["KEYPOINT_ON"] is True
    assert model.get("MASK_ON", False) is False
    assert model["ROI_HEADS"]["NUM_CLASSES"] == 1
    assert model["ROI_BOX_HEAD"]["SMOOTH_L1_BETA"] == 0.5
    assert model["RPN"]["POST_NMS_TOPK_TRAIN"] == 1500
    assert found["DATASETS"]["TRAIN"] == ["keypoints_coco_2017_train"]
    assert found["DATASETS"]["TEST"] == ["keypoints_coco_2017_val"]
    assert found["INPUT"]["MIN_SIZE_TRAIN"] == COCO_SIZES
    assert (solver["STEPS"], solver["MAX_ITER"]) == ([120000, 160000], 180000)
    assert (solver["IMS_PER_BATCH"], solver["BASE_LR"]) == (16, 0.02)


def test_c4_has_the_head_with_the_extra_norm() -> None:
    for name in [n for n in RECIPES if "C4" in n]:
        model = recipe(name)["MODEL"]
        assert model["ROI_HEADS"]["NAME"] == "Res5ROIHeadsExtraNorm"
        assert model["RPN"]["PRE_NMS_TOPK_TEST"] == 6000
        assert model["RPN"]["POST_NMS_TOPK_TEST"] == 1000


def test_fpn_has_norms_in_the_pyramid_and_1000_proposals() -> None:
    for name in [n for n in RECIPES if "FPN" in n]:
        model = recipe(name)["MODEL"]
        assert model["FPN"]["NORM"] == "SyncBN"
        assert model["RPN"]["PRE_NMS_TOPK_TRAIN"] == 2000
        trained = 1500 if "keypoint" in name else 1000
        assert model["RPN"]["POST_NMS_TOPK_TRAIN"] == trained
        for key in ("PRE_NMS_TOPK_TEST", "POST_NMS_TOPK_TEST"):
            assert model["RPN"][key] == 1000


def test_retinanet_has_half_the_rate_and_three_anchors_an_octave() -> None:
    found = recipe("coco_R_50_RetinaNet_1x_moco.yaml")
    assert found["SOLVER"]["BASE_LR"] == 0.01
    assert found["SOLVER"]["IMS_PER_BATCH"] == 16
    assert found["SOLVER"]["MAX_ITER"] == 90000
    sizes = found["MODEL"]["ANCHOR_GENERATOR"]["SIZES"]
    for level, (size, anchors) in enumerate(
        zip((32, 64, 128, 256, 512), sizes, strict=True)
    ):
        expected = [size, size * 2 ** (1 / 3), size * 2 ** (2 / 3)]
        assert anchors == pytest.approx(expected, rel=1e-12), level


def test_the_readme_has_the_same_recipes() -> None:
    text = (FOLDER / "README.md").read_text()
    for name in RECIPES:
        assert f"`{name.removesuffix('.yaml')}`" in text


def test_without_detectron2_it_says_one_line() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "train_net.py", "--help"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "detectron2 is not installed" in done.stderr


def test_the_launcher_is_short_and_finds_the_recipe_by_name() -> None:
    launcher = FOLDER / "dist_train.sh"
    assert len(launcher.read_text().splitlines()) <= 25
    words = ["bash", launcher, "coco_R_50_C4_2x_moco", "b.pkl", "out", "SEED", "3"]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env={"PYTHON": "echo", "GPUS": "2", "PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert done.stdout.split() == [
        str(FOLDER / "train_net.py"),
        "--config-file", str(FOLDER / "coco_R_50_C4_2x_moco.yaml"),
        "--num-gpus", "2",
        "MODEL.WEIGHTS", "b.pkl", "OUTPUT_DIR", "out", "SEED", "3",
    ]  # fmt: skip
    short = subprocess.run(["bash", launcher, "x"], capture_output=True, text=True)
    assert short.returncode == 2
    assert "CONFIG BACKBONE.pkl OUTPUT" in short.stderr


# --- what is compared before training ----------------------------------------------


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what ``ssl-bench extract`` wrote for detectron2."""
    folder = tmp_path_factory.mktemp("extract")
    torch.save(dict(backbones.build("resnet18", 1).state_dict()), folder / "a.pth")
    out = folder / "b.pkl"
    assert main(["extract", str(folder / "a.pth"), str(out), "--to", "detectron2"]) == 0
    found: dict[str, Any] = script.read_backbone(str(out))
    return found


def detector(arrays: dict[str, Any], *, pyramid: bool) -> dict[str, torch.Tensor]:
    """Return the tensors of a detector whose backbone holds those of the file."""
    state = {}
    for name, array in arrays.items():
        start = "backbone.bottom_up." if pyramid else "backbone."
        if name.startswith("res5.") and not pyramid:
            start = "roi_heads."
        state[start + name] = torch.from_numpy(np.array(array))
    extra = {
        "proposal_generator.rpn_head.conv.weight": torch.ones(2),
        "roi_heads.box_predictor.cls_score.weight": torch.ones(2),
    }
    if pyramid:
        extra["backbone.fpn_lateral2.weight"] = torch.ones(2)
        extra["backbone.fpn_lateral2.norm.weight"] = torch.ones(2)
    else:
        extra["roi_heads.res5.norm.weight"] = torch.ones(2)
    return {**state, **extra}


@pytest.mark.parametrize("pyramid", [True, False])
def test_a_whole_load_passes(arrays: dict[str, Any], pyramid: bool) -> None:
    state = detector(arrays, pyramid=pyramid)
    assert script.unfilled(state, arrays) == []
    # 20 convolutions and 20 norms of 4 tensors; the counters do not count.
    assert len(script.backbone_names(list(state))) == 100


@pytest.mark.parametrize("pyramid", [True, False])
@pytest.mark.parametrize("name", ["res5.1.conv2.weight", "stem.conv1.norm.bias"])
def test_whatever_was_not_loaded_is_named(
    arrays: dict[str, Any], pyramid: bool, name: str
) -> None:
    without = {key: value for key, value in arrays.items() if key != name}
    state = detector(arrays, pyramid=pyramid)
    (said,) = script.unfilled(state, without)
    assert name in said
    assert "not in the file" in said
    place = next(key for key in state if key.endswith(name))
    (said,) = script.unfilled({**state, place: state[place] + 1}, arrays)
    assert "other values" in said
    (said,) = script.unfilled({**state, place: state[place][:-1]}, arrays)
    assert "in the file (" in said
    (said,) = script.unfilled(state, {**arrays, "res4.9.conv1.weight": np.ones(2)})
    assert said == "res4.9.conv1.weight of the file has no place"


class _Detector:
    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {f"module.{name}": tensor for name, tensor in self.state.items()}


def test_training_does_not_begin_on_a_partial_load(
    arrays: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    state = detector(arrays, pyramid=False)
    script.check_filled(_Detector(state), arrays, "b.pkl")
    assert capsys.readouterr().out == (
        "all 100 tensors of the backbone are those of b.pkl\n"
    )
    state["backbone.stem.conv1.weight"] = torch.zeros(64, 3, 7, 7)
    with pytest.raises(SystemExit, match=r"backbone\.stem\.conv1\.weight holds other"):
        script.check_filled(_Detector(state), arrays, "b.pkl")
    with pytest.raises(SystemExit, match="there is no ResNet"):
        script.check_filled(_Detector({}), {}, "b.pkl")


@pytest.mark.parametrize("name", ["", "nowhere.pkl", "model.pth"])
def test_weights_that_are_no_backbone_file_are_refused(name: str) -> None:
    with pytest.raises(SystemExit, match=r"ssl-bench extract .* --to detectron2"):
        script.read_backbone(name)


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"model": {}}))
    with pytest.raises(SystemExit, match="was not written for detectron2"):
        script.read_backbone(str(path))


# --- detectron2, stood in for ------------------------------------------------------


class _Registry(dict[str, type]):
    def register(self, kind: type) -> None:
        self[kind.__name__] = kind


class _Res5Heads(torch.nn.Module):
    def __init__(self, cfg: Any, input_shape: Any) -> None:
        super().__init__()
        block = torch.nn.Conv2d(4, 8, 1)
        block.out_channels = 8
        self.res5 = torch.nn.Sequential(block)


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **holds: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(holds)
    monkeypatch.setitem(sys.modules, name, module)


def test_the_head_is_stage_5_and_a_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = _Registry()
    stand_in(monkeypatch, "detectron2")
    stand_in(
        monkeypatch,
        "detectron2.layers",
        get_norm=lambda norm, width: {"BN": torch.nn.BatchNorm2d}[norm](width),
    )
    stand_in(monkeypatch, "detectron2.modeling")
    stand_in(
        monkeypatch,
        "detectron2.modeling.roi_heads",
        ROI_HEADS_REGISTRY=registry,
        Res5ROIHeads=_Res5Heads,
    )
    script.register_head()
    script.register_head()
    config = types.SimpleNamespace(
        MODEL=types.SimpleNamespace(RESNETS=types.SimpleNamespace(NORM="BN"))
    )
    head = registry["Res5ROIHeadsExtraNorm"](config, None)
    names = [name for name, _ in head.res5.named_children()]
    assert names == ["0", "norm"]
    norm = head.res5.norm
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.num_features == 8
    assert script.EXTRA_NORM == "roi_heads.res5.norm."


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("coco", "COCOEvaluator"),
        ("pascal_voc", "PascalVOCDetectionEvaluator"),
        ("cityscapes_instance", "CityscapesInstanceEvaluator"),
    ],
)
def test_the_evaluator_is_that_of_the_data(
    kind: str, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def maker(name: str) -> Any:
        return lambda dataset, **options: (name, dataset)

    evaluators = {
        name: maker(name)
        for name in (
            "COCOEvaluator",
            "PascalVOCDetectionEvaluator",
            "CityscapesInstanceEvaluator",
        )
    }
    evaluation = types.SimpleNamespace(**evaluators)
    stand_in(monkeypatch, "detectron2", evaluation=evaluation)
    catalogue = types.SimpleNamespace(get=lambda name: {"evaluator_type": kind})
    stand_in(monkeypatch, "detectron2.data", MetadataCatalog=catalogue)
    assert script.make_evaluator("some_test", "out") == (made, "some_test")
    catalogue.get = lambda name: {}
    with pytest.raises(SystemExit, match="some_test has the evaluator none"):
        script.make_evaluator("some_test", "out")

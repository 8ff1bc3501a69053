"""What machine and command line make of a recipe: every number by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ssl_bench.config import plain
from ssl_bench.errors import ConfigError
from ssl_bench.openmmlab.applying import Applied, apply
from tests.openmmlab.built import C4, FCN, FPN, UPERNET, facts, recipe

pytestmark = pytest.mark.filterwarnings("ignore")

VOC = "faster-rcnn_r50-c4_ms-24k_voc0712"
COCO = "mask-rcnn_r50_fpn_ms-1x_coco"
COCO_2X = "mask-rcnn_r50_fpn_ms-2x_coco"
ADE = "vit_upernet_8xb2-160k_ade20k-512x512"
PROCESSES = [1, 2, 8]


def applied(name: str, **more: Any) -> Applied:
    return apply(recipe(name), facts(**more), name)


def schedule(config: Any) -> list[dict[str, Any]]:
    keys = ("begin", "end", "milestones")
    return [
        {key: plain(part[key]) for key in keys if key in part}
        for part in config.param_scheduler
    ]


@pytest.mark.parametrize(
    ("processes", "lr", "times"), [(1, 0.0025, 8), (2, 0.005, 4), (8, 0.02, 1)]
)
def test_iterations_follow_the_batch(processes: int, lr: float, times: int) -> None:
    """24,000 iterations of 16 images see as many as 192,000 of two."""
    found = applied(VOC, processes=processes)
    assert found.batch == 2 * processes
    assert found.base_batch == 16
    assert found.lr == pytest.approx(lr)
    assert found.config.optim_wrapper.optimizer.lr == pytest.approx(lr)
    assert found.config.train_cfg.max_iters == 24000 * times
    assert found.config.train_cfg.val_interval == 2000 * times
    assert found.config.default_hooks.checkpoint.interval == 2000 * times
    assert schedule(found.config) == [
        {"begin": 0, "end": 100 * times},
        {
            "begin": 0,
            "end": 24000 * times,
            "milestones": [18000 * times, 22000 * times],
        },
    ]
    assert found.config.train_dataloader.batch_size == 2
    said = [note for note in found.notes if note.startswith("batch")]
    assert bool(said) is (processes < 8)


def test_one_process_of_the_published_voc_recipe() -> None:
    found = applied(VOC, processes=1)
    assert found.lr == pytest.approx(0.0025)
    assert found.config.train_cfg.max_iters == 192000
    assert schedule(found.config)[1]["milestones"] == [144000, 176000]
    assert schedule(found.config)[0]["end"] == 800
    assert "batch 2 instead of 16: learning rate 0.0025, iterations times 8" in (
        found.notes
    )
    facts_of = found.facts()
    assert (facts_of["recipe_batch"], facts_of["batch"]) == (16, 2)
    assert facts_of["lr"] == pytest.approx(0.0025)
    assert facts_of["changed"] == list(found.notes)


@pytest.mark.parametrize("processes", PROCESSES)
def test_epochs_stay_and_warm_up_follows(processes: int) -> None:
    found = applied(COCO, processes=processes)
    times = 8 // processes
    assert found.lr == pytest.approx(0.02 / times)
    assert found.config.train_cfg.max_epochs == 12
    assert found.config.train_cfg.val_interval == 1
    assert schedule(found.config) == [
        {"begin": 0, "end": 1000 * times},
        {"begin": 0, "end": 12, "milestones": [8, 11]},
    ]
    assert found.config.default_hooks.checkpoint.interval == 1


def test_a_larger_batch_makes_fewer_steps() -> None:
    config = recipe(ADE)
    config.train_dataloader.batch_size = 8
    found = apply(config, facts(processes=8), ADE)
    assert found.batch == 64  # four times 16
    assert found.lr == pytest.approx(4e-4)
    assert found.config.train_cfg.max_iters == 40000
    assert schedule(found.config) == [
        {"begin": 0, "end": 375},
        {"begin": 375, "end": 40000},
    ]


def test_a_part_of_the_iterations() -> None:
    found = applied(VOC, processes=8, short=0.1)
    assert found.config.train_cfg.max_iters == 2400
    assert found.config.train_cfg.val_interval == 200
    assert schedule(found.config) == [
        {"begin": 0, "end": 10},
        {"begin": 0, "end": 2400, "milestones": [1800, 2200]},
    ]
    assert found.lr == pytest.approx(0.02)
    assert found.notes == ("0.1 of the schedule (--short)",)


def test_half_of_the_epochs() -> None:
    found = applied(COCO, processes=2, short=0.5)
    assert found.config.train_cfg.max_epochs == 6
    assert schedule(found.config) == [
        {"begin": 0, "end": 2000},  # 1000 x 4 / 2
        {"begin": 0, "end": 6, "milestones": [4, 6]},  # 5.5 is 6
    ]
    whole_numbers = applied(COCO_2X, processes=8, short=0.25)
    assert whole_numbers.config.train_cfg.max_epochs == 6
    assert schedule(whole_numbers.config)[1]["milestones"] == [4, 6]


def test_a_tiny_part_leaves_one_step() -> None:
    found = applied(FCN, short=1e-5)
    assert found.config.train_cfg.max_iters == 1
    assert found.config.train_cfg.val_interval == 1
    assert schedule(found.config)[0]["end"] == 1


@pytest.mark.parametrize("name", [COCO, COCO_2X])
def test_less_than_an_epoch_is_refused_with_what_would_do(name: str) -> None:
    with pytest.raises(ConfigError, match="less than one") as error:
        applied(name, short=0.04)
    least = re.search(r"the least is ([\d.]+)$", str(error.value))
    assert least is not None
    assert applied(name, short=float(least[1])).config.train_cfg.max_epochs == 1


@pytest.mark.parametrize("short", [0, -0.5, 1.01, float("nan")])
def test_a_part_is_between_nothing_and_all(short: float) -> None:
    with pytest.raises(ConfigError, match="not above 0 and at most 1"):
        applied(VOC, short=short)


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True, None])
@pytest.mark.parametrize("where", ["train_dataloader", "auto_scale_lr"])
def test_a_batch_is_a_whole_number(where: str, value: Any) -> None:
    config = recipe(VOC)
    key = {"train_dataloader": "batch_size", "auto_scale_lr": "base_batch_size"}[where]
    config[where][key] = value
    with pytest.raises(ConfigError, match=f"{VOC}: {where}.{key}=.*whole number of 1"):
        apply(config, facts(), VOC)
    del config[where][key]
    with pytest.raises(ConfigError, match=f"{where}.{key}=None"):
        apply(config, facts(), VOC)


def norms(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["type"]} if value.get("type") in ("BN", "SyncBN") else set()
        return own.union(*map(norms, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(norms, value))
    return set()


@pytest.mark.parametrize(
    ("processes", "device", "kind", "sync", "told"),
    [
        (1, "cpu", "BN", False, True),
        (1, "cuda", "BN", False, True),
        # torch has none for tensors of the CPU; the run puts ours in their place.
        (2, "cpu", "BN", True, False),
        (8, "cpu", "BN", True, False),
        # Those of a network of ours are turned where the model is built.
        (2, "cuda", "SyncBN", True, False),
        (8, "cuda", "SyncBN", True, False),
    ],
)
@pytest.mark.parametrize("name", [VOC, COCO, FCN, UPERNET])
def test_norms_are_those_that_can_run(
    name: str, processes: int, device: str, kind: str, sync: bool, told: bool
) -> None:
    found = applied(name, processes=processes, device=device)
    assert norms(found.config.model) == {kind}
    assert found.sync is sync
    assert ("SyncBN is BN in a single process" in found.notes) is told


def test_where_nothing_is_shared_nothing_is_told() -> None:
    config = recipe(COCO)
    for part in (
        config.model.backbone,
        config.model.neck,
        config.model.roi_head.bbox_head,
        config.model.roi_head.mask_head,
    ):
        del part.norm_cfg
    assert apply(config, facts(processes=2), COCO).sync is False
    assert apply(config, facts(processes=8), COCO).notes == ()


@pytest.mark.parametrize(
    ("dtype", "kind", "found_dtype", "scale"),
    [
        ("fp32", "OptimWrapper", None, None),
        ("bf16", "AmpOptimWrapper", "bfloat16", None),
        ("fp16", "AmpOptimWrapper", "float16", "dynamic"),
    ],
)
def test_precision(
    dtype: str, kind: str, found_dtype: str | None, scale: str | None
) -> None:
    wrapper = applied(C4, dtype=dtype, device="cuda").config.optim_wrapper
    assert wrapper.type == kind
    assert wrapper.get("dtype") == found_dtype
    assert wrapper.get("loss_scale") == scale
    # What else the recipe says of it stays.
    assert wrapper.clip_grad == {"max_norm": 10}


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_precision_is_mixed_on_a_gpu_only(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"--dtype {dtype}"):
        applied(C4, dtype=dtype)


@pytest.mark.parametrize("workers", [None, 0, 3])
def test_workers(workers: int | None) -> None:
    config = applied(VOC, workers=workers).config
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        expected = 2 if workers is None else workers
        assert config[loader].num_workers == expected
        # PyTorch refuses workers that persist where there are none.
        assert config[loader].persistent_workers is (expected > 0)


@pytest.mark.parametrize(("device", "backend"), [("cuda", "nccl"), ("cpu", "gloo")])
def test_the_run_is_told_where_it_goes(device: str, backend: str) -> None:
    config = applied(
        FPN, device=device, seed=7, deterministic=True, work_dir="there"
    ).config
    assert config.work_dir == "there"
    assert config.randomness == {"seed": 7, "deterministic": True}
    assert config.env_cfg.dist_cfg.backend == backend
    assert config.load_from is None
    assert config.resume is False


def test_a_checkpoint_is_kept_by_the_metric_of_the_recipe() -> None:
    config = recipe(FCN)
    config.val_evaluator.type = "ClassIoU"
    keep = apply(config, facts(), FCN).config.default_hooks.checkpoint
    assert (keep.save_best, keep.rule, keep.max_keep_ckpts) == ("mIoU", "greater", 1)
    config.default_hooks.checkpoint.max_keep_ckpts = 5
    keep = apply(config, facts(), FCN).config.default_hooks.checkpoint
    assert keep.max_keep_ckpts == 5


def test_the_recipe_stays_as_it_was() -> None:
    config = recipe(VOC)
    before = plain(config.to_dict())
    apply(config, facts(device="cuda", dtype="fp16", workers=0, short=0.1), VOC)
    assert plain(config.to_dict()) == before

"""Overrides that would do nothing are refused; those that do something are not."""

from __future__ import annotations

from typing import Any

import pytest

from ssl_bench.openmmlab import overrides, reading

DETECT, SEGMENT = "mask-rcnn_fpn_digit-scenes", "fcn-d8_digit-scenes"


def said(name: str, **options: Any) -> list[str]:
    protocol = "detect" if name == DETECT else "segment"
    base = reading.read_recipe(reading.recipes(protocol)[name], {})
    dotted = {key.replace("__", "."): value for key, value in options.items()}
    return overrides.complaints(base, dotted, "RECIPE")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("optim_wrapper.optimzer.lr", "Did you mean 'optimizer'"),
        ("optim_wrapper.optimizer.momentm", "Did you mean 'momentum'"),
        ("model.rpn_haed.in", "Did you mean 'rpn_head'"),
        ("lr", "unknown config key 'lr'"),
        ("trian_cfg.max_epochs", "Did you mean 'train_cfg'"),
        ("train_dataloader.dataset.pipeline.9.type", "the places 0 to 3, not 9"),
        ("train_dataloader.dataset.ann_file", "--dataset and --data-root"),
        ("val_dataloader.dataset.data_root", "--dataset and --data-root"),
        ("test_dataloader.batch_size", "read by val_dataloader"),
        ("val_evaluator.metric", "that of the recipe"),
        ("load_from", "--pretrain"),
        ("resume", "--resume"),
        ("randomness.seed", "--seed"),
        ("model.backbone.depth", "read off the network"),
        ("model.neck.in_channels", "read off the network"),
        ("model.roi_head.bbox_head.num_classes", "counted in the data"),
        ("model.backbone.init_cfg.checkpoint", "--pretrain"),
        ("model.data_preprocessor.mean", "comes with the weights"),
    ],
)
def test_what_would_do_nothing(key: str, text: str) -> None:
    (one,) = said(DETECT, **{key: 1})
    assert one.startswith("RECIPE: ")
    assert text in one


@pytest.mark.parametrize(
    "key",
    [
        "optim_wrapper.optimizer.lr",
        "optim_wrapper.clip_grad.max_norm",
        "model.backbone.with_cp",
        "model.rpn_head.anchor_generator.scales",
        "train_dataloader.batch_size",
        "train_dataloader.dataset.filter_cfg.min_size",
        "train_dataloader.dataset.pipeline.2.scales",
        "train_cfg.max_epochs",
        "param_scheduler.1.milestones",
        "default_hooks.checkpoint.interval",
        "visualizer.vis_backends.0.type",
        "auto_scale_lr.base_batch_size",
        "custom_hooks",
        "producer",
        "backbone.type",
    ],
)
def test_what_does_something(key: str) -> None:
    assert said(DETECT, **{key: 1}) == []


def test_a_transformers_taps_and_voc_s_rule() -> None:
    base = reading.read_recipe(
        reading.recipes("segment")["vit_upernet_digit-scenes"], {}
    )
    assert overrides.complaints(base, {"model.backbone.taps": 1}, "R") == []
    voc = reading.recipes("detect")["faster-rcnn_r50-c4_ms-24k_voc0712"]
    rule = {"val_evaluator.eval_mode": "area"}
    assert overrides.complaints(reading.read_recipe(voc, {}), rule, "R") == []


def test_all_at_once() -> None:
    assert len(said(SEGMENT, lr=1, load_from=2, model__decode_haed=3)) == 3

"""The keys of a training config: old ones are named with their successors."""

from __future__ import annotations

import pytest

from ssl_bench.training.keys import ERA, KEYS, era_complaints, key_complaints

# MoCo's linear evaluation as MMSelfSup 0.x has it, its bases resolved.
MOCO_0X = {
    "model": {
        "type": "Classification",
        "backbone": {"type": "ResNet", "depth": 50, "frozen_stages": 4},
        "head": {"type": "ClsHead", "in_channels": 2048, "num_classes": 1000},
    },
    "data_source": "ImageNet",
    "dataset_type": "SingleViewDataset",
    "img_norm_cfg": {"mean": [0.485, 0.456, 0.406]},
    "train_pipeline": [{"type": "RandomResizedCrop", "size": 224}],
    "test_pipeline": [{"type": "Resize", "size": 256}],
    "data": {"samples_per_gpu": 32, "workers_per_gpu": 4},
    "evaluation": {"interval": 1, "topk": (1, 5)},
    "optimizer": {"type": "SGD", "lr": 30.0, "paramwise_options": {}},
    "optimizer_config": {},
    "lr_config": {"policy": "step", "step": [60, 80]},
    "runner": {"type": "EpochBasedRunner", "max_epochs": 100},
    "checkpoint_config": {"interval": 10},
    "log_config": {"interval": 50},
    "dist_params": {"backend": "nccl"},
    "cudnn_benchmark": True,
    "log_level": "INFO",
    "load_from": None,
    "resume_from": None,
    "workflow": [("train", 1)],
    "persistent_workers": True,
    "opencv_num_threads": 0,
    "mp_start_method": "fork",
}
ELSEWHERE_THERE = {"log_level", "load_from"}


def test_every_key_of_an_old_config_is_answered_once() -> None:
    told = era_complaints(MOCO_0X)
    for key in set(MOCO_0X) - {"model"} - ELSEWHERE_THERE:
        assert sum(text.startswith(f"{key} is a key") for text in told) == 1, key
    # Beside these: backbone and head of the model, options of the optimizer.
    inner = {text.split()[0] for text in told} - set(MOCO_0X)
    assert inner == {"model.backbone", "model.head", "optimizer.paramwise_options"}
    others = key_complaints(MOCO_0X, "moco")
    assert {text.split()[1] for text in others} == ELSEWHERE_THERE


@pytest.mark.parametrize(
    ("key", "new"),
    [
        ("runner", "train_cfg=dict(by_epoch=True, max_epochs=...)"),
        ("total_epochs", "train_cfg.max_epochs"),
        ("lr_config", "param_scheduler"),
        ("optimizer", "optim_wrapper=dict(optimizer=dict(...))"),
        ("optimizer_config", "accumulative_counts"),
        ("data", "train_dataloader"),
        ("evaluation", "train_cfg.val_interval"),
        ("checkpoint_config", "default_hooks.checkpoint"),
        ("log_config", "default_hooks.logger"),
        ("workflow", "train_cfg.val_interval"),
        ("resume_from", "--resume"),
    ],
)
def test_the_new_key_is_named(key: str, new: str) -> None:
    (text,) = era_complaints({key: 1})
    assert new in text


def test_a_key_has_one_meaning() -> None:
    assert not ERA.keys() & KEYS.keys()


def test_a_mistyped_key_is_answered_with_the_nearest() -> None:
    (text,) = key_complaints({"param_schedular": [], "model": {}}, "mine")
    assert text.startswith("mine: unknown config key 'param_schedular'")
    assert "'param_scheduler'" in text


def test_keys_of_the_command_line_are_sent_there() -> None:
    found = key_complaints({"load_from": "x.pth", "work_dir": "w"}, "mine")
    assert len(found) == 2
    assert "--pretrain" in found[0]
    assert "--work-dir" in found[1]


def test_known_keys_pass() -> None:
    assert key_complaints(dict.fromkeys(KEYS), "mine") == []
    assert era_complaints(dict.fromkeys(KEYS)) == []

"""The keys of a training config, and what became of the keys of older ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_bench.errors import unknown

KEYS: Mapping[str, str] = {
    "protocol": "name of the protocol",
    "dataset": "name of the data set",
    "arch": "pattern, or patterns, of the architectures that the recipe is for",
    "default": "whether it is taken where no config is named",
    "model": "frozen or not, heads, and what is done to them in training",
    "train_dataloader": "images of one process and step, and what is done to an image",
    "auto_scale_lr": "the global batch that the learning rate belongs to",
    "optim_wrapper": "optimiser, parameter groups, clipping, accumulation",
    "param_scheduler": "mmengine's schedulers of the learning rate",
    "train_cfg": "epochs, and how often is evaluated",
    "val_dataloader": "images of one step of evaluation",
    "transform": "a named test transform, or a list of dict(type=...)",
    "sweep": "learning rates and weight decays that heads of their own try",
    "fraction": "part of the training images whose labels are used",
    "train_list": "published list of that part, below the data root",
    "grid": "learning rates and head multipliers of --grid",
    "default_hooks": "mmengine's: checkpoints and logs",
    "custom_hooks": "mmengine's: hooks of one's own, or its EMAHook",
    "env_cfg": "mmengine's: cuDNN and processes",
    "log_processor": "mmengine's: over how many steps is averaged",
    "visualizer": "mmengine's: where curves are written, TensorBoard among them",
    "randomness": "mmengine's; --seed and --deterministic set it",
    "default_scope": "mmengine's: ssl_bench",
    "custom_imports": "mmengine's: modules to import first",
    "backbone": "dict(type=...) of a backbone registered in MODELS",
    "producer": "who wrote the checkpoint, where several write the same names",
}
"""The keys of a training protocol's config."""

_LISTS = "train_dataloader.dataset.transform and transform, lists of dict(type=...)"
_BATCH = "auto_scale_lr.base_batch_size"

ERA: Mapping[str, str] = {
    "data": f"train_dataloader=dict(batch_size=...) with {_BATCH}, and {_LISTS}; the "
    "data set is named by dataset and --data-root",
    "data_source": "dataset, and --data-root",
    "dataset_type": "dataset",
    "img_norm_cfg": "nothing: mean and deviation come with the weights",
    "train_pipeline": "train_dataloader.dataset.transform, a list of dict(type=...)",
    "test_pipeline": "transform, a list of dict(type=...)",
    "prefetch": "nothing: images are scaled on the device anyway",
    "optimizer": "optim_wrapper=dict(optimizer=dict(...))",
    "paramwise_options": "optim_wrapper.paramwise_cfg=dict(head_lr_mult=..., "
    "layer_decay=..., no_decay=[...])",
    "optimizer_config": "optim_wrapper: clip_grad for grad_clip, accumulative_counts "
    "for update_interval",
    "update_interval": "optim_wrapper.accumulative_counts",
    "fp16": "--dtype fp16",
    "use_fp16": "--dtype fp16",
    "lr_config": "param_scheduler, a list: MultiStepLR for step, CosineAnnealingLR for "
    "CosineAnnealing, a LinearLR before it for warmup",
    "momentum_config": "param_scheduler, a list",
    "runner": "train_cfg=dict(by_epoch=True, max_epochs=...)",
    "total_epochs": "train_cfg.max_epochs",
    "evaluation": "train_cfg.val_interval; the last epoch is always evaluated",
    "checkpoint_config": "default_hooks.checkpoint=dict(type='CheckpointHook', ...)",
    "log_config": "default_hooks.logger=dict(type='LoggerHook', ...), and visualizer "
    "for TensorBoard",
    "workflow": "train_cfg.val_interval, by which training alternates with evaluation",
    "cudnn_benchmark": "env_cfg.cudnn_benchmark",
    "opencv_num_threads": "env_cfg.mp_cfg.opencv_num_threads",
    "mp_start_method": "env_cfg.mp_cfg.mp_start_method",
    "dist_params": "env_cfg.dist_cfg",
    "find_unused_parameters": "nothing: it is set where it is needed",
    "persistent_workers": "nothing: workers stay",
    "resume_from": "--resume, with the same --work-dir",
    "seed": "--seed",
    "deterministic": "--deterministic",
}
"""What took the place of a key of MMSelfSup 0.x."""

ERA_MODEL: Mapping[str, str] = {
    "backbone": "--pretrain, and --arch where the weights do not show it",
    "pretrained": "--pretrain",
    "init_cfg": "--pretrain",
    "neck": "pooling and norm of a head in model.heads",
    "head": "model.heads=dict(head=dict(taps=['final'], pooling='average', ...))",
    "with_sobel": "nothing: a backbone on Sobel gradients is known by its weights",
    "train_cfg": "model.mixing=dict(mixup=..., cutmix=...)",
    "data_preprocessor": "nothing: mean and deviation come with the weights",
}
"""The same for the keys of its ``model``, which MMSelfSup 1.x still has."""

ELSEWHERE: Mapping[str, str] = {
    "load_from": "weights come from --pretrain",
    "resume": "--resume goes on with a run",
    "work_dir": "--work-dir says where a run is kept",
    "launcher": "torchrun, or srun, starts several processes",
    "data_root": "--data-root says where the data are",
    "data_preprocessor": "mean and deviation come with the weights",
    "val_cfg": "evaluation has nothing to set; see train_cfg.val_interval",
    "test_cfg": "evaluation has nothing to set; see train_cfg.val_interval",
    "val_evaluator": "top-1 and top-5 are always counted",
    "test_evaluator": "top-1 and top-5 are always counted",
    "test_dataloader": "the test images are those of the data set; see transform",
    "vis_backends": "visualizer=dict(vis_backends=[...]) has them",
    "log_level": "there is one level",
    "settings": "settings belong to frozen protocols; write the keys themselves",
}
"""Keys of mmengine's configs that the command line, or the project, sets."""


def era_complaints(config: Mapping[str, Any]) -> list[str]:
    """Return a complaint for every key of the 0.x era, with the key of today.

    Args:
        config: the config, overrides applied.
    """
    found = [_moved(key, ERA[key]) for key in config if key in ERA]
    model, optimizer = config.get("model"), config.get("optimizer")
    if isinstance(model, Mapping):
        found += [
            _moved(f"model.{key}", ERA_MODEL[key]) for key in model if key in ERA_MODEL
        ]
    if isinstance(optimizer, Mapping) and "paramwise_options" in optimizer:
        new = ERA["paramwise_options"]
        found.append(_moved("optimizer.paramwise_options", new))
    return found


def key_complaints(config: Mapping[str, Any], where: str) -> list[str]:
    """Return a complaint for every top-level key that a training config cannot take.

    Args:
        config: the config, overrides applied.
        where: the config's name, for messages.

    Returns:
        Complaints about unknown keys; those of the 0.x era are `era_complaints`'.
    """
    found = []
    for key in config:
        if key in KEYS or key in ERA:
            continue
        if key in ELSEWHERE:
            found.append(f"{where}: {key} is no key of a recipe: {ELSEWHERE[key]}")
        else:
            found.append(f"{where}: {unknown('config key', key, KEYS)}")
    return found


def _moved(key: str, new: str) -> str:
    return f"{key} is a key of older MMSelfSup configs; today it is {new}"

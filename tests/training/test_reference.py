"""Ten steps of a run against a loop written by hand, for every kind of head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_bench import data, load_backbone
from ssl_bench.data import transforms
from tests.reference import training as reference
from tests.training import small
from tests.training.test_processes import VOC07

COUNTS, BATCH, CLASSES, SEED = (14, 14, 12), 8, 3, 0
CROP = [{"type": "CenterCrop", "size": small.SIDE}]
GAP = {
    "head": {
        "taps": ["final"],
        "pooling": "average",
        "init": "normal",
        "init_std": 0.01,
    }
}
NORMED = {
    "head": {**GAP["head"], "norm": {"type": "batch", "momentum": 0.1, "eps": 1e-6}}
}
SGD = {"type": "SGD", "lr": 0.3, "momentum": 0.9, "weight_decay": 1e-3}
NESTEROV = {**SGD, "lr": 0.05, "nesterov": True}
LARS = {"type": "Lars", "lr": 1.6, "momentum": 0.9, "weight_decay": 0.0}


def order() -> list[list[int]]:
    """Return the images of ten steps, from the sampler that has tests of its own."""
    from ssl_bench.training.images import GlobalBatchSampler

    sampler = GlobalBatchSampler(sum(COUNTS), BATCH, seed=SEED)
    found = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        found += [[index for _, index in batch] for batch in sampler]
    assert len(found) == 10
    return found


def pixels_of(dataset: Any, backbone: Any) -> torch.Tensor:
    crop = transforms.build(CROP)
    pixels = torch.stack([crop(dataset.image(i)) for i in range(len(dataset))]).float()
    mean = torch.tensor(backbone.input.mean).view(1, 3, 1, 1)
    std = torch.tensor(backbone.input.std).view(1, 3, 1, 1)
    return (pixels / 255 - mean) / std


def first_weight(dims: int) -> reference.Array:
    draw = torch.Generator().manual_seed(SEED)
    weight = torch.empty(CLASSES, dims).normal_(std=0.01, generator=draw)
    return weight.double().numpy()


def normed(maps_NCL: reference.Array, eps: float) -> reference.Array:
    """Norm every channel over images and places, by the population's variance."""
    found = np.empty_like(maps_NCL)
    for c in range(maps_NCL.shape[1]):
        values = maps_NCL[:, c]
        found[:, c] = (values - values.mean()) / np.sqrt(values.var() + eps)
    return found


def pooled(tap: torch.Tensor, size: int) -> reference.Array:
    """Average a map (N, C, H, W) to size x size, as (N, C, places)."""
    height = tap.shape[2]
    parts = []
    for row in range(size):
        for column in range(size):
            rows = slice(row * height // size, -(-(row + 1) * height // size))
            columns = slice(column * height // size, -(-(column + 1) * height // size))
            parts.append(tap[:, :, rows, columns].double().mean(dim=(2, 3)))
    return torch.stack(parts, dim=2).numpy()


@pytest.mark.parametrize(
    ("heads", "optimizer"),
    [(GAP, SGD), (VOC07, NESTEROV), (NORMED, LARS), (GAP, LARS)],
    ids=["average, SGD", "multi-head, nesterov", "norm, LARS", "average, LARS"],
)
def test_heads(
    heads: dict[str, Any],
    optimizer: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = small.write_images(tmp_path / "images", COUNTS, (3, 3, 3))
    config = small.write_config(
        tmp_path / "recipe.py",
        "linear",
        heads=heads,
        optimizer=optimizer,
        train_dataloader={"batch_size": BATCH, "dataset": {"transform": CROP}},
    )
    small.run(capsys, small.words("linear", config, root, tmp_path))

    backbone = load_backbone("none", arch=small.ARCH, seed=SEED).eval()
    dataset = data.open_dataset("folder", "train", root)
    pixels = pixels_of(dataset, backbone)
    with torch.no_grad():
        taps = backbone.forward_taps(pixels, tuple(backbone.dims))
    sizes = {"stem": 12, "layer1": 6, "layer4": 2, "final": 1}
    states: dict[str, Any] = {}
    for name, head in heads.items():
        (tap,) = head["taps"]
        maps_NCL = pooled(taps[tap], sizes[tap])
        rates = {"w": optimizer["lr"], "b": optimizer["lr"]}
        decays = dict.fromkeys(rates, optimizer["weight_decay"])
        if optimizer["type"] == "SGD":
            step = reference.SGD(rates, decays, 0.9, bool(optimizer.get("nesterov")))
        else:
            step = reference.LARS(rates, decays, 0.9)
        weight = first_weight(maps_NCL.shape[1] * maps_NCL.shape[2])
        values = {"w": weight, "b": np.zeros(CLASSES)}
        states[name] = (maps_NCL, step, values, head.get("norm"))

    losses = []
    for batch in order():
        total = 0.0
        for name, (maps_NCL, step, values, norm) in states.items():
            part = maps_NCL[batch]
            if norm:
                part = normed(part, norm["eps"])
            targets = dataset.targets[batch].tolist()
            loss, weight_grad, bias_grad = reference.softmax_head(
                part.reshape(len(batch), -1), targets, values["w"], values["b"]
            )
            total += loss
            values = step.step(values, {"w": weight_grad, "b": bias_grad})
            states[name] = (maps_NCL, step, values, norm)
        losses.append(total)

    logged = [row["loss"] for row in small.steps(tmp_path)]
    assert logged == pytest.approx(losses, rel=1e-5, abs=1e-5)
    state = small.weights(tmp_path)
    for name, (_, _, values, _) in states.items():
        ours = state[f"heads.{name}.fc.weight"].double().numpy()
        np.testing.assert_allclose(ours, values["w"], atol=1e-5, rtol=1e-5)
        ours = state[f"heads.{name}.fc.bias"].double().numpy()
        np.testing.assert_allclose(ours, values["b"], atol=1e-5, rtol=1e-5)
    assert not any(name.startswith("backbone") for name in state)


def test_layer_wise_decay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = small.write_images(tmp_path / "images", COUNTS, (3, 3, 3))
    decay, lr, wd = 0.5, 1e-3, 0.05
    config = small.write_config(
        tmp_path / "recipe.py",
        "finetune",
        heads={"head": {**GAP["head"], "pooling": "class_token"}},
        optimizer={
            "type": "AdamW",
            "lr": lr,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": wd,
        },
        optim_wrapper={"paramwise_cfg": {"layer_decay": decay}},
        train_dataloader={"batch_size": BATCH, "dataset": {"transform": CROP}},
    )
    line = small.words("finetune", config, root, tmp_path, "--arch", small.VIT)
    small.run(capsys, line)

    backbone = load_backbone("none", arch=small.VIT, seed=SEED).train()
    backbone.requires_grad_(True)
    dataset = data.open_dataset("folder", "train", root)
    pixels = pixels_of(dataset, backbone)
    head = torch.nn.Linear(backbone.dims["final"], CLASSES)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(first_weight(head.in_features)))
        head.bias.zero_()
    parameters = {f"backbone.{n}": p for n, p in backbone.named_parameters()}
    parameters |= {f"heads.head.fc.{n}": p for n, p in head.named_parameters()}
    parts = reference.vit_multipliers(list(parameters), depth=2, decay=decay)
    step = reference.AdamW(
        {name: lr * part for name, part in parts.items()},
        dict.fromkeys(parts, wd),
        (0.9, 0.999),
        1e-8,
    )
    losses = []
    for batch in order():
        tokens = backbone.forward_taps(pixels[batch], ("final",))["final"]
        targets = torch.from_numpy(dataset.targets[batch])
        loss = torch.nn.functional.cross_entropy(head(tokens[:, 0]), targets)
        grads = torch.autograd.grad(loss, list(parameters.values()))
        losses.append(float(loss.detach()))
        after = step.step(
            {n: p.detach().double().numpy() for n, p in parameters.items()},
            {n: g.double().numpy() for n, g in zip(parameters, grads, strict=True)},
        )
        with torch.no_grad():
            for name, values in after.items():
                parameters[name].copy_(torch.from_numpy(values))

    logged = [row["loss"] for row in small.steps(tmp_path)]
    assert logged == pytest.approx(losses, rel=1e-5, abs=1e-5)
    state = small.weights(tmp_path)
    for name, parameter in parameters.items():
        np.testing.assert_allclose(
            state[name].numpy(), parameter.detach().numpy(), atol=2e-5, err_msg=name
        )

"""Pre-train the bundled backbone, ResNet-18 of base width 24, without labels.

Contrastive learning (NT-Xent with every rendering of the same handwritten sample as a
positive). A pair of views is two different train pictures that show one handwritten
sample: other place, size, turn, colour, ground and clutter. ``meta/samples.txt`` says
which; the labels are read only for the k-NN figure at the end.

    python tools/train_demo_backbone.py ssl_bench/bundled/digit-scenes_resnet18-w24.pth

Source: Chen et al., A Simple Framework for Contrastive Learning of Visual
Representations, ICML 2020; several positives as in Khosla et al., Supervised
Contrastive Learning, NeurIPS 2020 (equation 2), with the sample's id in place of a
label.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import sklearn
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from ssl_bench import backbones
from ssl_bench.data import scenes
from ssl_bench.files import atomic_write, atomic_write_text

ARCH = "resnet18-w24"


@dataclass(frozen=True)
class Recipe:
    """The constants of the training.

    Attributes:
        epochs: passes over the train pictures, each as an anchor once.
        pairs: anchors in a batch; each comes with one partner.
        sizes: sides of the views in pixels, each from a share of the epochs on.
        temperature: of the loss.
        lr: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        head: widths of the projection head that is thrown away.
        seed: of the weights and of every draw.
        threads: of torch; the sums, and so the last bits, depend on it.
    """

    epochs: int
    pairs: int = 256
    sizes: tuple[tuple[float, int], ...] = ((0.0, 64), (0.5, 80), (0.8, 96))
    temperature: float = 0.15
    lr: float = 3e-3
    weight_decay: float = 0.05
    head: tuple[int, int] = (256, 96)
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Split:
    """The pictures of one split.

    Attributes:
        images_BCHW: uint8.
        labels_B: int64; for the k-NN figure only.
        samples_B: int64, the handwritten sample that each shows.
    """

    images_BCHW: Tensor
    labels_B: Tensor
    samples_B: Tensor


def read_split(root: Path, split: str) -> Split:
    """Read the ImageNet-style pictures of one split into memory."""
    meta = root / "imagenet/meta"
    rows = [row.rsplit(" ", 1) for row in _lines(meta / f"{split}.txt")]
    samples = dict(row.rsplit(" ", 1) for row in _lines(meta / "samples.txt"))
    pictures = []
    for path, _ in rows:
        with Image.open(root / "imagenet" / split / path) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    return Split(
        torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(),
        torch.tensor([int(label) for _, label in rows]),
        torch.tensor([int(samples[f"{split}/{path}"]) for path, _ in rows]),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def normalise(images_BCHW: Tensor) -> Tensor:
    """Bring images in 0 to 1 to ImageNet's mean and standard deviation."""
    mean = torch.tensor(backbones.IMAGENET_INPUT.mean)[:, None, None]
    std = torch.tensor(backbones.IMAGENET_INPUT.std)[:, None, None]
    return ((images_BCHW - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(images_BCHW: Tensor, size: int, rng: torch.Generator) -> Tensor:
    """Make views: a small affine map, and a linear mixing of the colours.

    Args:
        images_BCHW: uint8.
        size: side of the views in pixels.
        rng: source of the draws.

    Returns:
        (B, 3, size, size) float32, normalised.
    """
    count = len(images_BCHW)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=rng)

    turn, skew = between(-0.2, 0.2), between(-0.15, 0.15)
    wide = between(0.8, 1.25)
    tall = wide * between(0.85, 1.18)
    cos, sin = turn.cos(), turn.sin()
    rows = (
        torch.stack([cos * wide, skew - sin * tall, between(-0.2, 0.2)], 1),
        torch.stack([sin * wide, cos * tall, between(-0.2, 0.2)], 1),
    )
    grid = functional.affine_grid(
        torch.stack(rows, 1), [count, 3, size, size], align_corners=False
    )
    views = functional.grid_sample(
        images_BCHW.float(), grid, padding_mode="reflection", align_corners=False
    )
    mix = torch.eye(3) + 0.35 * torch.randn(count, 3, 3, generator=rng)
    mix = between(0.7, 1.3, 1, 1) * mix / mix.sum(2, keepdim=True).clamp_min(0.5)
    lift = between(-0.1, 0.1, 1, 1)
    # Mixing, brightness and normalisation are one affine map of each pixel's colour.
    mean = torch.tensor(backbones.IMAGENET_INPUT.mean)[:, None]
    std = torch.tensor(backbones.IMAGENET_INPUT.std)[:, None]
    views = torch.baddbmm((lift - mean) / std, mix / std / 255, views.flatten(2))
    return views.view(count, 3, size, size).contiguous(
        memory_format=torch.channels_last
    )


def contrast(embedded_BD: Tensor, samples_B: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss over a batch of views.

    Args:
        embedded_BD: outputs of the head.
        samples_B: which handwritten sample each view shows; each occurs at least twice.
        temperature: divides the cosine similarities.

    Returns:
        The mean, over views and over their positives, of the cross-entropy of picking
        the positive among all other views.
    """
    unit_BD = functional.normalize(embedded_BD)
    sims_BB = unit_BD @ unit_BD.T / temperature
    self_BB = torch.eye(len(samples_B), dtype=torch.bool)
    log_BB = sims_BB.masked_fill(self_BB, -math.inf).log_softmax(1)
    positive_BB = (samples_B[:, None] == samples_B[None, :]) & ~self_BB
    total_B = log_BB.masked_fill(~positive_BB, 0.0).sum(1)
    return -(total_B / positive_BB.sum(1)).mean()


def draw_partners(samples_N: Tensor, rng: torch.Generator) -> Tensor:
    """Draw for each picture another one of the same handwritten sample.

    Args:
        samples_N: which sample each picture shows.
        rng: source of the draw.

    Returns:
        (N,) indices; a picture whose sample has no other is its own partner.
    """
    shuffled = torch.randperm(len(samples_N), generator=rng)
    order = shuffled[samples_N[shuffled].argsort(stable=True)]
    partners = torch.empty_like(order)
    _, counts = torch.unique_consecutive(samples_N[order], return_counts=True)
    for group in torch.split(order, counts.tolist()):
        partners[group] = group.roll(1)
    return partners


def train(split: Split, recipe: Recipe) -> tuple[nn.Module, float]:
    """Train from random weights; print the loss of each epoch.

    Returns:
        The network in evaluation mode, and the loss of the last epoch.
    """
    rng = torch.Generator().manual_seed(recipe.seed)
    network = backbones.build(ARCH, recipe.seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(recipe.seed)
    hidden, out = recipe.head
    head = nn.Sequential(
        nn.Linear(network.dims["final"], hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, out),
    )
    params = [*network.parameters(), *head.parameters()]
    count = len(split.samples_B)
    batches = count // recipe.pairs
    optimizer = torch.optim.AdamW(params, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.epochs * batches, pct_start=0.1
    )
    started, mean = time.monotonic(), math.nan
    for epoch in range(recipe.epochs):
        size = [px for at, px in recipe.sizes if epoch >= at * recipe.epochs][-1]
        partners = draw_partners(split.samples_B, rng)
        order = torch.randperm(count, generator=rng)
        network.train()
        losses = []
        for anchors in torch.split(order[: batches * recipe.pairs], recipe.pairs):
            chosen = torch.cat([anchors, partners[anchors]])
            views = augment(split.images_BCHW[chosen], size, rng)
            with torch.autocast("cpu", torch.bfloat16):
                pooled_BD = network.forward_taps(views, ["final"])["final"].mean((2, 3))
            loss = contrast(
                head(pooled_BD.float()), split.samples_B[chosen], recipe.temperature
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        print(
            f"epoch {epoch + 1}/{recipe.epochs}  {size} px  loss {mean:.4f}  "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
    return network.eval(), mean


@torch.inference_mode()
def knn_top1(network: nn.Module, bank: Split, query: Split) -> float:
    """Return k-NN top-1 in percent: k = 20, cosine, weights exp(s / 0.07)."""
    bank_ND, query_QD = (
        functional.normalize(
            torch.cat(
                [
                    network(normalise(batch.float() / 255)).mean((2, 3))
                    for batch in torch.split(split.images_BCHW, 250)
                ]
            )
        )
        for split in (bank, query)
    )
    sims_QK, index_QK = (query_QD @ bank_ND.T).topk(20)
    votes = torch.zeros(len(query_QD), len(scenes.CLASSES))
    votes.scatter_add_(1, bank.labels_B[index_QK], (sims_QK / 0.07).exp())
    return 100 * (votes.argmax(1) == query.labels_B).double().mean().item()


def save(network: nn.Module, out: Path, meta: dict[str, Any]) -> None:
    """Write weights and figures, each file whole or not at all."""
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    with atomic_write(out) as beside:
        torch.save({"state_dict": state, "meta": meta}, beside)


def main() -> None:
    """Read the command line, train, and report the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the .pth to write")
    parser.add_argument(
        "--data-root", type=Path, help="where digit-scenes is; made anew by default"
    )
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    recipe = Recipe(epochs=args.epochs, seed=args.seed, threads=args.threads)
    torch.set_num_threads(recipe.threads)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.data_root or Path(scratch) / "digit-scenes"
        # Left alone where it is there already; refused where it is something else.
        scenes.generate(root, seed=scenes.DEFAULT_SEED, styles=("imagenet",))
        bank, query = read_split(root, "train"), read_split(root, "val")
    random = knn_top1(backbones.build(ARCH, recipe.seed), bank, query)
    print(f"k-NN top-1 of random weights: {random:.2f} %", flush=True)
    started = time.monotonic()
    network, loss = train(bank, recipe)
    seconds = round(time.monotonic() - started)
    trained = knn_top1(network, bank, query)
    print(f"k-NN top-1 after training: {trained:.2f} % ({seconds} s)")
    meta = {
        "arch": ARCH,
        "dataset": "digit-scenes",
        "version": scenes.VERSION,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "loss": loss,
    }
    save(network, args.out, meta)
    figures = {
        **meta,
        "data_seed": scenes.DEFAULT_SEED,
        "train_images": len(bank.samples_B),
        "val_images": len(query.samples_B),
        "knn_top1_k20_random": round(random, 2),
        "knn_top1_k20": round(trained, 2),
        "seconds": seconds,
        "threads": recipe.threads,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "scikit_learn": sklearn.__version__,
        "pillow": PIL.__version__,
        "numpy": np.__version__,
    }
    text = json.dumps(figures, indent=1) + "\n"
    atomic_write_text(args.out.with_suffix(".json"), text)


if __name__ == "__main__":
    main()

"""Linear probes on cached features: many heads at once, and closed forms.

52 heads (13 rates, 4 weight decays) over 5 epochs of 50,000 x 2,048 features, against
the same heads one after the other with ``torch.nn.Linear``, ``torch.optim.SGD`` and the
same batches, features in memory for both. The baseline trains a stated random sample of
the heads, all epochs of each, and is scaled to 52; the accuracy on 5,000 other rows
stands beside for every head that both have trained.

What products allow is measured with them: the two products of a step of one head, 52
times, against the same of the group that is trained together. Where the ratio of the
whole is larger than theirs, the rest is what the baseline does besides multiplying.

Further: one forward pass of a ResNet-50 for each head; ridge regression at 40 lambdas
against one ``torch.linalg.eigh`` and its products, and against scikit-learn's Ridge;
logistic regression against scikit-learn's LogisticRegression, with objective and
accuracy beside.

    python -m benchmarks.speed.probe
    python -m benchmarks.speed.probe --images 8000 --classes 10 --repeats 1   # a look
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.speed import measure
from benchmarks.speed.probe_features import Data, make
from ssl_bench.protocols.probe import COLUMNS, Settings
from ssl_bench.solvers import linear_heads, logistic, ridge

SEED = 0
EPOCHS = 5
DECAYS = (0.0, 1e-5, 1e-4, 1e-3)
SAMPLE = {10: 13, 100: 6, 1000: 2}
"""Heads that the baseline trains, by the number of classes; two of any other."""

COSTS = (0.01, 1.0)
LOGISTIC_UP_TO = 100
"""Classes up to which scikit-learn's LogisticRegression is waited for."""

BARS = {
    "of_what_products_allow": 0.8,
    "times_at_10_classes": 4.0,
    "times_resnet50_passes": 100.0,
    "ridge_to_eigh_and_products_at_most": 1.5,
}
SETTINGS = Settings()


def all_heads() -> list[linear_heads.Head]:
    """Return the 52 heads."""
    return [
        linear_heads.Head(rate, decay, SETTINGS.momentum)
        for decay in DECAYS
        for rate in SETTINGS.rates
    ]


def run_heads(data: Data) -> list[float]:
    """Train all heads in the protocol's groups; return their accuracies."""
    labels_N, labels_M = data.tensors()
    schedule = linear_heads.Schedule(EPOCHS, SETTINGS.batch_size, SEED)
    together = group_of(data.classes)
    heads, hits = all_heads(), []
    for start in range(0, len(heads), together):
        some = heads[start : start + together]
        found = linear_heads.train(data.rows, labels_N, data.classes, some, schedule)
        hits += linear_heads.count_hits(
            data.asked, labels_M, found.weights_HCD, found.bias_HC
        ).tolist()
    return [100 * hit / len(data.labels_M) for hit in hits]


def group_of(classes: int) -> int:
    """Return how many heads the protocol trains together on a CPU."""
    return min(len(all_heads()), max(1, COLUMNS["cpu"] // classes))


def one_head(data: Data, head: linear_heads.Head) -> float:
    """Train one head as one would by hand; return its accuracy."""
    feats_ND = torch.from_numpy(data.feats_ND)
    labels_N, labels_M = data.tensors()
    schedule = linear_heads.Schedule(EPOCHS, SETTINGS.batch_size, SEED)
    layer = torch.nn.Linear(feats_ND.shape[1], data.classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(
        layer.parameters(),
        lr=head.rate,
        momentum=head.momentum,
        weight_decay=head.decay,
    )
    steps = schedule.steps(len(feats_ND))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(EPOCHS):
        order = torch.from_numpy(schedule.order(len(feats_ND), epoch))
        for batch in torch.split(order, SETTINGS.batch_size):
            loss = torch.nn.functional.cross_entropy(
                layer(feats_ND[batch]), labels_N[batch]
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            cosine.step()
    with torch.inference_mode():
        found = layer(torch.from_numpy(data.asked_MD)).argmax(1)
    return 100 * float((found == labels_M).double().mean())


def narrow_products(dims: int, classes: int) -> float:
    """Return the GFLOP/s of a step's products as ``torch.nn.Linear`` computes them."""
    rows, weights, bias = draw(dims, classes)
    slopes = torch.ones(SETTINGS.batch_size, classes)
    scores, change = torch.empty_like(slopes), torch.empty_like(weights)

    def step() -> None:
        torch.addmm(bias, rows, weights.T, out=scores)
        torch.mm(slopes.T, rows, out=change)

    return rate_of(step, dims, classes)


def wide_products(dims: int, columns: int) -> float:
    """Return the GFLOP/s of a step's products for heads that go together."""
    rows, weights, bias = draw(dims, columns)
    slopes = torch.ones(columns, SETTINGS.batch_size)
    scores, change = torch.empty_like(slopes), torch.empty_like(weights)

    def step() -> None:
        torch.addmm(bias[:, None], weights, rows.T, out=scores)
        torch.mm(slopes, rows, out=change)

    return rate_of(step, dims, columns)


def draw(dims: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of a batch, weights and intercepts."""
    rng = torch.Generator().manual_seed(SEED)
    rows = torch.randn(SETTINGS.batch_size, dims, generator=rng)
    return rows, torch.randn(columns, dims, generator=rng), torch.zeros(columns)


def rate_of(step: Callable[[], None], dims: int, columns: int) -> float:
    """Return the GFLOP/s of steps, the best of three runs."""
    work = 4e-9 * SETTINGS.batch_size * dims * columns
    count = max(3, int(100 / work))

    def steps() -> None:
        for _ in range(count):
            step()

    steps()
    return work * count / min(timed(steps)[0] for _ in range(3))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long something takes, and what it gives."""
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def heads_report(data: Data, repeats: int) -> dict[str, Any]:
    """Measure all heads at once against a sample of them, one by one."""
    heads, dims = all_heads(), data.feats_ND.shape[1]
    rng = np.random.default_rng(SEED)
    sampled = sorted(rng.permutation(len(heads))[: SAMPLE.get(data.classes, 2)])
    ours, each, ratios = [], [], []
    accuracies: list[tuple[float, float]] = []
    narrow = wide = 0.0
    for _ in range(repeats):
        narrow = max(narrow, narrow_products(dims, data.classes))
        wide = max(wide, wide_products(dims, group_of(data.classes) * data.classes))
        seconds, found = timed(partial(run_heads, data))
        one_by_one = [timed(partial(one_head, data, heads[i])) for i in sampled]
        ours.append(seconds)
        each += [spent for spent, _ in one_by_one]
        mean = sum(spent for spent, _ in one_by_one) / len(sampled)
        ratios.append(mean * len(heads) / seconds)
        pairs = zip(sampled, one_by_one, strict=True)
        accuracies = [(found[i], theirs) for i, (_, theirs) in pairs]
        print(
            f"{data.classes} classes: 52 heads {seconds:.1f} s, one by one "
            f"{mean * len(heads):.1f} s ({ratios[-1]:.1f} times; products allow "
            f"{wide / narrow:.2f})",
            flush=True,
        )
    work = 4e-9 * len(data.labels_N) * dims * data.classes * len(heads) * EPOCHS
    allowed = wide / narrow
    return {
        "ours_s": measure.spread(ours),
        "linear_and_sgd_a_head_s": measure.spread(each),
        "sampled_heads": len(sampled),
        "times_faster": measure.spread(ratios),
        "products_gflops": {"narrow": round(narrow, 1), "wide": round(wide, 1)},
        "products_allow": round(allowed, 2),
        "of_what_products_allow": measure.spread([r / allowed for r in ratios]),
        "ours_gflops": round(work / min(ours), 1),
        "best_accuracy": max(found),
        "largest_difference_in_accuracy": round(
            max(abs(mine - theirs) for mine, theirs in accuracies), 2
        ),
        "accuracies": [[round(a, 2), round(b, 2)] for a, b in accuracies],
    }


def resnet_seconds(images: int) -> float:
    """Return the seconds that an eager ResNet-50 needs for one image of 224 pixels."""
    import torchvision

    model = torchvision.models.resnet50().eval()
    batch = torch.zeros(32, 3, 224, 224)
    with torch.inference_mode():
        model(batch)
        seconds, _ = timed(lambda: [model(batch) for _ in range(images // 32)])
    return seconds / (images // 32 * 32)


def run_ridge(data: Data) -> NDArray[np.int64]:
    """Return the hits at every lambda of the protocol."""
    labels_N, labels_M = data.tensors()
    rows = data.rows
    found = ridge.spectrum(rows)
    lambdas = [share * found.mean_value() for share in SETTINGS.lambdas]
    hits: NDArray[np.int64] = ridge.count_hits(
        rows, labels_N, data.classes, found, data.asked, labels_M, lambdas
    )
    return hits


def bare_ridge(data: Data) -> None:
    """Do the eigendecomposition and the products, and nothing else."""
    feats, asked = torch.from_numpy(data.feats_ND), torch.from_numpy(data.asked_MD)
    told = torch.nn.functional.one_hot(data.tensors()[0], data.classes).float()
    scatter, sums = (feats.T @ feats).double(), feats.T @ told
    _, vectors = torch.linalg.eigh(scatter)
    vectors = vectors.float()
    models, turned = vectors.T @ sums, asked @ vectors
    for _ in SETTINGS.lambdas:
        turned @ models


def ridge_report(data: Data, repeats: int) -> dict[str, Any]:
    """Measure 40 lambdas against the bare work, and against scikit-learn's Ridge."""
    from sklearn.linear_model import Ridge

    hits = run_ridge(data)
    runs = measure.interleaved(
        {"ours": lambda: run_ridge(data), "bare": lambda: bare_ridge(data)}, repeats
    )
    best = int(hits.argmax())
    penalty = SETTINGS.lambdas[best] * ridge.spectrum(data.rows).mean_value()
    told = np.eye(data.classes, dtype=np.float32)[data.labels_N]
    seconds, model = timed(lambda: Ridge(alpha=penalty).fit(data.feats_ND, told))
    found = model.predict(data.asked_MD).argmax(1)
    return {
        "ours": runs["ours"].describe(),
        "eigh_and_products": runs["bare"].describe(),
        "to_eigh_and_products": measure.ratio(runs["ours"], runs["bare"]),
        "scikit_learn_a_lambda_s": round(seconds, 3),
        "times_faster_than_scikit_learn": round(
            seconds * len(SETTINGS.lambdas) / min(runs["ours"].wall), 1
        ),
        "accuracy": 100 * int(hits[best]) / len(data.labels_M),
        "scikit_learn_accuracy": 100 * float((found == data.labels_M).mean()),
    }


def logistic_report(data: Data) -> dict[str, Any]:
    """Measure a few costs against scikit-learn's LogisticRegression at its defaults."""
    from sklearn.linear_model import LogisticRegression

    labels_N, labels_M = data.tensors()
    rule = logistic.Rule(SETTINGS.tolerance, SETTINGS.steps, SETTINGS.history)
    rows = data.rows

    def ours() -> list[logistic.Solution]:
        spectrum = ridge.spectrum(rows)
        return list(
            logistic.solve_path(rows, labels_N, data.classes, COSTS, spectrum, rule)
        )

    seconds, solutions = timed(ours)
    found: dict[str, Any] = {"costs": list(COSTS), "ours_s": round(seconds, 2)}
    theirs = 0.0
    for cost, solution in zip(COSTS, solutions, strict=True):
        model = LogisticRegression(C=cost, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how far it came is told below
            spent, _ = timed(partial(model.fit, data.feats_ND, data.labels_N))
        theirs += spent
        hits = linear_heads.count_hits(
            data.asked, labels_M, solution.weights_CD[None], solution.bias_C[None]
        )
        logs = model.predict_log_proba(data.feats_ND)
        loss = -logs[np.arange(len(logs)), data.labels_N].mean(dtype=np.float64)
        length = float(np.square(model.coef_, dtype=np.float64).sum())
        found[f"cost_{cost:g}"] = {
            "steps": [solution.steps, int(model.n_iter_[0])],
            "objective": [solution.objective, loss + length / (2 * cost * len(logs))],
            "accuracy": [
                100 * int(hits[0]) / len(data.labels_M),
                100 * float(model.score(data.asked_MD, data.labels_M)),
            ],
        }
    found["scikit_learn_s"] = round(theirs, 2)
    found["times_faster"] = round(theirs / seconds, 1)
    return found


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--dims", type=int, default=2048)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=measure.RESULTS)
    args = parser.parse_args()
    image_s = resnet_seconds(128)
    report: dict[str, Any] = {
        "what": f"{args.images} x {args.dims} float32 features, {EPOCHS} epochs, "
        f"batches of {SETTINGS.batch_size}, {len(all_heads())} heads",
        "bars": BARS,
        "resnet50_a_pass_s": round(image_s * args.images, 1),
    }
    for classes in args.classes:
        data = make(args.images, args.dims, classes, SEED)
        heads = heads_report(data, args.repeats)
        passes = image_s * args.images * len(all_heads())
        report[f"{classes}_classes"] = {
            "heads": heads,
            "times_resnet50_passes": round(passes / heads["ours_s"]["median"], 1),
            "ridge": ridge_report(data, args.repeats),
            "logistic": logistic_report(data) if classes <= LOGISTIC_UP_TO else None,
        }
    report["machine"] = measure.machine(
        ("ssl_bench", "torch", "torchvision", "numpy", "scikit-learn")
    )
    measure.write("probe", report, args.out)


if __name__ == "__main__":
    main()

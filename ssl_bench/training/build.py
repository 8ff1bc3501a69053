"""The model of a training run: the backbone, and one head or many."""

from __future__ import annotations

from ssl_bench.data import transforms
from ssl_bench.training.drop_path import set_drop_path
from ssl_bench.training.heads import Head, sources_of
from ssl_bench.training.job import DTYPES, Job
from ssl_bench.training.mixing import Mixing
from ssl_bench.training.model import Classifier


def build_model(job: Job) -> tuple[Classifier, dict[str, dict[str, float]]]:
    """Return the model, and learning rate and weight decay of heads of a sweep."""
    recipe, backbone = job.recipe, job.backbone
    size = transforms.output_size(list(job.transform))
    classes = len(job.train.classes)
    heads: dict[str, Head] = {}
    rates: dict[str, dict[str, float]] = {}
    optimizer = recipe.config.optim_wrapper.optimizer
    lrs = recipe.sweep.get("lr", (float(optimizer.lr),))
    decays = recipe.sweep.get("wd", (float(optimizer.get("weight_decay", 0.0)),))
    for name, spec in recipe.heads.items():
        sources = sources_of(spec, backbone, size)
        for lr in lrs:
            for decay in decays:
                full = name
                if recipe.sweep:
                    full = f"{name}_lr{lr:g}_wd{decay:g}".replace(".", "p")
                    rates[full] = {"lr": lr, "weight_decay": decay}
                heads[full] = Head(spec, sources, backbone.dims, classes, job.seed)
    settings = recipe.config.model
    mixing = None
    smoothing = float(settings.get("label_smoothing", 0.0))
    if settings.get("mixing") or smoothing:
        given = settings.get("mixing") or {}
        mixing = Mixing(
            classes,
            mixup=float(given.get("mixup", 0.0)),
            cutmix=float(given.get("cutmix", 0.0)),
            prob=float(given.get("prob", 1.0)),
            switch_prob=float(given.get("switch_prob", 0.5)),
            label_smoothing=smoothing,
            seed=job.seed,
        )
    model = Classifier(
        backbone,
        heads,
        frozen=recipe.frozen,
        dtype=DTYPES[job.dtype],
        device=job.device,
        chunk=int(settings.get("chunk", 64)),
        norm_eval=bool(settings.get("norm_eval", False)),
        alone=bool(recipe.sweep),
        mixing=mixing,
    )
    if settings.get("drop_path"):
        set_drop_path(model.network, float(settings.drop_path))
    return model, rates

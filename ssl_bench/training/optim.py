"""Optimisers by name, and the groups of parameters that they treat differently."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import timm.optim
import torch
from torch import nn

from ssl_bench.errors import BenchError, ConfigError, unknown
from ssl_bench.registry import OPTIMIZERS
from ssl_bench.training.layer_decay import KNOWN, Layers, layers_of

# Source: MMSelfSup 0.x and 1.x, mmselfsup/engine/optimizers/lars.py.
TRUST_COEFFICIENT = 1e-3
LARS_EPS = 1e-8

_PLAIN = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
)
"""Optimisers of torch that take a step from gradients alone, for every shape."""

BACKBONE, HEADS = "backbone", "heads"
"""What the names of a model's parameters begin with."""

PARAMWISE = ("head_lr_mult", "layer_decay", "no_decay")
_RATES = ("lr", "weight_decay")

NORM, BIAS, FLAT = "norm", "bias", "flat"
_LAYER_SCALE = ("gamma", "gamma_1", "gamma_2")
_TENSORS: Mapping[str, tuple[str, ...]] = {
    "gamma": _LAYER_SCALE,
    **{
        name: (name,)
        for name in (
            "gamma_1",
            "gamma_2",
            "q_bias",
            "v_bias",
            "cls_token",
            "reg_token",
            "mask_token",
            "pos_embed",
            "absolute_pos_embed",
            "relative_position_bias_table",
            "logit_scale",
        )
    },
}
"""Last parts of the names that a word of ``no_decay`` stands for."""

NO_DECAY = (NORM, BIAS, FLAT, *_TENSORS)
"""Words of ``no_decay``: all tensors of norms, tensors called bias, tensors of one
dimension, and tensors by their name."""

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


@OPTIMIZERS.register_module()
class Lars(timm.optim.Lars):  # type: ignore[misc]
    """Take LARS steps, the trust ratio applied to every parameter.

    For a parameter w with gradient g, weight decay d and momentum m::

        ratio = trust_coeff * |w| / (|g| + d * |w| + eps), or 1 if |w| or |g| is 0
        v     = m * v + ratio * (g + d * w), beginning with v = ratio * (g + d * w)
        w     = w - lr * v

    The published algorithm (You et al., 2017, algorithm 1) and MMSelfSup multiply by
    the learning rate before the momentum: v = m * v + lr * ratio * (g + d * w). Both
    are the same as long as the rate is; where a schedule lowers it, what v remembers is
    taken with today's rate here, as in torch's SGD and in the official MAE. The
    publication has no eps. As in the recipes of MMSelfSup, biases and norms are adapted
    too, and one that is zero takes its first step at the full rate; the official MAE
    leaves tensors of one dimension unadapted. timm's own class adapts nothing where the
    weight decay is 0 unless it is told to, which all linear recipes would run into.

    Args:
        params: groups of parameters.
        lr: learning rate.
        momentum: how much of the last step remains.
        weight_decay: of the groups that have none of their own.
        dampening: part of the gradient that momentum leaves out.
        nesterov: whether to look ahead.
        trust_coeff: of the ratio.
        eps: of the ratio.
        trust_clip: let no ratio exceed the learning rate (LARC).
        foreach: compute all parameters in one call; None for what is fastest.

    Source: MMSelfSup 1.x, mmselfsup/engine/optimizers/lars.py; timm 1.0.31,
        timm/optim/lars.py.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        trust_coeff: float = TRUST_COEFFICIENT,
        eps: float = LARS_EPS,
        trust_clip: bool = False,
        foreach: bool | None = None,
    ) -> None:
        options: dict[str, Any] = {} if foreach is None else {"foreach": foreach}
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            trust_coeff=trust_coeff,
            eps=eps,
            trust_clip=trust_clip,
            always_adapt=True,
            **options,
        )


OPTIMIZERS.register_module(name="Lamb", module=timm.optim.Lamb)


def build_optimizer(
    config: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]
) -> torch.optim.Optimizer:
    """Build an optimiser.

    Args:
        config: such as ``dict(type="SGD", lr=0.1, momentum=0.9)``; ``type`` is one of
            torch's, ``Lars``, ``Lamb``, or a class registered in OPTIMIZERS.
        groups: of parameters, as `parameter_groups` returns them; their own learning
            rate and weight decay win.

    Raises:
        ConfigError: with everything that is wrong.
    """
    complaints = optimizer_complaints(config)
    if not any(group["params"] for group in groups):
        complaints.append(
            "there is nothing to train: no parameter wants a gradient; name a head in "
            "model.heads, or set model.frozen=False"
        )
    if complaints:
        raise ConfigError(complaints)
    options = dict(config)
    name = options.pop("type")
    try:
        built: torch.optim.Optimizer = _kinds()[name](
            [dict(group) for group in groups], **options
        )
    except (TypeError, ValueError) as error:
        said = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ConfigError([f"optimizer {name} refuses {said}: {error}"]) from error
    return built


def optimizer_complaints(config: Any) -> list[str]:
    """Return everything that is wrong with names in an optimiser's config.

    Args:
        config: as `build_optimizer` takes it.
    """
    if not isinstance(config, Mapping) or "type" not in config:
        return [f"optimizer={config!r} has no type; write dict(type='SGD', lr=...)"]
    kinds, name = _kinds(), str(config["type"])
    if name not in kinds:
        same = [kind for kind in kinds if kind.lower() == name.lower()]
        hint = f"; it is spelt {same[0]!r}" if same else ""
        return [unknown("optimizer", name, kinds) + hint]
    wanted = inspect.signature(kinds[name]).parameters
    known = [key for key in wanted if key not in ("self", "params")]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in wanted.values())
    found = [
        unknown(f"argument of optimizer {name}", key, known)
        for key in config
        if key not in known and key != "type" and not open_ended
    ]
    return found + [
        f"optimizer {name} needs {key}"
        for key in known
        if wanted[key].default is inspect.Parameter.empty
        and wanted[key].kind is not inspect.Parameter.VAR_KEYWORD
        and key not in config
    ]


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    paramwise: Mapping[str, Any] | None,
    heads: Mapping[str, Mapping[str, float]] | None,
) -> list[dict[str, Any]]:
    """Sort a model's parameters by learning rate and weight decay.

    Parameters without gradient are left out. What has equal rates is one group, in the
    order in which the model names its parameters.

    Args:
        model: its parameters are named ``backbone.*`` and ``heads.<name>.*``.
        lr: learning rate that the rules start from.
        weight_decay: of everything that no rule exempts.
        paramwise: ``head_lr_mult`` multiplies the rate of all heads; ``layer_decay``
            lowers that of the backbone layer by layer, see `layer_decay.layers_of`;
            ``no_decay`` lists what has no weight decay, words out of `NO_DECAY`.
        heads: ``lr`` and ``weight_decay`` of single heads by name. Such a rate is
            final: ``head_lr_mult`` does not multiply it; ``no_decay`` holds all the
            same.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay`` and ``name``.

    Raises:
        ConfigError: with everything that is wrong with ``paramwise`` and ``heads``.
        BenchError: for a parameter outside of backbone and heads.
    """
    rules, rates = dict(paramwise or {}), dict(heads or {})
    inner: Any = model
    complaints = paramwise_complaints(rules)
    complaints += _head_complaints(rates, getattr(inner, HEADS, {}))
    layers = None
    if rules.get("layer_decay", 1) != 1 and not complaints:
        backbone = getattr(inner, BACKBONE, None)
        layers = None if backbone is None else layers_of(backbone)
        if layers is None:
            complaints.append(_layerless(backbone))
    if complaints:
        raise ConfigError(complaints)
    exempt = _exempt(model, rules.get("no_decay", ()))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    names: dict[tuple[float, float], dict[str, None]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        label, rate, decay = _rates_of(name, lr, weight_decay, rules, rates, layers)
        if name in exempt and decay:
            label, decay = f"{label} without decay", 0.0
        groups.setdefault((rate, decay), []).append(parameter)
        names.setdefault((rate, decay), {})[label] = None
    return [
        {
            "params": parameters,
            "lr": rate,
            "weight_decay": decay,
            "name": " + ".join(names[rate, decay]),
        }
        for (rate, decay), parameters in groups.items()
    ]


def paramwise_complaints(paramwise: Any) -> list[str]:
    """Return everything that is wrong with rules for single parameters.

    Args:
        paramwise: as `parameter_groups` takes it.
    """
    if paramwise is None:
        return []
    if not isinstance(paramwise, Mapping):
        return [
            f"paramwise_cfg={paramwise!r} is not dict({'=..., '.join(PARAMWISE)}=...)"
        ]
    found = [
        unknown("key of paramwise_cfg", str(key), PARAMWISE)
        for key in paramwise
        if key not in PARAMWISE
    ]
    multiplier = paramwise.get("head_lr_mult", 1)
    if not _is_number(multiplier) or not multiplier > 0:
        found.append(f"paramwise_cfg.head_lr_mult={multiplier!r} is not above 0")
    decay = paramwise.get("layer_decay", 1)
    if not _is_number(decay) or not 0 < decay <= 1:
        found.append(
            f"paramwise_cfg.layer_decay={decay!r} is not above 0 and at most 1; 1 is "
            "one rate for all"
        )
    words = paramwise.get("no_decay", ())
    if isinstance(words, str) or not isinstance(words, Sequence):
        found.append(f"paramwise_cfg.no_decay={words!r} is not a list, as in ['norm']")
    else:
        found += [
            unknown("word of paramwise_cfg.no_decay", str(word), NO_DECAY)
            for word in words
            if word not in NO_DECAY
        ]
    return found


def _kinds() -> dict[str, Any]:
    """Return the optimisers by name."""
    return {kind.__name__: kind for kind in _PLAIN} | dict(OPTIMIZERS.module_dict)


def _head_complaints(
    rates: Mapping[str, Mapping[str, float]], known: Iterable[str]
) -> list[str]:
    names = list(known)
    found = [unknown("head", name, names) for name in rates if name not in names]
    return found + [
        unknown(f"rate of head {name}", key, _RATES)
        for name, given in rates.items()
        for key in given
        if key not in _RATES
    ]


def _layerless(backbone: nn.Module | None) -> str:
    """Say why there is no layer decay."""
    if backbone is None:
        what = "a frozen backbone is not trained"
    else:
        arch = getattr(backbone, "arch", type(backbone).__name__)
        what = f"{arch} has no published layers; known are those of {KNOWN}"
    return (
        f"paramwise_cfg.layer_decay cannot be followed: {what}; turn it off: "
        "--cfg-options optim_wrapper.paramwise_cfg.layer_decay=1"
    )


def _rates_of(
    name: str,
    lr: float,
    weight_decay: float,
    rules: Mapping[str, Any],
    rates: Mapping[str, Mapping[str, float]],
    layers: Layers | None,
) -> tuple[str, float, float]:
    """Return what a parameter belongs to, its learning rate and its weight decay."""
    room, _, rest = name.partition(".")
    if room == BACKBONE:
        if layers is None:
            return BACKBONE, lr, weight_decay
        layer = layers.of(rest)
        scale = layers.multiplier(layer, float(rules["layer_decay"]))
        return f"layer {layer}", lr * scale, weight_decay
    if room != HEADS:
        raise BenchError(
            f"parameter {name} is neither below {BACKBONE}. nor below {HEADS}., so "
            "that no rule can be followed; pass the model without what wraps it"
        )
    head = rest.partition(".")[0]
    own = rates.get(head, {})
    rate = own.get("lr", lr * float(rules.get("head_lr_mult", 1)))
    label = f"{HEADS}.{head}" if own else HEADS
    return label, float(rate), float(own.get("weight_decay", weight_decay))


def _exempt(model: nn.Module, words: Iterable[str]) -> set[str]:
    """Return the names of the parameters that words of ``no_decay`` stand for."""
    wanted = set(words)
    tensors = {name for word in wanted for name in _TENSORS.get(word, ())}
    if BIAS in wanted:
        tensors.add(BIAS)
    found = set()
    for place, module in model.named_modules():
        start = f"{place}." if place else ""
        norm = NORM in wanted and isinstance(module, _NORMS)
        for name, parameter in module.named_parameters(recurse=False):
            flat = FLAT in wanted and parameter.ndim == 1
            if norm or flat or name in tensors:
                found.add(start + name)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

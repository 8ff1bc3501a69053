"""Write an extracted backbone in the names of another code base.

The provenance goes along, with the layout that reads these names, so that every file
written here can be read here again and is then the same backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_bench.backbones import ArchSpec, BackboneWeights
from ssl_bench.checkpoints import extracted, reader, writer
from ssl_bench.checkpoints.export import beit as export_beit
from ssl_bench.checkpoints.export import convolutional as export_convolutional
from ssl_bench.checkpoints.export import dinov3 as export_dinov3
from ssl_bench.checkpoints.export import resnet as export_resnet
from ssl_bench.checkpoints.export import swin as export_swin
from ssl_bench.checkpoints.export import vit as export_vit
from ssl_bench.checkpoints.export.detectron2 import SUFFIX, settings, write_pickle
from ssl_bench.checkpoints.export.plan import Plan
from ssl_bench.errors import CheckpointError, UsageError, unknown

DETECTRON2 = "detectron2"
TARGETS = ("mm", "timm", "torchvision", DETECTRON2)

Planner = Callable[[ArchSpec], Plan | str]
PLANNERS: Mapping[str, Mapping[str, Planner]] = {
    "resnet": {
        "mm": export_resnet.mm,
        "timm": export_resnet.timm,
        "torchvision": export_resnet.torchvision,
        DETECTRON2: export_resnet.detectron2,
    },
    "vit": {
        "mm": export_vit.mm,
        "timm": export_vit.timm,
        "torchvision": export_vit.torchvision,
    },
    "swin": {
        "mm": export_swin.mm,
        "timm": export_swin.timm,
        "torchvision": export_swin.torchvision,
    },
    "convnext": {
        "mm": export_convolutional.convnext_mm,
        "timm": export_convolutional.convnext_timm,
        "torchvision": export_convolutional.convnext_torchvision,
    },
    "mobilenet_v2": {
        "mm": export_convolutional.mobilenet_mm,
        "timm": export_convolutional.mobilenet_timm,
        "torchvision": export_convolutional.mobilenet_torchvision,
    },
    "beit": {"mm": export_beit.mm, "timm": export_beit.timm},
    "dinov3": {"timm": export_dinov3.timm},
    "efficientnet": {"timm": export_convolutional.efficientnet_timm},
}
"""By family and target."""


def check_name(out: Path, target: str | None) -> None:
    """Make sure that a name ends as its format does.

    Args:
        out: the file to write.
        target: the code base it is for; None for our own names.

    Raises:
        UsageError: if it does not.
    """
    if target == DETECTRON2:
        if out.suffix != SUFFIX:
            raise UsageError(f"{out} must end in {SUFFIX}: detectron2 reads it by that")
    elif out.suffix == SUFFIX:
        raise UsageError(
            f"{out} must end in .pth or .safetensors; {SUFFIX} is written with --to "
            "detectron2"
        )
    else:
        writer.check_suffix(out)


def plan_for(weights: BackboneWeights, target: str) -> Plan:
    """Return how a backbone is written for another code base.

    Raises:
        UsageError: if nobody knows the code base.
        CheckpointError: if it cannot hold the backbone; with what can.
    """
    if target not in TARGETS:
        raise UsageError(unknown("code base", target, TARGETS))
    found = _ask(weights.spec, target)
    if isinstance(found, Plan):
        return found
    able = [name for name in TARGETS if isinstance(_ask(weights.spec, name), Plan)]
    elsewhere = f"pass --to {' or --to '.join(able)}, or " if able else ""
    raise CheckpointError(
        f"{target} cannot hold {weights.arch}: {found}; {elsewhere}leave --to out for "
        "our own names"
    )


def _ask(spec: ArchSpec, target: str) -> Plan | str:
    planner = PLANNERS.get(spec.family, {}).get(target)
    return (
        planner(spec)
        if planner
        else f"there is no table of its names for the family {spec.family}"
    )


def convert(weights: BackboneWeights, plan: Plan) -> dict[str, Tensor]:
    """Return the tensors in the names of a plan.

    Raises:
        CheckpointError: if a tensor has no name there.
    """
    renamed = {}
    for name, tensor in weights.state_dict.items():
        theirs = plan.rename(name)
        if theirs is None or theirs in renamed:
            raise CheckpointError(f"{plan.build} has no place for {name}")
        renamed[theirs] = plan.reshape(theirs, tensor) if plan.reshape else tensor
    return dict(plan.complete(renamed)) if plan.complete else renamed


def save(weights: BackboneWeights, out: Path, target: str | None) -> None:
    """Write weights in the names of another code base, whole or not at all.

    Args:
        weights: as `ssl_bench.checkpoints.load` returns them.
        out: ``.pth`` or ``.safetensors``; ``.pkl`` for detectron2.
        target: one of `TARGETS`; None for our own names.

    Raises:
        UsageError: if the name ends otherwise.
        CheckpointError: if the code base cannot hold the backbone.
        BenchError: if the place cannot be written.
    """
    check_name(out, target)
    if target is None:
        writer.save(weights, out)
        return
    plan = plan_for(weights, target)
    tensors, facts = convert(weights, plan), _facts(weights, plan)
    if target == DETECTRON2:
        write_pickle(tensors, facts, out)
    else:
        writer.write(tensors, facts, out)


def _facts(weights: BackboneWeights, plan: Plan) -> dict[str, Any]:
    facts = writer.provenance(weights)
    return facts if plan.naming is None else {**facts, "names": plan.naming}


def names_for(weights: BackboneWeights, target: str | None) -> str | None:
    """Return the layout in whose names a target is written; None for our own."""
    return None if target is None else plan_for(weights, target).naming


def usage(weights: BackboneWeights, target: str, out: Path | None) -> list[str]:
    """Return lines that say how the other code base takes the file.

    Args:
        weights: what is written.
        target: one of `TARGETS`.
        out: the file; None where nothing is written.
    """
    plan = plan_for(weights, target)
    if target == DETECTRON2:
        return settings(weights, plan)
    mean, std = (
        ", ".join(f"{value:.4g}" for value in values)
        for values in (weights.input.mean, weights.input.std)
    )
    return [
        f"load it into: {plan.call}",
        *([] if out is None else [_loading(out, target)]),
        f"its images, from 0 to 1: red, green, blue less {mean}, divided by {std}",
        *plan.notes,
    ]


def _loading(out: Path, target: str) -> str:
    """Return what reads the file; a classifier is missing where the class has one."""
    name = repr(str(out))
    if target != "mm":
        read = f"torch.load({name}, weights_only=True)['state_dict']"
        if out.suffix == ".safetensors":
            read = f"safetensors.torch.load_file({name})"
        return f"by: model.load_state_dict({read}, strict=False)"
    if out.suffix == ".safetensors":
        return "OpenMMLab's loader reads no .safetensors; write it to a .pth for that"
    return f"by: init_cfg=dict(type='Pretrained', checkpoint={name})"


def names_in(path: Path) -> str | None:
    """Return the layout in whose names a file of ours was written; None for our own."""
    known = extracted.provenance(reader.peek(path))
    return None if known is None else known.get("names")

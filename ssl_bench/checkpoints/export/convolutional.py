"""Hand a ConvNeXt, MobileNetV2 or EfficientNet to OpenMMLab, timm or torchvision.

Source: mmpretrain/models/backbones/{convnext,mobilenet_v2}.py; timm/models/{convnext,
efficientnet}.py; torchvision/models/{convnext,mobilenetv2}.py.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ssl_bench.backbones import ArchSpec
from ssl_bench.backbones.convnext import EPS, KERNEL, LAYER_SCALE_START, PATCH
from ssl_bench.backbones.mobilenet_v2 import BLOCKS, LAST, MULTIPLIERS, STARTS, widened
from ssl_bench.checkpoints.export.plan import Plan, renaming

MM_CONVNEXT = renaming(
    [
        (r"stem\.(.+)", r"downsample_layers.0.\1"),
        (r"stages\.(\d)\.downsample\.(.+)", r"downsample_layers.\1.\2"),
        (
            r"stages\.(\d)\.blocks\.(\d+)\.conv_dw\.(.+)",
            r"stages.\1.\2.depthwise_conv.\3",
        ),
        (r"stages\.(\d)\.blocks\.(\d+)\.norm\.(.+)", r"stages.\1.\2.norm.\3"),
        (
            r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc([12])\.(.+)",
            r"stages.\1.\2.pointwise_conv\3.\4",
        ),
        (r"stages\.(\d)\.blocks\.(\d+)\.gamma", r"stages.\1.\2.gamma"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.grn\.weight", r"stages.\1.\2.grn.gamma"),
        (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.grn\.bias", r"stages.\1.\2.grn.beta"),
        (r"head\.norm\.(.+)", r"norm3.\1"),
    ]
)
TORCHVISION_CONVNEXT = renaming(
    [
        (r"stem\.(.+)", r"features.0.\1"),
        (r"head\.norm\.(.+)", r"classifier.0.\1"),
        *(
            (rf"stages\.{stage}\.{ours}", f"features.{2 * stage + shift}.{theirs}")
            for stage in range(4)
            for ours, shift, theirs in (
                (r"downsample\.(.+)", 0, r"\1"),
                (r"blocks\.(\d+)\.conv_dw\.(.+)", 1, r"\1.block.0.\2"),
                (r"blocks\.(\d+)\.norm\.(.+)", 1, r"\1.block.2.\2"),
                (r"blocks\.(\d+)\.mlp\.fc1\.(.+)", 1, r"\1.block.3.\2"),
                (r"blocks\.(\d+)\.mlp\.fc2\.(.+)", 1, r"\1.block.5.\2"),
                (r"blocks\.(\d+)\.gamma", 1, r"\1.layer_scale"),
            )
        ),
    ]
)
_FIRST_BLOCK = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
_LATER_BLOCK = {
    "0.0": "conv_pw",
    "0.1": "bn1",
    "1.0": "conv_dw",
    "1.1": "bn2",
    "2": "conv_pwl",
    "3": "bn3",
}
_MM_FIRST = {"0.0": "0.conv", "0.1": "0.bn", "1": "1.conv", "2": "1.bn"}
_MM_LATER = {
    "0.0": "0.conv",
    "0.1": "0.bn",
    "1.0": "1.conv",
    "1.1": "1.bn",
    "2": "2.conv",
    "3": "2.bn",
}
_TIMM_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)


def convnext_mm(spec: ArchSpec) -> Plan | str:
    """Return the plan for OpenMMLab's ConvNeXt, or why it cannot hold the network."""
    known = spec.options
    if known["kernel"] != KERNEL:
        return f"its kernels have {KERNEL} pixels"
    if known["patch"] != PATCH:
        return f"its stages are those of a stem of patches of {PATCH} pixels"
    options: dict[str, Any] = {
        "arch": {"depths": list(known["depths"]), "channels": list(known["dims"])},
    }
    if known["eps"] != EPS:
        options["norm_cfg"] = {"type": "LN2d", "eps": known["eps"]}
    if known["grn"]:
        options["use_grn"] = True
    if not known["layer_scale"]:
        options["layer_scale_init_value"] = 0.0
    notes = [f"set norm3.eps to {known['final_eps']}"] if known["final_eps"] else []
    if not known["final_norm"]:
        notes.append("leave norm3 out: there was no last norm")
    return Plan(
        "mmpretrain.ConvNeXt", options, MM_CONVNEXT, "mm_convnext", tuple(notes)
    )


def convnext_timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's ConvNeXt, or why it cannot hold the network."""
    known = spec.options
    options: dict[str, Any] = {
        "depths": known["depths"],
        "dims": known["dims"],
        "kernel_sizes": known["kernel"],
        "patch_size": known["patch"],
        "ls_init_value": LAYER_SCALE_START if known["layer_scale"] else None,
        "use_grn": known["grn"],
        "norm_eps": known["eps"],
        "num_classes": 0,
    }
    notes = [f"set head.norm.eps to {known['final_eps']}"] if known["final_eps"] else []
    if not known["final_norm"]:
        notes.append("leave head.norm out: there was no last norm")
    return Plan("timm.models.convnext.ConvNeXt", options, notes=tuple(notes))


def convnext_torchvision(spec: ArchSpec) -> Plan | str:
    """Return the plan for torchvision's ConvNeXt, or why it cannot hold it."""
    known = spec.options
    wrong = {
        "global response norm": known["grn"],
        "no layer scale": not known["layer_scale"],
        "no last norm": not known["final_norm"],
        "another kernel than 7": known["kernel"] != KERNEL,
        "another patch than 4": known["patch"] != PATCH,
        "another eps of the norms": known["eps"] != EPS,
    }
    found = [what for what, there in wrong.items() if there]
    if found:
        return f"its ConvNeXt is the first version, and this has {found[0]}"
    from torchvision.models.convnext import CNBlockConfig

    dims, depths = known["dims"], known["depths"]
    setting = [
        CNBlockConfig(width, after, depth)
        for width, after, depth in zip(dims, (*dims[1:], None), depths, strict=True)
    ]
    notes = (
        [f"set classifier[0].eps to {known['final_eps']}"] if known["final_eps"] else []
    )
    return Plan(
        "torchvision.models.ConvNeXt",
        {"block_setting": setting},
        TORCHVISION_CONVNEXT,
        "torchvision_convnext",
        tuple(notes),
        reshape=_as_maps,
    )


def _as_maps(name: str, tensor: Tensor) -> Tensor:
    """Return layer scale as torchvision has it, beside rows and columns."""
    return tensor[:, None, None] if name.endswith(".layer_scale") else tensor


def mobilenet_torchvision(spec: ArchSpec) -> Plan | str:
    """Return the plan for torchvision's MobileNetV2, or why it cannot hold it."""
    times = _multiplier(spec)
    if times is None:
        return "its MobileNetV2 has the published channels, times one factor"
    return Plan("torchvision.models.MobileNetV2", {"width_mult": times})


def mobilenet_mm(spec: ArchSpec) -> Plan | str:
    """Return the plan for OpenMMLab's MobileNetV2, or why it cannot hold it."""
    times = _multiplier(spec)
    if times is None:
        return "its MobileNetV2 has the published channels, times one factor"
    options = {"widen_factor": times}
    return Plan("mmpretrain.MobileNetV2", options, _mobilenet_in_mm, "mm_mobilenetv2")


def mobilenet_timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's MobileNetV2, or why it cannot hold it."""
    times = _multiplier(spec)
    if times not in _TIMM_WIDTHS:
        widths = ", ".join(map(str, _TIMM_WIDTHS))
        return f"its MobileNetV2 has the published channels, times one of {widths}"
    options = {"model_name": f"mobilenetv2_{round(100 * times):03}", "num_classes": 0}
    return Plan("timm.create_model", options, _mobilenet_in_timm, "timm_mobilenetv2")


def _multiplier(spec: ArchSpec) -> float | None:
    channels = spec.options["channels"]
    return next((times for times in MULTIPLIERS if widened(times) == channels), None)


def _mobilenet_in_mm(name: str) -> str | None:
    """Return OpenMMLab's name of a tensor of ours."""
    index, place, last = _split(name)
    if index in (0, LAST):
        return f"conv{1 if index == 0 else 2}.{('conv', 'bn')[int(place)]}.{last}"
    stage, block = _stage(index)
    table = _MM_LATER if stage else _MM_FIRST
    return f"layer{stage + 1}.{block}.conv.{table[place]}.{last}"


def _mobilenet_in_timm(name: str) -> str | None:
    """Return timm's name of a tensor of ours."""
    index, place, last = _split(name)
    if index == 0:
        return f"{('conv_stem', 'bn1')[int(place)]}.{last}"
    if index == LAST:
        return f"{('conv_head', 'bn2')[int(place)]}.{last}"
    stage, block = _stage(index)
    table = _LATER_BLOCK if stage else _FIRST_BLOCK
    return f"blocks.{stage}.{block}.{table[place]}.{last}"


def _split(name: str) -> tuple[int, str, str]:
    """Return the number of a feature, the place in it, and weight, bias and so on."""
    _, index, rest = name.split(".", 2)
    place, _, last = rest.removeprefix("conv.").rpartition(".")
    return int(index), place, last


def _stage(index: int) -> tuple[int, int]:
    """Return the stage of a feature, and the number of the block in it."""
    stage = max(s for s in range(len(BLOCKS)) if STARTS[s] <= index)
    return stage, index - STARTS[stage]


def efficientnet_timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's EfficientNet, or why it cannot hold the network."""
    import timm

    if not timm.is_model(spec.name):
        return f"it has no model of the name {spec.name}"
    return Plan("timm.create_model", {"model_name": spec.name, "num_classes": 0})

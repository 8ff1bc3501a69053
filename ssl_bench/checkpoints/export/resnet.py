"""Hand a ResNet to OpenMMLab, timm, torchvision or detectron2.

Source: torchvision/models/resnet.py; timm/models/resnet.py; mmpretrain's and
mmsegmentation's models/backbones/{resnet,resnext,resnet_cifar}.py; detectron2's
modeling/backbone/resnet.py and config/defaults.py; MMSelfSup 0.x
tools/benchmarks/detectron2/convert-pretrain-to-detectron2.py.
"""

from __future__ import annotations

from typing import Any

from ssl_bench.backbones import ArchSpec
from ssl_bench.backbones.resnet import DEPTHS
from ssl_bench.checkpoints.export.plan import Class, Plan, renaming

_BGR = "give it images in the order blue, green, red"
_SOBEL = "give it the two Sobel gradients of the grey image"
_PUBLISHED = (18, 34, 50, 101, 152)

MM_STEM = renaming(
    [
        (r"conv1\.(\d)\.(.+)", r"stem.\1.\2"),
        (r"bn1\.(.+)", r"stem.7.\1"),
        (r"(layer.+)", r"\1"),
    ]
)
DETECTRON2 = renaming(
    [
        (r"conv1\.weight", "stem.conv1.weight"),
        (r"bn1\.(.+)", r"stem.conv1.norm.\1"),
        *(
            (rf"layer{stage}\.(\d+)\.{ours}\.(.+)", rf"res{stage + 1}.\1.{theirs}.\2")
            for stage in (1, 2, 3, 4)
            for ours, theirs in (
                *((f"conv{n}", f"conv{n}") for n in (1, 2, 3)),
                *((f"bn{n}", f"conv{n}.norm") for n in (1, 2, 3)),
                (r"downsample\.0", "shortcut"),
                (r"downsample\.1", "shortcut.norm"),
            )
        ),
    ]
)


def torchvision(spec: ArchSpec) -> Plan | str:
    """Return the plan for torchvision's ResNet, or why it cannot hold the network."""
    known = spec.options
    if known["stem"] != "7x7" or known["avg_down"]:
        return "its ResNet has one 7x7 convolution as stem and plain shortcuts"
    if known["stem_widths"] != (64,) or known["width"] != 64:
        return "its ResNet is 64 channels wide"
    if known["sobel"]:
        return "its ResNet takes three channels"
    if known["style"] == "caffe":
        return "its bottlenecks have the stride in the 3x3 convolution"
    return Plan(
        "torchvision.models.resnet.ResNet",
        {
            "block": Class("Bottleneck" if known["bottleneck"] else "BasicBlock"),
            "layers": list(known["blocks"]),
            "groups": known["groups"],
            "width_per_group": known["base_width"],
        },
        notes=(_BGR,) if known["bgr"] else (),
    )


def timm(spec: ArchSpec) -> Plan | str:
    """Return the plan for timm's ResNet, or why it cannot hold the network."""
    known = spec.options
    widths, width = known["stem_widths"], known["width"]
    options: dict[str, Any] = {
        "block": Class("Bottleneck" if known["bottleneck"] else "BasicBlock"),
        "layers": known["blocks"],
        "channels": tuple(width << stage for stage in range(4)),
        "cardinality": known["groups"],
        "base_width": known["base_width"],
        "avg_down": known["avg_down"],
        "in_chans": 2 if known["sobel"] else 3,
    }
    if known["style"] == "caffe":
        return "its bottlenecks have the stride in the 3x3 convolution"
    if known["stem"] == "cifar":
        return "its ResNet has a stem of stride 2"
    if known["stem"] == "deep":
        half = widths[1]
        kinds = {half: "deep", 3 * (half // 4): "deep_tiered"}
        if widths[2] != 2 * half or widths[0] not in kinds:
            return f"its deep stems are not {', '.join(map(str, widths))} wide"
        options |= {"stem_type": kinds[widths[0]], "stem_width": half}
    elif widths != (64,):
        return "its 7x7 stem is 64 channels wide"
    notes = [_SOBEL] if known["sobel"] else []
    notes += [_BGR] if known["bgr"] else []
    return Plan("timm.models.resnet.ResNet", options, notes=tuple(notes))


def mm(spec: ArchSpec) -> Plan | str:
    """Return the plan for OpenMMLab's ResNets, or why they cannot hold the network.

    A deep stem gets the names that MMDetection and MMSegmentation share.
    """
    known = spec.options
    depth = _depth(known)
    if depth not in _PUBLISHED:
        return f"its ResNets have one of the depths {', '.join(map(str, _PUBLISHED))}"
    width, widths, base = known["width"], known["stem_widths"], known["base_width"]
    options: dict[str, Any] = {"depth": depth}
    deep, cifar = known["stem"] == "deep", known["stem"] == "cifar"
    if deep and widths != (widths[-1] // 2, widths[-1] // 2, widths[-1]):
        return "its deep stems begin with half their width"
    if cifar and known["padding"] != 1:
        return "its CIFAR stem pads by one pixel"
    build = "mmpretrain.ResNet_CIFAR" if cifar else "mmpretrain.ResNet"
    if deep:
        build = "mmseg.ResNetV1d" if known["avg_down"] else "mmseg.ResNetV1c"
    elif known["avg_down"]:
        return "its averaging shortcuts come with a deep stem (ResNetV1d)"
    if known["groups"] > 1:
        if deep or cifar or width != 64 or depth not in (50, 101, 152):
            return "its ResNeXts have 50, 101 or 152 layers and a plain stem"
        build = "mmpretrain.ResNeXt"
        options |= {"groups": known["groups"], "width_per_group": base}
    elif base != 64:
        if deep or cifar or 256 % base:
            return f"its bottlenecks cannot be {base / 64:g} times as wide"
        options |= {"expansion": 256 // base, "base_channels": width * base // 64}
    elif width != 64:
        options["base_channels"] = width
    if widths[-1] != 64:
        options["stem_channels"] = widths[-1]
    if known["sobel"]:
        options["in_channels"] = 2
    if known["style"] == "caffe":
        options["style"] = "caffe"
    notes = [_SOBEL] if known["sobel"] else []
    notes += ["bgr_to_rgb=False in its data_preprocessor"] if known["bgr"] else []
    if not deep:
        return Plan(build, options, notes=tuple(notes))
    notes.append("MMPretrain names deep stems otherwise, so that it cannot read this")
    return Plan(build, options, MM_STEM, "resnet_flat", tuple(notes))


def detectron2(spec: ArchSpec) -> Plan | str:
    """Return the plan for detectron2's ResNet, or why it cannot hold the network."""
    known = spec.options
    depth = _depth(known)
    if depth not in _PUBLISHED:
        return f"its ResNets have one of the depths {', '.join(map(str, _PUBLISHED))}"
    if known["stem"] != "7x7" or known["avg_down"] or known["sobel"]:
        return "its ResNets have one 7x7 convolution on colours and plain shortcuts"
    width = known["width"]
    if not known["bottleneck"] and width != 64:
        return "its ResNets of basic blocks are 64 channels wide"
    inner, rest = divmod(width * known["base_width"], 64)
    if rest:
        return f"its groups have a whole number of channels, not {inner + rest / 64:g}"
    settings: dict[str, Any] = {"DEPTH": depth}
    usual = {
        "STEM_OUT_CHANNELS": (known["stem_widths"][0], 64),
        "RES2_OUT_CHANNELS": (width * (4 if known["bottleneck"] else 1), 256),
        "NUM_GROUPS": (known["groups"], 1),
        "WIDTH_PER_GROUP": (inner, 64),
    }
    settings |= {
        key: value for key, (value, default) in usual.items() if value != default
    }
    settings["STRIDE_IN_1X1"] = known["style"] == "caffe"
    return Plan("MODEL.RESNETS", settings, DETECTRON2, "detectron2")


def _depth(known: Any) -> int | None:
    """Return the published depth of these blocks, if they have one."""
    shape = (known["blocks"], known["bottleneck"])
    return next((depth for depth, found in DEPTHS.items() if found == shape), None)

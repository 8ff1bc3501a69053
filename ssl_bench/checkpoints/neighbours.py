"""What Hugging Face and timm keep beside the weights and no tensor shows.

Source: huggingface/transformers ``configuration_*.py`` of each model and
``preprocessor_config.json`` of its image processors; huggingface/pytorch-image-models
``timm/models/_hub.py``, which writes ``architecture`` and ``pretrained_cfg``. Both are
data of strangers: only numbers and words that are known here are taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.sorting import input_of
from ssl_bench.checkpoints.source import HUGGING_FACE
from ssl_bench.errors import CheckpointError

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
TRANSFORMERS = frozenset(
    {
        "vit", "deit", "vit_mae", "vit_msn", "ijepa", "dinov2", "beit",
        "dinov2_with_registers", "data2vec-vision", "clip_vision_model", "dinov3_vit",
    }
)  # fmt: skip
"""Values of ``model_type`` whose heads, epsilon and activation are read."""

ACTIVATIONS = {
    "gelu": "gelu",
    "quick_gelu": "quick_gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
}
UNSEEN = ("resnetblur", "resnetaa", "seresnetaa", "efficientnet_blur")
"""How timm calls networks with layers that have no tensors: they read as others."""

_MOST_BYTES = 1 << 20
_MOST_HEADS = 1024


@dataclass(frozen=True)
class Told:
    """Hold what the files beside the weights say.

    Attributes:
        hidden: options of the architecture.
        input: statistics of the images.
        files: the names of the files that said it.
    """

    hidden: Mapping[str, Any] = field(default_factory=dict)
    input: InputSpec | None = None
    files: tuple[str, ...] = ()


def read(path: Path, *, only_input: bool) -> Told:
    """Read the files beside weights that have the name that a hub gives them.

    Args:
        path: the weights.
        only_input: whether nothing but the statistics of the images is asked for.

    Raises:
        CheckpointError: if they ask for an activation that is not supported: the
            weights would load, and give other features.
    """
    if path.name not in HUGGING_FACE:
        return Told()
    config = _json(path.with_name(CONFIG))
    if isinstance(vision := config.get("vision_config"), Mapping):
        config = {"model_type": "clip_vision_model", **vision}
    hidden = {} if only_input else _hidden(config, path)
    statistics = _statistics(_json(path.with_name(PREPROCESSOR))) or input_of(config)
    files = [CONFIG] if hidden or input_of(config) else []
    files += [PREPROCESSOR] if statistics and not input_of(config) else []
    return Told(hidden, statistics, tuple(files))


def check_architecture(path: Path, tree: Any) -> None:
    """Refuse a file that names a network whose layers no tensor shows.

    timm's training writes ``arch`` beside the weights, its hub ``architecture`` into
    the config.

    Args:
        path: the weights.
        tree: what they hold.

    Raises:
        CheckpointError: if it does: the weights would load, and give other features.
    """
    told = tree.get("arch") if isinstance(tree, Mapping) else None
    if path.name in HUGGING_FACE:
        told = _json(path.with_name(CONFIG)).get("architecture", told)
    if isinstance(told, str) and told.startswith(UNSEEN):
        raise CheckpointError(
            f"{path} says that it is {told[:40]!r}, which has layers without tensors "
            "that are not supported: it would load as another network; if it is one, "
            "say which with --arch"
        )


def _json(path: Path) -> Mapping[str, Any]:
    """Return what a file holds; nothing where there is none, or it is no such file."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _hidden(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the options of the architecture in a config of transformers."""
    kind = config.get("model_type")
    if kind == "resnet":
        first = config.get("downsample_in_bottleneck") is True
        return {"style": "caffe"} if first else {}
    if not isinstance(kind, str) or kind not in TRANSFORMERS:
        return {}
    found: dict[str, Any] = {}
    heads, eps = config.get("num_attention_heads"), config.get("layer_norm_eps")
    if type(heads) is int and 0 < heads <= _MOST_HEADS:
        found["heads"] = heads
    if type(eps) is float and 0 < eps < 1:
        found["eps"] = eps
    act = config.get("hidden_act")
    if isinstance(act, str):
        if act not in ACTIVATIONS:
            raise CheckpointError(
                f"{path.with_name(CONFIG)} says hidden_act {act[:40]!r}, and only "
                f"{', '.join(ACTIVATIONS)} are supported; without that file beside it "
                "the network would be taken as its layout's default"
            )
        found["act"] = ACTIVATIONS[act]
    return found


def _statistics(config: Mapping[str, Any]) -> InputSpec | None:
    """Return the statistics of an image processor, as timm's config holds them."""
    return input_of(
        {
            "pretrained_cfg": {
                "mean": config.get("image_mean"),
                "std": config.get("image_std"),
            }
        }
    )

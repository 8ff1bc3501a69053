"""Overrides of a recipe that would do nothing, found before they do it.

mmengine takes any key. One that is misspelt, or that something else decides here, would
leave the number as it is and look as if it had not.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from ssl_bench.errors import unknown
from ssl_bench.training.keys import ELSEWHERE

_NEW = (
    "custom_hooks",
    "custom_imports",
    "backbone",
    "producer",
    "dataset",
    "backbones",
    "auto_scale_lr",
)
"""Top-level keys that a recipe may not have and yet be given."""

_DECIDED: Mapping[str, str] = {
    **{key: ELSEWHERE[key] for key in ("load_from", "resume", "work_dir", "launcher")},
    "data_root": ELSEWHERE["data_root"],
    "randomness": "--seed and --deterministic say what is drawn",
    "test_dataloader": "test images are read by val_dataloader",
    "test_evaluator": "the metric is val_evaluator",
    "model.pretrained": "weights come from --pretrain",
    "model.*init_cfg": "weights come from --pretrain",
    "model.data_preprocessor.mean": "it comes with the weights",
    "model.data_preprocessor.std": "it comes with the weights",
    "model.backbone.depth": "it is read off the network",
    "model.backbone.base_channels": "it is read off the network",
    "model.*in_channels": "it is read off the network",
    "model.*num_classes": "classes are counted in the data",
}
"""Keys that something else decides, and what."""

_OF_DATA = ("pipeline", "filter_cfg")
_NEAR = 0.75


def complaints(base: Any, options: Mapping[str, Any], where: str) -> list[str]:
    """Return a sentence for every override that would do nothing.

    Args:
        base: the recipe without overrides.
        options: dotted keys and their values.
        where: the recipe's name, for messages.
    """
    found = []
    for key in options:
        instead = _decided(key)
        if instead:
            found.append(f"{where}: {key} cannot be set: {instead}")
        else:
            found += [f"{where}: {text}" for text in _misspelt(base.to_dict(), key)]
    return found


def _decided(key: str) -> str:
    for pattern, instead in _DECIDED.items():
        if fnmatchcase(key, pattern) or fnmatchcase(key, f"{pattern}.*"):
            return instead
    first, _, rest = key.partition(".")
    of_data = first.endswith("_dataloader") and rest.startswith("dataset.")
    if of_data and rest.split(".")[1] not in _OF_DATA:
        return "data come from --dataset and --data-root"
    if first == "val_evaluator" and rest.split(".")[0] not in ("eval_mode", "iou_thrs"):
        return "the metric is that of the recipe"
    return ""


def _misspelt(base: Any, key: str) -> list[str]:
    node, path = base, ""
    for part in key.split("."):
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                return [f"{path} has the places 0 to {len(node) - 1}, not {part}"]
            node = node[int(part)]
        elif isinstance(node, Mapping):
            if not path and part in _NEW:
                return []
            if part not in node:
                near = difflib.get_close_matches(part, list(node), n=1, cutoff=_NEAR)
                if near or not path:
                    what = f"key of {path}" if path else "config key"
                    known = [str(name) for name in node if name != "_scope_"]
                    return [unknown(what, part, known)]
                return []  # a new argument; whatever is built says if it is none
            node = node[part]
        else:
            return []
        path = f"{path}.{part}" if path else part
    return []

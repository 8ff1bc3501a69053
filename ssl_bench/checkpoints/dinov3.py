"""DINOv3's transformer in the names of its official code, or in timm's.

Source: ``facebookresearch/dinov3`` ``dinov3/models/vision_transformer.py`` and
``timm.models.eva``. The official file keeps a bias of the key, which a mask holds at
zero; where it is zero, it is left out. Its periods of the rotation, rounded to
bfloat16, are kept; timm computes them. ``local_cls_norm`` only serves small crops in
training.
"""

from __future__ import annotations

import re

from torch import Tensor

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.layout import Naming, Producer
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "dinov3"
SATELLITE = InputSpec((0.43, 0.411, 0.296), (0.213, 0.156, 0.143))
"""Source: ``facebookresearch/dinov3`` README.md, weights named sat493m."""

PRODUCERS = (
    Producer("dinov3", "facebookresearch/dinov3; timm"),
    Producer(
        "dinov3_satellite", "facebookresearch/dinov3, sat493m weights", input=SATELLITE
    ),
)

TOP = spelled(
    same("cls_token", "reg_token", "patch_embed.proj.{}", "norm.{}"),
    {"storage_tokens": "reg_token", "rope_embed.periods": "rope.periods"},
)
IN_BLOCK = spelled(
    same("norm1.{}", "norm2.{}", "attn.qkv.weight", "attn.proj.{}", "mlp.fc1.{}"),
    same("mlp.fc2.{}", "attn.q_bias", "attn.v_bias", "gamma_1", "gamma_2"),
    same("mlp.fc1_g.{}", "mlp.fc1_x.{}"),
    {
        "attn.qkv.bias": "attn.q_bias",
        "ls1.gamma": "gamma_1",
        "ls2.gamma": "gamma_2",
        "mlp.w1.{}": "mlp.fc1_g.{}",
        "mlp.w2.{}": "mlp.fc1_x.{}",
        "mlp.w3.{}": "mlp.fc2.{}",
    },
)


def finish(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Split the biases of query, key and value, where the key's is zero.

    All three arrive under the name of the query's.
    """
    found = dict(tensors)
    for name, tensor in tensors.items():
        start = name.removesuffix("q_bias")
        weight = tensors.get(f"{start}qkv.weight")
        if start == name or weight is None or tensor.ndim != 1 or len(tensor) % 3:
            continue
        if tensor.shape == weight.shape[:1]:
            query, key, value = tensor.chunk(3)
            if not key.any():
                found |= {name: query, f"{start}v_bias": value}
    return found


NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"blocks\.(?:\d+\.)?(\d+)\.([a-z].+)")),
    anchors=("patch_embed.proj.weight", "cls_token", "norm.weight"),
    needs=("rope_embed.periods", "blocks.0.gamma_1"),
    lacks=("pos_embed", "*.relative_position_bias_table"),
    drop={
        "mask token": ("mask_token",),
        "mask of the key's bias": ("*.qkv.bias_mask",),
        "norm of small crops": ("local_cls_norm.",),
    },
    finish=finish,
)

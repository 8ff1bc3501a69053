"""A vision transformer in Hugging Face's names: ViT, DeiT, ViT-MAE, ViT-MSN.

Source: ``transformers`` ``models/{vit,deit,vit_mae,vit_msn}``, as ``save_pretrained``
writes them and as version 5 names them in memory. DeiT's distillation token is read as
a register. The norms add 1e-12, in MSN 1e-6. Google's weights were made for images
scaled from -1 to 1, the others for ImageNet's statistics.
"""

from __future__ import annotations

import re

from ssl_bench.backbones import InputSpec
from ssl_bench.checkpoints.layout import HEAD, Naming, Producer, Recipe
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "hf_vit"
PRODUCERS = (
    Producer("huggingface", "Hugging Face ViT, DeiT, ViT-MAE"),
    Producer(
        "huggingface_google",
        "Hugging Face ViT, Google's weights",
        input=InputSpec((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ),
    Producer("huggingface_msn", "Hugging Face ViT-MSN", hidden={"eps": 1e-6}),
)

TOP = spelled(
    {
        "embeddings.cls_token": "cls_token",
        "embeddings.distillation_token": "reg_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection.{}": "patch_embed.proj.{}",
        "layernorm.{}": "norm.{}",
    }
)
QKV = spelled(
    *(
        {
            f"attention.attention.{old}.{{}}": f"attn.qkv.{{}}#{index}",
            f"attention.{new}.{{}}": f"attn.qkv.{{}}#{index}",
        }
        for index, (old, new) in enumerate(
            (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))
        )
    ),
    {
        "attention.output.dense.{}": "attn.proj.{}",
        "attention.o_proj.{}": "attn.proj.{}",
    },
)
MLP = spelled(
    same("mlp.fc1.{}", "mlp.fc2.{}"),
    {"intermediate.dense.{}": "mlp.fc1.{}", "output.dense.{}": "mlp.fc2.{}"},
)
IN_BLOCK = (
    QKV
    | MLP
    | spelled({"layernorm_before.{}": "norm1.{}", "layernorm_after.{}": "norm2.{}"})
)
HEADS = {
    **HEAD,
    "distillation head": ("cls_classifier.", "distillation_classifier."),
    "decoder": ("decoder.",),
}
NAMING = Naming(
    LAYOUT,
    NameTable(
        TOP, IN_BLOCK, re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.([a-z].+)")
    ),
    anchors=(
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "embeddings.patch_embeddings.projection.weight",
    ),
    lacks=("*.lambda1", "*.lambda_1", "*.relative_position_bias_table"),
    drop={"pooler": ("pooler.",), "mask token": ("embeddings.mask_token",)},
    hidden={"eps": 1e-12},
)
RECIPE = Recipe(
    online=("vit.", "deit.", ""),
    outside=HEADS,
    inside=HEADS,
    namings=(LAYOUT,),
)

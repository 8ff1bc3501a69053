"""The image tower of CLIP in Hugging Face's names, alone or beside the text tower.

Source: ``transformers`` ``models/clip``. The feature is the class token after the last
norm, which is ``pooler_output``; the projection into the space of texts is left out.
OpenAI's networks have an activation of their own (QuickGELU), which is the default
there; LAION's and others that were trained with OpenCLIP have GELU: say
``producer=huggingface_openclip`` for these. ``pre_layrnorm`` is spelled so there.
"""

from __future__ import annotations

import re

from ssl_bench.checkpoints import clip
from ssl_bench.checkpoints.layout import HEAD, Naming, Producer, Recipe
from ssl_bench.checkpoints.name_table import NameTable, same, spelled

LAYOUT = "hf_clip"
PRODUCERS = (
    Producer(
        "huggingface",
        "Hugging Face CLIP, OpenAI's weights",
        hidden={"act": "quick_gelu"},
        input=clip.INPUT,
    ),
    Producer(
        "huggingface_openclip",
        "Hugging Face CLIP, OpenCLIP's weights",
        input=clip.INPUT,
    ),
)

TOP = spelled(
    {
        "embeddings.class_embedding": "cls_token",
        "embeddings.position_embedding.weight": "pos_embed",
        "embeddings.patch_embedding.weight": "patch_embed.proj.weight",
        "pre_layrnorm.{}": "norm_pre.{}",
        "post_layernorm.{}": "norm.{}",
    }
)
IN_BLOCK = spelled(
    same("mlp.fc1.{}", "mlp.fc2.{}"),
    {
        "layer_norm1.{}": "norm1.{}",
        "layer_norm2.{}": "norm2.{}",
        "self_attn.q_proj.{}": "attn.qkv.{}#0",
        "self_attn.k_proj.{}": "attn.qkv.{}#1",
        "self_attn.v_proj.{}": "attn.qkv.{}#2",
        "self_attn.out_proj.{}": "attn.proj.{}",
    },
)
NAMING = Naming(
    LAYOUT,
    NameTable(TOP, IN_BLOCK, re.compile(r"encoder\.layers\.(\d+)\.(.+)")),
    anchors=(
        "embeddings.class_embedding",
        "embeddings.position_embedding.weight",
        "embeddings.patch_embedding.weight",
    ),
    needs=("pre_layrnorm.",),
    drop={"places of the positions": ("embeddings.position_ids",)},
    finish=clip.finish,
    hidden={"eps": 1e-5},
)
RECIPE = Recipe(
    online=("vision_model.", ""),
    outside={
        "text tower": ("text_model.", "text_projection."),
        "scale of the contrast": ("logit_scale",),
        "projection into the space of texts": ("visual_projection.",),
        **HEAD,
    },
    namings=(LAYOUT,),
)

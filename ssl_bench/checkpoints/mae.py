"""Checkpoints of MAE's pre-training: the encoder with its decoder in one state dict.

Source: ``facebookresearch/mae`` ``models_mae.py``; ``main_linprobe.py`` takes the class
token after the last norm, while ``main_finetune.py`` leaves that norm out and learns
one of the patch mean (``fc_norm``). The encoders that they publish, and fine-tuned
files, have no decoder: these are flat transformers.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import HEAD, Producer, Recipe

LAYOUT = "mae"
PRODUCERS = (Producer("mae", "facebookresearch/mae"),)
RECIPE = Recipe(
    needs=(("decoder_embed.",), ("decoder_blocks.",)),
    inside={
        **HEAD,
        "decoder": (
            "decoder_embed.",
            "decoder_pos_embed",
            "decoder_blocks.",
            "decoder_norm.",
            "decoder_pred.",
        ),
        "mask token": ("mask_token",),
    },
)

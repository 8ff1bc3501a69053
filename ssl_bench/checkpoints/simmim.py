"""Pre-training files of SimMIM's authors: a Swin transformer or a ViT, and a decoder.

Source: ``microsoft/SimMIM:models/simmim.py`` and
``microsoft/Swin-Transformer:models/simmim.py``. The file keeps the weights in
``model``: ``encoder.`` with a mask token, ``decoder.0`` for the pixels. The ViT is
BEiT's, with one table of relative positions for all blocks. Fine-tuned files are those
of Swin and BEiT.
"""

from __future__ import annotations

from ssl_bench.checkpoints.layout import HEAD, Producer, Recipe

LAYOUT = "simmim"
PRODUCERS = (Producer("simmim", "microsoft/SimMIM, microsoft/Swin-Transformer"),)

RECIPE = Recipe(
    online=("encoder.",),
    needs=(("encoder.mask_token",), ("decoder.0.weight", "decoder.0.bias")),
    outside={"decoder": ("decoder.",)},
    inside={**HEAD, "mask token": ("mask_token",)},
    namings=("swin", "beit"),
)

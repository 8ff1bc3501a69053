"""ConvNeXt as its official repositories write it.

Names and shapes come from the repositories' own classes; the features are those of
timm's network, loaded through timm's own conversion of these files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.models import convnext
from torch import Tensor, nn

from tests.producers.example import Example, Pooled, example
from tests.producers.keys import keyed

NARROW = 8


def of_timm(state: Mapping[str, Tensor], **options: Any) -> nn.Module:
    widths = (64, 128, 192, 256)
    network = convnext.ConvNeXt(
        depths=(1, 1, 2, 1), dims=tuple(n // NARROW for n in widths), **options
    )
    loaded = convnext.checkpoint_filter_fn(dict(state), network)
    network.load_state_dict(loaded, strict=True)
    network.eval()

    def forward(images: Tensor) -> Tensor:
        return network.forward_head(network.forward_features(images), pre_logits=True)

    return Pooled(network, forward)


@example
def convnext_official() -> Example:
    """A training's checkpoint, with the average that its repository can keep."""
    online, ema = (keyed("convnext", seed, NARROW) for seed in (91, 92))
    tree = {"model": online, "epoch": 3, "model_ema": ema}
    networks = {
        "online": of_timm(online, num_classes=5),
        "ema": of_timm(ema, num_classes=5),
    }
    return Example("convnext", tree, networks)


@example
def convnext_v2_official() -> Example:
    state = keyed("convnext_v2", 93, NARROW)
    network = of_timm(state, num_classes=5, use_grn=True, ls_init_value=None)
    return Example("convnext", {"model": state}, {"online": network})


@example
def convnext_v2_fcmae() -> Example:
    """The published weights after pre-training: without head and last norm."""
    state = {
        key: tensor
        for key, tensor in keyed("convnext_v2", 94, NARROW).items()
        if not key.startswith(("norm.", "head."))
    }
    network = convnext.ConvNeXt(
        depths=(1, 1, 2, 1),
        dims=(8, 16, 24, 32),
        use_grn=True,
        ls_init_value=None,
        num_classes=0,
    )
    loaded = convnext.checkpoint_filter_fn(dict(state), network)
    missing, unexpected = network.load_state_dict(loaded, strict=False)
    assert not unexpected
    assert missing == ["head.norm.weight", "head.norm.bias"]
    network.eval()
    feature = Pooled(network, lambda x: network.forward_features(x).mean((2, 3)))
    return Example("convnext", {"model": state}, {"online": feature})


@example
def convnext_dinov3() -> Example:
    state = keyed("convnext_dinov3", 95, NARROW)
    for kind in ("weight", "bias"):
        state[f"norms.3.{kind}"] = state[f"norm.{kind}"]
    network = of_timm(state, num_classes=0)
    return Example("convnext", state, {"online": network})

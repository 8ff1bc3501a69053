"""Learning rates that fall towards the images, for our backbone inside OpenMMLab."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ssl_bench.errors import ConfigError
from ssl_bench.training.layer_decay import KNOWN, layers_of

_BACKBONE = "backbone.network."
# Source: MMSegmentation, layer_decay_optimizer_constructor.py; Swin's detection code.
_NO_DECAY = (
    "bias",
    "pos_embed",
    "cls_token",
    "reg_token",
    "mask_token",
    "absolute_pos_embed",
    "relative_position_bias_table",
)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneLayerDecay(DefaultOptimWrapperConstructor):  # type: ignore[misc]
    """Group parameters by layer of the backbone; what is outside of it is the last.

    ``paramwise_cfg=dict(layer_decay=0.65)``; 1.0 for one rate everywhere. Norms,
    biases, positions and tokens have no weight decay.

    Raises:
        ConfigError: where no rule is known for the network.
    """

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, **_: Any
    ) -> None:
        """Add the groups of a model to ``params``."""
        decay = float(self.paramwise_cfg.get("layer_decay", 1.0))
        network: Any = getattr(module.backbone, "network", module.backbone)
        layers = layers_of(network)
        if layers is None and decay != 1.0:
            name = getattr(network, "arch", type(network).__name__)
            raise ConfigError(
                [
                    f"layer_decay={decay:g}: no rule is known for {name}; it is for "
                    f"{KNOWN}: --cfg-options "
                    "optim_wrapper.paramwise_cfg.layer_decay=1.0"
                ]
            )
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            bare = parameter.ndim == 1 or name.rpartition(".")[2] in _NO_DECAY
            layer, times = -1, 1.0
            if layers is not None:
                inside = name.startswith(_BACKBONE)
                layer = (
                    layers.of(name.removeprefix(_BACKBONE)) if inside else layers.last
                )
                times = layers.multiplier(layer, decay)
            group = groups.setdefault(
                (layer, bare),
                {
                    "params": [],
                    "lr": self.base_lr * times,
                    "weight_decay": 0.0 if bare else self.base_wd,
                },
            )
            group["params"].append(parameter)
        params.extend(groups[key] for key in sorted(groups))

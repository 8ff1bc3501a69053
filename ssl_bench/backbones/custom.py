"""Take a network of the user's own: any module with ``forward_taps`` and ``dims``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ssl_bench.backbones.backbone import Backbone
from ssl_bench.backbones.weights import IMAGENET_INPUT
from ssl_bench.errors import CheckpointError, ConfigError, nearest


class CustomBackbone(Backbone):
    """Give a module of the user's own what a `Backbone` has.

    ``input``, ``tap_pooling`` and ``num_prefix_tokens`` are taken from the module
    where it has them.

    Args:
        arch: its name in records.
        network: module with ``forward_taps(images_BCHW, taps)`` and ``dims``.
    """

    def __init__(self, arch: str, network: nn.Module) -> None:
        super().__init__()
        self.arch = arch
        self.network = network
        self.dims = dict(network.dims)  # type: ignore[arg-type]
        own: Any = network
        self.input = getattr(own, "input", IMAGENET_INPUT)
        self.tap_pooling = getattr(own, "tap_pooling", "average")
        self.num_prefix_tokens = getattr(own, "num_prefix_tokens", 0)

    def forward_taps(
        self, images_BCHW: Tensor, taps: Sequence[str]
    ) -> dict[str, Tensor]:
        """Ask the user's module; see `Backbone.forward_taps`."""
        self.check_taps(taps)
        found: dict[str, Tensor] = self.network.forward_taps(  # type: ignore[operator]
            self.prepare(images_BCHW), taps
        )
        return found


def custom(
    config: Mapping[str, Any], state_dict: Mapping[str, Tensor] | None = None
) -> Backbone:
    """Build a network that is registered in mmengine's MODELS.

    Args:
        config: ``type`` names the registered class, the rest are its arguments.
        state_dict: its weights, in its own names; None leaves it as it was built.

    Returns:
        The network, in evaluation mode, as a `Backbone`.

    Raises:
        ConfigError: if the type is unknown, or what it builds has no taps.
        CheckpointError: if the weights do not fill it exactly.
    """
    from ssl_bench.registry import MODELS

    kind = config.get("type")
    if isinstance(kind, str) and MODELS.get(kind) is None:
        near = nearest(kind, MODELS.module_dict)
        raise ConfigError(
            [
                f"backbone.type {kind!r} is not registered"
                + (f", did you mean {' or '.join(near)}?" if near else "")
                + "; register the class with ssl_bench.registry.MODELS and import its "
                "module through custom_imports"
            ]
        )
    with warnings.catch_warnings():
        # mmengine imports a part of torch that torch itself calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import mmengine.model  # noqa: F401
    network = MODELS.build(dict(config))
    name = kind if isinstance(kind, str) else type(network).__name__
    complaints = _complaints(name, network)
    if complaints:
        raise ConfigError(complaints)
    backbone = (
        network if isinstance(network, Backbone) else CustomBackbone(name, network)
    )
    backbone.own_facts = {
        "config": dict(config),
        "tap_pooling": backbone.tap_pooling,
        "num_prefix_tokens": backbone.num_prefix_tokens,
    }
    if state_dict is not None:
        _fill(name, network, state_dict)
    return backbone.eval()


def _complaints(name: str, network: Any) -> list[str]:
    """Return what keeps a module from being a backbone."""
    found = []
    if not isinstance(network, nn.Module):
        return [f"backbone.type {name!r} builds no torch module"]
    if not callable(getattr(network, "forward_taps", None)):
        found.append(
            f"backbone.type {name!r} has no method forward_taps(images, taps) that "
            "returns {tap: tensor}"
        )
    dims = getattr(network, "dims", None)
    if not isinstance(dims, Mapping) or Backbone.FINAL not in dims:
        found.append(
            f"backbone.type {name!r} needs dims, a mapping of tap to channels that has "
            f"{Backbone.FINAL!r}, got {dims!r}"
        )
    return found


def _fill(name: str, network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load strictly, and say what does not fit."""
    try:
        network.load_state_dict(dict(state_dict), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"the weights do not fill {name}: {reason}") from error

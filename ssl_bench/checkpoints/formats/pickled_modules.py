"""Networks that were pickled whole: their tensors and settings, without their classes.

Source: pytorch/pytorch torch/nn/modules/module.py: a module keeps its tensors in
``_parameters`` and ``_buffers`` and its children in ``_modules``. A TorchScript program
keeps all three as plain attributes of objects whose classes begin with ``__torch__``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from ssl_bench.checkpoints.formats.placeholder import Placeholder, attributes
from ssl_bench.errors import CheckpointError

_MACHINERY = ("_parameters", "_buffers", "_modules")
_PROGRAM = "__torch__."
_MOST = 200_000
_DEPTH = 100

Parts = Callable[[Placeholder], tuple[dict[str, Tensor], dict[str, Placeholder]]]
"""From a module to its own tensors and its children, by name."""


def is_module(value: Any) -> bool:
    """Tell whether this stands for a torch.nn.Module of any class."""
    return (
        isinstance(value, Placeholder)
        and isinstance(value.state, Mapping)
        and all(isinstance(value.state.get(name), Mapping) for name in _MACHINERY)
    )


def state_dict(placeholder: Placeholder) -> dict[str, Tensor] | None:
    """Return the state dict of a module that was pickled whole.

    Args:
        placeholder: what stands for the module.

    Returns:
        Its tensors by the names that its own state_dict() gives; None if it is no
        module.

    Raises:
        CheckpointError: if its modules contain one another.
    """
    if not is_module(placeholder):
        return None
    return dict(_walk(placeholder, _parts))


def hyper_parameters(placeholder: Placeholder) -> dict[str, Any]:
    """Return the attributes of a module that are no tensors and no machinery."""
    return {
        name: value
        for name, value in attributes(placeholder).items()
        if not name.startswith("_") and not isinstance(value, Tensor)
    }


def program_state_dict(tree: Any) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript program; its code is never looked at.

    Raises:
        CheckpointError: if it has none.
    """
    found = dict(_walk(tree, _program_parts)) if isinstance(tree, Placeholder) else {}
    if not found:
        raise CheckpointError(
            "it is a TorchScript program without tensors; save the state dict of its "
            "network instead"
        )
    return found


def _walk(root: Placeholder, parts: Parts) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors below a module, in the order of its own state_dict()."""
    waiting: list[tuple[str, Placeholder, int]] = [("", root, 0)]
    steps = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        tensors, children = parts(module)
        yield from ((f"{prefix}{name}", tensor) for name, tensor in tensors.items())
        steps += 1 + len(tensors)
        # Modules may well be shared; only endless ones come this far.
        if depth > _DEPTH or steps > _MOST:
            raise CheckpointError("it is a network whose modules contain one another")
        waiting += [
            (f"{prefix}{name}.", child, depth + 1)
            for name, child in reversed(children.items())
        ]


def _parts(module: Placeholder) -> tuple[dict[str, Tensor], dict[str, Placeholder]]:
    parameters, buffers, modules = (module.state[name] for name in _MACHINERY)
    hidden = module.state.get("_non_persistent_buffers_set", ())
    hidden = hidden if isinstance(hidden, (set, frozenset, list, tuple)) else ()
    tensors = {
        name: tensor
        for name, tensor in [*parameters.items(), *buffers.items()]
        if isinstance(name, str) and isinstance(tensor, Tensor) and name not in hidden
    }
    children = {
        name: child
        for name, child in modules.items()
        if isinstance(name, str) and is_module(child)
    }
    return tensors, children


def _program_parts(
    module: Placeholder,
) -> tuple[dict[str, Tensor], dict[str, Placeholder]]:
    state = module.state if isinstance(module.state, Mapping) else {}
    named = {name: value for name, value in state.items() if isinstance(name, str)}
    return (
        {name: value for name, value in named.items() if isinstance(value, Tensor)},
        {
            name: value
            for name, value in named.items()
            if isinstance(value, Placeholder) and value.origin.startswith(_PROGRAM)
        },
    )

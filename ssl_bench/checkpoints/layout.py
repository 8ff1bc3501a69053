"""What a layout is made of: names, places and producers; and keys sorted by them.

A layout is a module with ``LAYOUT`` (its name), ``PRODUCERS`` (who writes it; the first
is the default) and a `Naming`, a `Recipe` or both. A naming says how one code base
calls the tensors of one family of networks; a recipe says where a producer keeps its
networks and what it keeps beside them. Any recipe goes with any naming. Where a recipe
cannot say it, the module has a ``read(payload) -> Reading | None`` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ssl_bench.backbones import InputSpec

ONLINE = "online"
EMA = "ema"
ENCODERS = (ONLINE, EMA)

Rules = Mapping[str, tuple[str, ...]]
"""From the name of a rule to what it drops.

``head.`` is a prefix, ``attn_mask`` a whole key, ``*.attn_mask`` a key of that name at
any depth. Prefixes keep their dot so that ``encoder.`` is not found in ``encoder_q.``.
"""

WRAPPERS = (
    "module.",
    "_orig_mod.",
    "model.",
    "_forward_module.",
    "_fsdp_wrapped_module.",
)
"""What DistributedDataParallel, torch.compile, Lightning and others put before keys."""

INNER_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of a key that no network has of its own; they go wherever they stand."""

CONTAINERS: Mapping[str, str] = {
    "state_dict": ONLINE,
    "model_state_dict": ONLINE,
    "model": ONLINE,
    "module": ONLINE,
    "state_dict_ema": EMA,
    "model_ema": EMA,
    "": ONLINE,
}
"""Where most producers keep a state dict; the file itself only if none of these is."""

HEAD: Rules = {"head": ("fc.", "head.", "classifier.", "heads.", "head_dist.")}
AVERAGE: Rules = {"counter of the average": ("n_averaged", "steps")}


@dataclass(frozen=True)
class Naming:
    """Say how one code base names the tensors of one family of networks.

    Attributes:
        name: of the layout whose file this stands in.
        rename: from a key to our name, or None for a key that no such network has.
            ``name#0``, ``name#1`` ... are parts that are joined along dimension 0.
        anchors: keys that such a network always has; two of them make a candidate.
        needs: at least one of these keys or prefixes has to be there.
        lacks: none of these keys or prefixes may be there.
        drop: keys that a named rule leaves out.
        finish: reshapes, permutes or repeats the renamed tensors; copes with gaps.
        hidden: options of the architecture that no tensor shows.
        shown: reads options off tensors that are dropped, such as masks; it gets
            the tensors in their names, and what it says goes before ``hidden``.
    """

    name: str
    rename: Callable[[str], str | None]
    anchors: tuple[str, ...]
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    drop: Rules = field(default_factory=dict)
    finish: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None
    hidden: Mapping[str, Any] = field(default_factory=dict)
    shown: Callable[[Mapping[str, Tensor]], Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Producer:
    """Say who writes a layout, and what only they know.

    Attributes:
        name: as ``--cfg-options producer=NAME`` says it.
        title: as the documentation shows it.
        hidden: options of the architecture that no tensor shows.
        input: statistics of the images, where they are not the layout's.
        encoder: which copy they evaluate, where it is not the layout's default.
    """

    name: str
    title: str
    hidden: Mapping[str, Any] = field(default_factory=dict)
    input: InputSpec | None = None
    encoder: str | None = None


@dataclass(frozen=True)
class Recipe:
    """Say where a producer keeps its networks, and what it keeps beside them.

    Attributes:
        online: prefixes of the trained network; the first that any key has is taken.
        ema: prefixes of its average (teacher, momentum or target network).
        containers: dotted path of a state dict in the file, and whether its networks
            are online or averaged; the empty path is the file itself.
        default: which copy the producer evaluates.
        needs: of each group at least one key or prefix has to be there.
        beside: at least one of these has to stand next to the container.
        lacks: none of these keys or prefixes may be there.
        outside: what is dropped outside the networks, by named rule.
        inside: what is dropped inside, by named rule.
        namings: the only namings to try; none stands for all.
        hidden: options of the architecture that no tensor shows.
    """

    online: tuple[str, ...] = ("",)
    ema: tuple[str, ...] = ()
    containers: Mapping[str, str] = field(default_factory=lambda: CONTAINERS)
    default: str = ONLINE
    needs: tuple[tuple[str, ...], ...] = ()
    beside: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    outside: Rules = field(default_factory=dict)
    inside: Rules = field(default_factory=lambda: HEAD)
    namings: tuple[str, ...] = ()
    hidden: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoder:
    """Hold one network of a file, in our names.

    Attributes:
        tensors: by our names.
        names: from our names to the keys in the file.
        dropped: keys of the file that a named rule leaves out.
        unknown: keys of the file that nothing explains, with their tensors.
    """

    tensors: Mapping[str, Tensor]
    names: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, Tensor] = field(default_factory=dict)

    def origin(self, name: str) -> str:
        """Return the key in the file behind one of our names, for messages."""
        return " and ".join(self.names.get(name, (name,)))


@dataclass(frozen=True)
class Reading:
    """Hold what a layout found in a file.

    Attributes:
        encoders: by ``online`` and ``ema``.
        default: which of them is meant when nobody says.
        input: statistics of the images, where the file has them.
        hidden: options of the architecture that no tensor shows (number of heads).
        provenance: what an earlier extraction wrote down.
        producer: the producer that the file itself names, where it does.
        decided: options of the architecture that files beside the weights name; they
            go before what a producer is known for.
        beside: those files.
    """

    encoders: Mapping[str, Encoder]
    default: str
    input: InputSpec | None = None
    hidden: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    producer: str | None = None
    decided: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Keys of the file that no name and no rule explains."""
        return tuple(
            dict.fromkeys(
                k for encoder in self.encoders.values() for k in encoder.unknown
            )
        )

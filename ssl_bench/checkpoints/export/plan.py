"""What it takes to hand a network to another code base: names, class and settings."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Rename = Callable[[str], str | None]


class Class(str):
    """Name a class of the module that `Plan.build` is in."""


@dataclass(frozen=True)
class Plan:
    """Say how a network is written for another code base.

    Attributes:
        build: their class or function that takes the tensors.
        options: its arguments.
        rename: from our name of a tensor to theirs; None where they have no place.
        naming: the layout whose names these are; None for our own.
        notes: what else has to be set on their side.
        reshape: gives a tensor, by their name, the shape and order that it has there.
        complete: adds what their files have and ours have not.
    """

    build: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rename: Rename = str
    naming: str | None = None
    notes: tuple[str, ...] = ()
    reshape: Callable[[str, Tensor], Tensor] | None = None
    complete: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None

    @property
    def call(self) -> str:
        """The call that builds their network, as text."""
        module = self.build.rpartition(".")[0]
        options = {
            name: _Bare(f"{module}.{value}") if isinstance(value, Class) else value
            for name, value in self.options.items()
        }
        return f"{self.build}({_arguments(options)})"


def renaming(table: Sequence[tuple[str, str]]) -> Rename:
    """Return a function that renames by the first pattern that fits the whole name.

    Args:
        table: regular expressions of our names, and what they become.
    """
    compiled = [(re.compile(pattern), theirs) for pattern, theirs in table]

    def rename(name: str) -> str | None:
        for pattern, theirs in compiled:
            if found := pattern.fullmatch(name):
                return found.expand(theirs)
        return None

    return rename


class _Bare(str):
    """Stand for itself in a call, without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def _arguments(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in options.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"dict({_arguments(value)})"
    if isinstance(value, functools.partial):
        return f"partial({value.func.__name__}, {_arguments(value.keywords)})"
    if isinstance(value, type):
        return value.__name__
    return repr(value)

"""Run a pickle's opcodes on our own stack, within a budget.

Python's own unpickler is made to call what a file names, sets attributes on whatever
lies on its stack and allocates what an opcode claims. This one does none of that: what
a name means, what a call gives and what a state is put into is decided by the
subclass; sizes are compared with the bytes that are there; and everything that costs
memory is charged against a budget.

Source: the opcodes of protocols 0 to 5 are described in python/cpython
Lib/pickletools.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from operator import length_hint
from typing import Any

from ssl_bench.checkpoints.formats.placeholder import Placeholder, shown
from ssl_bench.errors import CheckpointError

Bytes = bytes | memoryview

OPCODES = 2_000_000
"""How many opcodes any pickle may have; larger files get more."""
UNITS = 1_000_000
"""How many times `UNIT` bytes the objects of any pickle may take."""
UNIT = 64
TEXT = 64 << 20
"""Bytes that the texts of any pickle may take, and the numbers in its arrays."""

_BORROWED = 1 << 16
"""From this length on, byte strings stay in the file and are only pointed to."""
_LONGEST_NAME = 1024
_CONTAINER = 4
_KEY_OF_PARTS = 100
_PARTS = 64
_PLAIN_KEYS = (str, float, bool, type(None), bytes)
_NO_KEYS = (int, complex, dict, list, set, memoryview)


class Budget:
    """Say what the pickles of a file may still take; see the constants above.

    Args:
        size: of the whole file.
    """

    def __init__(self, size: int) -> None:
        self.opcodes = OPCODES + size // UNIT
        self.units = UNITS + size // UNIT
        self.text = TEXT + size
        self.copies = TEXT + size


class Machine:
    """Hold the stack and the memo of one pickle.

    Args:
        data: where the pickle lies.
        start: position of its first opcode.
        budget: what it may take.
    """

    def __init__(self, data: Bytes, start: int, budget: Budget) -> None:
        self.data = data
        self.end = len(data)
        self.position = start
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.budget = budget

    def find(self, module: str, name: str) -> Any:
        """Return what a name of the file means here."""
        raise NotImplementedError

    def call(self, function: Any, args: Any, kwargs: Any = None) -> Any:
        """Return what a call gives; nothing of the file is called."""
        raise NotImplementedError

    def build(self, value: Any, state: Any) -> Any:
        """Return a value that a state was put into; what is no placeholder ignores it.

        It takes the place of the value on the stack.
        """
        raise NotImplementedError

    def fetch(self, reference: Any) -> Any:
        """Return what a persistent id stands for."""
        raise NotImplementedError

    def nested(self, content: Any) -> Any:
        """Read a torch file that lies in the pickle as bytes."""
        raise NotImplementedError

    def resolve(self, value: Any) -> Any:
        """Return what a remembered value has become since."""
        return value

    def run(self, table: Sequence[Callable[[Any], Any]]) -> Any:
        """Run to the end and return the object; `position` is then behind it.

        Args:
            table: what each opcode does; the one that ends gives True.
        """
        data = self.data
        left = iter(range(self.budget.opcodes))
        for _ in left:
            code = data[self.position]
            self.position += 1
            if table[code](self):
                break
        else:
            raise CheckpointError("its pickle has more objects than a file of its size")
        self.budget.opcodes = length_hint(left)
        if len(self.stack) != 1 or self.below:
            raise ValueError("objects are left over at its end")
        return self.stack.pop()

    def charge(self, units: int) -> None:
        """Take units of memory out of the budget.

        Raises:
            CheckpointError: if the budget is spent.
        """
        self.budget.units -= units
        if self.budget.units < 0:
            raise CheckpointError("its pickle builds far more than a file of its size")

    def copy(self, count: int) -> None:
        """Take bytes of numbers that are copied out of the file out of the budget.

        Raises:
            CheckpointError: if the budget is spent.
        """
        self.budget.copies -= count
        if self.budget.copies < 0:
            raise CheckpointError("its pickle has more numbers than a file of its size")

    def key(self, value: Any) -> Any:
        """Return a value after checking that it may be hashed.

        The hash of a deep tuple overflows the C stack, and that of numbers can be
        chosen so that all collide.

        Raises:
            CheckpointError: if it is no sensible key.
        """
        kind = type(value)
        if kind in _PLAIN_KEYS or (kind is int and -(2**60) < value < 2**60):
            return value
        if kind in (tuple, frozenset):
            self.charge(_KEY_OF_PARTS)
            if len(value) <= _PARTS and all(
                type(part) in _PLAIN_KEYS
                or (type(part) is int and -(2**60) < part < 2**60)
                for part in value
            ):
                return value
        elif kind not in _NO_KEYS:
            return value
        raise CheckpointError(f"its pickle uses {shown(value)} as a key")

    def take(self, count: int) -> Bytes:
        """Return the next bytes, which have to be there."""
        begin, self.position = self.position, self.position + count
        if count < 0 or self.position > self.end:
            raise ValueError("it is cut off")
        return self.data[begin : self.position]

    def byte(self) -> int:
        """Return the next byte."""
        self.position += 1
        return self.data[self.position - 1]

    def number(self, width: int) -> int:
        """Return the whole number in the next bytes."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        """Return the bytes up to the next line feed."""
        begin, width = self.position, 256
        while begin < self.end:
            found = bytes(self.data[begin : begin + width]).find(b"\n")
            if found >= 0:
                self.position = begin + found + 1
                return bytes(self.data[begin : begin + found])
            if begin + width >= self.end:
                break
            width *= 8
        raise ValueError("it is cut off")

    def pop_mark(self) -> list[Any]:
        """Return what lies above the last mark, and drop the mark."""
        items = self.stack
        self.stack = self.below.pop()
        return items

    def remember(self, index: int) -> None:
        """Put what lies on top into the memo."""
        self.charge(1)
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push what the memo has."""
        self.stack.append(self.resolve(self.memo[index]))

    def push_text(self, text: str) -> None:
        """Push a text, within the budget for them."""
        self.budget.text -= len(text) if text.isascii() else sys.getsizeof(text)
        if self.budget.text < 0:
            raise CheckpointError("its pickle has more text than a file of its size")
        self.stack.append(text)

    def push_bytes(self, count: int) -> None:
        """Push the next bytes."""
        content = self.take(count)
        self.stack.append(content if count >= _BORROWED else bytes(content))

    def push_string(self, count: int) -> None:
        """Push a string of Python 2: text, unless it is large enough to be numbers."""
        content = self.take(count)
        if count >= _BORROWED:
            self.stack.append(content)
        else:
            self.push_text(str(content, "latin1"))

    def push_new(self, value: Any) -> None:
        """Push a new container."""
        self.charge(_CONTAINER)
        self.stack.append(value)

    def push_name(self, module: str, name: str) -> None:
        """Push what a name means."""
        if max(len(module), len(name)) > _LONGEST_NAME:
            raise ValueError("a name in it is absurdly long")
        self.stack.append(self.find(module, name))

    def push_call(self, function: Any, args: Any, kwargs: Any = None) -> None:
        """Push what a call gives."""
        self.charge(_CONTAINER)
        self.stack.append(self.call(function, args, kwargs))

    def append(self, items: list[Any]) -> None:
        """Append to the list on top."""
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.items.extend(items)
        elif type(target) is list:
            target.extend(items)
        else:
            raise ValueError("it appends to what is no list")

    def put_items(self, items: list[Any]) -> None:
        """Put keys and values in turn into the dictionary on top."""
        target = self.stack[-1]
        pairs = zip(items[::2], items[1::2], strict=True)
        if isinstance(target, Placeholder):
            self.charge(len(items))
            target.items.extend(pairs)
        elif type(target) is dict:
            # A dictionary takes about a hundred bytes an entry.
            self.charge(len(items))
            key = self.key
            target.update((k if type(k) is str else key(k), v) for k, v in pairs)
        else:
            raise ValueError("it puts items into what is no dictionary")

    def add(self, items: list[Any]) -> None:
        """Add members to the set on top."""
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.items.extend(items)
        elif type(target) is set:
            target.update(map(self.key, items))
        else:
            raise ValueError("it adds members to what is no set")

"""What each opcode of a pickle does, on a `Machine`."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from ssl_bench.checkpoints.formats.pickle_machine import Machine
from ssl_bench.checkpoints.formats.placeholder import Placeholder
from ssl_bench.errors import CheckpointError

_LONGEST_NUMBER = 1024
_PROTOCOL = 5
_STOP = ord(".")
_UNFRAMED = b"\x95BTX\x8d\x8e\x96\x80"
_FLOAT = struct.Struct(">d")
_INT = struct.Struct("<i")


def _fill(machine: Machine, target: Any) -> Any:
    """Return a new dictionary or set with the items above the mark."""
    items = machine.pop_mark()
    machine.push_new(target)
    (machine.put_items if type(target) is dict else machine.add)(items)


def _mark(machine: Machine) -> None:
    machine.charge(2)
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _int(machine: Machine) -> None:
    line = machine.line()
    if line in (b"00", b"01"):
        machine.stack.append(line == b"01")
    elif len(line) > _LONGEST_NUMBER:
        raise ValueError("a number in it is absurdly long")
    else:
        machine.stack.append(int(line.rstrip(b"L") or b"0"))


def _long(machine: Machine, width: int) -> None:
    count = machine.number(width)
    if count > _LONGEST_NUMBER:
        raise ValueError("a number in it is absurdly long")
    machine.stack.append(int.from_bytes(machine.take(count), "little", signed=True))


def _text(machine: Machine, width: int) -> None:
    content = machine.take(machine.number(width))
    try:
        text = str(content, "utf-8")
    except UnicodeDecodeError:
        # Python writes names of files that are no UTF-8 with lone surrogates.
        text = _printable(str(content, "utf-8", "surrogatepass"))
    machine.push_text(text)


def _text_line(machine: Machine) -> None:
    text = machine.line().decode("raw-unicode-escape", "replace")
    machine.push_text(_printable(text))


def _printable(text: str) -> str:
    """Return a text without lone surrogates, which cannot be printed."""
    return text.encode("utf-8", "replace").decode()


def _string_line(machine: Machine) -> None:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a text in it has no quotes")
    machine.push_text(codecs.escape_decode(line[1:-1])[0].decode("latin1"))


def _put_line(machine: Machine) -> None:
    index = int(machine.line())
    if not 0 <= index < 2**32:
        raise ValueError("a number of its memo is absurd")
    machine.remember(index)


def _name_lines(machine: Machine) -> None:
    module = machine.line().decode("utf-8")
    machine.push_name(module, machine.line().decode("utf-8"))


def _name_of_stack(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a name in it is no text")
    machine.push_name(module, name)


def _instance(machine: Machine) -> None:
    _name_lines(machine)
    kind = machine.stack.pop()
    args = tuple(machine.pop_mark())
    machine.push_call(kind, args)


def _object(machine: Machine) -> None:
    kind, *args = machine.pop_mark()
    machine.push_call(kind, tuple(args))


def _reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.push_call(machine.stack.pop(), args)


def _new_object(machine: Machine) -> None:
    _check_class(machine.stack[-2])
    _reduce(machine)


def _new_object_with_names(machine: Machine) -> None:
    kwargs, args = machine.stack.pop(), machine.stack.pop()
    _check_class(machine.stack[-1])
    machine.push_call(machine.stack.pop(), args, kwargs)


def _check_class(kind: Any) -> None:
    """Refuse to make an object of what Python's own code says is a function."""
    if isinstance(kind, Placeholder) and kind.origin.rpartition(".")[2][:2] == "_r":
        raise ValueError("it makes an object of a function")


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    machine.stack[-1] = machine.build(machine.stack[-1], state)


def _tuple(machine: Machine, count: int) -> None:
    machine.charge(1)
    stack = machine.stack
    if len(stack) < count:
        raise ValueError("its stack is empty")
    stack[-count:] = [tuple(stack[-count:])]


def _tuple_of_mark(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.charge(1 + len(items) // 8)
    machine.stack.append(tuple(items))


def _list_of_mark(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.push_new(items)


def _frozen(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.charge(len(items))
    machine.push_new(frozenset(map(machine.key, items)))


def _protocol(machine: Machine) -> None:
    if machine.byte() > _PROTOCOL:
        raise ValueError("its protocol is unknown")


def _frame(machine: Machine) -> None:
    end = machine.number(8) + machine.position
    if end > machine.end:
        raise ValueError("it is cut off")
    # Large texts and bytes stand between frames; behind the last, anything may.
    last = machine.data[end - 1] == _STOP
    if end < machine.end and not last and machine.data[end] not in _UNFRAMED:
        raise ValueError("a frame in it is damaged")


def _extension(machine: Machine) -> None:
    raise CheckpointError(
        "its pickle refers to an extension code, which no checkpoint needs; get the "
        "file from its publisher again"
    )


def _unknown(machine: Machine) -> None:
    raise ValueError(f"there is no opcode {machine.data[machine.position - 1]:#04x}")


_OPERATIONS: dict[bytes, Callable[[Machine], Any]] = {
    b".": lambda m: True,
    b"(": _mark,
    b"0": _pop,
    b"1": lambda m: m.pop_mark() and None,
    b"2": lambda m: m.stack.append(m.stack[-1]),
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"I": _int,
    b"L": _int,
    b"J": lambda m: m.stack.append(_INT.unpack(m.take(4))[0]),
    b"K": lambda m: m.stack.append(m.byte()),
    b"M": lambda m: m.stack.append(m.number(2)),
    b"\x8a": lambda m: _long(m, 1),
    b"\x8b": lambda m: _long(m, 4),
    b"F": lambda m: m.stack.append(float(m.line())),
    b"G": lambda m: m.stack.append(_FLOAT.unpack(m.take(8))[0]),
    b"S": _string_line,
    b"T": lambda m: m.push_string(m.number(4)),
    b"U": lambda m: m.push_string(m.byte()),
    b"V": _text_line,
    b"X": lambda m: _text(m, 4),
    b"\x8c": lambda m: _text(m, 1),
    b"\x8d": lambda m: _text(m, 8),
    b"B": lambda m: m.push_bytes(m.number(4)),
    b"C": lambda m: m.push_bytes(m.byte()),
    b"\x8e": lambda m: m.push_bytes(m.number(8)),
    b"\x96": lambda m: m.push_bytes(m.number(8)),
    b"]": lambda m: m.push_new([]),
    b"}": lambda m: m.push_new({}),
    b"\x8f": lambda m: m.push_new(set()),
    b")": lambda m: m.stack.append(()),
    b"l": _list_of_mark,
    b"d": lambda m: _fill(m, {}),
    b"t": _tuple_of_mark,
    b"\x85": lambda m: _tuple(m, 1),
    b"\x86": lambda m: _tuple(m, 2),
    b"\x87": lambda m: _tuple(m, 3),
    b"\x91": _frozen,
    b"a": lambda m: m.append([m.stack.pop()]),
    b"e": lambda m: m.append(m.pop_mark()),
    b"s": lambda m: m.put_items([m.stack.pop(), m.stack.pop()][::-1]),
    b"u": lambda m: m.put_items(m.pop_mark()),
    b"\x90": lambda m: m.add(m.pop_mark()),
    b"g": lambda m: m.recall(int(m.line())),
    b"h": lambda m: m.recall(m.byte()),
    b"j": lambda m: m.recall(m.number(4)),
    b"p": _put_line,
    b"q": lambda m: m.remember(m.byte()),
    b"r": lambda m: m.remember(m.number(4)),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"c": _name_lines,
    b"\x93": _name_of_stack,
    b"i": _instance,
    b"o": _object,
    b"R": _reduce,
    b"\x81": _new_object,
    b"\x92": _new_object_with_names,
    b"b": _build,
    b"P": lambda m: m.stack.append(m.fetch(m.line().decode("utf-8"))),
    b"Q": lambda m: m.stack.append(m.fetch(m.stack.pop())),
    b"\x80": _protocol,
    b"\x95": _frame,
    b"\x82": _extension,
    b"\x83": _extension,
    b"\x84": _extension,
}
OPERATIONS = [_OPERATIONS.get(bytes([code]), _unknown) for code in range(256)]

"""Configs: read by mmengine, overridden, and checked.

A config of a frozen protocol is an mmengine Python file with a handful of keys
(`KEYS`); its ``settings`` become the protocol's frozen `Settings`. All complaints about
a config are raised together.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ssl_bench.errors import BenchError, ConfigError, unknown

KEYS: Mapping[str, str] = {
    "protocol": "name of the protocol",
    "dataset": "name of the data set",
    "transform": "a named test transform, or a list of dict(type=...)",
    "settings": "the protocol's own settings",
    "backbone": "dict(type=...) of a backbone registered in MODELS",
    "producer": "who wrote the checkpoint, where several write the same names",
    "custom_imports": "mmengine's: modules to import first",
}
"""The keys of a frozen protocol's config."""

SettingsT = TypeVar("SettingsT")


def parse_options(options: Sequence[str] | None) -> dict[str, Any]:
    """Turn ``key=value`` words into a dictionary, as mmengine reads them.

    Raises:
        ConfigError: for words without ``=``, all of them together.
    """
    words = list(options or ())
    complaints = [
        f"--cfg-options {word!r} has no value; write key=value"
        for word in words
        if "=" not in word or word.startswith("=")
    ]
    if complaints:
        raise ConfigError(complaints)
    if not words:
        return {}
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser()
    parser.add_argument("options", nargs="+", action=DictAction)
    parsed: dict[str, Any] = parser.parse_args(words).options
    return parsed


def read_config(
    path: Path,
    options: Mapping[str, Any] | None = None,
    settings: type | None = None,
) -> Any:
    """Read a config file and apply overrides, without checking its keys.

    Args:
        path: an mmengine Python config; it is the user's own code and is run.
        options: dotted keys and their values, from ``--cfg-options``.
        settings: the protocol's ``Settings``: a key that is one of its fields, as in
            ``topk=5``, is then short for ``settings.topk=5``. One that is given both
            ways with different values stays as it is, for `key_complaints`.

    Returns:
        The ``mmengine.Config``.

    Raises:
        ConfigError: when the file cannot be read or an override does not fit.
    """
    from mmengine.config import Config

    try:
        config = Config.fromfile(path, import_custom_modules=False)
        given = dict(options or {})
        if settings is not None:
            _spell_out(config, settings)
            given = _spelled_out(given, settings)
        config.merge_from_dict(given)
    except (BenchError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ConfigError(
            [f"config {path} cannot be read: {type(error).__name__}: {error}"]
        ) from error
    _import_custom(config)
    return config


def options_config(options: Mapping[str, Any]) -> Any:
    """Make a config of overrides alone, with its ``custom_imports`` imported.

    Args:
        options: dotted keys and their values.

    Raises:
        ConfigError: when a module cannot be imported.
    """
    from mmengine.config import Config

    config = Config()
    config.merge_from_dict(dict(options))
    _import_custom(config)
    return config


def _spell_out(config: Any, settings: type) -> None:
    """Move settings in the short form of a file to where settings belong."""
    long = config.get("settings", {})
    if not isinstance(long, Mapping):
        return
    for name in _short_forms(config, settings):
        if name not in long or plain(long[name]) == plain(config[name]):
            config.merge_from_dict({f"settings.{name}": config.pop(name)})


def _spelled_out(options: Mapping[str, Any], settings: type) -> dict[str, Any]:
    """Return overrides with their settings in the long form."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if name == "settings" and isinstance(value, Mapping):
            flat |= {f"settings.{inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    for name in _short_forms(flat, settings):
        long = f"settings.{name}"
        if long not in flat or plain(flat[long]) == plain(flat[name]):
            flat[long] = flat.pop(name)
    return flat


def _long_forms(values: Mapping[str, Any]) -> dict[str, Any]:
    settings = values.get("settings", {})
    return dict(settings) if isinstance(settings, Mapping) else {}


def _short_forms(keys: Iterable[str], settings: type) -> list[str]:
    fields = typing.get_type_hints(settings)
    return [key for key in keys if key in fields and key not in KEYS]


def _import_custom(config: Any) -> None:
    """Import what ``custom_imports`` names, wherever it was written."""
    from mmengine.utils import import_modules_from_strings

    try:
        import_modules_from_strings(**config.get("custom_imports", {"imports": []}))
    except (ImportError, TypeError) as error:
        raise ConfigError([f"custom_imports: {error}"]) from error


def key_complaints(config: Mapping[str, Any], where: str, settings: type) -> list[str]:
    """Return a complaint for every top-level key that a frozen protocol cannot take.

    Args:
        config: the config, overrides applied, as `read_config` gives it.
        where: the config's name, for messages.
        settings: the protocol's ``Settings``; its fields are known keys.
    """
    known = [*KEYS, *typing.get_type_hints(settings)]
    long = _long_forms(config)
    found = [
        f"{where}: {unknown('config key', key, known)}"
        for key in config
        if key not in known
    ]
    return found + [
        f"{where}: {key}={plain(config[key])!r} and settings.{key}="
        f"{plain(long[key])!r} are one setting; keep one of them"
        for key in _short_forms(config, settings)
        if key in long and plain(long[key]) != plain(config[key])
    ]


def plain(value: Any) -> Any:
    """Return ``value`` with tuples as lists and Paths as text, ready for JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def build_settings(
    kind: type[SettingsT], values: Any, where: str
) -> tuple[SettingsT, list[str]]:
    """Make a protocol's frozen settings from the ``settings`` of a config.

    Args:
        kind: the protocol's ``Settings`` dataclass; ``validate()``, where it has one,
            returns complaints about values.
        values: names and values; lists become tuples.
        where: the config's name, for messages.

    Returns:
        The settings (defaults where a value did not fit), and everything that is
        wrong with the values: unknown names, wrong types, bad values.
    """
    if not isinstance(values, Mapping):
        said = f"{where}: settings={values!r} is not dict(name=value, ...)"
        return kind(), [said]
    hints = typing.get_type_hints(kind)
    complaints: list[str] = []
    accepted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            complaints.append(f"{where}: {unknown('setting', name, hints)}")
            continue
        fitted, problem = _fit(value, hints[name])
        if problem:
            complaints.append(f"{where}: settings.{name}={value!r} is not {problem}")
        else:
            accepted[name] = fitted
    settings = kind(**accepted)
    validate = getattr(settings, "validate", None)
    if validate is not None:
        complaints += [f"{where}: settings.{text}" for text in validate()]
    return settings, complaints


def keyed_settings(settings: Any) -> dict[str, Any]:
    """Return the fields of ``settings`` that are part of a record's identity.

    A field with ``metadata={"keyed": False}`` only says how the work is done. Settings
    with a method ``keyed`` know it themselves.
    """
    own = getattr(settings, "keyed", None)
    if own is not None:
        return dict(own())
    return {
        item.name: plain(getattr(settings, item.name))
        for item in dataclasses.fields(settings)
        if item.metadata.get("keyed", True)
    }


def _fit(value: Any, hint: Any) -> tuple[Any, str]:
    """Return ``value`` as ``hint`` wants it, and a complaint (empty when it fits)."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        for option in options:
            fitted, problem = _fit(value, option)
            if not problem:
                return fitted, ""
        return value, " or ".join(_describe(option) for option in options)
    if origin is tuple:
        inner = typing.get_args(hint)[0]
        items = value if isinstance(value, list | tuple) else [value]
        pairs = [_fit(item, inner) for item in items]
        bad = next((problem for _, problem in pairs if problem), "")
        return tuple(item for item, _ in pairs), bad and f"a list of {_plural(inner)}"
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        return value, "" if value in choices else f"one of {', '.join(choices)}"
    if hint is type(None):
        return value, "" if value is None else "None"
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value), ""
    right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return value, "" if right else _describe(hint)


def _plural(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(map(str, typing.get_args(hint)))
    words = {int: "whole numbers", float: "numbers", str: "words"}
    return words.get(hint, _describe(hint))


def _describe(hint: Any) -> str:
    words = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "True or False",
    }
    return words.get(hint, str(getattr(hint, "__name__", hint)))

"""The commands of the folder tools that are no commands of ssl-bench.

They keep the names and the arguments that OpenSelfSup and MMSelfSup gave them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_bench.cli import _one_line, _os_sentence, _Parser
from ssl_bench.errors import BenchError

if TYPE_CHECKING:
    from torch import nn

PUBLISH = """\
write a checkpoint for others: IN without the optimiser as OUT-xxxxxxxx.pth

The eight hex digits are the beginning of the sha256 of the file that is written. All
tensors are on the CPU. Nothing in IN is executed.
"""
COUNT = """\
count the parameters of a network: all, trainable, stage by stage

CONFIG is a config with backbone=dict(type=...), a checkpoint, or the name of an
architecture.
"""
PRINT = """\
print a config with its bases merged and its overrides applied

CONFIG is a shipped config by name, one of the known names of the semi-supervised
protocol, or a file.
"""
_FILES = (".pth", ".pt", ".tar", ".ckpt", ".bin", ".pkl", ".safetensors")


def publish_model(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/publish_model.py``; return the exit code."""

    def run() -> None:
        parser = _parser("publish_model.py", PUBLISH)
        parser.add_argument("in_file", metavar="IN", type=Path)
        parser.add_argument("out_file", metavar="OUT", type=Path)
        args = parser.parse_args(argv)
        from ssl_bench.checkpoints.publish import publish

        done = publish(args.in_file, args.out_file)
        if done.dropped:
            print(f"left out: {', '.join(done.dropped)}", file=sys.stderr)
        print(done.path)

    return _guarded("publish_model.py", run)


def count_parameters(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/count_parameters.py``; return the exit code."""

    def run() -> None:
        parser = _parser("count_parameters.py", COUNT)
        parser.add_argument("config", metavar="CONFIG")
        args = parser.parse_args(argv)
        from ssl_bench.checkpoints.parameters import count, render

        name, network = _network(args.config)
        print(render(name, count(network)))

    return _guarded("count_parameters.py", run)


def print_config(argv: Sequence[str] | None = None) -> int:
    """Run ``tools/print_config.py``; return the exit code."""

    def run() -> None:
        parser = _parser("print_config.py", PRINT)
        parser.add_argument("config", metavar="CONFIG")
        parser.add_argument(
            "--cfg-options",
            metavar="KEY=VALUE",
            nargs="+",
            help="override entries, as in train_cfg.max_epochs=10",
        )
        args = parser.parse_args(argv)
        from ssl_bench.config import parse_options, read_config
        from ssl_bench.resources import find_config
        from ssl_bench.training.names import known_config

        known = known_config(args.config)
        path, options = (find_config(args.config), {}) if known is None else known
        options = {**options, **parse_options(args.cfg_options)}
        print(read_config(path, options).pretty_text)

    return _guarded("print_config.py", run)


def _network(said: str) -> tuple[str, nn.Module]:
    """Return the network that a config, a checkpoint or a name means."""
    from ssl_bench import backbones, checkpoints
    from ssl_bench.checkpoints.parameters import of_architecture
    from ssl_bench.config import read_config
    from ssl_bench.errors import ConfigError

    path = Path(said).expanduser()
    if path.suffix == ".py":
        config = read_config(path)
        wanted = config.get("backbone") or config.get("model", {}).get("backbone")
        if wanted is None:
            raise ConfigError(
                [f"{said} has no backbone=dict(type=...); name a checkpoint instead"]
            )
        return _of_config(wanted)
    if path.exists() or path.name != said or path.suffix in _FILES:
        spec = checkpoints.load(path).spec
    else:
        spec = backbones.parse(said)
    return spec.name, of_architecture(spec)


def _of_config(wanted: Mapping[str, Any]) -> tuple[str, nn.Module]:
    """Build a registered network; what is only counted need not have taps.

    Raises:
        ConfigError: if the type is unknown, or builds no network.
    """
    import torch

    from ssl_bench import backbones
    from ssl_bench.registry import MODELS

    kind = wanted.get("type")
    if isinstance(kind, str) and MODELS.get(kind) is not None:
        network = MODELS.build(dict(wanted))
        if isinstance(network, torch.nn.Module):
            own = isinstance(network, backbones.Backbone)
            return str(network.arch) if own else kind, network
    backbone = backbones.custom(wanted)
    return backbone.arch, backbone


def _parser(program: str, text: str) -> argparse.ArgumentParser:
    return _Parser(
        prog=program,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _guarded(program: str, run: Callable[[], int | None]) -> int:
    """Run, and turn an error into one line and its exit code."""
    try:
        code = run()
    except BenchError as error:
        print(f"{program}: error: {_one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{program}: error: {_one_line(_os_sentence(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    return code or 0

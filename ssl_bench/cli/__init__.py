"""The command line: one file a command, found by its name.

Exit codes: 0 done, 1 the user's to mend, 2 usage, 130 interrupted. Help and parsing
import neither torch nor mmengine; each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from ssl_bench import __version__
from ssl_bench.errors import BenchError, UsageError, unknown

EPILOG = """\
examples:
  ssl-bench demo
  ssl-bench extract checkpoint.pth backbone.pth
  ssl-bench knn --pretrain checkpoint.pth --data-root data/imagenet
  ssl-bench svm --pretrain checkpoint.pth --data-root data/VOCdevkit
  ssl-bench table knn
"""


class _Parser(argparse.ArgumentParser):
    """Report a wrong command line in one sentence, with the nearest names."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see: {self.prog} --help)")


def commands() -> dict[str, ModuleType]:
    """Return the command modules by name: every file here that has ``HELP``."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        if hasattr(module, "HELP"):
            found[info.name.replace("_", "-")] = module
    return found


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of every command."""
    parser = _Parser(
        prog="ssl-bench",
        description="Say what a vision backbone's checkpoint is worth.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, module in commands().items():
        text = module.HELP
        child = subparsers.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(child)
        if "--debug" not in child._option_string_actions:
            child.add_argument(
                "--debug", action="store_true", help="show the traceback of an error"
            )
        child.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        return _run(words)
    except BenchError as error:
        if debug:
            raise
        print(f"ssl-bench: error: {_one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"ssl-bench: interrupted; {_how_to_go_on(words)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - nobody reads on
        return 0
    except OSError as error:
        if debug:
            raise
        print(f"ssl-bench: error: {_one_line(_os_sentence(error))}", file=sys.stderr)
        return 1


def _how_to_go_on(words: Sequence[str]) -> str:
    module = commands().get(_command(words) or "")
    child = argparse.ArgumentParser()
    if module is not None:
        module.add_arguments(child)
    if "--resume" in words or "--resume" not in child._option_string_actions:
        return "finished work is kept, the same command goes on"
    return "checkpoints are kept, the same command with --resume goes on"


def _command(words: Sequence[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)


def _run(words: list[str]) -> int:
    parser = build_parser()
    command = _command(words)
    if command is not None and command not in commands():
        raise UsageError(
            f"{unknown('command', command, commands())} (see: ssl-bench --help)"
        )
    args, extra = parser.parse_known_args(words)
    if extra:
        raise UsageError(_extra_words(parser, args.command, extra))
    code: int = args.run(args)
    return code


def _extra_words(
    parser: argparse.ArgumentParser, command: str, extra: Sequence[str]
) -> str:
    """Say which words are unknown, with the nearest options."""
    actions = next(
        a for a in parser._actions if isinstance(a, argparse._SubParsersAction)
    )
    known = [
        word
        for word in actions.choices[command]._option_string_actions
        if word[1] == "-"
    ]
    word = extra[0].split("=", 1)[0]
    if word.startswith("-"):
        return f"{unknown('option', word, known)} (see: ssl-bench {command} --help)"
    if "=" in extra[0] and "--cfg-options" in known:
        return (
            f"unexpected word {extra[0]!r}; KEY=VALUE comes directly after "
            f"--cfg-options (see: ssl-bench {command} --help)"
        )
    return f"unexpected word {extra[0]!r} (see: ssl-bench {command} --help)"


def _os_sentence(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return (
        f"{error.strerror or error}{where}; check the path, its rights and free space"
    )


def _one_line(text: str) -> str:
    """Return a message without line ends and what else moves a terminal.

    Messages quote names out of foreign files.
    """
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "?" for sign in line)

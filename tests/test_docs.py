"""The documents: links lead somewhere, commands parse, examples of Python run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ssl_bench import cli
from ssl_bench.checkpoints import description

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def commands(page: Path) -> list[str]:
    """Return the ssl-bench lines inside fenced blocks, continuations joined."""
    blocks = re.findall(r"```\w*\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [
        line.split("#")[0].strip() for line in lines if line.startswith("ssl-bench")
    ]


LINES = sorted({line for page in PAGES for line in commands(page)})


@pytest.mark.parametrize("line", LINES)
def test_commands_in_the_documents_parse(line: str) -> None:
    words = shlex.split(line.replace("…", ""))[1:]
    parser = cli.build_parser()
    if "--help" in words or "-h" in words:
        return
    args, extra = parser.parse_known_args(words)
    assert extra == [], line
    assert args.command in cli.commands()


def test_the_table_of_layouts_is_fresh() -> None:
    page = (ROOT / "docs" / "checkpoints.md").read_text()
    assert description.table() in page, "run python tools/generate_docs.py"


def test_there_are_commands_to_check() -> None:
    assert len(LINES) >= 8


def test_every_protocol_has_its_page() -> None:
    from ssl_bench.protocols import protocols

    for name in protocols():
        page = ROOT / "docs" / "protocols" / f"{name}.md"
        assert page.is_file(), name
        assert page.name in (ROOT / "README.md").read_text()

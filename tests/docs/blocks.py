"""The code blocks of a page, and how a reader would run them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(?P<language>[a-z]*)(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_EXIT = re.compile(r"\s+# exit (\d+)$")


@final
@dataclass(frozen=True)
class Block:
    """One fenced block. title: the file that a reader is to save it as, or None. line: its first, in the page."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str


@final
@dataclass(frozen=True)
class Command:
    """`$ brinell ...`, and how it is said to end."""

    arguments: list[str]
    exit_code: int


def pages() -> list[Path]:
    """Every page that shows code."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match["info"])
        yield Block(
            page,
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            None if title is None else title[1],
            match["text"],
        )


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block that call brinell; a line that ends in a backslash goes on."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if not line.startswith("$ brinell"):
            continue
        said = _EXIT.search(line)
        call = line[2:] if said is None else line[2 : said.start()]
        yield Command(shlex.split(call)[1:], 0 if said is None else int(said[1]))

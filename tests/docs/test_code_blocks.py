"""Every block of code in the documents runs as it is printed, in the order of its page, in an empty folder."""

import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import brinell.demo
from brinell.cli import main
from brinell.demo import digits_network
from docs.blocks import ROOT, Block, blocks, commands, pages

trained_once = cache(digits_network)
"""It is the same to the bit on every call, and every target takes a copy."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, which Python imports from."""
    before, modules = signal.getsignal(signal.SIGTERM), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(brinell.demo, "digits_network", trained_once)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]  # the next page has a net.py of its own
    signal.signal(signal.SIGTERM, before)


LONG = (
    "README beyond black-box config diagnose engines gates plans policies preflight quickstart tabular universal verify"
)
"""Pages with whole audits on them."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.stem in LONG.split() else ()) for page in pages()],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_page_runs_as_it_is_printed(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if block.title is not None:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
            if block.title.endswith(".py"):  # the tests have a models.py too
                monkeypatch.delitem(sys.modules, block.title.removesuffix(".py").replace("/", "."), raising=False)
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.text  # so that a traceback names the line of the page
            exec(compile(code, str(page), "exec"), names)
        elif block.language == "console":
            _run(block, monkeypatch, capsys)


def test_there_is_something_to_run() -> None:
    found = [block for page in pages() for block in blocks(page)]
    assert sum(block.language == "python" for block in found) >= 10
    assert sum(len(list(commands(block))) for block in found if block.language == "console") >= 10


def _run(block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(block):
        monkeypatch.setattr(sys, "argv", ["brinell", *command.arguments])
        with pytest.raises(SystemExit) as end:
            main()
        heard = capsys.readouterr()
        assert (end.value.code or 0) == command.exit_code, (
            f"{block.page.name}, block at line {block.line}: {command.arguments} ended with {end.value.code}\n"
            f"{heard.out}\n{heard.err}"
        )

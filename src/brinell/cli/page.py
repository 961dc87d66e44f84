"""A function as a command, with a page of help in plain text: options stand under the headings they are declared with.

Typer's own pages are drawn by rich, whose import takes longer than everything else that `brinell --help` does.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from brinell.cli.app import SETTINGS
from brinell.cli.options import OUTPUT, REQUIRED, SEARCH, SUBJECT, THREAT, spread

_HEADINGS = ("Arguments", SUBJECT, THREAT, SEARCH, REQUIRED, OUTPUT, "Options")

_RANGE = re.compile(r"\d+<=x<=\d+|x>=\d+|(; )?required")
"""What typer says of numbers; an error names the range where one is left."""

_TYPE = re.compile(r" <\S+>$")
"""What typer says of an argument beside its name."""


class Page(TyperCommand):
    """A command whose options are shown by their headings."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments that must be given without braces."""
        return [re.sub(r"^\{(.*)\}(\.\.\.)?$", r"\1", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments first, options without a heading last."""
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in _HEADINGS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections[_heading(parameter)].append((_TYPE.sub("", record[0]), _told(record[1])))
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=24)


def command(name: str, function: Callable[..., Any]) -> Any:
    """Lines of a docstring that show how a command is called stay as they are."""
    text = re.sub(r"\n\n(?=brinell )", "\n\n\\b\n", inspect.getdoc(function) or "")
    alone = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=SETTINGS
    )
    alone.command(name, cls=Page, help=text)(spread(function))
    return typer.main.get_command(alone)


def _heading(parameter: Any) -> str:
    own = getattr(parameter, "rich_help_panel", None)
    return own if own in _HEADINGS else "Arguments" if parameter.param_type_name == "argument" else "Options"


def _told(help_: str) -> str:
    return re.sub(r"\s*\[(; )?\]", "", _RANGE.sub("", help_).replace("; ]", "]"))

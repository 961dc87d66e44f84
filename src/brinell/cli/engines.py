"""The catalogue as a person reads it: engines by what they leave and how they search, and one with its settings."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brinell.catalog import CATALOG, QUESTIONS, Row
from brinell.errors import UsageError, did_you_mean

_KINDS = {
    "attack": "attacks",
    "proof": "proofs",
    "exact": "exact: a witness and a proof at once",
    "vote": "certificates by votes",
    "measure": "measures",
    "estimate": "estimates: no evidence",
    "learner": "learners, from Python",
    "transformation": "transformations to search in, from Python",
}
"""What a heading calls the engines of a kind."""


def one(name: str) -> Row:
    """The engine of this name. Raises UsageError, with the name that was probably meant."""
    row = next((row for row in CATALOG if row.name == name), None)
    if row is None:
        likely = did_you_mean(name, [row.name for row in CATALOG])
        raise UsageError(f"engine {name!r} is not known{likely}; see brinell list")
    return row


def grouped(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """(heading, its engines), in the order in which the catalogue has them."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        family = "" if row.family == "none" else f" · {row.family}"
        heading = f"{_KINDS[row.kind]}{family} (need {row.access.name.lower()})"
        groups.setdefault(heading, []).append(row)
    yield from groups.items()


def catalog_table(rows: Sequence[Row]) -> RenderableType:
    """Every engine under its question and its heading, with its source and the sets that it is for."""
    longest = max(len(row.name) for row in rows)
    parts: list[RenderableType] = []
    for question in QUESTIONS:
        parts += [Text(f"{question.name}: {question.about}", style="bold underline"), ""]
        for heading, group in grouped([row for row in rows if row.question == question.name]):
            table = _columns(longest)
            for row in group:
                table.add_row(f"  {row.name}", row.paper + (f" ({', '.join(row.sets)})" if row.sets else ""))
            parts += [Text(heading, style="bold"), table, ""]
    return Group(*parts, "brinell list ENGINE shows one with its settings")


def engine_table(row: Row) -> RenderableType:
    """One engine: what it is, what it needs, and its settings with their defaults. Imports it."""
    engine = row.resolve()
    facts = _columns(len("perturbation sets"))
    for name, value in (
        ("kind", f"{row.kind}, {row.family}"),
        ("needs", f"{row.access.name.lower()} of the model"),
        ("perturbation sets", ", ".join(row.sets) or "all"),
        ("source", row.paper),
        ("MITRE ATLAS", ", ".join(row.atlas)),
        ("NIST AI 100-2", ", ".join(row.nist)),
    ):
        if value:
            facts.add_row(f"  {name}", value)

    taken = inspect.signature(engine).parameters.values()
    settings = _columns(max((len(setting.name) for setting in taken), default=0))
    for setting in taken:
        settings.add_row(f"  {setting.name}", _default(setting))
    about = "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(engine) or "").split("\n\n"))
    return Group(
        Text(row.name, style="bold"), facts, "", about, "", Text("settings and their defaults", style="bold"), settings
    )


def _default(setting: inspect.Parameter) -> str:
    if setting.default is inspect.Parameter.empty:
        return "must be given"
    value: Any = setting.default
    return getattr(value, "__name__", None) or repr(value)


def _columns(longest: int) -> Table:
    """Two columns, the first wide enough for an indented name of this length."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(min_width=longest + 2, no_wrap=True)
    table.add_column()
    return table

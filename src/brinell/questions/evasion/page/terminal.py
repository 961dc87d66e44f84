"""Evasion in a terminal: one row a radius."""

from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brinell.questions.evasion.page.words import certified, chance, demanded, label, unbroken
from brinell.questions.evasion.summary import EvasionSummary, Interval, RadiusResult
from brinell.report.words import count, line, percent


def table(result: EvasionSummary) -> RenderableType:
    """The brackets with their sampling intervals, and clean accuracy."""
    lines: list[RenderableType] = [
        Text.assemble(
            ("clean accuracy ", "dim"),
            percent(result.clean),
            ("" if result.clean is None else f" {_interval(result.clean_interval)}", "dim"),
            ("  of ", "dim"),
            count(result.n),
            (" examples", "dim"),
        ),
        _rows(result),
        Text(
            "certified: proved; unbroken: not broken yet; in parentheses: 95 % interval",
            "dim",
        ),
    ]
    if demanded(result):
        lines.append(Text(demanded(result), "dim"))
    if chance(result):
        lines.append(Text(chance(result), "dim"))
    if result.reading is not None:
        lines.append(Text(line(result.reading)))
    return Group(*lines)


_COLUMNS = ("set", "radius", "certified", "", "unbroken", "", "open", "errors")


def _rows(result: EvasionSummary) -> Table:
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, style in zip(_COLUMNS, ("", "", "cyan", "dim", "cyan", "dim", "", ""), strict=True):
        side: Literal["left", "right"] = "left" if name in ("set", "") else "right"
        rows.add_column(name, justify=side, style=style, no_wrap=name != "radius", overflow="fold")
    for r in result.radii:
        rows.add_row(*map(Text, _cells(r)))
    return rows


def _cells(r: RadiusResult) -> tuple[str, ...]:
    known = r.certified is not None
    return (
        line(r.set),
        label(r),
        certified(r),
        _interval(r.certified_interval) if known and r.certified_asked else "",
        unbroken(r),
        _interval(r.unbroken_interval) if known and r.unbroken_asked else "",
        count(r.counts["open"]),
        count(r.errors),
    )


def _interval(bounds: Interval) -> str:
    low, high = bounds
    return f"({100 * low:.1f}–{100 * high:.1f})"

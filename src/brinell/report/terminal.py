"""The result in a terminal: one row a radius."""

from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brinell.auditing.result import Interval, RadiusResult, Result
from brinell.report.words import (
    STATUS,
    certified,
    chance,
    count,
    demanded,
    duration,
    label,
    line,
    percent,
    told,
    unbroken,
)


def table(result: Result, page: str | Path | None = None) -> RenderableType:
    """The brackets with their sampling intervals, clean accuracy, status, and where the page is."""
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
    lines += [Text(told(f), _COLOURS[f.severity]) for f in result.found if f.severity in _COLOURS]
    lines += [Text(line(note), "dim") for note in result.notes]
    if result.reading is not None:
        lines.append(Text(line(result.reading)))
    status = STATUS[result.status]
    lines.append(Text(status, "yellow") if status else Text(f"complete in {duration(result.seconds)}", "dim"))
    if page is not None:
        lines.append(Text.assemble(("page: ", "dim"), line(str(page))))
    return Group(*lines)


_COLOURS = {"severe": "red", "warning": "yellow"}

_COLUMNS = ("set", "radius", "certified", "", "unbroken", "", "open", "errors")


def _rows(result: Result) -> Table:
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

"""The result in a terminal: one row a radius."""

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from brinell.auditing.result import RadiusResult, Result
from brinell.report.words import STATUS, count, duration, interval, number, percent, plain


def table(result: Result, page: str | Path | None = None) -> RenderableType:
    """The brackets with their sampling intervals, clean accuracy, status, and where the page is."""
    lines: list[RenderableType] = [
        Text.assemble(
            ("clean accuracy ", "dim"),
            percent(result.clean),
            (f"  ({interval(result.clean_interval)})" if result.clean is not None else "", "dim"),
            ("  of ", "dim"),
            count(result.n),
            (" examples", "dim"),
        ),
        _rows(result),
        Text(
            "certified: proved; unbroken: no attack succeeded yet; in brackets, 95 % sampling intervals",
            "dim",
        ),
    ]
    for finding in result.findings:
        if finding.severity == "severe":
            accepted = "accepted" if finding.accepted else "not accepted"
            lines.append(Text(plain(f"severe, {accepted}: {finding.code} {finding.message}"), "red"))
    status = STATUS[result.status]
    lines.append(Text(status, "yellow") if status else Text(f"complete in {duration(result.seconds)}", "dim"))
    if page is not None:
        lines.append(Text.assemble(("page: ", "dim"), plain(str(page))))
    return Group(*lines)


def _rows(result: Result) -> Table:
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows.add_column("set")
    rows.add_column("radius", justify="right")
    rows.add_column("certified", justify="right", style="cyan")
    rows.add_column("", justify="left", style="dim")
    rows.add_column("unbroken", justify="right", style="cyan")
    rows.add_column("", justify="left", style="dim")
    rows.add_column("open", justify="right")
    rows.add_column("errors", justify="right")
    for r in result.radii:
        rows.add_row(*map(Text, _cells(r)))
    return rows


def _cells(r: RadiusResult) -> tuple[str, ...]:
    known = r.certified is not None
    return (
        plain(r.set),
        number(r.radius),
        percent(r.certified),
        f"({interval(r.certified_interval)})" if known else "",
        percent(r.unbroken),
        f"({interval(r.unbroken_interval)})" if known else "",
        count(r.counts["open"]),
        count(r.errors),
    )

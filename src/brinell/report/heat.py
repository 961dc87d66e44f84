"""A heat map of shares: rows against columns, each cell the darker the larger, with its figure written in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brinell.errors import UsageError
from brinell.report.words import line

if TYPE_CHECKING:
    import altair as alt

SUFFIXES = (".png", ".svg")

SIDE = 64
"""Pixels of a cell."""


def check_picture(path: Path) -> None:
    """Refuse a name that no picture is written under."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"the picture {str(path)!r} is neither .png nor .svg; give one of them")


def heat_map(
    rows: Sequence[str], columns: Sequence[str], shares: Sequence[Sequence[float]], across: str, down: str
) -> "alt.LayerChart":
    """shares: 0 to 1, one row after the other; NaN where there is none. across, down: what columns and rows are."""
    import altair as alt

    rows, columns = [line(name) for name in rows], [line(name) for name in columns]
    cells = [
        {"row": row, "column": column, "share": None if share != share else share, "said": _said(share)}
        for row, values in zip(rows, shares, strict=True)
        for column, share in zip(columns, values, strict=True)
    ]
    x = alt.X("column:N", sort=columns, title=across, axis=alt.Axis(orient="top", labelAngle=0, labelLimit=2 * SIDE))
    y = alt.Y("row:N", sort=rows, title=down, axis=alt.Axis(labelLimit=3 * SIDE))
    base = alt.Chart(alt.Data(values=cells)).encode(x=x, y=y)
    scale = alt.Scale(domain=[0, 1], range=["#f7f4ef", "#b3261e"])
    field = base.mark_rect(stroke="#ffffff", strokeWidth=2).encode(color=alt.Color("share:Q", scale=scale, legend=None))
    ink = alt.condition("datum.share > 0.6", alt.value("#ffffff"), alt.value("#1b1b1b"))
    figures = base.mark_text(fontSize=13).encode(text="said:N", color=ink)
    chart: alt.LayerChart = (
        alt.layer(field, figures)
        .properties(width=SIDE * len(columns), height=SIDE * len(rows), background="#ffffff", padding=12)
        .configure(font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(domain=False, ticks=False, labelFontSize=13, titleFontSize=13, titleFontWeight="normal")
    )
    return chart


def picture(chart: "alt.LayerChart", path: Path) -> bytes:
    """The file's content, in the format that its name asks for."""
    import vl_convert

    check_picture(path)
    if path.suffix.lower() == ".svg":
        return str(vl_convert.vegalite_to_svg(chart.to_dict())).encode()
    return bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2))


def _said(share: float) -> str:
    return "n/a" if share != share else f"{100 * share:.0f} %"

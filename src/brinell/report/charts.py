"""Charts: Altair specifications drawn as SVG that sits in the page, takes its colours, and needs no script.

Each colour of a specification stands for a name; in the SVG it becomes the page's variable of that name, so a chart
follows the reader's light or dark setting like the text around it.
"""

import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from brinell.auditing.result import RadiusResult, Result
from brinell.report.words import number, percent

if TYPE_CHECKING:
    import altair as alt

COLOURS = {
    "certified": "#0b0101",
    "open": "#0b0102",
    "broken": "#0b0103",
    "ink": "#0b0104",
    "muted": "#0b0105",
    "rule": "#0b0106",
    "paper": "#0b0107",
    "certified-ink": "#0b0108",
    "broken-ink": "#0b0109",
}
"""What stands in a specification for each variable of the page's style."""


def curve(result: Result) -> Markup:
    """The bracket over the radius, in a wide and a narrow drawing of which the style shows one."""
    title = f"Bracket by {result.radii[0].set} radius"
    said = "; ".join(
        f"at {number(r.radius)}: {percent(r.certified)} certified, {percent(r.unbroken)} not yet broken"
        for r in result.radii
    )
    description = f"Clean accuracy {percent(result.clean)}; {said}."
    return Markup("").join(
        _svg(_curve(result, width, height), name, title, description)
        for name, width, height in (("wide", 640, 300), ("narrow", 300, 260))
    )


def _curve(result: Result, width: int, height: int) -> "alt.LayerChart":
    """Between the radii that were asked about, the steps are what follows from them: a certificate serves every
    smaller radius, a witness every larger one."""
    import altair as alt

    radii = [r for r in result.radii if r.certified is not None and r.unbroken is not None]
    end = max(r.radius for r in result.radii)
    x = alt.X(
        "x:Q",
        title=f"{result.radii[0].set} radius",
        scale=alt.Scale(domain=[0, 1.05 * end or 1], nice=False, zero=True),
        axis=alt.Axis(values=_ticks(end, radii), labelExpr=_labels(radii), grid=False),
    )
    y = alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format="~%", domain=False, ticks=False),
    )
    layers: list[alt.Chart] = []
    for state, boxes in _steps(result, radii).items():
        if boxes:
            layers.append(
                alt.Chart(alt.Data(values=boxes))
                .mark_rect(color=COLOURS[state], opacity=0.22 if state != "open" else 0.45)
                .encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
            )
    for edge, rows in _edges(result, radii).items():
        base = alt.Chart(alt.Data(values=rows)).encode(x=x)
        colour = COLOURS[edge]
        layers += [
            base.mark_line(color=colour, strokeWidth=2, interpolate=_STEP[edge]).encode(y=y),
            base.mark_rule(color=colour, strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
            base.mark_tick(color=colour, size=9, thickness=1.5, orient="horizontal").encode(y="low:Q"),
            base.mark_tick(color=colour, size=9, thickness=1.5, orient="horizontal").encode(y="high:Q"),
            base.mark_point(color=colour, fill=colour, size=46, opacity=1).encode(y=y),
        ]
    if result.clean is not None:
        clean = alt.Chart(alt.Data(values=[{"x": 0, "y": result.clean}]))
        layers.append(
            clean.mark_point(
                color=COLOURS["ink"], fill=COLOURS["paper"], size=60, strokeWidth=2, opacity=1
            ).encode(x=x, y=y)
        )
    return (
        alt.layer(*layers)
        .properties(width=width - 50, height=height - 50, background="transparent")
        .configure(font="system-ui", aria=False)
        .configure_view(stroke=None, clip=False)
        .configure_axis(
            labelColor=COLOURS["muted"],
            titleColor=COLOURS["muted"],
            domainColor=COLOURS["muted"],
            tickColor=COLOURS["muted"],
            gridColor=COLOURS["rule"],
            labelFontSize=13,
            titleFontSize=13,
            titleFontWeight="normal",
            titlePadding=8,
            labelPadding=6,
        )
    )


_STEP = {"certified": "step-before", "broken": "step-after"}


def _edges(result: Result, radii: list[RadiusResult]) -> dict[str, list[dict[str, float]]]:
    """The lower and upper edge, with what sampling leaves uncertain about each."""
    lower, upper = [], []
    for r in radii:
        (low, high), (least, most) = r.certified_interval, r.unbroken_interval
        lower.append({"x": r.radius, "y": r.certified, "low": low, "high": high})
        upper.append({"x": r.radius, "y": r.unbroken, "low": least, "high": most})
    return {"certified": lower, "broken": upper}


def _steps(result: Result, radii: list[RadiusResult]) -> dict[str, list[dict[str, float]]]:
    """What is certified, open and broken between one radius and the next."""
    boxes: dict[str, list[dict[str, float]]] = {"certified": [], "open": [], "broken": []}
    before, top = 0.0, result.clean
    for r in radii:
        if top is not None and r.radius > before:
            for state, low, high in (
                ("certified", 0.0, r.certified),
                ("open", r.certified, top),
                ("broken", top, 1.0),
            ):
                boxes[state].append({"x": before, "x2": r.radius, "y": low, "y2": high})
        before, top = r.radius, r.unbroken
    return boxes


def _ticks(end: float, radii: list[RadiusResult]) -> list[float]:
    """Zero and the radii asked about; where they crowd, those that keep a distance, the last one always."""
    kept = [end]
    for r in sorted((r.radius for r in radii), reverse=True):
        if kept[-1] - r >= end / 8 and r >= end / 8:
            kept.append(r)
    return [0, *reversed(kept)] if end else [0]


def _labels(radii: list[RadiusResult]) -> str:
    """A Vega expression that writes each tick as the page writes radii."""
    cases = "".join(f"abs(datum.value - {r.radius!r}) < 1e-12 ? '{number(r.radius)}' : " for r in radii)
    return f"{cases}format(datum.value, '~g')"


def _svg(chart: "alt.LayerChart", name: str, title: str, description: str) -> Markup:
    """The chart's drawing alone, named for those who cannot see it."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    svg = re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), svg)
    opening, body = svg.split(">", 1)
    width, height = (re.search(rf'{side}="([\d.]+)"', opening) for side in ("width", "height"))
    if width is None or height is None:
        raise ValueError(f"vl-convert gave an SVG without a size: {opening}")
    return Markup(  # the drawing's own strings were escaped by Vega
        f'<svg class="chart {name}" viewBox="0 0 {width[1]} {height[1]}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{body}'
    )


_VARIABLES = {colour: f"var(--{name})" for name, colour in COLOURS.items()}

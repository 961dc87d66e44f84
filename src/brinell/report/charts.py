"""Charts: Altair specifications drawn as SVG that sits in the page, takes its colours, and needs no script.

Each colour of a specification stands for a name; in the SVG it becomes the page's variable of that name, so a chart
follows the reader's light or dark setting like the text around it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from markupsafe import Markup, escape

from brinell.auditing.result import Curve, Interval, Result
from brinell.report.words import certified, label, number, percent, unbroken

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
    said = "; ".join(f"at {label(r)}: {certified(r)} certified, {unbroken(r)} not yet broken" for r in result.radii)
    description = f"Clean accuracy {percent(result.clean)}; {said}."
    return Markup("").join(
        _svg(_curve(result, width, height), name, title, description)
        for name, width, height in (("wide", 640, 300), ("narrow", 300, 260))
    )


def distances(result: Result) -> Markup:
    """Accuracy against every radius, where the smallest perturbations were sought; nothing where they were not."""
    known = result.curve
    if known is None or not known.distances or known.distances[-1] == 0:
        return Markup("")
    said = f"{percent(known.at(0))} at 0, {percent(known.at(known.distances[-1]))} at {number(known.distances[-1])}"
    return Markup("").join(
        _svg(_distances(result, known, width, height), name, "Accuracy by distance", f"Not yet broken: {said}.", "far-")
        for name, width, height in (("wide", 640, 300), ("narrow", 300, 260))
    )


@final
@dataclass(frozen=True)
class _Point:
    """Both edges at one radius, each with what sampling leaves uncertain about it, and whether it was asked about."""

    radius: float
    lower: float
    lower_interval: Interval
    lower_asked: bool
    upper: float
    upper_interval: Interval
    upper_asked: bool


def _points(result: Result) -> list[_Point]:
    return [
        _Point(
            r.radius,
            r.certified,
            r.certified_interval,
            r.certified_asked,
            r.unbroken,
            r.unbroken_interval,
            r.unbroken_asked,
        )
        for r in result.radii
        if r.certified is not None and r.unbroken is not None
    ]


def _curve(result: Result, width: int, height: int) -> "alt.LayerChart":
    """Between the radii that were asked about, the steps are what follows from them: a certificate serves every
    smaller radius, a witness every larger one."""
    import altair as alt

    radii = [r.radius for r in result.radii]
    points = _points(result)
    start = max([p.upper for p in points[:1]] + [1.0 if result.clean is None else result.clean])
    x = alt.X(
        "x:Q",
        title=f"{result.radii[0].set} radius",
        scale=alt.Scale(domain=[0, 1.05 * max(radii) or 1], nice=False),
        axis=alt.Axis(
            values=_ticks(radii, spacing=90 / width), labelExpr=_labels(result), labelFlush=False, grid=False
        ),
    )
    y = alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr="100 * datum.value + ' %'", domain=False, ticks=False),
    )
    layers: list[alt.Chart] = []
    for state, boxes in _boxes(points, start).items():
        layers.append(
            alt.Chart(alt.Data(values=boxes))
            .mark_rect(color=COLOURS[state], opacity=0.45 if state == "open" else 0.22)
            .encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
        )
    lower = [_place(p.radius, p.lower, p.lower_interval) for p in points if p.lower_asked]
    upper = [_place(p.radius, p.upper, p.upper_interval) for p in points if p.upper_asked]
    for colour, edge, first in (
        (COLOURS["certified"], lower, [{"x": 0.0, "y": p["y"]} for p in lower[:1]]),
        (COLOURS["broken"], upper, [{"x": 0.0, "y": start} for _ in upper[:1]]),
    ):
        line = alt.Chart(alt.Data(values=[*first, *edge])).encode(x=x, y=y)
        base = alt.Chart(alt.Data(values=edge)).encode(x=x)
        layers += [
            line.mark_line(color=colour, strokeWidth=2, interpolate="step-before" if edge is lower else "step-after"),
            base.mark_rule(color=colour, strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
            base.mark_tick(color=colour, size=9, thickness=1.5, orient="horizontal").encode(y="low:Q"),
            base.mark_tick(color=colour, size=9, thickness=1.5, orient="horizontal").encode(y="high:Q"),
            base.mark_point(color=colour, fill=colour, size=40, opacity=1).encode(y=y),
        ]
    clean = alt.Chart(alt.Data(values=[] if result.clean is None else [{"x": 0, "y": result.clean}]))
    ring = clean.mark_point(color=COLOURS["ink"], fill=COLOURS["paper"], size=60, strokeWidth=2, opacity=1)
    return _laid(alt.layer(*layers, ring.encode(x=x, y=y)), width, height)


DRAWN = 200
"""Points of a curve that are drawn, at most: finer steps than that cannot be seen."""


def _distances(result: Result, known: Curve, width: int, height: int) -> "alt.LayerChart":
    """One step down a witness, and a rule at each radius that was asked about."""
    import altair as alt

    last = known.distances[-1]
    chosen = known.distances[:: -(-len(known.distances) // DRAWN)]
    steps = [{"x": r, "y": known.at(r)} for r in (0.0, *(r for r in chosen if r), last)]
    asked = [{"x": r.radius} for r in result.radii if 0 < r.radius <= last]
    x = alt.X(
        "x:Q",
        title=f"{result.radii[0].set} radius",
        scale=alt.Scale(domain=[0, 1.02 * last], nice=False),
        axis=alt.Axis(grid=False, tickCount=width // 90),
    )
    y = alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr="100 * datum.value + ' %'", domain=False, ticks=False),
    )
    line = alt.Chart(alt.Data(values=steps)).mark_line(color=COLOURS["broken"], strokeWidth=2, interpolate="step-after")
    rules = alt.Chart(alt.Data(values=asked)).mark_rule(color=COLOURS["muted"], strokeDash=[3, 3])
    return _laid(alt.layer(rules.encode(x=x), line.encode(x=x, y=y)), width, height)


def _laid(layers: "alt.LayerChart | alt.FacetChart", width: int, height: int) -> "alt.LayerChart":
    """In the page's size, letters and colours."""
    chart: alt.LayerChart = (
        layers.properties(width=width - 50, height=height - 50, background="transparent")
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
    return chart


def _place(radius: float, edge: float, interval: Interval) -> dict[str, float]:
    """One point of an edge as the drawing takes it."""
    low, high = interval
    return {"x": radius, "y": edge, "low": low, "high": high}


def _boxes(points: Sequence[_Point], start: float) -> dict[str, list[dict[str, float]]]:
    """What is certified, open and broken between one radius and the next; at radius 0 `start` is unbroken."""
    spans = [
        (before, p.radius, p.lower, top)
        for before, top, p in zip(
            [0.0, *(p.radius for p in points)], [start, *(p.upper for p in points)], points, strict=False
        )
    ]
    return {
        "certified": [{"x": a, "x2": b, "y": 0.0, "y2": low} for a, b, low, _ in spans],
        "open": [{"x": a, "x2": b, "y": low, "y2": top} for a, b, low, top in spans],
        "broken": [{"x": a, "x2": b, "y": top, "y2": 1.0} for a, b, _, top in spans],
    }


def _ticks(radii: Sequence[float], spacing: float) -> list[float]:
    """Zero and the radii; where they crowd, those a share `spacing` of the axis apart, and the last."""
    gap = spacing * max(radii)
    kept = [max(radii)]
    for radius in sorted(radii, reverse=True):
        if kept[-1] - radius >= gap and radius >= gap:
            kept.append(radius)
    return [0.0, *reversed(kept)] if max(radii) else [0.0]


def _labels(result: Result) -> str:
    """A Vega expression that writes each tick as the page writes radii."""
    cases = "".join(f"datum.value == {r.radius!r} ? {json.dumps(label(r))} : " for r in result.radii)
    return f"{cases}format(datum.value, '~g')"


def _svg(chart: "alt.LayerChart", name: str, title: str, description: str, which: str = "") -> Markup:
    """The chart's drawing alone, named for those who cannot see it. which: sets its names apart on the page."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    svg = re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), svg)
    opening, body = svg.split(">", 1)
    width, height = (re.search(rf'{side}="([\d.]+)"', opening) for side in ("width", "height"))
    if width is None or height is None:
        raise ValueError(f"vl-convert gave an SVG without a size: {opening}")
    return Markup(  # the drawing's own strings were escaped by Vega
        f'<svg class="chart {name}" viewBox="0 0 {width[1]} {height[1]}" role="img" '
        f'aria-labelledby="{which}{name}-title {which}{name}-desc">'
        f'<title id="{which}{name}-title">{escape(title)}</title>'
        f'<desc id="{which}{name}-desc">{escape(description)}</desc>{body}'
    )


_VARIABLES = {colour: f"var(--{name})" for name, colour in COLOURS.items()}

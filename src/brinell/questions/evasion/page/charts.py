"""Charts of evasion: the bracket over the radius, and accuracy over the distance of the nearest witness."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from markupsafe import Markup

from brinell.questions.evasion.page.words import certified, label, unbroken
from brinell.questions.evasion.summary import AccuracyCurve, EvasionSummary, Interval
from brinell.report.drawing import COLOURS, laid, svg_of
from brinell.report.words import number, percent

if TYPE_CHECKING:
    import altair as alt


def curve(result: EvasionSummary) -> Markup:
    """The bracket over the radius, in a wide and a narrow drawing of which the style shows one."""
    title = f"Bracket by {result.radii[0].set} radius"
    said = "; ".join(f"at {label(r)}: {certified(r)} certified, {unbroken(r)} not yet broken" for r in result.radii)
    description = f"Clean accuracy {percent(result.clean)}; {said}."
    return Markup("").join(
        svg_of(_curve(result, width, height), name, title, description)
        for name, width, height in (("wide", 640, 300), ("narrow", 300, 260))
    )


def distances(result: EvasionSummary) -> Markup:
    """Accuracy against every radius, where the smallest perturbations were sought; nothing where they were not."""
    known = result.curve
    if known is None or not known.distances or known.distances[-1] == 0:
        return Markup("")
    said = f"{percent(known.at(0))} at 0, {percent(known.at(known.distances[-1]))} at {number(known.distances[-1])}"
    return Markup("").join(
        svg_of(
            _distances(result, known, width, height), name, "Accuracy by distance", f"Not yet broken: {said}.", "far-"
        )
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


def _points(result: EvasionSummary) -> list[_Point]:
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


def _curve(result: EvasionSummary, width: int, height: int) -> "alt.LayerChart":
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
    return laid(alt.layer(*layers, ring.encode(x=x, y=y)), width, height)


DRAWN = 200
"""Points of a curve that are drawn, at most: finer steps than that cannot be seen."""


def _distances(result: EvasionSummary, known: AccuracyCurve, width: int, height: int) -> "alt.LayerChart":
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
    return laid(alt.layer(rules.encode(x=x), line.encode(x=x, y=y)), width, height)


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


def _labels(result: EvasionSummary) -> str:
    """A Vega expression that writes each tick as the page writes radii."""
    cases = "".join(f"datum.value == {r.radius!r} ? {json.dumps(label(r))} : " for r in result.radii)
    return f"{cases}format(datum.value, '~g')"

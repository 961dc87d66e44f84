"""Calibration on the page: the reliability diagram, and the figures."""

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment
from markupsafe import Markup

from brinell.questions.calibration.summary import CalibrationSummary
from brinell.report.drawing import COLOURS, laid, svg_of
from brinell.report.templating import environment

if TYPE_CHECKING:
    pass

NAMES = {
    "ece": "expected calibration error",
    "ece_null": "expected under perfect calibration",
    "p_value": "p-value",
    "mce": "maximum calibration error",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
    "accuracy": "accuracy",
    "confidence": "mean confidence",
}


def lead(summary: CalibrationSummary) -> Markup:
    """The reading."""
    return Markup(_environment().get_template("calibration_lead.html").render(summary=summary))


def section(summary: CalibrationSummary) -> Markup:
    """The diagram and a table of all figures."""
    drawn = [_diagram(summary, *size) for size in (("wide", 640, 300), ("narrow", 300, 260))] if summary.bins else []
    page = _environment().get_template("calibration.html")
    return Markup(page.render(summary=summary, names=NAMES, diagram=Markup("").join(drawn)))


def _diagram(summary: CalibrationSummary, name: str, width: int, height: int) -> Markup:
    """Accuracy against mean confidence, bin by bin (DeGroot and Fienberg 1983), with Clopper-Pearson intervals."""
    import altair as alt

    rows = [
        {"x": b.confidence, "y": b.accuracy, "low": b.interval[0], "high": b.interval[1], "n": b.n}
        for b in summary.bins
    ]
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", title="confidence", scale=scale, axis=alt.Axis(grid=False, format="%", tickCount=5))
    y = alt.Y("y:Q", title=None, scale=scale, axis=alt.Axis(format="%", tickCount=5, domain=False, ticks=False))
    ends = alt.Chart(alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}])).encode(x=x, y=y)
    bins = alt.Chart(alt.Data(values=rows)).encode(x=x)
    chart = alt.layer(
        ends.mark_line(color=COLOURS["muted"], strokeDash=[3, 3], strokeWidth=1),
        bins.mark_rule(color=COLOURS["certified"], strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
        bins.mark_point(color=COLOURS["certified"], fill=COLOURS["certified"], size=40, opacity=1).encode(y=y),
    )
    said = "; ".join(f"{b.accuracy:.0%} right at {b.confidence:.0%}, {b.n} examples" for b in summary.bins)
    return svg_of(laid(chart, width, height), name, "Accuracy by confidence", f"{said}.", "calibration-")


@cache
def _environment() -> Environment:
    return environment("brinell.questions.calibration")

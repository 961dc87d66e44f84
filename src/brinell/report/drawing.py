"""Charts: Altair specifications drawn as SVG that sits in the page, takes its colours, and needs no script.

Each colour of a specification stands for a name; in the SVG it becomes the page's variable of that name, so a chart
follows the reader's light or dark setting like the text around it.
"""

import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

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


def laid(layers: "alt.LayerChart | alt.FacetChart", width: int, height: int) -> "alt.LayerChart":
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


def svg_of(chart: "alt.LayerChart", name: str, title: str, description: str, which: str = "") -> Markup:
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

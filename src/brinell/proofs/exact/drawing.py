"""The linear regions of a network of two inputs as a picture: outlined, and coloured by class."""

from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float64

from brinell.errors import UsageError
from brinell.proofs.exact.regions import linear_regions
from brinell.proofs.network.graph import Graph
from brinell.threat import Box
from brinell.types import Inputs

Polygon = Float64[np.ndarray, "corners 2"]

COLOURS: Final = ("#8fb8de", "#e8b26f", "#9ccf9f", "#d99aa5", "#b9a6d8", "#c9c58a", "#8ccdc8", "#c8a98c")


def drawn(graph: Graph, box: Box, points: Inputs | None = None, side: int = 480) -> str:
    """An SVG picture of a box, `side` pixels wide and high; the first input runs to the right.

    points: inputs to mark, one a row. Raises UsageError where the network has not two inputs, or the box no end.
    """
    if np.prod(graph.nodes[0].shape) != 2 or not box.bounded:
        raise UsageError(f"a drawing needs 2 inputs in a bounded box; the graph has {graph.nodes[0].shape}, {box}")
    (left, bottom), (right, top) = (_pair(limit) for limit in (box.low, box.high))
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    scale = np.array([side / (right - left), -side / (top - bottom)])

    def placed(polygon: Polygon) -> str:
        return " ".join(f"{x:.2f},{y:.2f}" for x, y in (polygon - [left, top]) * scale)

    areas = []
    outlines = []
    for region in linear_regions(graph, box):
        polygon = cut(corners, region.normals, region.offsets)
        outlines.append(f'<polygon points="{placed(polygon)}"/>')
        for label in range(graph.classes):
            leads = np.eye(graph.classes)[label] - np.delete(np.eye(graph.classes), label, 0)
            area = cut(corners, *region.within(leads))
            if len(area) > 2:
                areas.append(f'<polygon points="{placed(area)}" fill="{COLOURS[label % len(COLOURS)]}"/>')
    marks = [] if points is None else (points.double().flatten(1).numpy() - [left, top]) * scale
    dots = "".join(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4"/>' for x, y in marks)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" width="{side}" role="img">'
        f"<title>{len(outlines)} linear regions</title><g>{''.join(areas)}</g>"
        f'<g fill="none" stroke="#33333366" stroke-width="1">{"".join(outlines)}</g><g fill="#111111">{dots}</g></svg>'
    )


def cut(polygon: Polygon, normals: Float64[np.ndarray, "faces 2"], offsets: Float64[np.ndarray, " faces"]) -> Polygon:
    """The part of a convex polygon where normals x <= offsets; no corners where there is none.

    Sutherland and Hodgman 1974: side after side, corners inside stay, and where an edge passes the line it is cut.
    """
    for normal, offset in zip(normals, offsets, strict=True):
        if not len(polygon):
            break
        over = polygon @ normal - offset
        kept = []
        for (a, b), (here, there) in zip(pairwise([*polygon, polygon[0]]), pairwise([*over, over[0]]), strict=True):
            if here <= 0:
                kept.append(a)
            if (here < 0 < there) or (there < 0 < here):
                kept.append(a + here / (here - there) * (b - a))
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _pair(limit: float | tuple[float, ...]) -> tuple[float, float]:
    first, second = limit if isinstance(limit, tuple) and len(limit) == 2 else (limit, limit)
    return float(np.ravel(first)[0]), float(np.ravel(second)[0])

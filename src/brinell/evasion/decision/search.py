"""The search for the decision boundary on the way from an adversarial point to x0, from labels alone."""

from dataclasses import dataclass

import torch

from brinell.evasion.decision.start import Point, Start, ask, directions, inside
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores

DRAWS = 20
"""Directions compared at once."""


COARSE = 2.0**-7
"""The tolerance at which starts are compared; only the best of them is drawn closer."""


def on_boundary(hunt: Hunt, start: Start, queries: int, tolerance: float) -> Point:
    """Where a search of at most `queries` queries begins: a point of the boundary, carried by the hunt.

    It is a start drawn to the boundary, or a nearer point of it in one of `start.draws` random directions from x0. As
    Sign-OPT begins (arXiv:1909.10773): a direction costs one query, and a search only where it leads nearer. No
    example spends more than a tenth of its queries on directions.
    """
    hunt.begin()
    hunt.limit(queries)
    at = start(hunt)
    approach(hunt, at, COARSE)

    for first in range(0, start.draws, DRAWS):
        if not len(hunt):
            break
        count = min(DRAWS, start.draws - first)
        place = first + torch.arange(count, device=at.x.device)
        asked = place < (hunt.left // 10).unsqueeze(1)
        length = (at.x - hunt.x0).flatten(1).norm(dim=1)
        points = hunt.x0.unsqueeze(1) + over_features(length, at.x).unsqueeze(1) * directions(hunt, count)
        with hunt.carrying(points=inside(hunt, points)) as drawn:
            hits = ask(hunt, drawn.points, asked)
            distance = hunt.set.distance(hunt.x0.repeat_interleave(count, 0), drawn.points.flatten(0, 1)).reshape(
                hits.shape
            )
            best = distance.where(hits, torch.inf).min(1)
            nearer = best.values < hunt.set.distance(hunt.x0, at.x)
            chosen = drawn.points[torch.arange(len(hunt), device=at.x.device), best.indices]
        at.x = torch.where(over_features(nearer, at.x), chosen, at.x)
        approach(hunt, at, COARSE, nearer)

    approach(hunt, at, tolerance)
    return at


def fine(hunt: Hunt, at: Point) -> Scores:
    """The share of its distance to which HopSkipJump searches, for each example: so little that probes straddle it.

    Probes lie 1 / d of the distance away, a length in l2 whatever the set measures in. The last interval is a
    1 / sqrt(d)-th of that: 1 / d^1.5 of the distance in l2 (arXiv:1904.02144, section III.C), and in linf, where a
    point is up to sqrt(d) times as far away as its distance says, up to 1 / d^2, as the authors have it there.
    """
    away = (at.x - hunt.x0).flatten(1)
    ratio = hunt.set.distance(hunt.x0, at.x) / away.double().norm(dim=1).clamp(min=1e-300)
    share: Scores = (ratio * away.shape[1] ** -1.5).clamp(min=1e-6, max=COARSE)
    return share


def approach(hunt: Hunt, at: Point, tolerance: float | Scores, which: Mask | None = None) -> None:
    """Move each point toward x0 for as long as it is adversarial: binary search of the share of its distance kept.

    tolerance: the width of the last interval, as a share of the distance, or one an example. which: those that are
    moved, None for all. Only those still searching are asked.
    """
    ones = torch.ones(len(hunt), dtype=torch.float64, device=at.x.device)
    low = torch.zeros_like(ones) if which is None else ones.where(~which, 0.0)
    with hunt.carrying(_Interval(at.x, low, ones, tolerance * ones)) as held:
        while held.open.any():
            hits = ask(hunt, held.at(hunt, (held.low + held.high) / 2).unsqueeze(1), held.open.unsqueeze(1)).squeeze(1)
            searching = held.open
            middle = (held.low + held.high) / 2
            held.high = torch.where(searching & hits, middle, held.high)
            held.low = torch.where(searching & ~hits, middle, held.low)
        at.x = held.at(hunt, held.high)


def leap(hunt: Hunt, at: Point, direction: Inputs, length: Scores, halvings: int = 20) -> None:
    """Step along the direction, halving the length until the point there is adversarial; stay where none does."""
    with hunt.carrying(_Leap(direction, length, torch.ones_like(length, dtype=torch.bool))) as held:
        for _ in hunt.steps(halvings):
            if not held.open.any():
                break
            hits = ask(hunt, held.end(at).unsqueeze(1), held.open.unsqueeze(1)).squeeze(1)
            end = hunt.set.box.clamp(held.end(at))
            at.x = torch.where(over_features(hits & held.open, end), end, at.x)
            held.open = held.open & ~hits
            held.length = held.length / 2


@dataclass
class _Interval:
    """The share of the way to `far` that is known to fail, and that known to succeed; how near they are to come."""

    far: Inputs
    low: Scores
    high: Scores
    tolerance: Scores

    @property
    def open(self) -> Mask:
        return self.high - self.low > self.tolerance

    def at(self, hunt: Hunt, share: Scores) -> Inputs:
        return hunt.set.box.clamp(hunt.set.shrink(hunt.x0, self.far, share))


@dataclass
class _Leap:
    direction: Inputs
    length: Scores
    open: Mask

    def end(self, at: Point) -> Inputs:
        return at.x + over_features(self.length.to(at.x.dtype), at.x) * self.direction

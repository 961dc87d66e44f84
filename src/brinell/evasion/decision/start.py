"""What decision-based attacks share: a question cut to what is left of a budget, and a first adversarial point."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs

Rows = Float[Tensor, "batch points *shape"]
Flags = Bool[Tensor, "batch points"]

BLOCK = 32
"""Points of an example asked about at once: more would cost memory and save nothing."""

REACH = 7
"""Where the box has no ends, starts are sought up to 2^7 radii away."""


@dataclass
class Point:
    """An adversarial point of each example: where a search stands."""

    x: Inputs


@final
@dataclass(frozen=True)
class Start:
    """An adversarial point for each example: random points of the box until one is.

    examples: inputs (n, *shape) tried first, drawn at random for each example; a targeted goal in many dimensions
    has no other hope. An example for which none is found spends its queries here. draws: directions from x0 compared
    with the first point found, where an attack begins on the boundary.
    """

    examples: Inputs | None = None
    draws: int = 100

    def __call__(self, hunt: Hunt) -> Point:
        """The first one found, carried by the hunt."""
        at = hunt.carry(_Tried(hunt.x0.clone(), torch.zeros_like(hunt.rows, dtype=torch.bool)))
        tried = 0
        count = 1

        while len(hunt) and not at.found.all():
            points = self._draw(hunt, tried, count)
            with hunt.carrying(points=points) as drawn:
                hits = ask(hunt, points, ~at.found.unsqueeze(1).expand(-1, count))
                new = hits.any(1)
                first = drawn.points[torch.arange(len(hunt), device=hits.device), hits.int().argmax(1)]
            at.x = torch.where(over_features(new, first), first, at.x)
            at.found = at.found | new
            tried = tried + count
            count = min(2 * count, BLOCK)

        return at

    def _draw(self, hunt: Hunt, tried: int, count: int) -> Rows:
        x0 = hunt.x0
        if self.examples is not None and tried < len(self.examples):
            u = torch.rand((len(x0), count), device=x0.device, generator=hunt.rng)
            which = (u * len(self.examples)).long()
            return self.examples.to(x0)[which]
        u = torch.rand((len(x0), count, *x0.shape[1:]), dtype=x0.dtype, device=x0.device, generator=hunt.rng)
        if hunt.set.box.bounded:
            low, high = (end.expand_as(x0).unsqueeze(1) for end in hunt.set.box.limits(x0))
            return low + u * (high - low)
        unit = hunt.set.radius if hunt.set.radius < torch.inf else 1.0
        return x0.unsqueeze(1) + unit * 2.0 ** (tried % (REACH + 1)) * (2 * u - 1)


def ask(hunt: Hunt, points: Rows, asked: Flags) -> Flags:
    """Whether each point, moved into the box, is adversarial, of the examples that still stand after them.

    What an example cannot pay for is not asked, and False; one that wants an answer and has nothing left leaves.
    """
    asked = asked & (asked.cumsum(1) <= hunt.left.clamp(min=1).unsqueeze(1))
    return hunt.decide(inside(hunt, points).transpose(0, 1), asked.T).T


def inside(hunt: Hunt, points: Rows) -> Rows:
    """Each point moved into the box."""
    return hunt.set.box.clamp(points.flatten(0, 1)).reshape(points.shape)


def directions(hunt: Hunt, count: int) -> Rows:
    """Random directions of length one, (batch, count, *shape)."""
    x0 = hunt.x0
    u = torch.randn((len(x0), count, *x0.shape[1:]), dtype=x0.dtype, device=x0.device, generator=hunt.rng)
    return unit(u.flatten(0, 1)).reshape(u.shape)


def unit(x: Inputs) -> Inputs:
    """Each row scaled to length one; zero stays zero."""
    length = x.flatten(1).norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
    return x / over_features(length, x)


@dataclass
class _Tried(Point):
    found: Bool[Tensor, " batch"]

"""The distance of the decision boundary along directions from x0, from labels alone.

Cheng et al. 2019, arXiv:1807.04457, algorithm 1: g(direction), the length at which the point begins to serve the
adversary, by a fine-grained search for an interval that holds it, then by binary search.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.evasion.decision.start import Flags, Rows, ask, unit
from brinell.evasion.hunt import Hunt
from brinell.types import Inputs, Scores

Lengths = Float[Tensor, "batch points"]

FIRST = 0.01
"""The first widening of an interval around a guess; each further one is twice as wide."""


@dataclass
class Ray:
    """The direction (of length one) that each example follows, and the length at which it serves."""

    direction: Inputs
    length: Scores


def ray_to(hunt: Hunt, x: Inputs) -> Ray:
    """The ray from x0 through x, where it serves."""
    direction = x - hunt.x0
    return Ray(unit(direction), direction.flatten(1).norm(dim=1))


def measure(hunt: Hunt, directions: Rows, guess: Lengths, most: Scores, tolerance: float) -> Lengths:
    """The length along each direction, found from a guess near it; inf where it exceeds `most`.

    directions: (batch, points, *shape), each of length one. tolerance: the last interval's width over the length.
    """
    with hunt.carrying(_Search.at(directions, guess, most)) as held:
        while held.open(tolerance).any():
            open, length = held.open(tolerance), held.next()
            hits = ask(hunt, _points(hunt, held.directions, length), open)
            held.learn(hits, tolerance)
        return held.high


def serves(hunt: Hunt, directions: Rows, length: Lengths, asked: Flags) -> Flags:
    """Whether the points at these lengths along these directions serve the adversary."""
    return ask(hunt, _points(hunt, directions, length), asked)


def _points(hunt: Hunt, directions: Rows, length: Lengths) -> Rows:
    shaped = length.reshape(*length.shape, *(1,) * (directions.dim() - 2))
    return hunt.x0.unsqueeze(1) + shaped.to(directions.dtype) * directions


@dataclass
class _Search:
    """low fails, high serves; width: that of the next widening, over the guess; lost: nothing serves up to `most`."""

    directions: Rows
    guess: Lengths
    low: Lengths
    high: Lengths
    width: Lengths
    most: Lengths
    lost: Flags

    @classmethod
    def at(cls, directions: Rows, guess: Lengths, most: Scores) -> "_Search":
        """Nothing is known but the guess."""
        unknown = torch.full_like(guess, -torch.inf)
        nowhere = torch.zeros_like(guess, dtype=torch.bool)
        limit = most.unsqueeze(1).expand_as(guess)
        return cls(directions, guess, unknown, -unknown, torch.zeros_like(guess), limit, nowhere)

    def next(self) -> Lengths:
        """The length to ask about: the guess, then ever farther from it, then the middle."""
        up = torch.minimum(self.guess * (1 + self.width), self.most)
        down = (self.guess * (1 - self.width)).clamp(min=0)
        beside = torch.where(self.high.isfinite(), down, up)
        known = self.low.isfinite() & self.high.isfinite()
        return torch.where(known, (self.low + self.high) / 2, beside)

    def open(self, tolerance: float) -> Flags:
        known = self.low.isfinite() & self.high.isfinite()
        found = known & (self.high - self.low <= tolerance * self.high)
        return ~found & ~self.lost

    def learn(self, hits: Flags, tolerance: float) -> None:
        open, length = self.open(tolerance), self.next()
        self.high = torch.where(open & hits, length, self.high)
        self.low = torch.where(open & ~hits, length, torch.where(open & hits & (length <= 0), length, self.low))
        self.lost = self.lost | (open & ~hits & (length >= self.most))
        self.width = torch.where(open, (2 * self.width).clamp(min=FIRST), self.width)

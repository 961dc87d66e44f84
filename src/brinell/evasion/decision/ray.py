"""The distance of the decision boundary along directions from x0, from labels alone.

Cheng et al. 2019, arXiv:1807.04457, algorithm 1: g(direction), the length at which the point becomes
adversarial, by a fine-grained search for an interval that holds it, then by binary search. OPT and Sign-OPT descend it
over directions.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.evasion.decision.search import on_boundary
from brinell.evasion.decision.start import Flags, Rows, Start, ask, unit
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores

Lengths = Float[Tensor, "batch points"]

FIRST = 2.0**-9
"""The first widening of an interval around a guess; each further one is four times as wide."""

STEPS = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Step lengths compared at once, in units of the direction: the authors' step of 0.2, doubled and halved."""


@dataclass
class Ray:
    """The direction (of length one) that each example follows, and the length at which it is adversarial.

    A ray may leave the box: points on it are moved into the box when they are asked about. What it holds beyond, for
    features at an end of theirs, is what keeps chance from moving them back in.
    """

    direction: Inputs
    length: Scores


def follow(hunt: Hunt, start: Start, queries: int, tolerance: float) -> Ray:
    """The ray that a search of at most `queries` queries begins with, carried by the hunt."""
    at = on_boundary(hunt, start, queries, tolerance)
    direction = at.x - hunt.x0
    return hunt.carry(Ray(unit(direction), direction.flatten(1).norm(dim=1)))


def beside(ray: Ray, moves: Rows) -> Rows:
    """The directions of length one that these moves lead to."""
    moved = ray.direction.unsqueeze(1) + moves
    return unit(moved.flatten(0, 1)).reshape(moved.shape)


def turn(hunt: Hunt, ray: Ray, toward: Inputs, tolerance: float) -> None:
    """Turn the ray by whichever of several steps makes it shortest; leave it where none does."""
    steps = torch.tensor(STEPS, dtype=toward.dtype, device=toward.device).reshape(1, -1, *(1,) * (toward.dim() - 1))
    turned, length = shortest(hunt, beside(ray, steps * unit(toward).unsqueeze(1)), ray.length, tolerance)
    shorter = length < ray.length
    ray.direction = torch.where(over_features(shorter, turned), turned, ray.direction)
    ray.length = torch.where(shorter, length, ray.length)


def measure(hunt: Hunt, directions: Rows, guess: Lengths, most: Scores, tolerance: float) -> Lengths:
    """The length along each direction, found from a guess near it; inf where it exceeds `most`.

    directions: (batch, points, *shape), each of length one. tolerance: the last interval's width over the length.
    """
    with hunt.carrying(_Search.at(guess, most)) as held, hunt.carrying(_Field.of(directions)) as field:
        while held.open(tolerance).any():
            hits = ask(hunt, points_at(hunt, field.directions, held.next()), held.open(tolerance))
            held.learn(hits, tolerance)
        return held.high


def shortest(hunt: Hunt, directions: Rows, most: Scores, tolerance: float) -> tuple[Inputs, Scores]:
    """The direction among several along which the length is least, and that length; inf where all exceed `most`.

    All are asked about at one length, and those that fail where another succeeds are never asked again. So the cost
    depends on `most`, where the search begins: just above the least length few are asked twice; far above it all
    succeed, and all are asked again until some fail.
    """
    with hunt.carrying(_Search.at(most.unsqueeze(1), most)) as held, hunt.carrying(_Field.of(directions)) as field:
        while held.open(tolerance).any():
            asked = held.open(tolerance) & field.running
            hits = ask(hunt, points_at(hunt, field.directions, held.next().expand(asked.shape)), asked)
            succeeded = hits.any(1, keepdim=True)
            field.running = torch.where(succeeded, hits, field.running)
            held.learn(succeeded, tolerance)
        rows = torch.arange(len(hunt), device=directions.device)
        return field.directions[rows, field.running.int().argmax(1)], held.high.squeeze(1)


def points_at(hunt: Hunt, directions: Rows, length: Lengths) -> Rows:
    """The points at these lengths along these directions."""
    shaped = length.reshape(*length.shape, *(1,) * (directions.dim() - 2))
    return hunt.x0.unsqueeze(1) + shaped.to(directions.dtype) * directions


@dataclass
class _Field:
    """Directions, and those that may yet be the shortest."""

    directions: Rows
    running: Flags

    @classmethod
    def of(cls, directions: Rows) -> "_Field":
        return cls(directions, torch.ones(directions.shape[:2], dtype=torch.bool, device=directions.device))


@dataclass
class _Search:
    """low fails, high succeeds. width: of the next widening, over the guess. exhausted: nothing does up to `most`."""

    guess: Lengths
    low: Lengths
    high: Lengths
    width: Lengths
    most: Lengths
    exhausted: Flags

    @classmethod
    def at(cls, guess: Lengths, most: Scores) -> "_Search":
        """Nothing is known but the guess."""
        unknown = torch.full_like(guess, -torch.inf)
        nowhere = torch.zeros_like(guess, dtype=torch.bool)
        limit = most.unsqueeze(1).expand_as(guess)
        return cls(guess, unknown, -unknown, torch.zeros_like(guess), limit, nowhere)

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
        return ~found & ~self.exhausted

    def learn(self, hits: Flags, tolerance: float) -> None:
        searching = self.open(tolerance)
        length = self.next()
        self.high = torch.where(searching & hits, length, self.high)
        self.low = torch.where(
            searching & ~hits, length, torch.where(searching & hits & (length <= 0), length, self.low)
        )
        self.exhausted = self.exhausted | (searching & ~hits & (length >= self.most))
        self.width = torch.where(searching, (4 * self.width).clamp(min=FIRST), self.width)

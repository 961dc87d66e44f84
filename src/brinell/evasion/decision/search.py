"""The search for the decision boundary on the way from an adversarial point to x0, from labels alone."""

from dataclasses import dataclass

import torch

from brinell.evasion.decision.start import Point, ask
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores


def approach(hunt: Hunt, at: Point, tolerance: float) -> None:
    """Move each point toward x0 for as long as it serves: binary search of the share of its distance that is left.

    tolerance: the width of the last interval, as a share of the distance. Only those still searching are asked.
    """
    zeros = torch.zeros(len(hunt), dtype=torch.float64, device=at.x.device)
    with hunt.carrying(_Interval(at.x, zeros, zeros + 1)) as held:
        while (held.high - held.low > tolerance).any():
            open = held.high - held.low > tolerance
            hits = ask(hunt, held.at(hunt, (held.low + held.high) / 2).unsqueeze(1), open.unsqueeze(1)).squeeze(1)
            open, middle = held.high - held.low > tolerance, (held.low + held.high) / 2
            held.high = torch.where(open & hits, middle, held.high)
            held.low = torch.where(open & ~hits, middle, held.low)
        at.x = held.at(hunt, held.high)


def leap(hunt: Hunt, at: Point, direction: Inputs, length: Scores, halvings: int = 20) -> None:
    """Step along the direction, halving the length until the point there serves; stay where none does."""
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
    """The share of the way to `far` that is known to fail, and that known to serve."""

    far: Inputs
    low: Scores
    high: Scores

    def at(self, hunt: Hunt, share: Scores) -> Inputs:
        return hunt.set.box.clamp(hunt.set.shrink(hunt.x0, self.far, share))


@dataclass
class _Leap:
    direction: Inputs
    length: Scores
    open: Mask

    def end(self, at: Point) -> Inputs:
        return at.x + over_features(self.length.to(at.x.dtype), at.x) * self.direction

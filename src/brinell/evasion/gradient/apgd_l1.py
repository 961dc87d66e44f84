"""A run of Auto-PGD in an l1 ball: what adapts is how few features a step moves, and with it the step.

Source: Croce & Hein 2021, arXiv:2103.01208, section 3.3 and algorithm 1, with the constants of the authors' code.
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import final

import torch

from brinell.evasion.gradient.best import Best
from brinell.evasion.gradient.modifier import Ask, here
from brinell.evasion.gradient.sparse import leading
from brinell.evasion.hunt import Hunt
from brinell.threat import PerturbationSet
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores

SHARE = 0.2
"""Of the features, that the first steps move."""

EVERY = 0.04
"""Of all steps, between two checks."""

SPARSER = 0.95
"""The best point counts as sparser where it changes less than this share of what it changed at the last check."""

SHRINK = 1.5
"""The next steps move the features changed by the best point, divided by this; and the step is divided by it."""

RADII = (3, 2, 1)
"""Of a run that shrinks, in radii of the set."""

EARLY = 0.3
"""Of its steps, in each but the last of these balls."""

LEAST = 0.1
"""Of the first step, which is the radius: no step is smaller."""


def decreasing_radii(hunt: Hunt, ask: Ask, steps: int) -> None:
    """One run that begins in a larger ball, where there are more ways on, and comes down to the radius.

    It starts from normal noise, which a projection onto an l1 ball makes sparse. What a part of the run has found best
    is where the next begins, drawn into its ball; a point beyond the radius is no witness.
    """
    ball = hunt.set
    side = ball.box.width if ball.box.bounded else 1.0
    noise = torch.randn(hunt.x0.shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
    start = hunt.x0 + side * noise
    hunt.move_in_box(ball.resized(RADII[0] * ball.radius).project(hunt.x0, start))
    early = ceil(EARLY * steps)

    for times, count in zip(RADII, (early, min(early, steps - early), max(steps - 2 * early, 0)), strict=True):
        within = ball.resized(times * ball.radius)
        hunt.move_in_box(within.project(hunt.x0, hunt.x))
        best = run_l1(hunt, ask, count, within, sparse=True)
        if count and times > 1:
            hunt.query_if_moved()
            hunt.move_in_box(best.x)


def run_l1(hunt: Hunt, ask: Ask, steps: int, within: PerturbationSet, sparse: bool = False) -> Best:
    """The best point of one run in the ball `within`, from x on; sparse: whether x says how many features matter."""
    every = max(int(EVERY * steps), 1)
    radius = within.radius
    best = hunt.carry(Best.none(hunt.x))
    run = hunt.carry(_Sparsity.at(hunt.x, radius))
    if sparse:
        run.start(hunt.x0, hunt.x)

    for k in hunt.steps(steps):
        value, g = ask(here)
        x = hunt.x
        best.note(x, g, value)
        if k > 0 and k % every == 0:
            changed = (best.x != hunt.x0).flatten(1).sum(1)
            x, g = best.back(run.check(changed.to(x.dtype), prod(x.shape[1:]), radius), x, g)
        move = over_features(run.step, x) * leading(hunt, x, g, run.share, within)
        hunt.move_in_box(within.project(hunt.x0, x + move))

    return best


@final
@dataclass
class _Sparsity:
    """share: of the features, that a step moves. step: its length. changed: features, at the last check."""

    share: Scores
    step: Scores
    changed: Scores

    @classmethod
    def at(cls, x: Inputs, step: float) -> "_Sparsity":
        whole = x.new_full((len(x),), float(prod(x.shape[1:])))
        return cls(torch.full_like(whole, SHARE), torch.full_like(whole, step), whole)

    def start(self, x0: Inputs, x: Inputs) -> None:
        """As after a check at x."""
        self.changed = (x != x0).flatten(1).sum(1).to(x.dtype)
        self.share = self.changed / prod(x.shape[1:]) / SHRINK

    def check(self, changed: Scores, features: int, radius: float) -> Mask:
        """Whether the best point became sparser: then start afresh from it, with the full step."""
        sparser = changed < SPARSER * self.changed
        self.share = changed / features / SHRINK
        self.step = torch.where(sparser, radius, (self.step / SHRINK).clamp(min=LEAST * radius))
        self.changed = changed
        return sparser

"""A run of Auto-PGD in an l1 ball: what adapts is how few features a step moves, and with it the step.

Source: Croce & Hein 2021, arXiv:2103.01208, section 3.3 and algorithm 1, with the constants of the authors' code.
"""

from dataclasses import dataclass
from math import prod
from typing import final

import torch

from brinell.evasion.gradient.best import Best
from brinell.evasion.gradient.modifier import Ask, here
from brinell.evasion.gradient.sparse import leading
from brinell.evasion.hunt import Hunt
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores

SHARE = 0.2
"""Of the features, that the first steps move."""

EVERY = 0.04
"""Of all steps, between two checks."""

THINNER = 0.95
"""The best point counts as thinner where it changes less than this share of what it changed at the last check."""

SHRINK = 1.5
"""The next steps move the features changed by the best point, divided by this; and the step is divided by it."""

LEAST = 0.1
"""Of the first step, which is the radius: no step is smaller."""


def thinning(hunt: Hunt, ask: Ask, steps: int, radius: float) -> None:
    """One run, from x on."""
    every = max(int(EVERY * steps), 1)
    best = hunt.carry(Best.none(hunt.x))
    run = hunt.carry(_Thinning.at(hunt.x, radius))
    for k in hunt.steps(steps):
        value, g = ask(here)
        x = hunt.x
        best.note(x, g, value)
        if k > 0 and k % every == 0:
            changed = (best.x != hunt.x0).flatten(1).sum(1)
            x, g = best.back(run.check(changed.to(x.dtype), prod(x.shape[1:]), radius), x, g)
        hunt.move(x + over_features(run.step, x) * leading(hunt, x, g, run.share))


@final
@dataclass
class _Thinning:
    """share: of the features, that a step moves. step: its length. changed: features, at the last check."""

    share: Scores
    step: Scores
    changed: Scores

    @classmethod
    def at(cls, x: Inputs, step: float) -> "_Thinning":
        whole = x.new_full((len(x),), float(prod(x.shape[1:])))
        return cls(torch.full_like(whole, SHARE), torch.full_like(whole, step), whole)

    def check(self, changed: Scores, features: int, radius: float) -> Mask:
        """Whether the best point became thinner: then start afresh from it, with the full step."""
        thinner = changed < THINNER * self.changed
        self.share = changed / features / SHRINK
        self.step = torch.where(thinner, radius, (self.step / SHRINK).clamp(min=LEAST * radius))
        self.changed = changed
        return thinner

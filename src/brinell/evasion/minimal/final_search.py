"""The last search: how far the nearest point found can be drawn toward the clean example.

Source: Croce & Hein 2020, arXiv:1907.02044, section 3.3 (final search).
"""

from dataclasses import dataclass

import torch

from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.evasion.objective import margin
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores

PAST = 1e-3
"""How far past the crossing that is expected the next point lies, as a share of what is left up to the witness."""


def final_search(hunt: Hunt, steps: int, nearest: NearestAdversarial) -> None:
    """Look for the crossing between x0 and the nearest point that a walk has found, in the set or not.

    It takes `steps` queries and no gradients: the first at that point, the others where a line through the
    margins at both ends crosses zero. The examples without such a point are let go: it ends an attack.
    """
    nearest.note_last(hunt)
    if not steps:
        return
    hunt.begin()
    hunt.drop(~nearest.reach(hunt).isfinite())
    if not len(hunt) or hunt.clean is None:
        return
    zero = torch.zeros_like(hunt.clean[:, 0])
    span = hunt.carry(_Span(nearest.x(hunt), zero, margin(hunt.clean, hunt.y, hunt.aim), zero + 1, zero))

    for _ in hunt.steps(steps):
        share = span.crossing()
        hunt.move_in_box(torch.lerp(hunt.x0, span.far, over_features(share.to(hunt.x0.dtype), hunt.x0)))
        with hunt.carrying(share=share) as asked:
            value = hunt.value(margin)
            span.note(asked.share, value)


@dataclass
class _Span:
    """Shares of the way from x0 to the witness: the largest that misses and the smallest that hits, and the margins
    there.
    """

    far: Inputs
    low: Scores
    below: Scores
    high: Scores
    above: Scores

    def crossing(self) -> Scores:
        share = self.low + (self.high - self.low) * self.below / (self.below - self.above)
        return torch.lerp(share, self.high, PAST)

    def note(self, share: Scores, value: Scores) -> None:
        hit = value >= 0
        self.low = torch.where(hit, self.low, share)
        self.below = torch.where(hit, self.below, value)
        self.high = torch.where(hit, share, self.high)
        self.above = torch.where(hit, value, self.above)

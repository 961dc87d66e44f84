"""Sign-OPT: OPT with one query a direction, which says whether the boundary is nearer there.

Source: Cheng et al. 2020, arXiv:1909.10773, algorithm 1.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch

from brinell.arguments import AtLeast, Count, LessThan, NonNegative, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.decision.ray import Ray, beside, follow, points_at, turn
from brinell.evasion.decision.slope import signed_sum
from brinell.evasion.decision.start import Rows, Start
from brinell.evasion.hunt import Hunt
from brinell.threat import Access


@final
@dataclass(frozen=True)
class SignOPT(Attack):
    """Sign-OPT (Cheng et al. 2020); it minimises the l2 distance.

    queries: per example, the start's included. probes: signs of the first estimate (Q); the t-th has
    t ** growth times as many, as the nearer the end, the more the next step asks for; the authors' code has 200
    throughout. smoothing: how far apart two directions compared are (epsilon; theirs is 0.001); lengths are searched
    to a thousandth of it, or the signs would tell of the search and not of the boundary. memory: the share of the last
    sum of signs that the next one starts from (theirs has none by default). The authors try one step length after
    another; here several are compared at once.
    """

    queries: Count = 20_000
    probes: Count = 60
    smoothing: Positive = 0.003
    growth: NonNegative = 0.7
    memory: Annotated[float, AtLeast(0), LessThan(1)] = 0.5
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        tolerance = self.smoothing / 1000
        ray = follow(hunt, self.start, self.queries, tolerance)
        memory = hunt.carry(signed=torch.zeros_like(hunt.x0))
        step = 0
        while len(hunt):
            step += 1
            fresh = signed_sum(hunt, round(self.probes * step**self.growth), lambda u: self._beside(hunt, ray, u))
            memory.signed = self.memory * memory.signed + fresh
            turn(hunt, ray, memory.signed, tolerance)

    def _beside(self, hunt: Hunt, ray: Ray, u: Rows) -> tuple[Rows, Rows]:
        """The points as far away as the ray is long, along directions beside its own."""
        length = ray.length.unsqueeze(1).expand(u.shape[:2])
        return points_at(hunt, beside(ray, self.smoothing * u), length), u

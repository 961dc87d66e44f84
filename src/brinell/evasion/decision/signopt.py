"""Sign-OPT: OPT with one query a direction, which says whether the boundary is nearer there.

Source: Cheng et al. 2020, arXiv:1909.10773, algorithm 1 with the single-query oracle of eq. 5.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.decision.opt import beside, descend
from brinell.evasion.decision.ray import Ray, ray_to, serves
from brinell.evasion.decision.search import on_boundary
from brinell.evasion.decision.start import BLOCK, Flags, Rows, Start, directions, unit
from brinell.evasion.hunt import Hunt
from brinell.threat import Access
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class SignOPT(Attack):
    """Sign-OPT (Cheng et al. 2020); it minimises the l2 distance.

    queries: forward rows an example, the start's included. probes: signs of each estimate (the paper's Q).
    smoothing: how far apart two directions compared are (its epsilon).
    """

    queries: int = 20_000
    probes: int = 200
    smoothing: float = 0.001
    tolerance: float = 1e-4
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __post_init__(self) -> None:
        if self.queries < 1 or self.probes < 1:
            raise UsageError(f"queries is {self.queries} and probes {self.probes}; both must be at least 1")

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        hunt.limit(self.queries)
        at = on_boundary(hunt, self.start, self.tolerance)
        ray = hunt.carry(ray_to(hunt, at.x))
        while len(hunt):
            descend(hunt, ray, self._gradient(hunt, ray), self.tolerance)

    def _gradient(self, hunt: Hunt, ray: Ray) -> Inputs:
        """The sum of directions, each with the sign of the change of the distance along it; of length one."""
        with hunt.carrying(_Sum(torch.zeros_like(ray.direction))) as sum:
            for first in range(0, self.probes, BLOCK):
                if not len(hunt):
                    break
                count = min(BLOCK, self.probes - first)
                asked = torch.arange(count, device=hunt.x0.device) < hunt.left.clamp(min=1).unsqueeze(1)
                with hunt.carrying(_Probes(directions(hunt, count), asked)) as probes:
                    near = beside(ray, self.smoothing * probes.u)
                    nearer = serves(hunt, near, ray.length.unsqueeze(1).expand(-1, count), asked)
                    sign = (1 - 2 * nearer.to(probes.u.dtype)) * probes.asked
                    sum.g = sum.g + torch.einsum("bk,bk...->b...", sign, probes.u)
            return unit(sum.g)


@dataclass
class _Sum:
    g: Inputs


@dataclass
class _Probes:
    u: Rows
    asked: Flags

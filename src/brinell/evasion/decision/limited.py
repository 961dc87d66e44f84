"""Attacks that see little of an answer: from an adversarial point far away into a ball that shrinks around x0.

Source: Ilyas et al. 2018, arXiv:1804.08598: algorithm 2 is the partial-information attack; the label-only one puts a
share of decisions in place of a score. Both estimate a gradient by antithetic sampling.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.arguments import AtLeast, Count, LessThan
from brinell.evasion.attack import Attack
from brinell.evasion.decision.search import COARSE, on_boundary
from brinell.evasion.decision.start import BLOCK, Point, Rows, Start, ask, inside
from brinell.evasion.hunt import Carried, Hunt, Objective
from brinell.evasion.objective import cross_entropy
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs

Values = Float[Tensor, "batch points"]
Answer = Callable[[Hunt, Rows], Values]

FIRST = 0.5
"""The largest cut of the distance that is tried, as a share of it."""

LEAST = 2.0**-9
"""The smallest cut tried before an estimate is made anew, over the largest."""


@final
@dataclass(frozen=True)
class PartialInformation(Attack):
    """The partial-information attack (Ilyas et al. 2018, algorithm 2): it sees the score of the class aimed at.

    queries: per example, the start's included. probes: points of each estimate. spread: their standard
    deviation, as a share of the box's width (sigma). step: the length of a step as a share of the distance. momentum:
    the share of the last estimate that is kept, as in the authors' code. It begins on the boundary, as Sign-OPT does,
    not at the start itself: what the way there takes is a few dozen queries.
    """

    queries: Count = 50_000
    probes: Annotated[int, AtLeast(2)] = 50
    spread: float = 0.001
    step: float = 0.1
    momentum: Annotated[float, AtLeast(0), LessThan(1)] = 0.9
    objective: Objective = cross_entropy
    start: Start = Start()
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        at = on_boundary(hunt, self.start, self.queries, COARSE)
        estimate = _Estimate(self.probes, self.spread, self.momentum, self._values)
        _descend(hunt, at, estimate, self.step)

    def _values(self, hunt: Hunt, points: Rows) -> Values:
        scores = hunt.probe(points.transpose(0, 1))
        count = len(scores)
        aim = None if hunt.aim is None else hunt.aim.repeat(count)
        value = self.objective(scores.flatten(0, 1), hunt.y.repeat(count), aim)
        values: Values = value.unflatten(0, (count, len(hunt))).T
        return values


@final
@dataclass(frozen=True)
class LabelOnly(Attack):
    """The label-only attack (Ilyas et al. 2018): a score is the share of points near that are adversarial.

    queries: per example, the start's included. probes: points of each estimate. spread: their
    standard deviation, as a share of the box's width. step, momentum: as of `PartialInformation`. The paper samples
    twice, around a point for its score and around x for the gradient of that score. Both samples are one here: a
    single decision at each point is an unbiased draw of its smoothed score.
    """

    queries: Count = 50_000
    probes: Annotated[int, AtLeast(2)] = 100
    spread: float = 0.01
    step: float = 0.1
    momentum: Annotated[float, AtLeast(0), LessThan(1)] = 0.9
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        at = on_boundary(hunt, self.start, self.queries, COARSE)
        estimate = _Estimate(self.probes, self.spread, self.momentum, self._values)
        _descend(hunt, at, estimate, self.step)

    def _values(self, hunt: Hunt, points: Rows) -> Values:
        every = torch.ones(points.shape[:2], dtype=torch.bool, device=points.device)
        return ask(hunt, points, every).to(points.dtype)


@dataclass(frozen=True)
class _Estimate:
    """How a gradient is estimated, and how much of the last one is kept."""

    probes: int
    spread: float
    momentum: float
    values: Answer


def _descend(hunt: Hunt, at: Point, estimate: _Estimate, step: float) -> None:
    """Step up the estimate, draw the point toward x0, and keep both where the point is still adversarial."""
    # The share of the distance to be given up next.
    cut = hunt.carry(share=torch.full((len(hunt),), FIRST, dtype=torch.float64, device=hunt.x0.device))
    memory = hunt.carry(g=torch.zeros_like(hunt.x0))

    while len(hunt):
        fresh = _estimated(hunt, at, estimate)
        g = memory.g = estimate.momentum * memory.g + (1 - estimate.momentum) * fresh
        with hunt.carrying(g=g, open=torch.ones_like(hunt.rows).bool()) as held:
            while held.open.any():
                hits = ask(hunt, _next(hunt, at, held, cut, step).unsqueeze(1), held.open.unsqueeze(1)).squeeze(1)
                won = held.open & hits
                at.x = torch.where(over_features(won, at.x), _next(hunt, at, held, cut, step), at.x)
                failed = held.open & ~hits
                cut.share = torch.where(won, (1.5 * cut.share).clamp(max=FIRST), cut.share)
                cut.share = torch.where(failed, cut.share / 2, cut.share)
                held.open = failed & (cut.share > LEAST * FIRST)
        cut.share = cut.share.clamp(min=2 * LEAST * FIRST)


def _estimated(hunt: Hunt, at: Point, estimate: _Estimate) -> Inputs:
    """The sum of antithetic normal directions, each with the value at its end."""
    probes = estimate.probes
    spread = estimate.spread * (hunt.set.box.width if hunt.set.box.bounded else 1.0)

    with hunt.carrying(g=torch.zeros_like(at.x)) as total:
        for first in range(0, probes, BLOCK):
            if not len(hunt):
                break
            pairs = (min(BLOCK, probes - first) + 1) // 2
            u = torch.randn(
                (len(hunt), pairs, *at.x.shape[1:]), dtype=at.x.dtype, device=at.x.device, generator=hunt.rng
            )
            with hunt.carrying(u=torch.cat([u, -u], 1)) as draws:
                value = estimate.values(hunt, inside(hunt, at.x.unsqueeze(1) + spread * draws.u))
                total.g = total.g + torch.einsum("bk,bk...->b...", value.to(draws.u.dtype), draws.u)
        return total.g


def _next(hunt: Hunt, at: Point, held: Carried, cut: Carried, step: float) -> Inputs:
    """The point after a step up the estimate, no farther from x0 than the distance less the cut."""
    distance = hunt.set.distance(hunt.x0, at.x)
    length = over_features((step * distance).to(at.x.dtype), at.x)
    moved = hunt.set.box.clamp(at.x + length * hunt.set.steepest(held.g))
    wanted = (1 - cut.share) * distance
    share = (wanted / hunt.set.distance(hunt.x0, moved).clamp(min=1e-300)).clamp(max=1)
    return hunt.set.box.clamp(hunt.set.shrink(hunt.x0, moved, share))

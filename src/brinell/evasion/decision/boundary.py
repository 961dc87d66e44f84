"""The boundary attack: a random walk along the decision boundary that draws nearer to x0, from labels alone.

Source: Brendel et al. 2018, arXiv:1712.04248, algorithm 1 and section 2.4 for its two step lengths.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Fraction, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.decision.search import on_boundary
from brinell.evasion.decision.start import Start, ask, directions, unit
from brinell.evasion.hunt import Hunt
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores


@final
@dataclass(frozen=True)
class Boundary(Attack):
    """The boundary attack (Brendel et al. 2018), for l2.

    queries: per example, the start's included. around, toward: the first step on the sphere about x0 and
    the first step to x0, as shares of the distance. Each grows where its steps succeed more often than a half and a
    quarter of the time, and shrinks where less, by a factor a query in place of the paper's rate over the last ones.
    """

    queries: Count = 25_000
    around: Positive = 0.01
    toward: Fraction = 0.01
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        at = on_boundary(hunt, self.start, self.queries, 1e-3)
        first = torch.ones(len(hunt), dtype=hunt.x0.dtype, device=hunt.x0.device)
        steps = hunt.carry(around=self.around * first, toward=self.toward * first)

        while len(hunt):
            beside = _on_sphere(hunt.x0, at.x, steps.around, directions(hunt, 1).squeeze(1))
            nearer = torch.lerp(beside, hunt.x0, over_features(steps.toward, beside))
            with hunt.carrying(beside=beside, nearer=nearer) as move:
                points = torch.stack([move.beside, move.nearer], 1)
                hits = ask(hunt, points, torch.ones_like(points.flatten(2)[..., 0], dtype=torch.bool))
                at.x = torch.where(over_features(hits[:, 1], at.x), hunt.set.box.clamp(move.nearer), at.x)
            steps.around = _adapted(steps.around, hits[:, 0].to(first.dtype), 0.5).clamp(max=1.0)
            steps.toward = torch.where(
                hits[:, 0], _adapted(steps.toward, hits[:, 1].to(first.dtype), 0.25), steps.toward
            )
            steps.toward = steps.toward.clamp(max=0.5)


def _on_sphere(x0: Inputs, x: Inputs, share: Scores, u: Inputs) -> Inputs:
    """x moved by `share` of its distance at right angles to the way to x0, and put back on its sphere about x0."""
    away = (x - x0).flatten(1)
    distance = away.norm(dim=1, keepdim=True)
    outward = unit(away)
    u = u.flatten(1)
    aside = unit(u - (u * outward).sum(1, keepdim=True) * outward)
    turned: Inputs = (distance * unit(outward + share.unsqueeze(1) * aside)).reshape(x0.shape)
    return x0 + turned


def _adapted(step: Scores, succeeded: Scores, rate: float) -> Scores:
    """A tenth longer or shorter at most, and steady where steps succeed at this rate."""
    return step * torch.exp(0.1 * (succeeded - rate))

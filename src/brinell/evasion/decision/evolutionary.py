"""Evolutionary: a (1+1) evolution strategy with a diagonal covariance that draws nearer to x0, from labels alone.

Source: Dong et al. 2019, arXiv:1904.04433, algorithm 1. Its search in a smaller image, enlarged by interpolation, is
left out: it presumes images.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Portion
from brinell.evasion.attack import Attack
from brinell.evasion.decision.search import on_boundary
from brinell.evasion.decision.start import Start, ask, unit
from brinell.evasion.hunt import Carried, Hunt
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores


@final
@dataclass(frozen=True)
class Evolutionary(Attack):
    """The evolutionary attack (Dong et al. 2019), for l2.

    queries: per example, the start's included. spread: a mutation's length as a share of the distance
    (sigma). path, learning: how fast the path and the covariance forget (c_c and c_cov). share: of the
    features that change in one mutation, chosen by their variance (k / m). bias: the first pull to x0 as a share of
    the way (mu), which follows the rate of success toward one in five, query by query. Numbers are those of ARES,
    https://github.com/thu-ml/ares, by authors of the paper.
    """

    queries: Count = 10_000
    spread: float = 0.03
    path: float = 0.01
    learning: float = 0.001
    share: Portion = 0.05
    bias: float = 0.01
    start: Start = Start()
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        features = prod(hunt.x0.shape[1:])
        changed = max(1, round(self.share * features))
        at = on_boundary(hunt, self.start, self.queries, 1e-3)
        one = torch.ones(len(hunt), dtype=hunt.x0.dtype, device=hunt.x0.device)
        grown = hunt.carry(variance=torch.ones_like(hunt.x0), path=torch.zeros_like(hunt.x0), bias=self.bias * one)

        while len(hunt):
            chosen = torch.multinomial(grown.variance.flatten(1), changed, generator=hunt.rng)
            normal = torch.randn(hunt.x0.shape, dtype=hunt.x0.dtype, device=hunt.x0.device, generator=hunt.rng)
            mask = torch.zeros_like(normal).flatten(1).scatter(1, chosen, 1.0).reshape(normal.shape)
            drawn = mask * grown.variance.sqrt() * normal
            child = self._child(hunt.x0, at.x, drawn, grown.bias)
            with hunt.carrying(drawn=drawn, x=hunt.set.box.clamp(child)) as born:
                every = torch.ones((len(child), 1), dtype=torch.bool, device=child.device)
                hits = ask(hunt, born.x.unsqueeze(1), every).squeeze(1)
                nearer = hunt.set.distance(hunt.x0, born.x) < hunt.set.distance(hunt.x0, at.x)
                self._learn(grown, born.drawn, hits & nearer)
                at.x = torch.where(over_features(hits & nearer, at.x), born.x, at.x)

    def _child(self, x0: Inputs, x: Inputs, drawn: Inputs, bias: Scores) -> Inputs:
        """A share nearer to x0, moved as drawn, and put back on its sphere about x0."""
        away = over_features(1 - bias, x) * (x - x0)
        length = over_features((x - x0).flatten(1).norm(dim=1), x)
        return x0 + over_features(1 - bias, x) * length * unit(away + self.spread * length * unit(drawn))

    def _learn(self, grown: Carried, drawn: Inputs, won: Mask) -> None:
        keep = over_features(won, drawn)
        moved = (1 - self.path) * grown.path + (self.path * (2 - self.path)) ** 0.5 * drawn
        grown.path = torch.where(keep, moved, grown.path)
        learned = (1 - self.learning) * grown.variance + self.learning * grown.path.square()
        grown.variance = torch.where(keep, learned, grown.variance)
        grown.bias = (grown.bias * torch.exp(0.1 * (won.to(drawn.dtype) - 0.2))).clamp(max=0.5)

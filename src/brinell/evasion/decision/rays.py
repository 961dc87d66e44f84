"""RayS: the corner of the linf ball in whose direction the boundary is nearest, by flipping blocks of signs.

Source: Chen and Gu 2020, arXiv:2006.12792, algorithms 1 (search of the radius) and 3 (hierarchical search).
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import ClassVar, final

import torch

from brinell.arguments import Count, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.decision.start import ask
from brinell.evasion.hunt import Carried, Hunt
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Mask, Scores


@final
@dataclass(frozen=True)
class RayS(Attack):
    """RayS (Chen and Gu 2020), for linf: one query a flip, and a binary search where it helps.

    queries: per example. tolerance: the width of the last interval of a search, in widths of the box; in
    the authors' code it is 0.001 of l2 length, sqrt(d) times finer. It starts from the corner of all ones, as theirs
    does one flip later, and asks for no gradient and no step length.
    """

    queries: Count = 10_000
    tolerance: Positive = 1e-3
    needs: ClassVar[Access] = Access.LABELS

    def __call__(self, hunt: Hunt) -> None:
        features = prod(hunt.x0.shape[1:])
        hunt.begin()
        hunt.limit(self.queries)
        widest = min(hunt.set.box.width, 128 * hunt.set.radius if hunt.set.radius < torch.inf else 128.0)
        length = torch.full((len(hunt),), widest, dtype=torch.float64, device=hunt.x0.device)
        # The best signs, the linf length at which they succeed, and whether any have yet.
        corner = hunt.carry(signs=torch.ones_like(hunt.x0), length=length, succeeded=torch.zeros_like(hunt.rows).bool())
        self._try(hunt, corner, corner.signs)
        level = 0

        while len(hunt):
            for first, last in _blocks(features, level):
                if not len(hunt):
                    break
                flipped = corner.signs.flatten(1).clone()
                flipped[:, first:last] *= -1
                self._try(hunt, corner, flipped.reshape(corner.signs.shape))
            level = min(level + 1, ceil(features).bit_length())

    def _try(self, hunt: Hunt, corner: Carried, signs: Inputs) -> None:
        """Take these signs where they succeed within the length known, and find theirs by binary search."""
        asked = torch.ones_like(corner.succeeded)
        with hunt.carrying(_Trial(signs, asked, corner.length.clone(), torch.zeros_like(corner.length))) as trial:
            while trial.open.any():
                hits = ask(hunt, trial.points(hunt).unsqueeze(1), trial.open.unsqueeze(1)).squeeze(1)
                trial.learn(corner, hits, self.tolerance)


def _blocks(features: int, level: int) -> list[tuple[int, int]]:
    """The spans of 2^level blocks of nearly equal size."""
    size = ceil(features / 2**level)
    return [(first, min(first + size, features)) for first in range(0, features, size)]


@dataclass
class _Trial:
    """Signs under trial; open: still searching; asked: the length to ask about; low: one that fails."""

    signs: Inputs
    open: Mask
    asked: Scores
    low: Scores

    def points(self, hunt: Hunt) -> Inputs:
        return hunt.x0 + over_features(self.asked.to(self.signs.dtype), self.signs) * self.signs

    def learn(self, corner: Carried, hits: Mask, tolerance: float) -> None:
        won = self.open & hits
        first = self.asked >= corner.length
        corner.signs = torch.where(over_features(won, self.signs), self.signs, corner.signs)
        corner.length = torch.where(won, self.asked, corner.length)
        corner.succeeded = corner.succeeded | won
        self.low = torch.where(self.open & ~hits, self.asked, self.low)
        self.open = self.open & (hits | ~first) & (corner.length - self.low > tolerance)
        self.asked = (self.low + corner.length) / 2

"""ZOO: Carlini and Wagner's attack with the derivative of one feature at a time measured from scores.

Source: Chen et al. 2017, arXiv:1708.03999: eq. 5 is the loss, eq. 6 the derivative, algorithm 2 Adam by coordinates.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, final

import torch
from jaxtyping import Int64
from torch import Tensor

from brinell.arguments import Count, Positive
from brinell.evasion.adam import Adam
from brinell.evasion.attack import Attack
from brinell.evasion.constant import Constant
from brinell.evasion.hunt import Hunt
from brinell.evasion.objective import margin
from brinell.evasion.score.estimate import difference
from brinell.evasion.score.population import affordable
from brinell.threat import Access
from brinell.threat.sets import over_features
from brinell.types import Inputs, Labels, Logits, Scores


@final
@dataclass(frozen=True)
class ZOO(Attack):
    """Zeroth-order optimisation (Chen et al. 2017): the smallest l2 change, kept in the set by projection.

    queries: per example. searches: values tried of the constant that weighs the margin against the squared
    length, by bisection from `constant` on. steps: of 2 * coordinates + 1 queries each, within each search.
    coordinates: features measured and moved a step, drawn without repetition. width: of the symmetric difference (h),
    and step: Adam's, both in widths of the box. Features are moved in the box itself (the paper also has the change of
    variables by tanh).

    The paper begins with a constant of 0.01, which spends the first searches on points that break nothing, and takes
    steps of 0.01, at which a feature is measured a hundred times before it is somewhere else. Ours begins where the
    goal is met and lowers the constant, and steps ten times as far, so that a few thousand queries find something.
    Its width of 0.0001 sees nothing where a network masks its gradients, and no point it asks about there is a witness.
    """

    queries: Count = 50_000
    searches: Count = 4
    steps: Count = 50
    coordinates: Count = 128
    step: Positive = 0.1
    width: Positive = 0.1
    constant: Positive = 10.0
    needs: ClassVar[Access] = Access.SCORES

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        hunt.limit(self.queries)
        search = hunt.carry(Constant.begun(hunt.x0.new_full((len(hunt),), self.constant)))
        adam = hunt.carry(Adam.none(hunt.x))
        axes = hunt.carry(_Axes(hunt.x0.new_zeros((len(hunt), 0), dtype=torch.int64)))

        for _ in hunt.steps(self.searches):
            hunt.move(hunt.x0)
            adam.forget()
            for _ in hunt.steps(self.steps):
                count = min(affordable(hunt, 2 * self.coordinates) // 2, prod(hunt.x0.shape[1:]))
                if not count:
                    return
                chance = torch.rand((len(hunt), prod(hunt.x0.shape[1:])), device=hunt.x.device, generator=hunt.rng)
                axes.index = chance.topk(count, dim=1).indices
                slope = difference(hunt, lambda: self.width * axes.units(hunt.x), _shortfall).T / (2 * self.width)
                g, taken = axes.spread(slope, hunt.x)
                g = over_features(search.value, g) * g - 2 * (hunt.x - hunt.x0)
                hunt.move(hunt.x + self.step * adam.step(g, taken))
                if not affordable(hunt, 1):
                    return
                hunt.query()
                search.note(hunt.hit)
            search.bisect()


def _shortfall(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """What is missing of the margin; 0 once the goal is met."""
    return margin(scores, y, aim).clamp(max=0)


@dataclass
class _Axes:
    """The features that each example measures."""

    index: Int64[Tensor, "batch coordinates"]

    def units(self, x: Inputs) -> Tensor:
        """The unit vector of each, (batch, coordinates, *shape)."""
        units = x.new_zeros((*self.index.shape, prod(x.shape[1:]))).scatter(2, self.index.unsqueeze(2), 1.0)
        return units.reshape(*self.index.shape, *x.shape[1:])

    def spread(self, slope: Tensor, x: Inputs) -> tuple[Inputs, Tensor]:
        """Slopes in the places of their features and zero elsewhere, and which places these are."""
        flat = torch.zeros_like(x).flatten(1)
        taken = flat.scatter(1, self.index, 1.0) > 0
        return flat.scatter(1, self.index, slope).reshape(x.shape), taken.reshape(x.shape)

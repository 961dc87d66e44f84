"""PDPGD: descend on the Lagrangian of the smallest perturbation, its multiplier following success.

Source: Matyasko & Chau 2021, arXiv:2106.01538.
"""

from dataclasses import dataclass
from math import log
from typing import Annotated, ClassVar, final

import torch

from brinell.arguments import AtLeast, AtMost, Count, Positive
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt, Objective
from brinell.evasion.minimal.final_search import final_search
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.evasion.objective import margin
from brinell.threat import Access
from brinell.threat.l1 import soft_threshold
from brinell.threat.sets import over_features
from brinell.types import Inputs, Scores

SEARCH = 3
"""Forward rows of a last search between x0 and the nearest witness: an addition to the paper."""

LEAST = 1e-6
"""The least ratio of the two multipliers, either way."""


@final
@dataclass(frozen=True)
class PDPGD(Attack):
    """Primal-dual proximal gradient descent (Matyasko & Chau 2021), for l1.

    steps: gradients. step: length of Adam's first move, in widths of the box; it falls to a hundredth. ratio: of the
    multiplier of the length to that of the goal, to begin with. rate: by how much the logarithm of the ratio moves at
    first, up after a hit and down after a miss; it falls to a tenth. What is descended is the length and, weighed
    against it, log(1 + exp(-objective)). inner: iterations of the proximal step in Adam's metric (Yurtsever, Gu & Zhou
    2019, arXiv:1910.10094, as the authors use it). Run to its end the step would divide the multiplier of each value by
    its mean gradient, and where gradients vanish and turn about no value that was small for a while would ever move;
    few iterations bound the threshold.
    """

    steps: Count = 500
    step: Positive = 0.1
    ratio: Annotated[float, AtLeast(LEAST), AtMost(1 / LEAST)] = 0.01
    rate: Positive = 0.1
    inner: Count = 5
    objective: Objective = margin
    needs: ClassVar[Access] = Access.GRADIENTS

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        nearest = NearestAdversarial(hunt)
        search = hunt.carry(_Search.begun(hunt, self.ratio))
        for k in hunt.steps(self.steps):
            value, g = hunt.gradient(self.objective)
            nearest.note(hunt)

            # The gradient step in Adam's metric, then the proximal step of the length: soft thresholding.
            step = self.step * 0.01 ** (k / self.steps)
            ascent, metric = search.adam(over_features(torch.sigmoid(-value).to(g.dtype), g) * g, k + 1)
            x = hunt.set.box.clamp(hunt.x + step * ascent / metric)
            threshold = over_features(search.multiplier.to(g.dtype), g) * step * _weight(metric, self.inner)
            hunt.move_in_box(hunt.x0 + soft_threshold(x - hunt.x0, threshold))

            # The dual step.
            rate = self.rate * (1 - 0.9 * k / self.steps)
            search.follow(torch.where(hunt.hit, rate, -rate))
        final_search(hunt, SEARCH, nearest)


def _weight(metric: Inputs, inner: int) -> Inputs:
    """What a multiplier of one takes off each value after so many iterations in this metric.

    An iteration goes on from d to soft_threshold(d - h (d - x), 1 / top), where h is the metric over its largest, top.
    As long as d keeps its sign it is x less (1 - (1 - h)^iterations) / h / top, which ends at 1 / metric.
    """
    top = over_features(metric.flatten(1).amax(1), metric)
    share = metric / top
    return -torch.expm1(inner * torch.log1p(-share.clamp(max=1 - 1e-7))) / metric


@dataclass
class _Search:
    """Of each example: the logarithm of the ratio, the running mean of the length's share, and Adam's moments."""

    ratio: Scores
    share: Scores
    mean: Inputs
    square: Inputs

    @classmethod
    def begun(cls, hunt: Hunt, ratio: float) -> "_Search":
        one = hunt.x0.new_ones(len(hunt))
        zero = torch.zeros_like(hunt.x)
        return cls(log(ratio) * one, ratio / (1 + ratio) * one, zero, zero)

    @property
    def multiplier(self) -> Scores:
        """Of length, in units of the goal."""
        return self.share / (1 - self.share)

    def adam(self, g: Inputs, step: int) -> tuple[Inputs, Inputs]:
        """(the mean gradient, the metric that it is divided by), of Kingma and Ba 2015, arXiv:1412.6980."""
        self.mean = 0.9 * self.mean + 0.1 * g
        self.square = 0.999 * self.square + 0.001 * g.square()
        return self.mean / (1 - 0.9**step), (self.square / (1 - 0.999**step)).sqrt() + 1e-8

    def follow(self, way: Scores) -> None:
        """Move the ratio."""
        self.ratio = (self.ratio + way).clamp(log(LEAST), -log(LEAST))
        self.share = 0.9 * self.share + 0.1 * torch.sigmoid(self.ratio)

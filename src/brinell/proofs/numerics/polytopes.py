"""Regions of the input: polytopes, each a box cut by constraints g(x) <= 0 with g affine."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.proofs.network.operators import Interval
from brinell.proofs.numerics.simplex import AffineFunctions, least


@final
@dataclass(frozen=True, eq=False)
class Regions:
    """Regions that are still open.

    low, high: the box. case: the case of the property each region is of. bound: the best lower bound of its rows so
    far. rows: constraints from the property, lower linear bounds of its rows, which are <= 0 at unsafe inputs. splits:
    constraints from the phases of split neurons. A constraint of zeros excludes nothing. known: intervals of
    intermediate nodes that hold in the region.
    """

    low: Float64[Tensor, "regions inputs"]
    high: Float64[Tensor, "regions inputs"]
    case: Int64[Tensor, " regions"]
    bound: Float64[Tensor, " regions"]
    rows: AffineFunctions
    splits: AffineFunctions
    known: Mapping[int, Interval] = field(default_factory=dict)

    @staticmethod
    def boxes(low: Float64[Tensor, "cases inputs"], high: Float64[Tensor, "cases inputs"]) -> "Regions":
        """One box for each case, without constraints."""
        bound = torch.full((len(low),), -torch.inf, dtype=low.dtype)
        none = AffineFunctions(low.unsqueeze(1)[:, :0], low[:, :0])
        return Regions(low, high, torch.arange(len(low)), bound, none, none)

    @property
    def constraints(self) -> AffineFunctions:
        """All constraints of each region."""
        return self.rows.plus(self.splits)

    def only(self, chosen: Tensor) -> "Regions":
        """Some of the regions."""
        return Regions(
            self.low[chosen],
            self.high[chosen],
            self.case[chosen],
            self.bound[chosen],
            self.rows.only(chosen),
            self.splits.only(chosen),
            {i: (low[chosen], high[chosen]) for i, (low, high) in self.known.items()},
        )

    def plus(self, other: "Regions") -> "Regions":
        """The regions of both; intervals known in one alone are dropped."""
        both = self.known.keys() & other.known.keys()
        return Regions(
            torch.cat((self.low, other.low)),
            torch.cat((self.high, other.high)),
            torch.cat((self.case, other.case)),
            torch.cat((self.bound, other.bound)),
            self.rows.stacked(other.rows),
            self.splits.stacked(other.splits),
            {
                i: (torch.cat((self.known[i][0], other.known[i][0])), torch.cat((self.known[i][1], other.known[i][1])))
                for i in both
            },
        )


def clip(regions: Regions, constraints: AffineFunctions) -> Regions:
    """The smallest boxes around the points of each region that meet the constraints, by linear programmes.

    Complete clipping (Zhou et al. 2025, arXiv:2512.11087). A region without such a point keeps its box.
    """
    inputs = regions.low.shape[1]
    eye = torch.eye(inputs, dtype=torch.float64)
    axes = torch.cat((eye, -eye)).expand(len(regions.low), -1, -1)
    ends = least(AffineFunctions(axes, axes.new_zeros(axes.shape[:2])), constraints, regions.low, regions.high)
    low = torch.maximum(regions.low, ends[:, :inputs])
    high = torch.minimum(regions.high, -ends[:, inputs:])
    meet = (low <= high).all(1, keepdim=True)
    return replace(regions, low=low.where(meet, regions.low), high=high.where(meet, regions.high))


def trimmed(regions: Regions) -> Regions:
    """The regions without redundant split constraints: those that the whole box meets."""
    splits = regions.splits
    low = regions.low.unsqueeze(1)
    high = regions.high.unsqueeze(1)
    cuts = splits.offset + torch.maximum(splits.weights * low, splits.weights * high).sum(2) > 0

    # Those that cut come first, and as many are kept as any region needs.
    count = int(cuts.sum(1).amax()) if cuts.numel() else 0
    order = cuts.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    weights = (splits.weights * cuts.unsqueeze(2)).gather(1, order.unsqueeze(2).expand(-1, -1, low.shape[2]))
    return replace(regions, splits=AffineFunctions(weights, (splits.offset * cuts).gather(1, order)))

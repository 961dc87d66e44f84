"""Regions of the input: boxes, of which only the part matters where some forms are not positive."""

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
    """Parts still to be proved. case: the case of the property each is of. bound: the best of its rows, so far.

    rows, held: forms that are not positive in the part that is asked about: below the property's rows, which are not
    positive at unsafe inputs, and of neurons held on a side. A form of zeros says nothing. known: intervals of nodes
    inside that hold there.
    """

    low: Float64[Tensor, "regions inputs"]
    high: Float64[Tensor, "regions inputs"]
    case: Int64[Tensor, " regions"]
    bound: Float64[Tensor, " regions"]
    rows: AffineFunctions
    held: AffineFunctions
    known: Mapping[int, Interval] = field(default_factory=dict)

    @staticmethod
    def boxes(low: Float64[Tensor, "cases inputs"], high: Float64[Tensor, "cases inputs"]) -> "Regions":
        """A whole box of each case."""
        bound, none = (
            torch.full((len(low),), -torch.inf, dtype=low.dtype),
            AffineFunctions(low.unsqueeze(1)[:, :0], low[:, :0]),
        )
        return Regions(low, high, torch.arange(len(low)), bound, none, none)

    @property
    def constraints(self) -> AffineFunctions:
        """What is not positive in the part asked about."""
        return self.rows.plus(self.held)

    def only(self, chosen: Tensor) -> "Regions":
        """Some of them."""
        known = {i: (low[chosen], high[chosen]) for i, (low, high) in self.known.items()}
        rows, held = self.rows.only(chosen), self.held.only(chosen)
        return Regions(self.low[chosen], self.high[chosen], self.case[chosen], self.bound[chosen], rows, held, known)

    def plus(self, other: "Regions") -> "Regions":
        """Both; what is known of one of them alone is forgotten."""
        both = self.known.keys() & other.known.keys()
        return Regions(
            torch.cat((self.low, other.low)),
            torch.cat((self.high, other.high)),
            torch.cat((self.case, other.case)),
            torch.cat((self.bound, other.bound)),
            self.rows.stacked(other.rows),
            self.held.stacked(other.held),
            {
                i: (torch.cat((self.known[i][0], other.known[i][0])), torch.cat((self.known[i][1], other.known[i][1])))
                for i in both
            },
        )


def clip(regions: Regions, constraints: AffineFunctions) -> Regions:
    """The smallest boxes that hold what of each none of these forms is positive at.

    Complete clipping (Zhou et al. 2025, arXiv:2512.11087), by linear programmes.
    """
    inputs = regions.low.shape[1]
    eye = torch.eye(inputs, dtype=torch.float64)
    axes = torch.cat((eye, -eye)).expand(len(regions.low), -1, -1)
    ends = least(AffineFunctions(axes, axes.new_zeros(axes.shape[:2])), constraints, regions.low, regions.high)
    low, high = torch.maximum(regions.low, ends[:, :inputs]), torch.minimum(regions.high, -ends[:, inputs:])
    meet = (low <= high).all(1, keepdim=True)
    return replace(regions, low=low.where(meet, regions.low), high=high.where(meet, regions.high))


def trimmed(regions: Regions) -> Regions:
    """Without what holds everywhere in the box, and no more room for held neurons than any region needs."""
    forms, low, high = regions.held, regions.low.unsqueeze(1), regions.high.unsqueeze(1)
    cuts = forms.offset + torch.maximum(forms.weights * low, forms.weights * high).sum(2) > 0
    count = int(cuts.sum(1).amax()) if cuts.numel() else 0
    order = cuts.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    weights = (forms.weights * cuts.unsqueeze(2)).gather(1, order.unsqueeze(2).expand(-1, -1, low.shape[2]))
    return replace(regions, held=AffineFunctions(weights, (forms.offset * cuts).gather(1, order)))

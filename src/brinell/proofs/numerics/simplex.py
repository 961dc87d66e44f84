"""Many small linear programmes at once, by the dual simplex method: prices of constraints that hold in a box.

A linear function is to be bounded from below over the points of a box where some forms are never positive. Any prices
>= 0 of the forms give a bound, which is the least value over the box of the function plus the forms at their prices;
`least` computes it, with what rounding may take taken off. So the method itself need not be trusted, and may stop at
any step: its prices only become better. Where it ends they are the best.

The method: Lemke 1954, doi:10.1002/nav.3800010107, with variables between bounds, of which those that are not in the
basis are counted from the bound they are at.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from torch.nn import functional

from brinell.proofs.network.operators import Constants
from brinell.proofs.numerics.rounding import share

_ZERO = 1e-9
"""As a share of what a constraint varies by over the box, what is taken for zero."""


@final
@dataclass(frozen=True, eq=False)
class AffineFunctions:
    """Affine functions, some for each region: <weights, x> + offset."""

    weights: Float64[Tensor, "regions forms inputs"]
    offset: Float64[Tensor, "regions forms"]

    def __len__(self) -> int:
        """How many there are for each region."""
        return self.offset.shape[1]

    def only(self, chosen: Tensor) -> "AffineFunctions":
        """Those of some of the regions."""
        return AffineFunctions(self.weights[chosen], self.offset[chosen])

    def part(self, which: slice) -> "AffineFunctions":
        """Some of each region's."""
        return AffineFunctions(self.weights[:, which], self.offset[:, which])

    def plus(self, other: "AffineFunctions") -> "AffineFunctions":
        """Both, for each region."""
        return AffineFunctions(torch.cat((self.weights, other.weights), 1), torch.cat((self.offset, other.offset), 1))

    def stacked(self, other: "AffineFunctions") -> "AffineFunctions":
        """Those of the regions of both; where they have fewer, zeros fill up."""
        ours, theirs = (some._padded(max(len(self), len(other))) for some in (self, other))
        return AffineFunctions(torch.cat((ours.weights, theirs.weights)), torch.cat((ours.offset, theirs.offset)))

    def _padded(self, count: int) -> "AffineFunctions":
        more = self.offset.new_zeros(len(self.offset), count - len(self))
        return self.plus(AffineFunctions(more.unsqueeze(2).expand(-1, -1, self.weights.shape[2]), more))


def least(
    functions: AffineFunctions,
    constraints: AffineFunctions,
    low: Float64[Tensor, "regions inputs"],
    high: Float64[Tensor, "regions inputs"],
) -> Constants:
    """A lower bound on each function over the box, where none of the forms is positive."""
    regions, asked = functions.offset.shape
    weights, offset, least_, most = (
        part.repeat_interleave(asked, 0) for part in (constraints.weights, constraints.offset, low, high)
    )
    multipliers, _ = solve(functions.weights.flatten(0, 1), weights, offset, least_, most)
    return dual_bound(functions, constraints, multipliers.reshape(regions, asked, len(constraints)), low, high)


def excess(
    constraints: AffineFunctions, low: Float64[Tensor, "regions inputs"], high: Float64[Tensor, "regions inputs"]
) -> tuple[Float64[Tensor, " regions"], Float64[Tensor, "regions forms"], Float64[Tensor, "regions inputs"]]:
    """(a lower bound on the sum of the forms at prices, the prices, the point where the highest form is least).

    Where the bound is positive, some form is positive at every point of the box. Forms are measured by what they vary
    by over the box.
    """
    size = (constraints.weights.abs() * (high - low).unsqueeze(1)).sum(2)
    size = size.where(size > 0, 1.0)
    weights, offset = constraints.weights / size.unsqueeze(2), constraints.offset / size
    ends = (weights * low.unsqueeze(1), weights * high.unsqueeze(1))
    bottom, top = ((offset + pick(*ends).sum(2)).amax(1, keepdim=True) for pick in (torch.minimum, torch.maximum))
    lifted = torch.cat((weights, -torch.ones_like(offset).unsqueeze(2)), 2)
    cost = torch.cat((torch.zeros_like(low), torch.ones_like(bottom)), 1)
    multipliers, point = solve(cost, lifted, offset, torch.cat((low, bottom - 1), 1), torch.cat((high, top), 1))
    multipliers = (multipliers / size).unsqueeze(1)
    nothing = AffineFunctions(
        torch.zeros_like(multipliers[..., :1]).expand(-1, -1, low.shape[1]), torch.zeros_like(multipliers[..., 0])
    )
    return dual_bound(nothing, constraints, multipliers, low, high).squeeze(1), multipliers.squeeze(1), point[:, :-1]


def dual_bound(
    functions: AffineFunctions,
    constraints: AffineFunctions,
    multipliers: Float64[Tensor, "regions functions forms"],
    low: Float64[Tensor, "regions inputs"],
    high: Float64[Tensor, "regions inputs"],
) -> Constants:
    """The lower bound that the prices show, less what rounding may take: sums of so many products, in any order."""
    low, high = low.unsqueeze(1), high.unsqueeze(1)
    slope = functions.weights + multipliers @ constraints.weights
    value = functions.offset + (multipliers @ constraints.offset.unsqueeze(2)).squeeze(2)
    value = value + torch.minimum(slope * low, slope * high).sum(2)
    size = torch.maximum(low.abs(), high.abs())
    sizes = functions.offset.abs() + (multipliers @ constraints.offset.abs().unsqueeze(2)).squeeze(2)
    sizes = sizes + ((functions.weights.abs() + multipliers @ constraints.weights.abs()) * size).sum(2)
    return value - share(len(constraints) + low.shape[2] + 8, torch.float64) * sizes


@final
@dataclass(eq=False)
class _Tableau:
    """Basic variables are `value` - `rate` @ the others, which are zero; the cost is `cost` @ the others.

    basic, other: which variables they are: first those of the programme, between 0 and 1, then the slacks of the
    forms, which have no upper bound. turned: whether a variable is counted from its upper bound.
    """

    rate: Float64[Tensor, "programmes forms inputs"]
    value: Float64[Tensor, "programmes forms"]
    cost: Float64[Tensor, "programmes inputs"]
    basic: Int64[Tensor, "programmes forms"]
    other: Int64[Tensor, "programmes inputs"]
    turned: Bool[Tensor, "programmes variables"]

    def only(self, chosen: Tensor) -> "_Tableau":
        return _Tableau(*(part[chosen] for part in vars(self).values()))

    def put(self, place: Tensor, other: "_Tableau") -> None:
        for name, part in vars(self).items():
            part[place] = getattr(other, name)


def solve(
    cost: Float64[Tensor, "programmes inputs"],
    weights: Float64[Tensor, "programmes forms inputs"],
    offset: Float64[Tensor, "programmes forms"],
    low: Float64[Tensor, "programmes inputs"],
    high: Float64[Tensor, "programmes inputs"],
    most: int = 40,
) -> tuple[Float64[Tensor, "programmes forms"], Float64[Tensor, "programmes inputs"]]:
    """(the prices of the forms, the point where the least value is taken), after at most so many exchanges.

    Where the forms cannot all be kept from being positive, the prices are good ones and the point is of no use.
    """
    inputs, forms, width = cost.shape[1], offset.shape[1], high - low
    scaled = weights * width.unsqueeze(1)
    size = scaled.abs().sum(2)
    size = size.where(size > 0, 1.0)
    value = -(offset + (weights @ low.unsqueeze(2)).squeeze(2)) / size
    rate, cost = scaled / size.unsqueeze(2), cost * width
    falls = cost < 0
    value = value - (rate * falls.unsqueeze(1)).sum(2)
    table = _Tableau(
        torch.where(falls.unsqueeze(1), -rate, rate),
        value,
        cost.abs(),
        torch.arange(inputs, inputs + forms).expand_as(value).clone(),
        torch.arange(inputs).expand_as(cost).clone(),
        torch.cat((falls, torch.zeros_like(value, dtype=torch.bool)), 1),
    )
    left, now = torch.arange(len(cost)), table
    for _ in range(most if value.numel() else 0):
        going, now = _exchange(now, inputs)
        table.put(left, now)
        left, now = left[going], now.only(going)
        if not len(left):
            break
    multipliers = torch.zeros_like(table.turned, dtype=torch.float64).scatter(1, table.other, table.cost)[:, inputs:]
    point = torch.zeros_like(table.turned, dtype=torch.float64).scatter(1, table.basic, table.value)[:, :inputs]
    point = torch.where(table.turned[:, :inputs], 1 - point, point).clamp(0, 1)
    return multipliers.clamp(min=0) / size, low + point * width


def _exchange(table: _Tableau, inputs: int) -> tuple[Int64[Tensor, " going"], _Tableau]:
    """(those not at their end, the tables) after the basic variable that is furthest out of its bounds has left.

    The one that enters is the first whose cost would fall to zero.
    """
    rows = torch.arange(len(table.value))
    over = torch.where(table.basic < inputs, table.value - 1, -torch.inf)
    out, leaving = torch.maximum(-table.value, over).max(1)
    is_over = over[rows, leaving] > 0
    row, at = table.rate[rows, leaving], table.value[rows, leaving]
    gone = table.basic[rows, leaving]
    row, at = torch.where(is_over.unsqueeze(1), -row, row), torch.where(is_over, 1 - at, at)
    ratio, entering = torch.where(row < -_ZERO, table.cost / -row, torch.inf).min(1)
    going = (out > _ZERO) & ratio.isfinite()
    pivot = row[rows, entering].where(going, -1.0)
    enters = functional.one_hot(entering, inputs).bool()
    # Row `leaving`, solved for the variable that enters, is put into all the others.
    solved = torch.where(enters, torch.ones_like(row), row) / pivot.unsqueeze(1)
    column = table.rate.gather(2, entering.reshape(-1, 1, 1).expand(-1, table.rate.shape[1], 1)).squeeze(2)
    step = at / pivot
    rate = table.rate.masked_fill(enters.unsqueeze(1), 0.0) - column.unsqueeze(2) * solved.unsqueeze(1)
    rate[rows, leaving] = solved
    value = table.value - column * step.unsqueeze(1)
    value[rows, leaving] = step
    cost = table.cost.masked_fill(enters, 0.0) - table.cost[rows, entering].unsqueeze(1) * solved
    basic, other, turned = table.basic.clone(), table.other.clone(), table.turned.clone()
    basic[rows, leaving], other[rows, entering] = table.other[rows, entering], gone
    turned[rows, gone] ^= is_over
    new = _Tableau(rate, value, cost.clamp(min=0), basic, other, turned)
    ended = (~going).nonzero().squeeze(1)
    new.put(ended, table.only(ended))
    return going.nonzero().squeeze(1), new

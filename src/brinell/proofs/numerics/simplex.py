"""Many small linear programmes at once: safe dual bounds, with multipliers from a batched dual simplex method.

The programme is min f(x) over low <= x <= high with g(x) <= 0, where f and g are affine. Its certified bound:

1. For any multipliers y >= 0 and any feasible x, y g(x) <= 0, so f(x) >= f(x) + y g(x) (weak duality).
2. f + y g = s x + t is affine, with s = f.weights + y g.weights and t = f.offset + y g.offset, so its least value over
   the box is t + sum_j min(s_j low_j, s_j high_j).
3. Step 2 is computed in float64. With m constraints and n inputs no term passes through more than k = m + n + 8
   roundings, so the computed value errs by at most the share k u / (1 - k u) of the sum of its terms' absolute values
   (Higham 2002, section 3.1), (|f.weights| + y |g.weights|) max(|low|, |high|) + |f.offset| + y |g.offset|. That is
   subtracted.

Steps 1 to 3 hold for every y >= 0: `dual_bound` trusts neither the simplex method nor its precision, and the method may
stop at any step, as its multipliers only become better. Where it ends they are optimal.

The method is the dual simplex of Lemke 1954, doi:10.1002/nav.3800010107, with bounded variables; a nonbasic variable is
measured from the bound it is at.
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
"""What is taken for zero, as a share of the range of a constraint over the box."""


@final
@dataclass(frozen=True, eq=False)
class AffineFunctions:
    """Affine functions <weights, x> + offset, as many for each region; as constraints, each is to be <= 0."""

    weights: Float64[Tensor, "regions functions inputs"]
    offset: Float64[Tensor, "regions functions"]

    def __len__(self) -> int:
        """How many there are for each region."""
        return self.offset.shape[1]

    def only(self, chosen: Tensor) -> "AffineFunctions":
        """The functions of some of the regions."""
        return AffineFunctions(self.weights[chosen], self.offset[chosen])

    def part(self, which: slice) -> "AffineFunctions":
        """Some functions of each region."""
        return AffineFunctions(self.weights[:, which], self.offset[:, which])

    def plus(self, other: "AffineFunctions") -> "AffineFunctions":
        """The functions of both, region by region."""
        return AffineFunctions(torch.cat((self.weights, other.weights), 1), torch.cat((self.offset, other.offset), 1))

    def stacked(self, other: "AffineFunctions") -> "AffineFunctions":
        """The regions of both; regions with fewer functions are padded with zeros."""
        count = max(len(self), len(other))
        ours = self._padded(count)
        theirs = other._padded(count)
        return AffineFunctions(torch.cat((ours.weights, theirs.weights)), torch.cat((ours.offset, theirs.offset)))

    def _padded(self, count: int) -> "AffineFunctions":
        zeros = self.offset.new_zeros(len(self.offset), count - len(self))
        return self.plus(AffineFunctions(zeros.unsqueeze(2).expand(-1, -1, self.weights.shape[2]), zeros))


def least(
    functions: AffineFunctions,
    constraints: AffineFunctions,
    low: Float64[Tensor, "regions inputs"],
    high: Float64[Tensor, "regions inputs"],
) -> Constants:
    """A lower bound on each function over the points of the box that meet the constraints."""
    regions, count = functions.offset.shape

    # One programme a function: [regions * count, ...].
    multipliers, _ = solve(
        functions.weights.flatten(0, 1),
        constraints.weights.repeat_interleave(count, 0),
        constraints.offset.repeat_interleave(count, 0),
        low.repeat_interleave(count, 0),
        high.repeat_interleave(count, 0),
    )
    return dual_bound(functions, constraints, multipliers.reshape(regions, count, len(constraints)), low, high)


def excess(
    constraints: AffineFunctions, low: Float64[Tensor, "regions inputs"], high: Float64[Tensor, "regions inputs"]
) -> tuple[Float64[Tensor, " regions"], Float64[Tensor, "regions constraints"], Float64[Tensor, "regions inputs"]]:
    """(a lower bound on y g(x) over the box, the multipliers y >= 0, the point where the largest constraint is least).

    Where the bound is positive no point of the box meets all constraints: y is a Farkas certificate. The largest
    constraint is taken in units of each constraint's range over the box.
    """
    size = (constraints.weights.abs() * (high - low).unsqueeze(1)).sum(2)  # [regions, constraints]
    size = size.where(size > 0, 1.0)
    weights = constraints.weights / size.unsqueeze(2)
    offset = constraints.offset / size

    # min t with every constraint <= t; t lies between the largest of their minima and the largest of their maxima.
    ends = (weights * low.unsqueeze(1), weights * high.unsqueeze(1))
    bottom = (offset + torch.minimum(*ends).sum(2)).amax(1, keepdim=True)
    top = (offset + torch.maximum(*ends).sum(2)).amax(1, keepdim=True)
    lifted = torch.cat((weights, -torch.ones_like(offset).unsqueeze(2)), 2)  # [regions, constraints, inputs + 1]
    cost = torch.cat((torch.zeros_like(low), torch.ones_like(bottom)), 1)
    multipliers, point = solve(cost, lifted, offset, torch.cat((low, bottom - 1), 1), torch.cat((high, top), 1))

    multipliers = (multipliers / size).unsqueeze(1)  # [regions, 1, constraints]
    zero = AffineFunctions(
        torch.zeros_like(multipliers[..., :1]).expand(-1, -1, low.shape[1]), torch.zeros_like(multipliers[..., 0])
    )
    bound = dual_bound(zero, constraints, multipliers, low, high)
    return bound.squeeze(1), multipliers.squeeze(1), point[:, :-1]


def dual_bound(
    functions: AffineFunctions,
    constraints: AffineFunctions,
    multipliers: Float64[Tensor, "regions functions constraints"],
    low: Float64[Tensor, "regions inputs"],
    high: Float64[Tensor, "regions inputs"],
) -> Constants:
    """The certified lower bound at these multipliers, all >= 0: steps 1 to 3 of the module's derivation."""
    low = low.unsqueeze(1)
    high = high.unsqueeze(1)

    # 1. and 2.: the least value of f + y g over the box.
    slope = functions.weights + multipliers @ constraints.weights  # [regions, functions, inputs]
    value = functions.offset + (multipliers @ constraints.offset.unsqueeze(2)).squeeze(2)
    value = value + torch.minimum(slope * low, slope * high).sum(2)

    # 3.: the sum of the absolute values of all terms, and the share of it that rounding may take.
    size = torch.maximum(low.abs(), high.abs())
    sizes = functions.offset.abs() + (multipliers @ constraints.offset.abs().unsqueeze(2)).squeeze(2)
    sizes = sizes + ((functions.weights.abs() + multipliers @ constraints.weights.abs()) * size).sum(2)
    return value - share(len(constraints) + low.shape[2] + 8, torch.float64) * sizes


@final
@dataclass(eq=False)
class _Tableau:
    """Basic variables are `value` - `rate` @ nonbasic variables, which are at zero; the cost is `cost` @ nonbasic.

    basic, nonbasic: the variables by number: first the inputs, scaled to [0, 1], then the slacks of the constraints,
    which have no upper bound. flipped: whether a variable is measured from its upper bound.
    """

    rate: Float64[Tensor, "programmes constraints inputs"]
    value: Float64[Tensor, "programmes constraints"]
    cost: Float64[Tensor, "programmes inputs"]
    basic: Int64[Tensor, "programmes constraints"]
    nonbasic: Int64[Tensor, "programmes inputs"]
    flipped: Bool[Tensor, "programmes variables"]

    def only(self, chosen: Tensor) -> "_Tableau":
        return _Tableau(*(field[chosen] for field in vars(self).values()))

    def put(self, place: Tensor, other: "_Tableau") -> None:
        for name, field in vars(self).items():
            field[place] = getattr(other, name)


def solve(
    cost: Float64[Tensor, "programmes inputs"],
    weights: Float64[Tensor, "programmes constraints inputs"],
    offset: Float64[Tensor, "programmes constraints"],
    low: Float64[Tensor, "programmes inputs"],
    high: Float64[Tensor, "programmes inputs"],
    pivots: int = 40,
) -> tuple[Float64[Tensor, "programmes constraints"], Float64[Tensor, "programmes inputs"]]:
    """(multipliers >= 0 of the constraints weights x + offset <= 0, the minimiser of cost x), after at most `pivots`.

    Where the constraints are infeasible, the multipliers are still admissible and the point means nothing.
    """
    inputs = cost.shape[1]
    count = offset.shape[1]
    width = high - low

    # x = low + width * x', so that 0 <= x' <= 1, and each constraint is divided by its range.
    scaled = weights * width.unsqueeze(1)
    size = scaled.abs().sum(2)
    size = size.where(size > 0, 1.0)
    value = -(offset + (weights @ low.unsqueeze(2)).squeeze(2)) / size
    rate = scaled / size.unsqueeze(2)
    cost = cost * width

    # Every x' starts nonbasic, at the bound where its cost is least: costs are then >= 0, the basis dual feasible.
    at_top = cost < 0
    value = value - (rate * at_top.unsqueeze(1)).sum(2)
    table = _Tableau(
        torch.where(at_top.unsqueeze(1), -rate, rate),
        value,
        cost.abs(),
        torch.arange(inputs, inputs + count).expand_as(value).clone(),
        torch.arange(inputs).expand_as(cost).clone(),
        torch.cat((at_top, torch.zeros_like(value, dtype=torch.bool)), 1),
    )

    active = torch.arange(len(cost))
    current = table
    for _ in range(pivots if value.numel() else 0):
        going, current = _pivot(current, inputs)
        table.put(active, current)
        active = active[going]
        current = current.only(going)
        if not len(active):
            break

    # The reduced cost of a slack is the multiplier of its constraint.
    variables = torch.zeros_like(table.flipped, dtype=torch.float64)
    multipliers = variables.scatter(1, table.nonbasic, table.cost)[:, inputs:]
    point = variables.scatter(1, table.basic, table.value)[:, :inputs]
    point = torch.where(table.flipped[:, :inputs], 1 - point, point).clamp(0, 1)
    return multipliers.clamp(min=0) / size, low + point * width


def _pivot(table: _Tableau, inputs: int) -> tuple[Int64[Tensor, " going"], _Tableau]:
    """(the programmes that are not at their end, the tables after one pivot).

    The basic variable that is furthest out of its bounds leaves; the one whose reduced cost would be zero first enters.
    """
    programmes = torch.arange(len(table.value))

    # The leaving variable; one above its upper bound is flipped, to be measured from there.
    over = torch.where(table.basic < inputs, table.value - 1, -torch.inf)
    out, leaving = torch.maximum(-table.value, over).max(1)
    is_over = over[programmes, leaving] > 0
    row = table.rate[programmes, leaving]  # [programmes, inputs]
    row = torch.where(is_over.unsqueeze(1), -row, row)
    target = table.value[programmes, leaving]
    target = torch.where(is_over, 1 - target, target)
    left = table.basic[programmes, leaving]

    # The entering variable, by the dual ratio test.
    ratio, entering = torch.where(row < -_ZERO, table.cost / -row, torch.inf).min(1)
    going = (out > _ZERO) & ratio.isfinite()
    pivot = row[programmes, entering].where(going, -1.0)
    enters = functional.one_hot(entering, inputs).bool()

    # The row of the leaving variable, solved for the entering one, is substituted into all other rows.
    solved = torch.where(enters, torch.ones_like(row), row) / pivot.unsqueeze(1)
    column = table.rate.gather(2, entering.reshape(-1, 1, 1).expand(-1, table.rate.shape[1], 1)).squeeze(2)
    step = target / pivot
    rate = table.rate.masked_fill(enters.unsqueeze(1), 0.0) - column.unsqueeze(2) * solved.unsqueeze(1)
    rate[programmes, leaving] = solved
    value = table.value - column * step.unsqueeze(1)
    value[programmes, leaving] = step
    cost = table.cost.masked_fill(enters, 0.0) - table.cost[programmes, entering].unsqueeze(1) * solved

    basic = table.basic.clone()
    basic[programmes, leaving] = table.nonbasic[programmes, entering]
    nonbasic = table.nonbasic.clone()
    nonbasic[programmes, entering] = left
    flipped = table.flipped.clone()
    flipped[programmes, left] ^= is_over

    new = _Tableau(rate, value, cost.clamp(min=0), basic, nonbasic, flipped)
    ended = (~going).nonzero().squeeze(1)
    new.put(ended, table.only(ended))
    return going.nonzero().squeeze(1), new

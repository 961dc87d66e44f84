"""The leaves of branch and bound: linear programmes, solved by HiGHS, with bounds that do not trust it.

A safe bound (Neumaier and Shcherbina 2004, doi:10.1007/s10107-003-0433-3), for min c v + d over low <= v <= high and
g(v) = G v + h <= 0:

1. For any multipliers y >= 0 and any feasible v, y g(v) <= 0, so c v + d >= c v + d + y g(v).
2. The right side is affine in v, so its least value over the box, coordinate by coordinate, is a lower bound: weak
   duality. It needs no feasibility, optimality or precision of y; HiGHS's y, clamped to y >= 0, make it nearly tight.
3. The box minimum is computed in float64; what its rounding may add is subtracted (`simplex.dual_bound`).
4. The programme is infeasible where step 1 with c = d = 0 shows min y g(v) > 0 for some y >= 0: no v has g(v) <= 0.

Where every ReLU is in a known phase the triangle relaxation is exact, and so is the optimum of the programme.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64
from scipy.optimize import OptimizeResult, linprog
from torch import Tensor

from brinell.proofs.branching.encoding import Encoding, LinearExpressions
from brinell.proofs.numerics import simplex


@final
@dataclass(frozen=True, eq=False)
class Least:
    """bound: a lower bound, infinite where the programme is infeasible. x: HiGHS's minimiser, or None."""

    bound: float
    x: Float64[Tensor, " inputs"] | None


def least(encoding: Encoding, row: Float64[Tensor, " classes"], seconds: float = 10.0) -> Least:
    """A lower bound on <row, outputs> over the triangle relaxation. seconds: HiGHS's time limit."""
    cost = row @ encoding.outputs.weights
    constant = float(row @ encoding.outputs.offset)
    constraints = encoding.splits.times(-torch.ones_like(encoding.splits.offset)).plus(encoding.triangles())

    solved = _solve(cost, constraints, encoding, seconds)
    if solved.status == 2:
        return Least(torch.inf if _is_empty(encoding, constraints) else -torch.inf, None)
    if solved.status != 0:
        return Least(-torch.inf, None)
    bound = safe(cost, constant, constraints, _multipliers(solved), encoding.low, encoding.high)
    inputs = len(encoding.low) - len(encoding.least)
    return Least(bound, torch.from_numpy(solved.x[:inputs]).double())


def safe(
    cost: Float64[Tensor, " variables"],
    constant: float,
    constraints: LinearExpressions,
    multipliers: Float64[Tensor, " constraints"],
    low: Float64[Tensor, " variables"],
    high: Float64[Tensor, " variables"],
) -> float:
    """A lower bound on <cost, v> + constant over the points of the box with constraints <= 0; multipliers >= 0."""
    # A leading axis of one region.
    function = simplex.AffineFunctions(cost[None, None], cost.new_full((1, 1), constant))
    batched = simplex.AffineFunctions(constraints.weights.unsqueeze(0), constraints.offset.unsqueeze(0))
    return float(simplex.dual_bound(function, batched, multipliers[None, None], low.unsqueeze(0), high.unsqueeze(0)))


def _is_empty(encoding: Encoding, constraints: LinearExpressions) -> bool:
    """Whether multipliers show that no point of the box meets all constraints: a Farkas certificate.

    They are those of the elastic programme: min t with all constraints <= t.
    """
    low = encoding.low
    high = encoding.high
    excess = float((constraints.weights.abs() @ torch.maximum(low.abs(), high.abs()) + constraints.offset.abs()).amax())
    column = -torch.ones(len(constraints.offset), 1, dtype=torch.float64)
    cost = torch.cat((torch.zeros_like(low), low.new_ones(1)))
    elastic = LinearExpressions(torch.cat((constraints.weights, column), 1), constraints.offset)
    ends = torch.cat((low, low.new_full((1,), -excess))), torch.cat((high, high.new_full((1,), excess)))
    solved = linprog(
        cost.numpy(), elastic.weights.numpy(), -elastic.offset.numpy(), bounds=torch.stack(ends, 1).tolist()
    )
    if solved.status != 0:
        return False
    return safe(torch.zeros_like(low), 0.0, constraints, _multipliers(solved), low, high) > 0


def _solve(cost: Tensor, constraints: LinearExpressions, encoding: Encoding, seconds: float) -> OptimizeResult:
    box = torch.stack((encoding.low, encoding.high), 1).tolist()
    return linprog(
        cost.numpy(),
        constraints.weights.numpy(),
        -constraints.offset.numpy(),
        bounds=box,
        options={"time_limit": seconds},
    )


def _multipliers(solved: OptimizeResult) -> Float64[Tensor, " constraints"]:
    """HiGHS's dual variables of the inequalities, clamped to >= 0."""
    return -torch.from_numpy(solved.ineqlin.marginals).double().clamp(max=0)

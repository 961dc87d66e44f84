"""Linear programmes solved by HiGHS, and what they show without trusting it.

Any prices >= 0 of the constraints give a lower bound, computed here; those of HiGHS give the best one (safe bounds,
Neumaier and Shcherbina 2004, doi:10.1007/s10107-003-0433-3). Where the side of every ReLU is known, that is the exact
minimum.
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
    """bound: no value is below it; infinite where there is no point at all. x: where HiGHS saw the minimum, if so."""

    bound: float
    x: Float64[Tensor, " inputs"] | None


def least(encoding: Encoding, row: Float64[Tensor, " classes"], seconds: float = 10.0) -> Least:
    """The least value of <row, outputs> over the relaxation by triangles."""
    cost, constant = row @ encoding.outputs.weights, float(row @ encoding.outputs.offset)
    constraints = encoding.held.times(-torch.ones_like(encoding.held.offset)).plus(encoding.triangles())
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
    multipliers: Float64[Tensor, " forms"],
    low: Float64[Tensor, " variables"],
    high: Float64[Tensor, " variables"],
) -> float:
    """A lower bound on <cost, v> + constant over the box where the forms are never positive; all prices are >= 0."""
    function = simplex.AffineFunctions(cost[None, None], cost.new_full((1, 1), constant))
    forms = simplex.AffineFunctions(constraints.weights.unsqueeze(0), constraints.offset.unsqueeze(0))
    return float(simplex.dual_bound(function, forms, multipliers[None, None], low.unsqueeze(0), high.unsqueeze(0)))


def _is_empty(encoding: Encoding, constraints: LinearExpressions) -> bool:
    """Whether the forms cannot all be kept from being positive: some sum of them at prices is positive everywhere.

    The prices are those of the least excess, t, with all forms <= t.
    """
    low, high = encoding.low, encoding.high
    excess = float((constraints.weights.abs() @ torch.maximum(low.abs(), high.abs()) + constraints.offset.abs()).amax())
    column = -torch.ones(len(constraints.offset), 1, dtype=torch.float64)
    cost = torch.cat((torch.zeros_like(low), low.new_ones(1)))
    elastic = LinearExpressions(torch.cat((constraints.weights, column), 1), constraints.offset)
    ends = torch.cat((low, low.new_full((1,), -excess))), torch.cat((high, high.new_full((1,), excess)))
    solved = linprog(
        cost.numpy(), elastic.weights.numpy(), -elastic.offset.numpy(), bounds=torch.stack(ends, 1).tolist()
    )
    return (
        bool(solved.status == 0) and safe(torch.zeros_like(low), 0.0, constraints, _multipliers(solved), low, high) > 0
    )


def _solve(cost: Tensor, constraints: LinearExpressions, encoding: Encoding, seconds: float) -> OptimizeResult:
    box = torch.stack((encoding.low, encoding.high), 1).tolist()
    return linprog(
        cost.numpy(),
        constraints.weights.numpy(),
        -constraints.offset.numpy(),
        bounds=box,
        options={"time_limit": seconds},
    )


def _multipliers(solved: OptimizeResult) -> Float64[Tensor, " forms"]:
    return -torch.from_numpy(solved.ineqlin.marginals).double().clamp(max=0)

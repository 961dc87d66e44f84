"""The point of a polytope that is nearest to x0, with a lower bound on its distance that trusts no solver.

1. For u in {u : A u <= c} and multipliers y >= 0: <c, y> >= <A u, y> = <u, A^T y> >= -|u| |A^T y|_dual (Hoelder).
2. So |u| >= -<c, y> / |A^T y|_dual, for any y >= 0: weak duality. The solver's multipliers make it nearly tight.
3. What rounding may add to this quotient is subtracted from its numerator and added to its denominator.

A solver that errs makes the bound small, not wrong.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.optimize import linprog, nnls

Floats = Float64[np.ndarray, "..."]

_FINE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_EXIT_COST = 1e6
"""The cost of violating the faces by one unit: the distance bound of an empty polytope is about as large."""

Nearest = tuple[Floats | None, float]
"""(the nearest point as the solver sees it, None where it sees none; a lower bound on the distance of all)."""


def nearest_l2(x0: Floats, normals: Floats, offsets: Floats) -> Nearest:
    """Over {x : normals x <= offsets}, by least distance programming (Lawson and Hanson 1974, chapter 23)."""
    c = offsets - normals @ x0
    if (c >= 0).all():
        return x0, 0.0
    equations = np.vstack([-normals.T, -c])
    unit = np.append(np.zeros(len(x0)), 1.0)
    try:
        multipliers, _ = nnls(equations, unit)
    except RuntimeError:  # too many iterations
        return None, 0.0
    residual = equations @ multipliers - unit
    bound = _bound(normals, c, multipliers, 2)
    return (x0 - residual[:-1] / residual[-1] if residual[-1] < -1e-12 else None), bound


def nearest_linear(x0: Floats, normals: Floats, offsets: Floats, norm: Literal["linf", "l1"]) -> Nearest:
    """The same in linf or l1, by a linear programme."""
    c = offsets - normals @ x0
    if (c >= 0).all():
        return x0, 0.0
    faces, n = normals.shape
    lengths = 1 if norm == "linf" else n
    spread = np.ones((n, 1)) if norm == "linf" else np.eye(n)
    rows = np.block(
        [
            [normals, np.zeros((faces, lengths)), -np.ones((faces, 1))],
            [np.eye(n), -spread, np.zeros((n, 1))],
            [-np.eye(n), -spread, np.zeros((n, 1))],
        ]
    )
    cost = np.concatenate([np.zeros(n), np.ones(lengths), [_EXIT_COST]])
    limits = [(None, None)] * n + [(0, None)] * (lengths + 1)
    solved = linprog(cost, rows, np.append(c, np.zeros(2 * n)), bounds=limits, method="highs", options=_FINE)
    if solved.status != 0:
        return None, 0.0
    multipliers = np.maximum(-solved.ineqlin.marginals[:faces], 0)
    bound = _bound(normals, c, multipliers, 1 if norm == "linf" else np.inf)
    return (x0 + solved.x[:n] if solved.x[-1] < 1e-8 else None), bound


def centre(normals: Floats, offsets: Floats, within: tuple[Floats, float] | None = None) -> tuple[Floats | None, float]:
    """(the centre, the radius) of the largest l2 ball in a polytope, or in the part of a plane (normal, offset) in it.

    A radius of 0 or less where there is none; the normals have length one. No radius is larger than 1.
    """
    size = np.ones(len(normals))
    if within is not None:
        size = np.sqrt(np.maximum(1 - (normals @ within[0]) ** 2, 0))
    cost = np.append(np.zeros(normals.shape[1]), -1.0)
    plane = {} if within is None else {"A_eq": np.append(within[0], 0.0)[None], "b_eq": [within[1]]}
    limits = [(None, None)] * normals.shape[1] + [(None, 1.0)]
    rows = np.column_stack([normals, size])
    solved = linprog(cost, rows, offsets, bounds=limits, method="highs", options=_FINE, **plane)
    return (solved.x[:-1], float(solved.x[-1])) if solved.status == 0 else (None, -np.inf)


def _bound(normals: Floats, c: Floats, multipliers: Floats, dual: float) -> float:
    """The distance bound at these multipliers, less rounding. dual: the order of the dual norm."""
    share = (len(c) + len(normals.T) + 8) * np.finfo(np.float64).eps
    value = -float(multipliers @ c) - share * float(multipliers @ np.abs(c))
    length = float(np.linalg.norm(multipliers @ normals, dual))
    length += share * float(np.linalg.norm(multipliers @ np.abs(normals), dual))
    return max(value / float(length) * (1 - share), 0.0) if value > 0 and length > 0 else 0.0

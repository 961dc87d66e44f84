"""Bounds from global Lipschitz constants: of margins, and of pre-activations."""

from math import inf

import torch

from brinell.proofs.lipschitz import norms
from brinell.proofs.lipschitz.constants import Constants, constants
from brinell.proofs.network.graph import Graph, Unsupported
from brinell.proofs.network.operators import Interval
from brinell.proofs.numerics.rounding import share
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import Margins
from brinell.threat.sets import over_features


def global_constants(graph: Graph) -> Constants | None:
    """The constants of a network; None where an operator has no Lipschitz rule, as x^2 has none."""
    try:
        return constants(graph)
    except Unsupported:
        return None


def clean_margins(problem: Problem) -> Margins:
    """The margins at x0, from the scores that float64 computes, less the rounding of this product."""
    scores = problem.graph(problem.x0).unsqueeze(2)  # [batch, classes, 1]
    error = share(problem.graph.classes + 8, torch.float64) * (problem.spec.abs() @ scores.abs())
    return (problem.spec @ scores - error).squeeze(2)


def decrease(problem: Problem, constants: Constants) -> Margins:
    """The most that a margin can decrease over the perturbation set: constant times extent, of the better norm."""
    extents = {norm: problem.perturbation.extent(problem.x0, norm).unsqueeze(1) for norm in (2, inf)}
    found = [constant * extents[norm] for norm, constant in constants.of(problem.spec).items()]
    return torch.stack(found).nan_to_num(inf).amin(0) * (1 + 8 * norms.UNIT)


def lipschitz_bounds(problem: Problem) -> dict[int, Interval]:
    """Intervals of the pre-activations: the value at x0 plus or minus the most it can change over the set.

    No intervals where an operator has no Lipschitz rule.
    """
    everywhere = global_constants(problem.graph)
    if everywhere is None:
        return {}
    values = problem.graph.values(problem.x0)
    l2, linf = (problem.perturbation.extent(problem.x0, norm) for norm in (2, inf))

    intervals = {}
    for i in problem.graph.pre_activations:
        by_l2 = everywhere.l2_values[i] * over_features(l2, values[i])
        by_linf = everywhere.linf_values[i] * over_features(linf, values[i])
        change = torch.minimum(by_l2, by_linf).nan_to_num(inf)
        intervals[i] = values[i] - change, values[i] + change
    return intervals

"""What Lipschitz constants show near an example: how far its margins may fall, and each neuron may move."""

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
    """Constants of the whole space; none where some operator has no rule for them, such as a function ever steeper."""
    try:
        return constants(graph)
    except Unsupported:
        return None


def clean_margins(problem: Problem) -> Margins:
    """The margins of the examples themselves, by the scores that float64 computes."""
    scores = problem.graph(problem.x0).unsqueeze(2)
    off = share(problem.graph.classes + 8, torch.float64) * (problem.spec.abs() @ scores.abs())
    return (problem.spec @ scores - off).squeeze(2)


def decrease(problem: Problem, constants: Constants) -> Margins:
    """The most that a margin can lose over the set."""
    l2_nodes = {norm: problem.perturbation.extent(problem.x0, norm).unsqueeze(1) for norm in (2, inf)}
    lost = [constant * l2_nodes[norm] for norm, constant in constants.of(problem.spec).items()]
    return torch.stack(lost).nan_to_num(inf).amin(0) * (1 + 8 * norms.UNIT)


def lipschitz_bounds(problem: Problem) -> dict[int, Interval]:
    """Limits of the nodes that nonlinearities read: each value moves so far from the example's own. None without
    constants."""
    everywhere = global_constants(problem.graph)
    if everywhere is None:
        return {}
    values = problem.graph.values(problem.x0)
    length, change = (problem.perturbation.extent(problem.x0, norm) for norm in (2, inf))
    found = {}
    for i in problem.graph.pre_activations:
        by_length = everywhere.l2_values[i] * over_features(length, values[i])
        by_change = everywhere.linf_values[i] * over_features(change, values[i])
        moves = torch.minimum(by_length, by_change).nan_to_num(inf)
        found[i] = values[i] - moves, values[i] + moves
    return found

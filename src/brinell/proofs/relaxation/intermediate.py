"""Intermediate (pre-activation) bounds: each layer is bounded with slopes of its own before the next rests on it.

Sources: Xu et al. 2021 (alpha-CROWN), arXiv:2011.13824, section 3.2: there all slopes climb together toward the last
bounds, here each layer is bounded as well as its own slopes can, before the next. Where only those inputs matter whose
outputs are unsafe, the outputs bound what is inside too: Kotha et al. 2023 (INVPROP), arXiv:2302.01404.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.nn import functional

from brinell.proofs.network.graph import Graph, Node
from brinell.proofs.network.operators import Interval, Linear, ReLU, Values
from brinell.proofs.network.operators.shape import Concatenate, Reshape
from brinell.proofs.numerics.rounding import at_input, at_node
from brinell.proofs.query.problem import Problem
from brinell.proofs.relaxation.network import met
from brinell.proofs.relaxation.optimised import Optimisation, Splits, State, first, optimise

_SHARE = 4
"""What a gradient keeps of each bound, in the copies that a bound without one takes."""


@final
@dataclass(frozen=True, eq=False)
class Assumptions:
    """What is known of the one example asked about. side: of the ReLUs that are held on one.

    row: of the scores, of which only values in [least, 0] matter.
    """

    phase: Mapping[int, Tensor]
    row: Float64[Tensor, " classes"]
    least: float


Further = Callable[[Problem, int, list[Interval], Optimisation, Values], Interval]
"""(problem, node, intervals, climb, what rounding takes) to the interval of the node, no wider than it is."""


def refined(
    problem: Problem,
    known: list[Interval],
    optimisation: Optimisation,
    assumed: Assumptions | None = None,
    further: Further | None = None,
) -> list[Interval]:
    """Intervals of all nodes, none wider than those that are known. given: of a single example, what else is.

    further: narrows a layer once its slopes have climbed; None for nothing more.
    """
    graph = problem.graph
    exact = graph.single if problem.is_box and assumed is None else frozenset({0})
    intervals, errors = list(known), [at_input(graph, problem.hull, torch.float64)]
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        errors.append(at_node(graph, i, inputs, [errors[j] for j in node.inputs], torch.float64))
        low, high = graph.operator(i).interval(*inputs)
        intervals[i] = met(intervals[i], (low - errors[i], high + errors[i]))
        if i in graph.pre_activations - exact:
            intervals[i] = _optimised(problem, i, intervals, optimisation, assumed, errors[i])
            if further is not None:
                intervals[i] = further(problem, i, intervals, optimisation, errors[i])
    return intervals


def effort(graph: Graph, intervals: list[Interval], optimisation: Optimisation) -> int:
    """How many functionals climb a step when all examples are refined, about."""
    return 2 * (optimisation.steps + 1) * sum(int(graph.unknown(i, intervals[i]).sum()) for i in graph.pre_activations)


def _optimised(
    problem: Problem,
    node: int,
    intervals: list[Interval],
    optimisation: Optimisation,
    assumed: Assumptions | None,
    error: Values,
) -> Interval:
    """The interval of a node met with what its unknown neurons, and their negatives, are bounded by from below.

    error: what is taken off such a bound for its rounding; prices round too, and that is left in.
    """
    wanted = problem.graph.unknown(node, intervals[node]).flatten(1)
    asked, ends = up_to(problem, node, assumed)
    low, high = (end.flatten(1) for end in intervals[node])
    most = max(1, problem.rows(problem.graph.width) // (2 * _SHARE))
    count = int(wanted.sum(1).max())
    chosen = wanted.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    for neurons in torch.split(chosen, most, 1) if count else ():
        unit = functional.one_hot(neurons, asked.graph.classes).to(problem.x0.dtype)
        spec = torch.cat((unit, -unit), 1)
        state = _held(first(asked.graph, [*intervals[: len(problem.graph.nodes)], *ends], spec.shape[1]), assumed)
        bounds, _, _ = optimise(asked.asking(spec), state, optimisation)
        slack = error.flatten(1).gather(1, neurons)
        lower, higher = (part - slack for part in bounds.where(bounds.isfinite(), -torch.inf).chunk(2, 1))
        new = met((low.gather(1, neurons), high.gather(1, neurons)), (lower, -higher))
        low, high = low.scatter(1, neurons, new[0]), high.scatter(1, neurons, new[1])
    return low.reshape(intervals[node][0].shape), high.reshape(intervals[node][1].shape)


def up_to(problem: Problem, node: int, assumed: Assumptions | None) -> tuple[Problem, list[Interval]]:
    """(the network up to a node, whose values are then the output, in flat order; the intervals of nodes it adds).

    With a row the network is whole. The row is one more neuron, held at or below zero, and joins the output: it takes
    part in every bound at a price that climbs, as a neuron does that a branch holds on a side.
    """
    graph = problem.graph
    shape = graph.nodes[node].shape
    flat = Node(Reshape(shape, (math.prod(shape),)), (node,), (math.prod(shape),))
    if assumed is None:
        return replace(problem, graph=Graph((*graph.nodes[: node + 1], flat))), []
    row, end = Linear(assumed.row.unsqueeze(0), assumed.row.new_zeros(1)), graph.output
    nodes = (
        *graph.nodes,
        Node(row, (end,), (1,)),
        Node(ReLU(), (end + 1,), (1,)),
        flat,
        Node(Concatenate(0, (*flat.shape, 1)), (end + 3, end + 2), (flat.shape[0] + 1,)),
    )
    least = assumed.row.new_full((1, 1), assumed.least)
    return replace(problem, graph=Graph(nodes)), [(least, torch.zeros_like(least))]


def _held(state: State, assumed: Assumptions | None) -> State:
    """The same, with the sides that are given, at no price yet."""
    if assumed is None:
        return state
    last = max(state)
    phases = {**assumed.phase, last: -torch.ones_like(state[last].low)}
    return {
        i: replace(layer, splits=Splits(phases[i], torch.zeros_like(layer.slopes))) if i in phases else layer
        for i, layer in state.items()
    }

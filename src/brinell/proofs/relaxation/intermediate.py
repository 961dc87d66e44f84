"""Intermediate (pre-activation) bounds: each layer is bounded with slopes of its own before the next rests on it.

Sources: Xu et al. 2021 (alpha-CROWN), arXiv:2011.13824, section 3.2. There all slopes are optimised jointly for the
last layer's bounds; here the bounds of each layer are optimised on their own, before those of the next.

Under an output constraint (INVPROP, Kotha et al. 2023, arXiv:2302.01404) a bound holds over the inputs that leave a row
r of the specification open, which are all that a proof has to exclude. For a pre-activation z (or -z) to be bounded:

1. Any counterexample x has r(x) <= 0. So z(x) >= z(x) + gamma r(x) for every gamma >= 0: a Lagrange multiplier.
2. The right side is a functional of two nodes, z and r. Backward substitution bounds it from below over all inputs
   (weak duality), and with it z over every counterexample.
3. r <= 0 is written as a split: r becomes the pre-activation of one more ReLU, known to lie in [least, 0] and split to
   its inactive phase. Its gamma is then a multiplier beta of `SplitRelaxation`, optimised with all others.
4. A bound on r that rests on such intervals holds for counterexamples alone. Where it is positive there are none, since
   they have r <= 0; so r > 0 over all inputs, but the number itself is no lower bound on r.
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
from brinell.proofs.relaxation.network import intersected
from brinell.proofs.relaxation.optimised import Optimisation, Splits, State, first, optimise

_SHARE = 4
"""Copies of each functional that a gradient keeps, in units of those that a bound without a gradient takes."""


@final
@dataclass(frozen=True, eq=False)
class Assumptions:
    """What is assumed of the inputs of a single example: phases of ReLUs, and an output constraint.

    phases: by nonlinearity, 1 where a pre-activation is >= 0, -1 where <= 0, 0 where nothing is assumed. row: a
    functional of the scores that is assumed to be <= 0; it is >= least over all inputs.
    """

    phases: Mapping[int, Tensor]
    row: Float64[Tensor, " classes"]
    least: float


Further = Callable[[Problem, int, list[Interval], Optimisation, Values], Interval]
"""(problem, node, intervals, optimisation, rounding error of the node) to a tighter interval of the node."""


def refined(
    problem: Problem,
    known: list[Interval],
    optimisation: Optimisation,
    assumed: Assumptions | None = None,
    further: Further | None = None,
) -> list[Interval]:
    """Intervals of all nodes, none wider than the known ones, layer by layer with optimised slopes.

    assumed: of a problem of a single example. further: tightens a layer once its slopes are optimised; None leaves it.
    """
    graph = problem.graph
    exact = graph.exact_interval_nodes if problem.is_box and assumed is None else frozenset({0})
    intervals = list(known)
    errors = [at_input(graph, problem.hull, torch.float64)]
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        errors.append(at_node(graph, i, inputs, [errors[j] for j in node.inputs], torch.float64))
        low, high = graph.operator(i).interval(*inputs)
        intervals[i] = intersected(intervals[i], (low - errors[i], high + errors[i]))

        if i in graph.pre_activations - exact:
            intervals[i] = _optimised(problem, i, intervals, optimisation, assumed, errors[i])
            if further is not None:
                intervals[i] = further(problem, i, intervals, optimisation, errors[i])
    return intervals


def _optimised(
    problem: Problem,
    node: int,
    intervals: list[Interval],
    optimisation: Optimisation,
    assumed: Assumptions | None,
    error: Values,
) -> Interval:
    """The interval of a node intersected with optimised lower bounds of its unstable neurons and of their negatives.

    error: subtracted from each bound for its rounding. The rounding of multipliers is not accounted for.
    """
    wanted = problem.graph.unknown(node, intervals[node]).flatten(1)
    asked, added = up_to(problem, node, assumed)
    low, high = (end.flatten(1) for end in intervals[node])

    most = max(1, problem.rows(problem.graph.width) // (2 * _SHARE))
    count = int(wanted.sum(1).max())
    chosen = wanted.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    for neurons in torch.split(chosen, most, 1) if count else ():
        unit = functional.one_hot(neurons, asked.graph.classes).to(problem.x0.dtype)
        spec = torch.cat((unit, -unit), 1)  # [batch, 2 * neurons, outputs]
        before = [*intervals[: len(problem.graph.nodes)], *added]
        state = _with_phases(first(asked.graph, before, spec.shape[1]), assumed)
        bounds, _, _ = optimise(asked.asking(spec), state, optimisation)

        slack = error.flatten(1).gather(1, neurons)
        lower, higher = (half - slack for half in bounds.where(bounds.isfinite(), -torch.inf).chunk(2, 1))
        new = intersected((low.gather(1, neurons), high.gather(1, neurons)), (lower, -higher))
        low = low.scatter(1, neurons, new[0])
        high = high.scatter(1, neurons, new[1])
    return low.reshape(intervals[node][0].shape), high.reshape(intervals[node][1].shape)


def up_to(problem: Problem, node: int, assumed: Assumptions | None) -> tuple[Problem, list[Interval]]:
    """(the problem of a network whose output is this node, in flat order; intervals of the nodes it adds).

    Under an output constraint the whole network is kept, and the constraint's row is appended as a ReLU neuron: step 3
    of the module's derivation. The output is then the node followed by that neuron.
    """
    graph = problem.graph
    shape = graph.nodes[node].shape
    flat = Node(Reshape(shape, (math.prod(shape),)), (node,), (math.prod(shape),))
    if assumed is None:
        return replace(problem, graph=Graph((*graph.nodes[: node + 1], flat))), []

    end = graph.output
    nodes = (
        *graph.nodes,
        Node(Linear(assumed.row.unsqueeze(0), assumed.row.new_zeros(1)), (end,), (1,)),
        Node(ReLU(), (end + 1,), (1,)),
        flat,
        Node(Concatenate(0, (*flat.shape, 1)), (end + 3, end + 2), (flat.shape[0] + 1,)),
    )
    least = assumed.row.new_full((1, 1), assumed.least)
    return replace(problem, graph=Graph(nodes)), [(least, torch.zeros_like(least))]


def _with_phases(state: State, assumed: Assumptions | None) -> State:
    """The state with the assumed phases as splits, their multipliers at zero."""
    if assumed is None:
        return state
    last = max(state)  # the neuron of the output constraint
    phases = {**assumed.phases, last: -torch.ones_like(state[last].low)}
    return {
        i: replace(layer, splits=Splits(phases[i], torch.zeros_like(layer.slopes))) if i in phases else layer
        for i, layer in state.items()
    }

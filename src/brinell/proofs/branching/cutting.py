"""The branching heuristic of input splitting: cut a region along an axis, or split a ReLU, whichever gains more.

1. The gap between the lower and upper relaxation of an unstable ReLU, -l u / (u - l), costs the bound the gap times the
   neuron's coefficient. A split neuron has no gap.
2. Halving an axis takes away half of its share in each gap, which shrinks with the width u - l of the pre-activation:
   the share is that of the linear model whose ReLUs have the slope of their chord.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from torch.nn import functional

from brinell.proofs.branching.splits import Recorded
from brinell.proofs.network.operators import Affine, Interval, Nonlinearity, ReLU, Values
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.numerics.rounding import at_nodes
from brinell.proofs.numerics.simplex import AffineFunctions
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.relaxation.optimised import first, relaxations

AXIS = -1
"""In the place of a node, where an axis of the input is cut."""

_WORTH = 3.0
"""How many times its own gap splitting a neuron gains: gaps of later layers narrow too. Found by experiment."""


@final
@dataclass(frozen=True, eq=False)
class Cut:
    """How each region is cut.

    node: the node of the pre-activation to split, or AXIS. place: the neuron's flat position, or the axis. possible:
    whether there is anything to cut.
    """

    node: Int64[Tensor, " regions"]
    place: Int64[Tensor, " regions"]
    possible: Bool[Tensor, " regions"]


def choose(
    problem: Problem,
    intervals: list[Interval],
    recorded: Mapping[int, Recorded],
    weight: Float64[Tensor, "regions rows"],
) -> Cut:
    """The cut of highest gain in the weighted sum of the rows; the widest axis where no gap is left.

    recorded: the coefficients of each nonlinearity in the backward substitution. Only neurons are split whose
    pre-activations are affine in the region, so that both children of a region are polytopes.
    """
    graph = problem.graph
    by_axis = shares(problem, intervals)
    low, high = (end.flatten(1) for end in problem.hull)

    axis_gain = torch.zeros_like(low)  # [regions, inputs]
    neuron_gain: dict[int, Tensor] = {}  # by node, [regions, neurons]
    is_affine = torch.ones(len(low), 1, dtype=torch.bool)
    for i, relaxation in recorded.items():
        source = graph.nodes[i].inputs[0]
        least, most = (end.flatten(1) for end in intervals[source])
        if isinstance(graph.nonlinearity(i), ReLU):
            size = (relaxation.seen[0].abs().flatten(2) * weight.unsqueeze(2)).sum(1)
            width = (most - least).clamp(min=1e-300)
            gap = size * torch.where((least < 0) & (most > 0), -least * most / width, 0.0)
            axis_gain += (by_axis[source].abs() @ (gap / width).unsqueeze(2)).squeeze(2) / 2
            neuron_gain[source] = _WORTH * gap.where(is_affine, 0.0)
        is_affine = is_affine & ~graph.nonlinearity(i).unknown(least, most).any(1, keepdim=True)
    return _best(axis_gain, neuron_gain, low, high)


def _best(axis_gain: Tensor, neuron_gain: dict[int, Tensor], low: Tensor, high: Tensor) -> Cut:
    """The axis or neuron of highest gain in each region."""
    middle = (low + high) / 2
    divisible = (low < middle) & (middle < high)
    known = axis_gain.isfinite().all(1, keepdim=True) & (axis_gain > 0).any(1, keepdim=True)
    gain, place = torch.where(known, axis_gain, 1e-300 * (high - low)).where(divisible, -1.0).max(1)
    node = torch.full_like(place, AXIS)

    for source, gains in neuron_gain.items():
        most, neuron = gains.max(1)
        better = most > gain.clamp(min=0)
        gain = torch.where(better, most, gain)
        node = node.where(~better, source)
        place = place.where(~better, neuron)
    return Cut(node, place, gain >= 0)


def branch(problem: Problem, intervals: list[Interval], regions: Regions, cut: Cut) -> Regions:
    """The two children of each region."""
    children = []
    for node in cut.node.unique().tolist():
        chosen = (cut.node == node).nonzero().squeeze(1)
        parents = regions.only(chosen)
        place = cut.place[chosen]
        if node == AXIS:
            children.append(halves(parents, place))
        else:
            own = [(low[chosen], high[chosen]) for low, high in intervals]
            children.append(_split(problem.only(chosen), own, parents, node, place))
    return reduce(Regions.plus, children)


def halves(regions: Regions, axis: Int64[Tensor, " regions"]) -> Regions:
    """The lower halves of the regions along an axis, then the upper halves."""
    axis = axis.unsqueeze(1)
    middle = ((regions.low + regions.high) / 2).gather(1, axis)
    below = replace(regions, high=regions.high.scatter(1, axis, middle))
    return below.plus(replace(regions, low=regions.low.scatter(1, axis, middle)))


def _split(problem: Problem, intervals: list[Interval], regions: Regions, node: int, neuron: Tensor) -> Regions:
    """The regions with a neuron in its inactive phase, z <= 0, then those in its active phase, -z <= 0.

    Each phase adds a constraint: the lower linear bound of z, or of -z, on the input, less its rounding error, is <= 0.
    """
    graph = problem.graph
    low, high = intervals[node]
    unit = functional.one_hot(neuron, low[0].numel()).double()
    both = torch.stack((unit, -unit), 1).reshape(len(neuron), 2, *graph.nodes[node].shape)  # [regions, 2, *shape]

    back, constant = substitute(graph, node, both, relaxations(graph, first(graph, intervals, 1)))
    error = at_nodes(graph, intervals)[node].flatten(1).gather(1, neuron.unsqueeze(1))
    weights = written(back[0]).flatten(2)  # [regions, 2, inputs]
    bounds = AffineFunctions(weights, constant.expand(weights.shape[:2]) - error)

    chosen = unit.reshape(low.shape) > 0
    inactive = replace(
        regions,
        splits=regions.splits.plus(bounds.part(slice(0, 1))),
        known={**regions.known, node: (low, torch.where(chosen, high.clamp(max=0), high))},
    )
    active = replace(
        regions,
        splits=regions.splits.plus(bounds.part(slice(1, 2))),
        known={**regions.known, node: (torch.where(chosen, low.clamp(min=0), low), high)},
    )
    return inactive.plus(active)


def shares(problem: Problem, intervals: list[Interval]) -> dict[int, Float64[Tensor, "regions inputs values"]]:
    """For each pre-activation, by how much each axis, over its whole width, changes it in the linear model."""
    graph = problem.graph
    low, high = problem.hull
    count = len(low)
    inputs = low[0].numel()

    # One direction an axis: [regions * inputs, *shape] throughout.
    moved: list[Values] = [torch.diag_embed((high - low).flatten(1)).reshape(count * inputs, *low.shape[1:])]
    for i in range(1, len(graph.nodes)):
        operator = graph.operator(i)
        sources = graph.nodes[i].inputs
        if isinstance(operator, Affine):
            still = operator.forward(*(torch.zeros_like(moved[j][:1]) for j in sources))
            moved.append(operator.forward(*(moved[j] for j in sources)) - still)
        else:
            moved.append(_linear_model(graph.nonlinearity(i), intervals[sources[0]], moved[sources[0]], inputs))
    return {
        graph.nodes[i].inputs[0]: moved[graph.nodes[i].inputs[0]].reshape(count, inputs, -1)
        for i in graph.nonlinearities
    }


def _linear_model(nonlinearity: Nonlinearity, interval: Interval, moved: Values, inputs: int) -> Values:
    """The change behind a nonlinearity: times the slope of its chord for a ReLU, else the most it can be."""
    low, high = interval
    if not isinstance(nonlinearity, ReLU):
        return nonlinearity.carried(
            low.repeat_interleave(inputs, 0), high.repeat_interleave(inputs, 0), moved.abs(), 0.0, 0.0
        )
    chord = ((high.clamp(min=0) - low.clamp(min=0)) / (high - low).clamp(min=1e-300)).where(high > low, 0.0)
    return moved * chord.repeat_interleave(inputs, 0)

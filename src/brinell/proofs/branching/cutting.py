"""Where to cut a region: along an axis of the input, or through a neuron, whichever takes away more error.

The gap of a ReLU between its lines costs the bound the gap times its coefficient. A neuron that is held on a side has
none. An axis that is halved takes away half of its share in each gap, which shrinks with the width of what goes into
the ReLU: the shares are those of the linear model whose ReLUs have the slope of their chord.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import final

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from torch.nn import functional

from brinell.proofs.branching.splits import Noted
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
"""How many times its own gap a neuron takes away that is held: the gaps above it narrow too. Found by trying."""


@final
@dataclass(frozen=True, eq=False)
class Cut:
    """Of each region what it is cut along. node: what goes into the ReLU of the neuron, or AXIS. place: the neuron by
    its flat position, or the axis. possible: whether there is anything to cut.
    """

    node: Int64[Tensor, " regions"]
    place: Int64[Tensor, " regions"]
    possible: Bool[Tensor, " regions"]


def choose(
    problem: Problem, intervals: list[Interval], noted: Mapping[int, Noted], weight: Float64[Tensor, "regions rows"]
) -> Cut:
    """The cut that takes most away from the sum of the rows, each of this weight; of no error, the widest axis.

    noted: the coefficients each nonlinearity was given on the way back. Only neurons are held whose inputs are linear
    in the region, so that both sides of them are.
    """
    graph, by_axis = problem.graph, shares(problem, intervals)
    low, high = (end.flatten(1) for end in problem.hull)
    axes, neurons = torch.zeros_like(low), dict[int, Tensor]()
    linear = torch.ones(len(low), 1, dtype=torch.bool)
    for i, note in noted.items():
        source = graph.nodes[i].inputs[0]
        least, most = (end.flatten(1) for end in intervals[source])
        if isinstance(graph.nonlinearity(i), ReLU):
            size = (note.seen[0].abs().flatten(2) * weight.unsqueeze(2)).sum(1)
            width = (most - least).clamp(min=1e-300)
            gap = size * torch.where((least < 0) & (most > 0), -least * most / width, 0.0)
            axes += (by_axis[source].abs() @ (gap / width).unsqueeze(2)).squeeze(2) / 2
            neurons[source] = _WORTH * gap.where(linear, 0.0)
        linear = linear & ~graph.nonlinearity(i).unknown(least, most).any(1, keepdim=True)
    return _best(axes, neurons, low, high)


def _best(axes: Tensor, neurons: dict[int, Tensor], low: Tensor, high: Tensor) -> Cut:
    middle = (low + high) / 2
    divisible = (low < middle) & (middle < high)
    known = axes.isfinite().all(1, keepdim=True) & (axes > 0).any(1, keepdim=True)
    gain, axis = torch.where(known, axes, 1e-300 * (high - low)).where(divisible, -1.0).max(1)
    node, place = torch.full_like(axis, AXIS), axis
    for source, gains in neurons.items():
        most, neuron = gains.max(1)
        better = most > gain.clamp(min=0)
        gain, node, place = torch.where(better, most, gain), node.where(~better, source), place.where(~better, neuron)
    return Cut(node, place, gain >= 0)


def branch(problem: Problem, intervals: list[Interval], regions: Regions, cut: Cut) -> Regions:
    """Both sides of each."""
    parts = []
    for node in cut.node.unique().tolist():
        chosen = (cut.node == node).nonzero().squeeze(1)
        some, place = regions.only(chosen), cut.place[chosen]
        own = [(low[chosen], high[chosen]) for low, high in intervals]
        parts.append(halves(some, place) if node == AXIS else _held(problem.only(chosen), own, some, node, place))
    return reduce(Regions.plus, parts)


def halves(regions: Regions, axis: Int64[Tensor, " regions"]) -> Regions:
    """Those below the middle of an axis, then those above it."""
    axis = axis.unsqueeze(1)
    middle = ((regions.low + regions.high) / 2).gather(1, axis)
    below = replace(regions, high=regions.high.scatter(1, axis, middle))
    return below.plus(replace(regions, low=regions.low.scatter(1, axis, middle)))


def _held(problem: Problem, intervals: list[Interval], regions: Regions, node: int, neuron: Tensor) -> Regions:
    """Those with a neuron at or below zero, where its lower line is not positive, and those with it at or above."""
    graph, (low, high) = problem.graph, intervals[node]
    unit = functional.one_hot(neuron, low[0].numel()).double()
    both = torch.stack((unit, -unit), 1).reshape(len(neuron), 2, *graph.nodes[node].shape)
    back, constant = substitute(graph, node, both, relaxations(graph, first(graph, intervals, 1)))
    error = at_nodes(graph, intervals)[node].flatten(1).gather(1, neuron.unsqueeze(1))
    weights = written(back[0]).flatten(2)
    lines = AffineFunctions(weights, constant.expand(weights.shape[:2]) - error)
    chosen = unit.reshape(low.shape) > 0
    ends = (low, torch.where(chosen, high.clamp(max=0), high)), (torch.where(chosen, low.clamp(min=0), low), high)
    forms = (regions.held.plus(lines.part(slice(side, side + 1))) for side in (0, 1))
    off, on = (
        replace(regions, held=held, known={**regions.known, node: interval})
        for held, interval in zip(forms, ends, strict=True)
    )
    return off.plus(on)


def shares(problem: Problem, intervals: list[Interval]) -> dict[int, Float64[Tensor, "regions inputs values"]]:
    """For each node below a nonlinearity, how far each axis, over its whole width, moves it in the linear model."""
    graph = problem.graph
    low, high = problem.hull
    count, inputs = len(low), low[0].numel()
    moved: list[Values] = [torch.diag_embed((high - low).flatten(1)).reshape(count * inputs, *low.shape[1:])]
    for i in range(1, len(graph.nodes)):
        operator, sources = graph.operator(i), graph.nodes[i].inputs
        if isinstance(operator, Affine):
            still = operator.forward(*(torch.zeros_like(moved[j][:1]) for j in sources))
            moved.append(operator.forward(*(moved[j] for j in sources)) - still)
        else:
            moved.append(_turned(graph.nonlinearity(i), intervals[sources[0]], moved[sources[0]], inputs))
    return {
        graph.nodes[i].inputs[0]: moved[graph.nodes[i].inputs[0]].reshape(count, inputs, -1)
        for i in graph.nonlinearities
    }


def _turned(nonlinearity: Nonlinearity, interval: Interval, moved: Values, inputs: int) -> Values:
    """By the chord of a ReLU; by another nonlinearity as if each axis moved alone."""
    low, high = interval
    if not isinstance(nonlinearity, ReLU):
        return nonlinearity.carried(
            low.repeat_interleave(inputs, 0), high.repeat_interleave(inputs, 0), moved.abs(), 0.0, 0.0
        )
    chord = ((high.clamp(min=0) - low.clamp(min=0)) / (high - low).clamp(min=1e-300)).where(high > low, 0.0)
    return moved * chord.repeat_interleave(inputs, 0)

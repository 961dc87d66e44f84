"""Bounds on every node, from the input forward, and the linear bounds of the bends that rest on them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Int64
from torch import Tensor

from brinell.threat.sets import least_over_box
from brinell.verify.operators import Affine, Constants, Interval, Linearised, Neurons, Slope, Windows
from brinell.verify.problem import Problem
from brinell.verify.substitution import Functional, substitute, widest, written


@final
@dataclass(frozen=True, eq=False)
class Relaxation:
    """intervals: one a node. pieces: for each node but the input, a linear bound of it by its inputs."""

    intervals: list[Interval]
    pieces: dict[int, Linearised]


def relax(problem: Problem, slope: Slope | None, substituted: bool) -> Relaxation:
    """Interval bounds, improved by substitution back to the input where a bend needs them.

    slope: None leaves the bends without a piece, for intervals alone. substituted: everywhere (CROWN), or only
    below the first bend, where it costs one functional a neuron and gains something just for sets that are not
    boxes.
    """
    graph = problem.graph
    exact = graph.single if problem.is_box else frozenset({0})
    worth = (graph.bent if substituted else graph.bent & graph.straight) - exact
    intervals = [problem.hull]
    pieces: dict[int, Linearised] = {}
    for i, node in enumerate(graph.nodes[1:], 1):
        operator = graph.operator(i)
        inputs = [intervals[j] for j in node.inputs]
        if isinstance(operator, Affine):
            pieces[i] = operator
        elif slope is not None:
            pieces[i] = operator.relax(*inputs[0], operator.choices(*inputs[0], slope).unsqueeze(1))
        interval = operator.interval(*inputs)
        if i in worth:
            # Below the first bend every neuron gains, also one that is stable: intervals are carried on from it.
            everywhere = torch.ones_like(interval[0], dtype=torch.bool)
            wanted = everywhere if i in graph.straight else graph.unknown(i, interval)
            interval = tighten(problem, i, interval, wanted, pieces)
        intervals.append(interval)
    return Relaxation(intervals, pieces)


def bound(problem: Problem, node: int, a: Functional, pieces: Mapping[int, Linearised]) -> Constants:
    """A lower bound on <a, node>, by substitution back to the input."""
    held, constant = substitute(problem.graph, node, a, pieces)
    return problem.least(held[0]) + constant if 0 in held else constant


def best(problem: Problem, relaxed: Relaxation) -> Constants:
    """The better of what substitution and intervals show of the specification.

    A deviation from the papers, at next to no cost: deep down a line may pass below where an interval ends.
    """
    substituted = bound(problem, problem.graph.output, problem.spec, relaxed.pieces)
    return torch.maximum(substituted, elided(problem, relaxed))


def linear_model(problem: Problem) -> Constants:
    """The least value of the specification were the network what it is linearly around x0: no bound of anything.

    At radius zero each bend is its own tangent, and what substitution makes of them is the first-order model.
    """
    tangents = relax(replace(problem, set=problem.set.resized(0.0)), "adaptive", substituted=False)
    return bound(problem, problem.graph.output, problem.spec, tangents.pieces)


def elided(problem: Problem, relaxed: Relaxation) -> Constants:
    """A lower bound on the specification from intervals, the affine layers after the last bends taken together with it.

    Elision of the last layer (Gowal et al. 2018, arXiv:1810.12715, section 3): no interval of the scores is formed.
    """
    graph = problem.graph
    affine = {i: piece for i, piece in relaxed.pieces.items() if isinstance(piece, Affine)}
    held, bounds = substitute(graph, graph.output, problem.spec, affine)
    for i, a in held.items():
        bounds = bounds + (problem.least(a) if i == 0 else least_over_box(*relaxed.intervals[i], written(a)))
    return bounds


def tighten(
    problem: Problem,
    node: int,
    interval: Interval,
    wanted: Neurons,
    pieces: Mapping[int, Linearised],
) -> Interval:
    """The interval met with what substitution shows of the wanted neurons.

    Where the two do not meet, or substitution gives no finite number, the interval stays as it was.
    """
    low, high = (end.flatten(1) for end in interval)
    shape = problem.graph.nodes[node].shape
    most = int(wanted.flatten(1).sum(1).max())
    # The wanted neurons of each example first; one with fewer than `most` fills up with others.
    chosen = wanted.flatten(1).to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    if len(shape) == 3:  # those that look at one place together: what they see is then looked up once
        chosen = chosen.gather(1, (chosen % (shape[1] * shape[2])).argsort(dim=1))
    most_rows = problem.rows(widest(problem.graph, node, pieces))
    for neurons in torch.split(chosen, most_rows, 1) if most else ():
        problem.checkpoint()
        lower = bound(problem, node, _units(shape, neurons, 1.0), pieces)
        upper = -bound(problem, node, _units(shape, neurons, -1.0), pieces)
        old_low, old_high = low.gather(1, neurons), high.gather(1, neurons)
        new_low = torch.where(lower.isfinite(), torch.maximum(lower, old_low), old_low)
        new_high = torch.where(upper.isfinite(), torch.minimum(upper, old_high), old_high)
        meet = (new_low <= new_high) & wanted.flatten(1).gather(1, neurons)
        low = low.scatter(1, neurons, new_low.where(meet, old_low))
        high = high.scatter(1, neurons, new_high.where(meet, old_high))
    return low.reshape(interval[0].shape), high.reshape(interval[1].shape)


def _units(shape: tuple[int, ...], neurons: Int64[Tensor, "batch rows"], sign: float) -> Functional:
    """sign * the value of each neuron, given by flat position; a window of one value where the node is an image."""
    if len(shape) != 3:
        a = torch.zeros(*neurons.shape, math.prod(shape), dtype=torch.float64)
        return a.scatter_(2, neurons.unsqueeze(2), sign).reshape(*neurons.shape, *shape)
    area = shape[1] * shape[2]
    values = torch.zeros(*neurons.shape, shape[0], dtype=torch.float64)
    values = values.scatter_(2, neurons.unsqueeze(2) // area, sign)
    corner = torch.stack((neurons % area // shape[2], neurons % shape[2]), 2)
    return Windows(values.reshape(*values.shape, 1, 1), corner, (shape[1], shape[2]))

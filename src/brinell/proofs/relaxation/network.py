"""Bounds on every node, from the input forward, and the linear bounds of the nonlinearities that rest on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Literal, final

import torch
from jaxtyping import Int64
from torch import Tensor

from brinell.proofs.lipschitz.near import near
from brinell.proofs.lipschitz.secants import by_secants
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Affine, Constants, Interval, Linearised, Neurons, Slope, Values, Windows
from brinell.proofs.numerics.rounding import at_input, at_node, at_value, outward, rounds
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import Functional, substitute, widest, written
from brinell.threat.sets import least_over_box

ROUGH = 0.01
"""The share of the mean width of a layer's intervals that rounding may take, before float64 is taken instead."""

Intermediate = Literal["crown", "interval"]
"""What bounds the neurons inside: substitution, where it is of use, or intervals alone."""


@final
@dataclass(frozen=True, eq=False)
class Relaxation:
    """intervals: one a node. pieces: for each node but the input, a linear bound of it by its inputs."""

    intervals: list[Interval]
    relaxations: dict[int, Linearised]


def relax(
    problem: Problem,
    slope: Slope | None,
    substituted: bool,
    inside: torch.dtype = torch.float64,
    known: Mapping[int, Interval] = MappingProxyType({}),
) -> Relaxation:
    """Interval bounds, improved by substitution back to the input where a nonlinearity needs them.

    slope: None leaves the nonlinearities without a piece, for intervals alone. substituted: everywhere (CROWN), or only
    below the first nonlinearity, where it costs one functional a neuron and gains something just for sets that are not
    boxes. inside: the precision of that substitution, whose rounding widens what it shows; float64 takes over where it
    would widen it much.

    known: intervals of some nodes that hold already, from a larger region for example. Where the set is no box, those
    that Lipschitz constants show are known as well: hulls of balls are large, and intervals of hulls larger still.
    """
    graph, inner = problem.graph, problem.cast(inside)
    if substituted and not problem.is_box:
        known = {**near(problem), **known}
    exact = graph.single if problem.is_box and problem.constraints is None else frozenset({0})
    worth = (graph.pre_activations if substituted else graph.pre_activations & graph.affine_prefix) - exact
    last = max(worth, default=0)  # rounding matters up to there
    likely = graph.values((problem.hull[0] + problem.hull[1]) / 2) if worth else []
    intervals, errors = [problem.hull], [at_input(graph, problem.hull, inside)]
    relaxations: dict[int, Linearised] = {}
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        relaxations.update(_relaxation(inner.graph, i, [outward(x, inside) for x in inputs], slope))
        if i <= last:
            errors.append(at_node(graph, i, inputs, [errors[j] for j in node.inputs], inside))
        operator = graph.operator(i)
        interval = operator.interval(*inputs)
        if i <= last and rounds(operator):
            slack = at_value(operator, inputs)
            interval = (interval[0] - slack, interval[1] + slack)
        if i in known:
            interval = met(interval, known[i])
        if i in worth and inner is not problem and _rough(errors[i], interval):
            inner, ratio = problem, torch.finfo(torch.float64).eps / torch.finfo(inside).eps
            inside, errors = torch.float64, [error * ratio for error in errors]
            for j in range(1, i + 1):
                relaxations.update(_relaxation(graph, j, [intervals[k] for k in graph.nodes[j].inputs], slope))
        if i in worth:
            # Below the first nonlinearity every neuron gains, also one that is stable: intervals are carried on from
            # it.
            carried = i in graph.affine_prefix and problem.constraints is None
            wanted = _all if carried else partial(graph.unknown, i)
            interval = tighten(inner, i, interval, wanted, likely[i] >= 0, relaxations, errors[i])
        intervals.append(interval)
    if inner is not problem:
        for i, node in enumerate(graph.nodes[1:], 1):
            relaxations.update(_relaxation(graph, i, [intervals[j] for j in node.inputs], slope))
    return Relaxation(intervals, relaxations)


def _relaxation(graph: Graph, i: int, inputs: Sequence[Interval], slope: Slope | None) -> dict[int, Linearised]:
    """The linear bound of node i, between these limits of its inputs; none of a nonlinearity without a slope."""
    operator = graph.operator(i)
    if isinstance(operator, Affine):
        return {i: operator}
    return {} if slope is None else {i: operator.relax(*inputs[0], operator.choices(*inputs[0], slope).unsqueeze(1))}


def _rough(error: Values, interval: Interval) -> bool:
    """Whether rounding takes so much of what these neurons span that a coarse precision is no bargain."""
    return not bool(error.mean() <= ROUGH * (interval[1] - interval[0]).mean())


def _all(interval: Interval) -> Neurons:
    return torch.ones_like(interval[0], dtype=torch.bool)


def met(interval: Interval, other: Interval) -> Interval:
    """Both at once; as it was where they do not meet."""
    low, high = torch.maximum(interval[0], other[0]), torch.minimum(interval[1], other[1])
    meet = low <= high
    return low.where(meet, interval[0]), high.where(meet, interval[1])


def bound(problem: Problem, node: int, a: Functional, relaxations: Mapping[int, Linearised]) -> Constants:
    """A lower bound on <a, node>, by substitution back to the input, or to a box that it becomes on the way."""
    end, _ = problem.last_box_node
    held, constant = substitute(problem.graph, node, a, relaxations, end)
    return problem.least_ahead(held[end]) + constant if end in held else constant


def best(problem: Problem, relaxed: Relaxation) -> Constants:
    """The best of what substitution, intervals and, of sets that are no boxes, secants show of the specification.

    A deviation from the papers, at next to no cost: deep down a line may pass below where an interval ends, and what a
    ball cannot do to many neurons at once is known to Lipschitz constants alone.
    """
    substituted = bound(problem, problem.graph.output, problem.spec, relaxed.relaxations)
    bounds = torch.maximum(substituted, elided(problem, relaxed))
    return bounds if problem.is_box else torch.maximum(bounds, by_secants(problem, relaxed.intervals))


def elided(problem: Problem, relaxed: Relaxation) -> Constants:
    """A lower bound on the specification from intervals, with the affine layers after the last nonlinearities.

    Elision of the last layer (Gowal et al. 2018, arXiv:1810.12715, section 3): no interval of the scores is formed.
    """
    graph = problem.graph
    affine = {i: relaxation for i, relaxation in relaxed.relaxations.items() if isinstance(relaxation, Affine)}
    held, bounds = substitute(graph, graph.output, problem.spec, affine)
    for i, a in held.items():
        low, high = (end.to(bounds.dtype) for end in relaxed.intervals[i])
        bounds = bounds + (problem.least(a) if i == 0 else least_over_box(low, high, written(a)))
    return bounds


def tighten(
    problem: Problem,
    node: int,
    interval: Interval,
    wanted: Callable[[Interval], Neurons],
    positive: Neurons,
    relaxations: Mapping[int, Linearised],
    error: Values,
) -> Interval:
    """The interval met with what substitution shows of the wanted neurons, widened by its error.

    positive: of which neurons the low end comes first, and of the others the high end. Where that shows the sign, a
    ReLU wants nothing of the other end. Where the two do not meet, or substitution gives no finite number, the interval
    stays as it was.
    """
    most = problem.rows(widest(problem.graph, node, relaxations))
    low, high = (end.clone() for end in interval)
    for asked in (positive, ~positive):
        left = wanted((low, high))
        for some in _alike(left, len(left) * most):
            alone, below = problem.only(some), {i: _only(relaxation, some) for i, relaxation in relaxations.items()}
            is_low, known, slack = (part[some].flatten(1) for part in (asked, left, error))
            ends = low[some].flatten(1), high[some].flatten(1)
            signs = torch.where(asked[some], 1.0, -1.0).to(problem.x0.dtype)
            for neurons, unit in units(left[some], signs, max(1, len(left) * most // len(some))):
                problem.checkpoint()
                found = bound(alone, node, unit, below) - slack.gather(1, neurons)
                found = found.where(found.isfinite() & known.gather(1, neurons), -torch.inf).to(low.dtype)
                lower = is_low.gather(1, neurons)
                new = found.where(lower, -torch.inf), (-found).where(~lower, torch.inf)
                both = met((ends[0].gather(1, neurons), ends[1].gather(1, neurons)), new)
                ends = ends[0].scatter_(1, neurons, both[0]), ends[1].scatter_(1, neurons, both[1])
            low[some], high[some] = (end.reshape(-1, *left.shape[1:]) for end in ends)
    return low, high


def _alike(wanted: Neurons, most: int) -> Iterator[Int64[Tensor, " some"]]:
    """Examples with about as many wanted neurons, together no more than `most`: those of one example are not parted."""
    counts, examples = wanted.flatten(1).sum(1).sort(descending=True)
    start, end = 0, int(counts.count_nonzero())
    while start < end:
        size = max(1, most // int(counts[start]))
        yield examples[start : min(end, start + size)]
        start += size


def _only(relaxation: Linearised, examples: Int64[Tensor, " some"]) -> Linearised:
    """The linear bound of some of the examples."""
    if isinstance(relaxation, Affine):
        return relaxation
    values = {field.name: getattr(relaxation, field.name) for field in fields(relaxation)}
    return replace(relaxation, **{name: v[examples] for name, v in values.items() if isinstance(v, Tensor)})


def units(wanted: Neurons, signs: Values, most: int) -> Iterator[tuple[Int64[Tensor, "batch rows"], Functional]]:
    """(flat positions of some neurons of each example, the functionals that are their values), up to `most` at a time.

    signs: what each value is multiplied by, in the precision that is asked for. An example with fewer wanted neurons
    than another fills up with others. Those of an image are taken place by place, as windows of one value: what a
    place shows is then looked up once.
    """
    if wanted.dim() != 4:
        count = int(wanted.flatten(1).sum(1).max())
        chosen, signs = _first(wanted.flatten(1))[:, :count], signs.flatten(1)
        for neurons in torch.split(chosen, most, 1) if count else ():
            sign = signs.gather(1, neurons).unsqueeze(2)
            unit = sign.new_zeros(*neurons.shape, signs.shape[1]).scatter_(2, neurons.unsqueeze(2), sign)
            yield neurons, unit.reshape(*neurons.shape, *wanted.shape[1:])
        return
    channels, height, width = wanted.shape[1:]
    chosen, signs = _first(wanted.flatten(2)), signs.flatten(2)
    counts, places = wanted.flatten(2).sum(1).amax(0).sort(descending=True)
    start, end = 0, int(counts.count_nonzero())
    while start < end:
        each = int(counts[start])  # and no place after it has more
        here = places[start : min(end, start + max(1, most // each))]
        start += len(here)
        for picked in torch.split(chosen[:, :each, here].transpose(1, 2), most, 2):
            sign = signs[:, :, here].transpose(1, 2).gather(2, picked).unsqueeze(3)
            values = sign.new_zeros(*picked.shape, channels).scatter_(3, picked.unsqueeze(3), sign)
            corner = torch.stack((here // width, here % width), 1)
            neurons = picked * height * width + here.unsqueeze(1)
            yield neurons.flatten(1), Windows(values.unsqueeze(4).unsqueeze(5), corner, (height, width))


def _first(wanted: Neurons) -> Int64[Tensor, "batch all ..."]:
    """Positions along the second axis, the wanted ones first."""
    return wanted.to(torch.int8).argsort(dim=1, descending=True, stable=True)

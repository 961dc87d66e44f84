"""Bounds on every node, from the input to the output, and the linear relaxations that rest on them (CROWN)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Literal, final

import torch
from jaxtyping import Int64
from torch import Tensor

from brinell.proofs.lipschitz.bounds import lipschitz_bounds
from brinell.proofs.lipschitz.secants import by_secants
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import (
    Affine,
    Constants,
    Interval,
    Linearised,
    Neurons,
    Nonlinearity,
    Slope,
    Values,
    Windows,
)
from brinell.proofs.numerics.rounding import at_input, at_node, at_value, outward, rounds
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import Functional, substitute, widest, written
from brinell.threat.sets import least_over_box

MOST_ROUNDING = 0.01
"""Share of the mean width of a layer's intervals that float32's rounding may add; beyond it float64 takes over."""

Intermediate = Literal["crown", "interval"]
"""How intermediate layers are bounded: by backward substitution, where it helps, or by intervals alone."""


@final
@dataclass(frozen=True, eq=False)
class Relaxation:
    """intervals: of every node. relaxations: of every node but the input, linear in the node's inputs."""

    intervals: list[Interval]
    relaxations: dict[int, Linearised]


def relax(
    problem: Problem,
    slope: Slope | None,
    substituted: bool,
    dtype: torch.dtype = torch.float64,
    known: Mapping[int, Interval] = MappingProxyType({}),
) -> Relaxation:
    """Interval bounds of every node; pre-activations are tightened by backward substitution.

    slope: of the lower relaxations; None leaves nonlinearities without a relaxation, for intervals alone. substituted:
    whether all pre-activations are tightened (CROWN), or only those before the first nonlinearity, which is of use for
    sets that are not boxes. dtype: of that substitution; its rounding error widens the intervals, and float64 takes
    over where that would widen them much. known: intervals of some nodes that hold already, such as a parent region's.

    Over a set that is no box, Lipschitz constants bound the pre-activations too: the hull of a ball is much larger than
    the ball, and intervals over the hull are larger still.
    """
    graph = problem.graph
    inner = problem.cast(dtype)
    if substituted and not problem.is_box:
        known = {**lipschitz_bounds(problem), **known}
    exact = graph.exact_interval_nodes if problem.is_box and problem.constraints is None else frozenset({0})
    tighten = (graph.pre_activations if substituted else graph.pre_activations & graph.affine_prefix) - exact
    last = max(tighten, default=0)  # rounding errors are needed up to there
    centre = graph.values((problem.hull[0] + problem.hull[1]) / 2) if tighten else []

    intervals = [problem.hull]
    errors = [at_input(graph, problem.hull, dtype)]
    relaxations: dict[int, Linearised] = {}
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        relaxations.update(_relaxation(inner.graph, i, [outward(x, dtype) for x in inputs], slope))
        if i <= last:
            errors.append(at_node(graph, i, inputs, [errors[j] for j in node.inputs], dtype))

        interval = _interval(graph.operator(i), inputs, i <= last)
        if i in known:
            interval = intersected(interval, known[i])

        if i in tighten and inner is not problem and _too_coarse(errors[i], interval):
            inner = problem
            ratio = torch.finfo(torch.float64).eps / torch.finfo(dtype).eps
            errors = [error * ratio for error in errors]
            dtype = torch.float64
            for j in range(1, i + 1):
                relaxations.update(_relaxation(graph, j, [intervals[k] for k in graph.nodes[j].inputs], slope))

        if i in tighten:
            # Before the first nonlinearity stable neurons are tightened as well: later intervals rest on theirs.
            every = i in graph.affine_prefix and problem.constraints is None
            wanted = _all if every else partial(graph.unknown, i)
            interval = tightened(inner, i, interval, wanted, centre[i] >= 0, relaxations, errors[i])
        intervals.append(interval)

    if inner is not problem:
        for i, node in enumerate(graph.nodes[1:], 1):
            relaxations.update(_relaxation(graph, i, [intervals[j] for j in node.inputs], slope))
    return Relaxation(intervals, relaxations)


def _interval(operator: Affine | Nonlinearity, inputs: Sequence[Interval], widened: bool) -> Interval:
    """The operator's interval, widened by what float64 may round in it where asked for."""
    low, high = operator.interval(*inputs)
    if not widened or not rounds(operator):
        return low, high
    slack = at_value(operator, inputs)
    return low - slack, high + slack


def _relaxation(graph: Graph, i: int, inputs: Sequence[Interval], slope: Slope | None) -> dict[int, Linearised]:
    """The relaxation of node i over these intervals of its inputs; none of a nonlinearity where slope is None."""
    operator = graph.operator(i)
    if isinstance(operator, Affine):
        return {i: operator}
    return {} if slope is None else {i: operator.relax(*inputs[0], operator.choices(*inputs[0], slope).unsqueeze(1))}


def _too_coarse(error: Values, interval: Interval) -> bool:
    """Whether rounding widens these intervals too much for a coarse precision to pay."""
    return not bool(error.mean() <= MOST_ROUNDING * (interval[1] - interval[0]).mean())


def _all(interval: Interval) -> Neurons:
    return torch.ones_like(interval[0], dtype=torch.bool)


def intersected(interval: Interval, other: Interval) -> Interval:
    """The intersection; the first interval where it is empty or NaN."""
    low = torch.maximum(interval[0], other[0])
    high = torch.minimum(interval[1], other[1])
    meet = low <= high
    return low.where(meet, interval[0]), high.where(meet, interval[1])


def bound(problem: Problem, node: int, a: Functional, relaxations: Mapping[int, Linearised]) -> Constants:
    """A lower bound on <a, node>, by backward substitution to the last node whose reachable set is a box."""
    end, _ = problem.last_box_node
    held, constant = substitute(problem.graph, node, a, relaxations, end)
    return problem.least_ahead(held[end]) + constant if end in held else constant


def best(problem: Problem, relaxed: Relaxation) -> Constants:
    """The best bound on the specification from substitution, from intervals and, where the set is no box, from secants.

    A deviation from the papers, at next to no cost: in deep networks a linear relaxation may lie below the interval's
    end, and only Lipschitz constants know that a ball cannot move many neurons far at once.
    """
    substituted = bound(problem, problem.graph.output, problem.spec, relaxed.relaxations)
    bounds = torch.maximum(substituted, elided(problem, relaxed))
    return bounds if problem.is_box else torch.maximum(bounds, by_secants(problem, relaxed.intervals))


def elided(problem: Problem, relaxed: Relaxation) -> Constants:
    """A lower bound on the specification from intervals of the last nonlinearities.

    The affine layers after them are merged into the specification: elision of the last layer (Gowal et al. 2018,
    arXiv:1810.12715, section 3).
    """
    graph = problem.graph
    affine = {i: relaxation for i, relaxation in relaxed.relaxations.items() if isinstance(relaxation, Affine)}
    held, bounds = substitute(graph, graph.output, problem.spec, affine)
    for i, a in held.items():
        low, high = (end.to(bounds.dtype) for end in relaxed.intervals[i])
        bounds = bounds + (problem.least(a) if i == 0 else least_over_box(low, high, written(a)))
    return bounds


def tightened(
    problem: Problem,
    node: int,
    interval: Interval,
    wanted: Callable[[Interval], Neurons],
    positive: Neurons,
    relaxations: Mapping[int, Linearised],
    error: Values,
) -> Interval:
    """The interval intersected with bounds by backward substitution, of the wanted neurons, widened by `error`.

    positive: neurons whose lower end is bounded first; of the others it is the upper end. Where that decides the sign,
    a ReLU needs no other end. Where the two intervals are disjoint, or the substitution gives no finite number, the
    interval stays as it is.
    """
    most = problem.rows(widest(problem.graph, node, relaxations))
    low, high = (end.clone() for end in interval)
    for asked in (positive, ~positive):
        left = wanted((low, high))
        for some in _of_similar_size(left, len(left) * most):
            alone = problem.only(some)
            below = {i: _only(relaxation, some) for i, relaxation in relaxations.items()}
            is_low, is_wanted, slack = (values[some].flatten(1) for values in (asked, left, error))
            lows = low[some].flatten(1)
            highs = high[some].flatten(1)
            signs = torch.where(asked[some], 1.0, -1.0).to(problem.x0.dtype)

            for neurons, unit in units(left[some], signs, max(1, len(left) * most // len(some))):
                problem.checkpoint()
                found = bound(alone, node, unit, below) - slack.gather(1, neurons)  # [some, neurons]
                found = found.where(found.isfinite() & is_wanted.gather(1, neurons), -torch.inf).to(low.dtype)

                lower = is_low.gather(1, neurons)
                new = (found.where(lower, -torch.inf), (-found).where(~lower, torch.inf))
                both = intersected((lows.gather(1, neurons), highs.gather(1, neurons)), new)
                lows.scatter_(1, neurons, both[0])
                highs.scatter_(1, neurons, both[1])
            low[some] = lows.reshape(-1, *left.shape[1:])
            high[some] = highs.reshape(-1, *left.shape[1:])
    return low, high


def _of_similar_size(wanted: Neurons, most: int) -> Iterator[Int64[Tensor, " some"]]:
    """Groups of examples with about as many wanted neurons each, together no more than `most`."""
    counts, examples = wanted.flatten(1).sum(1).sort(descending=True)
    start = 0
    end = int(counts.count_nonzero())
    while start < end:
        size = max(1, most // int(counts[start]))
        yield examples[start : min(end, start + size)]
        start += size


def _only(relaxation: Linearised, examples: Int64[Tensor, " some"]) -> Linearised:
    """The relaxation of some of the examples."""
    if isinstance(relaxation, Affine):
        return relaxation
    values = {field.name: getattr(relaxation, field.name) for field in fields(relaxation)}
    return replace(relaxation, **{name: v[examples] for name, v in values.items() if isinstance(v, Tensor)})


def units(wanted: Neurons, signs: Values, most: int) -> Iterator[tuple[Int64[Tensor, "batch rows"], Functional]]:
    """(flat positions of some neurons of each example, the functionals that are their values), up to `most` at a time.

    signs: factor of each value, in the precision of the substitution. An example with fewer wanted neurons than another
    is padded with others. Those of an image are taken pixel by pixel, as windows of one pixel, so that the relaxation
    of a pixel is looked up once.
    """
    if wanted.dim() != 4:
        count = int(wanted.flatten(1).sum(1).max())
        chosen = _first(wanted.flatten(1))[:, :count]
        signs = signs.flatten(1)
        for neurons in torch.split(chosen, most, 1) if count else ():
            sign = signs.gather(1, neurons).unsqueeze(2)
            unit = sign.new_zeros(*neurons.shape, signs.shape[1]).scatter_(2, neurons.unsqueeze(2), sign)
            yield neurons, unit.reshape(*neurons.shape, *wanted.shape[1:])
        return

    channels, height, width = wanted.shape[1:]
    chosen = _first(wanted.flatten(2))  # [batch, channels, pixels]
    signs = signs.flatten(2)
    counts, places = wanted.flatten(2).sum(1).amax(0).sort(descending=True)
    start = 0
    end = int(counts.count_nonzero())
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

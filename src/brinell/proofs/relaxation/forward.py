"""Linear bounds of every node by the input, propagated forward: the common part of forward CROWN and zonotopes.

1. A bound f(x) = A x + c of a node is computed in floats. What one step rounds is bounded by a share of the sum of the
   absolute values of f's terms, |A| |x| + |c| (Higham 2002, section 3.1): its *size*, which is propagated as well.
2. After each step the bound is loosened by that much. So a bound is valid as stored, as a statement about the computed
   A and c, and no error accumulates beside it.

Backward substitution needs no sizes: its coefficients stand before values of nodes, whose intervals are known.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.network.operators import (
    Affine,
    Coefficients,
    Interval,
    Linearised,
    Nonlinearity,
    Slope,
    TwoSided,
    Values,
    magnitude,
)
from brinell.proofs.numerics.rounding import absolute_parts, affine_rounding, at_value, share
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import Margins
from brinell.proofs.relaxation.network import Relaxation, intersected
from brinell.threat.sets import over_features

_COPIES = 8
"""Tensors the size of a node's linear bounds that are alive at one time, about."""

_SUMS = 4
"""Sums over the inputs and the noise symbols in one step, or in one evaluation of a bound, at most."""

Slopes = Float64[Tensor, " batch inputs *shape"]
"""The coefficient of each input, in flat order, in each value of a node."""


class ForwardBound(ABC):
    """Linear functions of the input (and of noise symbols) that bound a node; valid as computed."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """How many products each function is the sum of, at most."""

    @abstractmethod
    def size(self, inputs: Values) -> Values:
        """The sum of the absolute values of all terms, for inputs of up to these absolute values."""

    @abstractmethod
    def limits(self, problem: Problem) -> Interval:
        """The least and the largest value over the allowed inputs, as computed."""

    @abstractmethod
    def loosened(self: "F", by: Values) -> "F":
        """The same, wider by so much on either side."""


F = TypeVar("F", bound=ForwardBound)


def propagated(
    problem: Problem, slope: Slope, first: F, step: Callable[[TwoSided, Sequence[F]], F]
) -> tuple[Relaxation, list[F], list[Values]]:
    """(intervals and relaxations, the forward bound, the size of that bound) of every node.

    first: the bound of the input. step: from the bounds of a node's inputs to its own, through its relaxation.
    """
    graph = problem.graph
    reach = extent(problem)
    intervals = [problem.hull]
    linear = [first]
    sizes = [reach]
    relaxations: dict[int, Linearised] = {}

    for i, node in enumerate(graph.nodes[1:], 1):
        problem.checkpoint()
        operator = graph.operator(i)
        inputs = [intervals[j] for j in node.inputs]
        before = [sizes[j] for j in node.inputs]
        if isinstance(operator, Affine):
            relaxation: TwoSided = operator
        else:
            relaxation = operator.relax(*inputs[0], operator.choices(*inputs[0], slope).unsqueeze(1))

        made = step(relaxation, [linear[j] for j in node.inputs])
        if isinstance(operator, Affine):
            error = _affine_error(operator, before, reach, made.terms)
        else:
            error = _nonlinear_error(operator, relaxation, *inputs[0], before[0], made.terms)
        linear.append(made.loosened(error))
        sizes.append(linear[i].size(reach))
        relaxations[i] = relaxation

        interval = _wider(operator.interval(*inputs), at_value(operator, inputs))
        if i in graph.pre_activations:
            own = _wider(linear[i].limits(problem), rounding(made.terms) * sizes[i])
            interval = intersected(interval, own)
        intervals.append(interval)
    return Relaxation(intervals, relaxations), linear, sizes


def rounding(terms: int) -> float:
    """The share of its size by which a bound of so many terms errs, evaluated or taken through a nonlinearity."""
    return share(_SUMS * (terms + 8), torch.float64)


def extent(problem: Problem) -> Values:
    """The largest absolute value of each input, x0 included."""
    return torch.maximum(magnitude(problem.hull), problem.x0.abs())


def _affine_error(operator: Affine, sizes: Sequence[Values], reach: Values, terms: int) -> Values:
    """What an affine step rounds. Its offset is added to each coefficient and subtracted again."""
    _, offset = absolute_parts(operator, sizes)
    times = over_features(reach.flatten(1).sum(1) + terms, offset)
    return affine_rounding(operator, sizes, torch.float64) + rounding(0) * offset.abs() * times


def _nonlinear_error(
    operator: Nonlinearity, relaxation: TwoSided, low: Values, high: Values, size: Values, terms: int
) -> Values:
    """What a step through a relaxation rounds, and what the relaxation itself may be off."""
    below, above = relaxation.forward_bounds((-size.unsqueeze(1), size.unsqueeze(1)), offset=False)
    off = rounding(terms)
    return operator.carried(low, high, torch.zeros_like(low), off, off) + off * magnitude((below, above)).squeeze(1)


def _wider(interval: Interval, by: Values) -> Interval:
    return interval[0] - by, interval[1] + by


def itself(problem: Problem) -> Slopes:
    """The slopes of the input itself: the identity."""
    shape = problem.x0.shape[1:]
    unit = torch.eye(shape.numel(), dtype=problem.x0.dtype).reshape(1, shape.numel(), *shape)
    return unit.expand(len(problem.x0), *unit.shape[1:])


def least(problem: Problem, slopes: Slopes) -> Values:
    """The least value of <slopes, x> over the allowed inputs."""
    rows = slopes.flatten(2).mT
    found = problem.least(rows.reshape(*rows.shape[:2], *problem.x0.shape[1:]))
    return found.reshape(len(found), *slopes.shape[2:])


def largest(inputs: Values, slopes: Slopes) -> Values:
    """|slopes| |x|, for inputs of up to these absolute values."""
    return (inputs.flatten(1).unsqueeze(1) @ slopes.abs().flatten(2)).reshape(len(slopes), *slopes.shape[2:])


def weighed(a: Coefficients, slopes: Slopes) -> Float64[Tensor, " batch rows inputs"]:
    """The slopes of <a, node>, from those of the node."""
    return a.flatten(2) @ slopes.flatten(2).mT


def rounding_of(a: Coefficients, size: Values, terms: int) -> Margins:
    """What rounding takes from <a, bound>, where the bound has this size."""
    return rounding(terms + a[0, 0].numel()) * weighed(a.abs(), size.unsqueeze(1)).squeeze(2)


def in_parts(solver: Callable[[Problem], Margins], problem: Problem, symbols: int = 0) -> Margins:
    """The solver's bounds, of as many examples at a time as fit the memory, with `symbols` noise symbols each."""
    one = 8 * _COPIES * problem.graph.width * (problem.x0[0].numel() + symbols) if len(problem.x0) else 1
    parts = torch.arange(len(problem.x0)).split(max(1, problem.memory // one))
    return torch.cat([solver(problem.only(part)) for part in parts])

"""Linear forms of the input, carried forward from node to node: what forward bounds and zonotopes are made of.

Each step is rounded outward by what float64 may take from it, so that a form holds as it stands. Substitution rounds
coefficients that stand before values, and those have limits; here the coefficients stand before the input, and what
counts is the sum of the absolute values of a form's terms, which is carried along.
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
    Onward,
    Slope,
    Values,
    magnitude,
)
from brinell.proofs.numerics.rounding import absolute_parts, at_value, made, share
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import Margins
from brinell.proofs.relaxation.network import Relaxation, intersected
from brinell.threat.sets import over_features

_COPIES = 8
"""Tensors the size of a node's forms that are alive at one time, about."""

_SUMS = 4
"""Sums over the inputs and the symbols that one step, or one reading of a form, takes at most."""

Slopes = Float64[Tensor, " batch inputs *shape"]
"""What each input, in flat order, adds to each value of a node."""


class Form(ABC):
    """Something linear that a node lies within. `slopes` and the like are as computed: a form is true of them."""

    @property
    @abstractmethod
    def terms(self) -> int:
        """How many products it is the sum of, at most."""

    @abstractmethod
    def size(self, inputs: Values) -> Values:
        """The most that the absolute values of its terms add up to, for inputs up to this size."""

    @abstractmethod
    def limits(self, problem: Problem) -> Interval:
        """The least and the largest value, as computed."""

    @abstractmethod
    def loosened(self: "F", by: Values) -> "F":
        """The same, wider by so much on either side."""


F = TypeVar("F", bound=Form)


def carried(
    problem: Problem, slope: Slope, first: F, step: Callable[[Onward, Sequence[F]], F]
) -> tuple[Relaxation, list[F], list[Values]]:
    """The forms of every node, what they show of those that a nonlinearity reads, met with intervals, and their
    sizes."""
    graph, reach = problem.graph, extent(problem)
    intervals, forms, relaxations, sizes = [problem.hull], [first], dict[int, Linearised](), [reach]
    for i, node in enumerate(graph.nodes[1:], 1):
        problem.checkpoint()
        operator, inputs = graph.operator(i), [intervals[j] for j in node.inputs]
        if isinstance(operator, Affine):
            relaxation: Onward = operator
        else:
            relaxation = operator.relax(*inputs[0], operator.choices(*inputs[0], slope).unsqueeze(1))
        form = step(relaxation, [forms[j] for j in node.inputs])
        before = [sizes[j] for j in node.inputs]
        if isinstance(operator, Affine):
            lost = _moved(operator, before, reach, form.terms)
        else:
            lost = _bent(operator, relaxation, *inputs[0], before[0], form.terms)
        forms.append(form.loosened(lost))
        sizes.append(forms[i].size(reach))
        relaxations[i] = relaxation
        interval = _wider(operator.interval(*inputs), at_value(operator, inputs))
        if i in graph.pre_activations:
            interval = intersected(interval, _wider(forms[i].limits(problem), rounding(form.terms) * sizes[i]))
        intervals.append(interval)
    return Relaxation(intervals, relaxations), forms, sizes


def rounding(terms: int) -> float:
    """The share of its size that a form of so many terms may lose where it is read, or goes through a nonlinearity."""
    return share(_SUMS * (terms + 8), torch.float64)


def extent(problem: Problem) -> Values:
    """The largest absolute value of each input, x0 too."""
    return torch.maximum(magnitude(problem.hull), problem.x0.abs())


def _moved(operator: Affine, sizes: Sequence[Values], reach: Values, terms: int) -> Values:
    """What an affine step rounds. Its offset is added to each coefficient, and taken off again."""
    _, offset = absolute_parts(operator, sizes)
    often = over_features(reach.flatten(1).sum(1) + terms, offset)
    return made(operator, sizes, torch.float64) + rounding(0) * offset.abs() * often


def _bent(operator: Nonlinearity, relaxation: Onward, low: Values, high: Values, size: Values, terms: int) -> Values:
    """What a step through the lines of a nonlinearity rounds, and what the lines may be off."""
    below, above = relaxation.ahead((-size.unsqueeze(1), size.unsqueeze(1)), offset=False)
    off = rounding(terms)
    return operator.carried(low, high, torch.zeros_like(low), off, off) + off * magnitude((below, above)).squeeze(1)


def _wider(interval: Interval, by: Values) -> Interval:
    return interval[0] - by, interval[1] + by


def itself(problem: Problem) -> Slopes:
    """The input as a form of itself."""
    shape = problem.x0.shape[1:]
    unit = torch.eye(shape.numel(), dtype=problem.x0.dtype).reshape(1, shape.numel(), *shape)
    return unit.expand(len(problem.x0), *unit.shape[1:])


def least(problem: Problem, slopes: Slopes) -> Values:
    """The least value of each form over the inputs allowed."""
    rows = slopes.flatten(2).mT
    found = problem.least(rows.reshape(*rows.shape[:2], *problem.x0.shape[1:]))
    return found.reshape(len(found), *slopes.shape[2:])


def largest(inputs: Values, slopes: Slopes) -> Values:
    """The sum of the absolute values of what each form adds up, for inputs up to this size."""
    return (inputs.flatten(1).unsqueeze(1) @ slopes.abs().flatten(2)).reshape(len(slopes), *slopes.shape[2:])


def weighed(a: Coefficients, slopes: Slopes) -> Float64[Tensor, " batch rows inputs"]:
    """<a, node>, of a node with these slopes."""
    return a.flatten(2) @ slopes.flatten(2).mT


def lost(a: Coefficients, size: Values, terms: int) -> Margins:
    """What rounding takes from <a, form>, where the form has this size."""
    return rounding(terms + a[0, 0].numel()) * weighed(a.abs(), size.unsqueeze(1)).squeeze(2)


def in_parts(solver: Callable[[Problem], Margins], problem: Problem, symbols: int = 0) -> Margins:
    """The bounds of as many examples at a time as their forms, of the inputs and of `symbols` more, fit the memory."""
    one = 8 * _COPIES * problem.graph.width * (problem.x0[0].numel() + symbols) if len(problem.x0) else 1
    parts = torch.arange(len(problem.x0)).split(max(1, problem.memory // one))
    return torch.cat([solver(problem.only(part)) for part in parts])

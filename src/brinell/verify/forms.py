"""Linear forms of the input, carried forward from node to node: what forward bounds and zonotopes are made of."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.verify.operators import Affine, Coefficients, Interval, Linearised, Onward, Slope, Values
from brinell.verify.problem import Problem
from brinell.verify.relaxation import Relaxation, met
from brinell.verify.verifier import Margins

_COPIES = 8
"""Tensors the size of a node's forms that are alive at one time, about."""

Slopes = Float64[Tensor, " batch inputs *shape"]
"""What each input, in flat order, adds to each value of a node."""

F = TypeVar("F")


def carried(
    problem: Problem,
    slope: Slope,
    first: F,
    step: Callable[[Onward, Sequence[F]], F],
    limits: Callable[[F], Interval],
) -> tuple[Relaxation, list[F]]:
    """The forms of every node, and what they show of those that a bend reads, met with intervals."""
    graph = problem.graph
    intervals, forms, pieces = [problem.hull], [first], dict[int, Linearised]()
    for i, node in enumerate(graph.nodes[1:], 1):
        problem.checkpoint()
        operator, inputs = graph.operator(i), [intervals[j] for j in node.inputs]
        if isinstance(operator, Affine):
            piece: Onward = operator
        else:
            piece = operator.relax(*inputs[0], operator.choices(*inputs[0], slope).unsqueeze(1))
        forms.append(step(piece, [forms[j] for j in node.inputs]))
        pieces[i] = piece
        interval = operator.interval(*inputs)
        intervals.append(met(interval, limits(forms[i])) if i in graph.bent else interval)
    return Relaxation(intervals, pieces), forms


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


def weighed(a: Coefficients, slopes: Slopes) -> Float64[Tensor, " batch rows inputs"]:
    """<a, node>, of a node with these slopes."""
    return a.flatten(2) @ slopes.flatten(2).mT


def in_parts(solver: Callable[[Problem], Margins], problem: Problem, symbols: int = 0) -> Margins:
    """The bounds of as many examples at a time as their forms, of the inputs and of `symbols` more, fit the memory."""
    one = 8 * _COPIES * problem.graph.width * (problem.x0[0].numel() + symbols) if len(problem.x0) else 1
    parts = torch.arange(len(problem.x0)).split(max(1, problem.memory // one))
    return torch.cat([solver(problem.only(part)) for part in parts])

"""What arithmetic may cost a margin: a network runs in floats, and sums its products in an order of its own.

A bound on margins in exact arithmetic says nothing of the network as it runs (Jia and Rinard 2021, arXiv:2003.03021):
adversaries there are whose margin is lost to rounding alone. So what rounding may do is bounded as well, over the whole
set, and taken off. The model is Higham's (2002, section 3.1): n products summed in any order, fused or not, err by at
most n u / (1 - n u) times the sum of their absolute values; what is too small for the precision may also become zero.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import final

import torch

from brinell.evidence import Soundness
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import (
    Affine,
    Coefficients,
    Constants,
    Convolution,
    Interval,
    Linear,
    ReLU,
    Scale,
    Total,
    Values,
    magnitude,
)
from brinell.proofs.numerics.rounding import absolute_parts, at_input, at_node, at_value, made, share, trusted
from brinell.proofs.query.problem import Problem, solve
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.network import Intermediate, relax
from brinell.threat import Linf, PerturbationSet
from brinell.types import Inputs

PRECISIONS: Mapping[Soundness, torch.dtype] = {Soundness.FLOAT32: torch.float32, Soundness.FLOAT64: torch.float64}
"""Levels that allow for rounding, the strongest first, and the coarsest precision each allows the network."""


def rounding_error(
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    spec: Spec,
    soundness: str | Soundness,
    intermediate: Intermediate = "crown",
    memory: int = 2**25,
    checkpoint: Checkpoint = nothing,
) -> Margins:
    """How far below a verifier's bound a margin may lie, over every x in set ∩ box, in the arithmetic of a level.

    Subtract it from bounds of a verifier whose own soundness is as strong. It holds the rounding of bounds that were
    substituted back, carried forward as intervals, or read off the network's scores in float64; that of inputs and of
    the distance by which they are judged; and that of the network, which may sum in any order, fuse and fold constants.
    Not covered: products in fewer bits (TF32, bfloat16) and convolutions by transforms (Winograd).
    inf where nothing is known: an operator without a rule, an overflow, a number that is none. 0 for `REAL`.
    intermediate: what bounds the neurons inside, "interval" for next to no time and "crown" for a smaller number.
    """
    level = Soundness.of(soundness)
    if level is Soundness.REAL:
        return torch.zeros(spec.shape[:2], dtype=torch.float64, device=x0.device)
    dtype = PRECISIONS[level]

    def gained(problem: Problem) -> Margins:
        return -_Arithmetic(problem, dtype, intermediate).lost()

    return -solve(gained, graph, x0, perturbation, spec, memory, checkpoint)


def rounding_error_over(
    graph: Graph,
    hull: Interval,
    spec: Spec,
    soundness: str | Soundness,
    intermediate: Intermediate = "crown",
    memory: int = 2**25,
    checkpoint: Checkpoint = nothing,
) -> Margins:
    """The same over a box for each example, from the lowest to the highest value of each input; float64, on the CPU."""
    level = Soundness.of(soundness)
    if level is Soundness.REAL:
        return torch.zeros(spec.shape[:2], dtype=torch.float64)
    problem = Problem(graph, (hull[0] + hull[1]) / 2, Linf(0.0), spec, memory, checkpoint, hull)
    return _Arithmetic(problem, PRECISIONS[level], intermediate).lost().nan_to_num(torch.inf, torch.inf)


def with_soundness(
    verifier: Verifier,
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    spec: Spec,
    bounds: Margins,
    checkpoint: Checkpoint = nothing,
) -> list[tuple[float, Soundness]]:
    """For each example its least bound in the arithmetic of the strongest level that leaves it positive, and the level.

    Nothing is left of what is not positive in exact arithmetic.
    """
    least = bounds.amin(1)
    grades = [(float(bound), Soundness.REAL) for bound in least]
    open_ = (least > 0).nonzero().squeeze(1)
    ways: list[Intermediate] = ["interval", "crown"]  # the cheap one first
    for soundness, way in product(PRECISIONS, ways):
        if not len(open_) or not verifier.soundness.covers(soundness):
            continue
        lost = rounding_error(graph, x0[open_], perturbation, spec[open_], soundness, way, checkpoint=checkpoint)
        left = (bounds[open_] - lost).amin(1)
        for row, bound in zip(open_[left > 0].tolist(), left[left > 0].tolist(), strict=True):
            grades[row] = (bound, soundness)
        open_ = open_[~(left > 0)]
    return grades


@final
class _Arithmetic:
    """One chunk. Errors are carried forward for every node at once, and then each is weighed by what it does to a row.

    The error at the output is linear in the errors that arise: e_out = D (W e_in + fresh), where D has the slopes of
    the secants between exact and computed values: 1 where a neuron is on for both, 0 where it is off for both, and
    between them elsewhere. So its weight is a product of matrices, each known or between two limits.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype, intermediate: Intermediate) -> None:
        self._problem, self._graph, self._dtype = problem, problem.graph, dtype
        # Limits from float32 hold as well, are hardly wider, and take half of the time.
        self._intervals = relax(problem, "adaptive", intermediate == "crown", trusted("float32")).intervals
        self._own, self._all, self._fresh = self._carried()

    def lost(self) -> Margins:
        """What rounding may take from each row."""
        lines = 1 + 2 * len(self._graph.nonlinearities)
        own = (self._problem.spec.abs() * self._own[-1].unsqueeze(1)).sum(2)
        scores = torch.finfo(torch.float64).eps / torch.finfo(self._dtype).eps  # once more, as float64 computes them
        lost = (1 + scores) * self._weighed() + lines * own
        sane = torch.stack([(low <= high).flatten(1).all(1) for low, high in self._intervals]).all(0)
        return (lost * (1 + 2.0**-30)).where(sane.unsqueeze(1), torch.inf)

    def _carried(self) -> tuple[list[Values], list[Values], list[Values]]:
        """For each node: how far a bound of it may be off, how far its computed value may be, what of that is fresh.

        A limit of a neuron, an end of an interval, is off by no more than a bound of it may be. A line drawn between
        such limits is passed by no more than twice as much, and that once for each nonlinearity on the way.
        """
        graph, problem = self._graph, self._problem
        radius = (
            problem.perturbation.radius
        )  # the size of what is summed where distances are, or where a body is cut by a box
        hull = tuple(end + sign * radius for sign, end in zip((-1, 1), problem.hull, strict=True))
        own = [at_input(graph, (hull[0], hull[1]), torch.float64)]
        tiny = torch.finfo(self._dtype).tiny
        size = magnitude(problem.hull)
        judged = radius * share(size[0].numel() + 8, torch.float64)
        fresh = [share(1, self._dtype) * size + judged + tiny]
        all_ = [fresh[0]]
        for i, node in enumerate(graph.nodes[1:], 1):
            inputs, errors = [self._intervals[j] for j in node.inputs], [all_[j] for j in node.inputs]
            operator, before = graph.operator(i), [own[j] for j in node.inputs]
            back, ahead = at_node(graph, i, inputs, before, torch.float64), at_value(operator, inputs, before)
            own.append(torch.maximum(back, ahead))
            if isinstance(operator, Affine):
                sizes = [magnitude(x) + own[j] + e for x, j, e in zip(inputs, node.inputs, errors, strict=True)]
                carried = absolute_parts(operator, errors)[0]
                fresh.append(made(operator, sizes, self._dtype))
                all_.append(carried + fresh[-1])
            else:
                low, high = inputs[0]
                slack = errors[0] + own[node.inputs[0]]
                if operator.exact:
                    all_.append(operator.carried(low - slack, high + slack, errors[0], 0.0, 0.0))
                else:
                    all_.append(torch.full_like(operator.interval((low, high))[0], torch.inf))
                fresh.append(torch.zeros_like(all_[-1]))
        return own, all_, fresh

    def _weighed(self) -> Constants:
        """The sum over all nodes of what arises there, by the most that it may weigh in a row.

        What is not looked through, such as a maximum, weighs by all the error that it hands on.
        """
        graph, spec = self._graph, self._problem.spec
        held: dict[int, tuple[Coefficients, Coefficients]] = {graph.output: (spec, torch.zeros_like(spec))}
        lost = torch.zeros(spec.shape[:2], dtype=torch.float64)
        for i in range(graph.output, -1, -1):
            if i not in held:
                continue
            centre, spread = held.pop(i)
            operator = graph.nodes[i].operator
            parts: list[tuple[Coefficients, Coefficients]] = []
            if isinstance(operator, ReLU):
                parts += [self._switched(i, centre, spread)]
            elif isinstance(operator, Affine) and (absolute := _absolute(operator)) is not None:
                parts += zip(operator.backward(centre)[0], absolute.backward(spread)[0], strict=True)
            lost = lost + _weight(centre, spread, self._fresh[i] if parts or i == 0 else self._all[i])
            for parent, (c, r) in zip(graph.nodes[i].inputs, parts, strict=False):  # none where not looked through
                held[parent] = (held[parent][0] + c, held[parent][1] + r) if parent in held else (c, r)
        return lost

    def _switched(self, i: int, centre: Coefficients, spread: Coefficients) -> tuple[Coefficients, Coefficients]:
        """Weights before a ReLU: those after it where it is on, none where it is off, between them where it may be."""
        (j,) = self._graph.nodes[i].inputs
        slack = self._all[j] + self._own[j]
        low, high = self._intervals[j]
        on, off = ((low - slack) > 0).unsqueeze(1), ((high + slack) < 0).unsqueeze(1)
        least, most = (centre - spread).clamp(max=0), (centre + spread).clamp(min=0)
        middle, width = (least + most) / 2, (most - least) / 2
        return torch.where(on, centre, middle.where(~off, 0.0)), torch.where(on, spread, width.where(~off, 0.0))


def _absolute(operator: Affine) -> Affine | None:
    """The operator with the absolute values of its linear part, where it is known which numbers those are."""
    match operator:
        case Linear() | Convolution():
            return replace(operator, weight=operator.weight.abs())
        case Scale():
            return replace(operator, factor=operator.factor.abs())
        case Total():
            return Total(tuple(abs(weight) for weight in operator.weights))
    return operator if operator.summands == 0 else None


def _weight(centre: Coefficients, spread: Coefficients, error: Values) -> Constants:
    """Zero times an infinite error is zero: what has no weight does not count."""
    most = centre.abs() + spread
    return (most * error.unsqueeze(1)).where(most != 0, 0.0).flatten(2).sum(2)

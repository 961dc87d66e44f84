"""The rounding error of the network itself: how far its margins in float arithmetic may lie below those in exact.

A proof in exact arithmetic says nothing of a network that runs in floats (Jia and Rinard 2021, arXiv:2003.03021): there
are adversarial examples that exploit rounding alone. So the rounding of margins is bounded over the whole set, and
subtracted. With Higham's model (2002, section 3.1), n products summed in any order, fused or not, err by at most
n u / (1 - n u) times the sum of their absolute values, and an underflow is an absolute error:

1. Let y = f(x) be a node in exact arithmetic and y' = f'(x') what the floats compute, with x' the computed input. Then
   y' - y = [f(x') - f(x)] + [f'(x') - f(x')]: the inputs' error, passed on, and *fresh* error made by this operator.
2. For f affine, the first is W (x' - x) and |fresh| is bounded by a share of |W| |x'| + |b|. For a ReLU the first is
   D (x' - x), with D the slopes of secants: 1 where the neuron is active for both x and x', 0 where it is inactive for
   both, in [0, 1] elsewhere; and nothing is rounded.
3. Absolute values of step 2, propagated forward, bound |x' - x| at every node (`_propagated`). With that it is known
   which neurons are active for both.
4. The error of a margin <a, y' - y> is linear in the fresh errors of all nodes: the sum over nodes of
   <w_node, fresh_node>, where w_node is a product of known matrices W and of D's, each in an interval. Substituting a
   back with interval coefficients, centre plus or minus radius, gives |w_node| <= |centre| + radius, so the error is
   at most the sum of <|centre| + radius, |fresh_node|> (`_weighted`).
5. The verifier's bound rests on computed intervals and relaxations, which are off themselves: `own` bounds that.
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
from brinell.proofs.numerics.rounding import (
    absolute_parts,
    affine_rounding,
    at_input,
    at_node,
    at_value,
    share,
    trusted,
)
from brinell.proofs.query.problem import Problem, solve
from brinell.proofs.query.verifier import Checkpoint, Margins, Spec, Verifier, nothing
from brinell.proofs.relaxation.network import Intermediate, relax
from brinell.threat import Linf, PerturbationSet
from brinell.types import Inputs

PRECISIONS: Mapping[Soundness, torch.dtype] = {Soundness.FLOAT32: torch.float32, Soundness.FLOAT64: torch.float64}
"""The levels of soundness that allow for rounding, the strongest first, and the coarsest precision of each."""


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
    """How far below a verifier's bound a margin may lie, over every x in perturbation ∩ box, in a level's arithmetic.

    Subtract it from the bounds of a verifier whose own soundness is as strong. It covers the rounding of bounds by
    backward substitution, by intervals, or from the network's scores in float64; that of the inputs and of the distance
    by which they are judged; and that of the network, which may sum in any order, fuse, and fold constants. It does not
    cover products in fewer bits (TF32, bfloat16), nor convolutions by transforms (Winograd).

    Shape (batch, rows), >= 0, in the units of spec @ scores. inf where nothing is known: an operator without a rule, an
    overflow, a NaN. 0 for `REAL`. intermediate: how intermediate layers are bounded, "interval" in next to no time or
    "crown" for a smaller error. Raises UsageError for an unknown soundness, or shapes that do not fit.
    """
    level = Soundness.of(soundness)
    if level is Soundness.REAL:
        return torch.zeros(spec.shape[:2], dtype=torch.float64, device=x0.device)
    dtype = PRECISIONS[level]

    def negative(problem: Problem) -> Margins:
        return -_NetworkRounding(problem, dtype, intermediate).of_rows()

    return -solve(negative, graph, x0, perturbation, spec, memory, checkpoint)


def rounding_error_over(
    graph: Graph,
    hull: Interval,
    spec: Spec,
    soundness: str | Soundness,
    intermediate: Intermediate = "crown",
    memory: int = 2**25,
    checkpoint: Checkpoint = nothing,
) -> Margins:
    """The same over a box of inputs for each example, (low, high); float64, on the CPU."""
    level = Soundness.of(soundness)
    if level is Soundness.REAL:
        return torch.zeros(spec.shape[:2], dtype=torch.float64)
    problem = Problem(graph, (hull[0] + hull[1]) / 2, Linf(0.0), spec, memory, checkpoint, hull)
    return _NetworkRounding(problem, PRECISIONS[level], intermediate).of_rows().nan_to_num(torch.inf, torch.inf)


def with_soundness(
    verifier: Verifier,
    graph: Graph,
    x0: Inputs,
    perturbation: PerturbationSet,
    spec: Spec,
    bounds: Margins,
    checkpoint: Checkpoint = nothing,
) -> list[tuple[float, Soundness]]:
    """For each example (its lowest bound less rounding, the level), of the strongest level that leaves it positive.

    Where no level does, or the bound is not positive in the first place, the bound in exact arithmetic, and `REAL`.
    """
    least = bounds.amin(1)
    grades = [(float(bound), Soundness.REAL) for bound in least]
    open_ = (least > 0).nonzero().squeeze(1)
    ways: list[Intermediate] = ["interval", "crown"]  # the inexpensive one first
    for soundness, way in product(PRECISIONS, ways):
        if not len(open_) or not verifier.soundness.covers(soundness):
            continue
        error = rounding_error(graph, x0[open_], perturbation, spec[open_], soundness, way, checkpoint=checkpoint)
        left = (bounds[open_] - error).amin(1)
        for row, bound in zip(open_[left > 0].tolist(), left[left > 0].tolist(), strict=True):
            grades[row] = (bound, soundness)
        open_ = open_[~(left > 0)]
    return grades


@final
class _NetworkRounding:
    """The rounding errors of one chunk, by the module's derivation."""

    def __init__(self, problem: Problem, dtype: torch.dtype, intermediate: Intermediate) -> None:
        self._problem = problem
        self._graph = problem.graph
        self._dtype = dtype
        # Intervals from float32 are sound too, hardly wider, and take half of the time.
        self._intervals = relax(problem, "adaptive", intermediate == "crown", trusted("float32")).intervals
        self._own, self._total, self._fresh = self._propagated()

    def of_rows(self) -> Margins:
        """What rounding may take from each row of the specification."""
        own = (self._problem.spec.abs() * self._own[-1].unsqueeze(1)).sum(2)
        # A relaxation over an interval that is off by e is violated by at most 2 e, once for each nonlinearity.
        own = (1 + 2 * len(self._graph.nonlinearities)) * own

        # Verifiers read scores computed in float64: the same error once more, in that precision.
        again = torch.finfo(torch.float64).eps / torch.finfo(self._dtype).eps
        error = (1 + again) * self._weighted() + own
        sane = torch.stack([(low <= high).flatten(1).all(1) for low, high in self._intervals]).all(0)
        return (error * (1 + 2.0**-30)).where(sane.unsqueeze(1), torch.inf)

    def _propagated(self) -> tuple[list[Values], list[Values], list[Values]]:
        """(error of a bound on the node, total error of its computed value, the fresh part of it), for every node.

        The end of an interval is off by no more than a bound on the node.
        """
        graph = self._graph
        problem = self._problem

        # Distances are judged in float64 too, and the hull of a ball is computed as x0 +- radius.
        radius = problem.perturbation.radius
        hull = tuple(end + sign * radius for sign, end in zip((-1, 1), problem.hull, strict=True))
        own = [at_input(graph, (hull[0], hull[1]), torch.float64)]
        tiny = torch.finfo(self._dtype).tiny
        size = magnitude(problem.hull)
        judged = radius * share(size[0].numel() + 8, torch.float64)
        fresh = [share(1, self._dtype) * size + judged + tiny]
        total = [fresh[0]]
        for i, node in enumerate(graph.nodes[1:], 1):
            operator = graph.operator(i)
            inputs = [self._intervals[j] for j in node.inputs]
            before = [own[j] for j in node.inputs]
            errors = [total[j] for j in node.inputs]

            by_substitution = at_node(graph, i, inputs, before, torch.float64)
            by_interval = at_value(operator, inputs, before)
            own.append(torch.maximum(by_substitution, by_interval))

            if isinstance(operator, Affine):
                sizes = [magnitude(x) + b + e for x, b, e in zip(inputs, before, errors, strict=True)]
                passed_on = absolute_parts(operator, errors)[0]
                fresh.append(affine_rounding(operator, sizes, self._dtype))
                total.append(passed_on + fresh[-1])
            else:
                low, high = inputs[0]
                slack = errors[0] + before[0]
                if operator.exact:
                    total.append(operator.carried(low - slack, high + slack, errors[0], 0.0, 0.0))
                else:
                    total.append(torch.full_like(operator.interval((low, high))[0], torch.inf))
                fresh.append(torch.zeros_like(total[-1]))
        return own, total, fresh

    def _weighted(self) -> Constants:
        """Step 4: the sum over all nodes of their fresh errors, each times the largest weight it may have in a row.

        Weights are not taken back through operators such as a maximum: there the total error counts.
        """
        graph = self._graph
        spec = self._problem.spec
        held: dict[int, tuple[Coefficients, Coefficients]] = {graph.output: (spec, torch.zeros_like(spec))}
        error = torch.zeros(spec.shape[:2], dtype=torch.float64)
        for i in range(graph.output, -1, -1):
            if i not in held:
                continue
            centre, radius = held.pop(i)
            operator = graph.nodes[i].operator

            back: list[tuple[Coefficients, Coefficients]] = []
            if isinstance(operator, ReLU):
                back += [self._before_relu(i, centre, radius)]
            elif isinstance(operator, Affine) and (absolute := _absolute(operator)) is not None:
                back += zip(operator.backward(centre)[0], absolute.backward(radius)[0], strict=True)

            error = error + _weight(centre, radius, self._fresh[i] if back or i == 0 else self._total[i])
            for parent, (c, r) in zip(graph.nodes[i].inputs, back, strict=False):  # `back` may be empty
                held[parent] = (held[parent][0] + c, held[parent][1] + r) if parent in held else (c, r)
        return error

    def _before_relu(self, i: int, centre: Coefficients, radius: Coefficients) -> tuple[Coefficients, Coefficients]:
        """The weights times D: unchanged where the ReLU is active, 0 where inactive, else anything between."""
        (j,) = self._graph.nodes[i].inputs
        slack = self._total[j] + self._own[j]
        low, high = self._intervals[j]
        active = ((low - slack) > 0).unsqueeze(1)
        inactive = ((high + slack) < 0).unsqueeze(1)

        least = (centre - radius).clamp(max=0)
        most = (centre + radius).clamp(min=0)
        middle = (least + most) / 2
        half = (most - least) / 2
        return (
            torch.where(active, centre, middle.where(~inactive, 0.0)),
            torch.where(active, radius, half.where(~inactive, 0.0)),
        )


def _absolute(operator: Affine) -> Affine | None:
    """The operator with the absolute values of its linear part; None where there is no rule for it."""
    match operator:
        case Linear() | Convolution():
            return replace(operator, weight=operator.weight.abs())
        case Scale():
            return replace(operator, factor=operator.factor.abs())
        case Total():
            return Total(tuple(abs(weight) for weight in operator.weights))
    return operator if operator.summands == 0 else None


def _weight(centre: Coefficients, radius: Coefficients, error: Values) -> Constants:
    """<|centre| + radius, error>; a weight of zero times an infinite error is zero."""
    most = centre.abs() + radius
    return (most * error.unsqueeze(1)).where(most != 0, 0.0).flatten(2).sum(2)

"""Local Lipschitz constants: how fast a margin can fall near one example.

Intervals of the Jacobian, carried back from the margins (Weng et al. 2018, arXiv:1804.09699, Fast-Lip): a ReLU that the
set cannot switch on drops out, and one that it cannot switch off is linear. What the set can switch is bounded by
intervals and by the network's own constants, whichever say more (Huang et al. 2021, arXiv:2111.01395).
"""

from dataclasses import dataclass, replace
from functools import singledispatch
from math import inf
from typing import ClassVar, Literal, final

import torch
from torch.nn import functional

from brinell.evidence import Soundness
from brinell.threat import PerturbationSet
from brinell.threat.sets import over_features
from brinell.types import Inputs
from brinell.verify.graph import Graph, Unsupported
from brinell.verify.lipschitz.constants import Constants, constants
from brinell.verify.lipschitz.gains import absolute, slopes, unknown
from brinell.verify.lipschitz.gloro import fall, held
from brinell.verify.operators import Affine, Bend, Coefficients, Curve, Interval, MaxPool, ReLU, Values, magnitude
from brinell.verify.problem import Problem, solve, sound
from brinell.verify.relaxation import relax
from brinell.verify.rounding import at_value, share
from brinell.verify.verifier import Checkpoint, Margins, Spec, Verifier, nothing

DUAL = {1: inf, 2: 2, inf: 1}
"""The order of the norm in which a gradient is measured, for each order of a distance."""


@final
@dataclass(frozen=True, kw_only=True)
class LocalLipschitz(Verifier):
    """The margin of an example less what its gradient, wherever in the set it is taken, can take away.

    Never less than `GloRo` shows, where every operator has a rule for that.
    intermediate: how the neurons are bounded that may switch. memory: bytes, about, that it may take.
    """

    intermediate: Literal["interval", "crown"] = "interval"
    memory: int = 2**25
    soundness: ClassVar[Soundness] = Soundness.FLOAT32

    def __call__(
        self, graph: Graph, x0: Inputs, set: PerturbationSet, spec: Spec, checkpoint: Checkpoint = nothing
    ) -> Margins:
        return solve(self._bound, graph, x0, set, spec, self.memory, checkpoint)

    def _bound(self, problem: Problem) -> Margins:
        crown = self.intermediate == "crown"
        known = _known(problem.graph)
        near = {} if known is None else _near(problem, known)
        # The constants hold the first layer as near as substitution would: the hull serves, and costs no functionals.
        over = problem if crown or known is None else replace(problem, part=problem.hull)
        intervals = relax(over, "adaptive" if crown else None, crown, known=near).intervals
        now, steepest = held(problem), jacobian(problem, _widened(problem.graph, intervals))
        bounds = sound(intervals, now - steepest_fall(problem, *steepest))
        return bounds if known is None else torch.maximum(bounds, now - fall(problem, known))


def _known(graph: Graph) -> Constants | None:
    """Constants of the whole space; none where some operator has no rule for them, such as a function ever steeper."""
    try:
        return constants(graph)
    except Unsupported:
        return None


def _near(problem: Problem, known: Constants) -> dict[int, Interval]:
    """How far the constants let each value move from the example's own, where a bend asks."""
    values = problem.graph.values(problem.x0)
    length, change = (problem.set.extent(problem.x0, norm) for norm in (2, inf))
    found = {}
    for i in problem.graph.bent:
        by_length = known.reaches[i] * over_features(length, values[i])
        by_change = known.spreads[i] * over_features(change, values[i])
        moves = torch.minimum(by_length, by_change).nan_to_num(inf)
        found[i] = values[i] - moves, values[i] + moves
    return found


def _widened(graph: Graph, intervals: list[Interval]) -> list[Interval]:
    """The intervals, no narrower than exact arithmetic makes them."""
    errors, wide = [torch.zeros_like(intervals[0][0])], [intervals[0]]
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        errors.append(at_value(graph.operator(i), inputs, [errors[j] for j in node.inputs]))
        wide.append((intervals[i][0] - errors[i], intervals[i][1] + errors[i]))
    return wide


def steepest_fall(problem: Problem, low: Coefficients, high: Coefficients) -> Margins:
    """The most that <J, x0 - x> comes to over the set, for a Jacobian between these limits: the mean value theorem.

    All of an example that lies outside its own set: the way from there is not what the limits are for.
    """
    below, above = ((end - problem.x0).flatten(1).unsqueeze(1) for end in problem.hull)
    low, high = low.flatten(2), high.flatten(2)
    down = torch.stack([low * above, low * below, high * above, high * below]).amin(0).sum(2)
    steepest = torch.maximum(low.abs(), high.abs())
    reach = [
        torch.linalg.vector_norm(steepest, DUAL[norm], dim=2) * problem.set.extent(problem.x0, norm).unsqueeze(1)
        for norm in (1, 2)
    ]
    lost = torch.stack([-down, *reach]).nan_to_num(inf).amin(0)  # all summed up has one sign, so this is rounding:
    lost = lost * (1 + share(low.shape[2] + 8, torch.float64))
    return lost.masked_fill(((below > 0) | (above < 0)).any(2), inf)


def jacobian(problem: Problem, intervals: list[Interval]) -> Interval:
    """Limits on the Jacobian of <spec row, scores> by the input, (batch, rows, *shape), over the whole set."""
    graph = problem.graph
    held: dict[int, Interval] = {graph.output: (problem.spec, problem.spec)}
    for i in range(graph.output, 0, -1):
        if i not in held:
            continue
        operator, inputs = graph.operator(i), graph.nodes[i].inputs
        low, high = held.pop(i)
        off = share(operator.terms + 8, torch.float64) * magnitude((low, high))  # what the step back may lose
        parts = _back(operator, (low - off, high + off), [intervals[j] for j in inputs])
        for parent, part in zip(inputs, parts, strict=True):
            known = held.get(parent)
            held[parent] = part if known is None else (known[0] + part[0], known[1] + part[1])
    return held[0]


def _back(operator: Affine | Bend, limits: Interval, inputs: list[Interval]) -> list[Interval]:
    """Limits by each of the operator's inputs of what is within these by its output."""
    if isinstance(operator, Affine):
        centres, _ = operator.backward((limits[1] + limits[0]) / 2)
        widths, _ = absolute(operator).backward((limits[1] - limits[0]) / 2)
        return [(centre - width, centre + width) for centre, width in zip(centres, widths, strict=True)]
    return [through(operator, limits, *inputs[0])]


@singledispatch
def through(operator: Bend, limits: Interval, low: Values, high: Values) -> Interval:
    """The same of a bend whose input lies between low and high."""
    raise unknown(operator)


@through.register
def _(operator: ReLU, limits: Interval, low: Values, high: Values) -> Interval:
    on, off = (low >= 0).unsqueeze(1), (high <= 0).unsqueeze(1)
    return (
        torch.where(on, limits[0], limits[0].clamp(max=0)).masked_fill(off, 0.0),
        torch.where(on, limits[1], limits[1].clamp(min=0)).masked_fill(off, 0.0),
    )


@through.register
def _(operator: Curve, limits: Interval, low: Values, high: Values) -> Interval:
    least, most = (slope.unsqueeze(1) for slope in slopes(operator, low, high))
    products = torch.stack([limits[0] * least, limits[0] * most, limits[1] * least, limits[1] * most])
    return products.amin(0), products.amax(0)


@through.register
def _(operator: MaxPool, limits: Interval, low: Values, high: Values) -> Interval:
    """A member that every other stays below has the whole slope of its window, one that cannot lead has none."""
    (top, left), area = operator.padding, operator.kernel[0] * operator.kernel[1]
    padded = low.shape[-2] + 2 * top, low.shape[-1] + 2 * left

    def members(x: Values) -> Values:
        x = functional.pad(x, (left, left, top, top), value=-torch.inf).flatten(0, 1).unsqueeze(1)
        return functional.unfold(x, operator.kernel, operator.dilation, stride=operator.stride)

    lows, highs = members(low), members(high)
    leads = (highs >= lows.amax(1, keepdim=True)) & (highs > -torch.inf)
    alone = leads & (leads.sum(1, keepdim=True) == 1)
    leads, alone = (mask.reshape(len(low), 1, -1, area, mask.shape[-1]) for mask in (leads, alone))

    def spread(ends: Coefficients, one_of_many: Coefficients) -> Coefficients:
        rows, channels = ends.shape[1:3]
        share = torch.where(alone, ends.flatten(3).unsqueeze(3), one_of_many.flatten(3).unsqueeze(3)) * leads
        image = functional.fold(share.flatten(0, 2), padded, operator.kernel, operator.dilation, 0, operator.stride)
        image = image[..., top : padded[0] - top, left : padded[1] - left]
        return image.reshape(len(low), rows, channels, *low.shape[-2:])

    return spread(limits[0], limits[0].clamp(max=0)), spread(limits[1], limits[1].clamp(min=0))

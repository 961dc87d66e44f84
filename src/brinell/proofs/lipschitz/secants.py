"""Margins from secants: how an example's neighbours may differ from it, layer by layer, from the scores back.

What a nonlinearity makes of a change of its input is the change times a slope, that of the secant from the example's
own value. It lies between two limits: 1 or 0 where a ReLU cannot switch, near them where it hardly can. A slope within
the limits is carried on, back to the input, where it meets the set itself; what the secant may be off it is paid for at
once, by how far the values there can move. Wherever a Lipschitz constant says more than going on would, it ends there:
at the scores that is the bound of GloRo, and at the input, where no neuron switches, it is exact. A local Lipschitz
bound of each margin, where Huang et al. 2021, arXiv:2111.01395, bound each layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from math import inf
from typing import final

import torch
from torch.nn import functional

from brinell.proofs.lipschitz.bounds import clean_margins, decrease, global_constants
from brinell.proofs.lipschitz.constants import Constants
from brinell.proofs.lipschitz.rules import slopes
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators import (
    Affine,
    Coefficients,
    Curve,
    Interval,
    MaxPool,
    Nonlinearity,
    ReLU,
    Values,
    magnitude,
)
from brinell.proofs.numerics.rounding import share
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import Margins
from brinell.threat.sets import over_features


def by_secants(problem: Problem, intervals: list[Interval]) -> Margins:
    """Lower bounds on the specification, no less than its Lipschitz constants show. intervals: one a node."""
    everywhere = global_constants(problem.graph)
    around = _Around(problem, problem.graph.values(problem.x0), intervals, everywhere)
    lost = torch.minimum(around.decrease(_each), around.decrease(_alike))
    if everywhere is not None:
        lost = torch.minimum(lost, decrease(problem, everywhere))
    bounds = clean_margins(problem) - lost * (1 + share(4 * problem.graph.width + 8, torch.float64))
    return bounds.where(bounds.isfinite(), -torch.inf)


@final
@dataclass(frozen=True, eq=False)
class _Around:
    """values: of the examples themselves, one a node, as are the intervals."""

    problem: Problem
    values: list[Values]
    intervals: list[Interval]
    everywhere: Constants | None

    def decrease(self, middle: "Middle") -> Margins:
        """The most that each row can lose: what is paid for on the way, and what can come of the rest."""
        graph, spec = self.problem.graph, self.problem.spec
        rest: dict[int, Coefficients] = {graph.output: spec}
        paid = spec.new_zeros(spec.shape[:2])
        least = torch.full_like(paid, inf)
        for i in range(graph.output, 0, -1):
            if i not in rest:
                continue
            operator, inputs = graph.operator(i), graph.nodes[i].inputs
            if isinstance(operator, Affine):
                parts, _ = operator.backward(rest.pop(i))
            else:
                least = torch.minimum(least, paid + self._ended(rest))
                (j,) = inputs
                low, high = self.intervals[j]
                ends = torch.minimum(low, self.values[j]), torch.maximum(high, self.values[j])
                back, before, after = secants(operator, rest.pop(i), middle, self.values[j], *ends)
                paid = paid + self._moved(j, before) + self._moved(i, after)
                parts = (back,)
            for parent, part in zip(inputs, parts, strict=True):
                rest[parent] = rest[parent] + part if parent in rest else part
        return torch.minimum(least, paid + self._ended(rest)).nan_to_num(inf)

    def _ended(self, rest: dict[int, Coefficients]) -> Margins:
        """What is held can fall by so much; the input keeps to its set."""
        at_x0 = [
            (a * self.values[0].unsqueeze(1)).flatten(2).sum(2) - self.problem.least(a) if i == 0 else self._moved(i, a)
            for i, a in rest.items()
        ]
        return torch.stack(at_x0).sum(0)

    def _moved(self, i: int, a: Coefficients) -> Margins:
        """The most that the changes of a node's values come to, each times the size of its coefficient."""
        a, value = a.abs().flatten(2), self.values[i]
        move = magnitude((self.intervals[i][0] - value, self.intervals[i][1] - value))
        ways = [(a @ move.flatten(1).unsqueeze(2)).squeeze(2)]
        if self.everywhere is not None:
            length, change = (self.problem.perturbation.extent(self.problem.x0, norm).unsqueeze(1) for norm in (2, inf))
            ways.append(torch.linalg.vector_norm(a, dim=2) * self.everywhere.l2_nodes[i] * length)
            ways.append(a @ self.everywhere.linf_values[i].flatten() * change)
        return torch.stack(ways).nan_to_num(inf).amin(0)


Middle = Callable[[Values, Values], Values]
"""The slopes that are carried on, between the least and the most that secants may have."""

Parts = tuple[Coefficients, Coefficients, Coefficients]
"""(what is carried on, of the input; what is paid for by moves of the input; by moves of the value)."""


@singledispatch
def secants(operator: Nonlinearity, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """A functional of what a nonlinearity makes of changes, its input between low and high, as the example's own is.

    Nothing is carried on through what there is no rule for.
    """
    nothing = value.new_zeros((len(value), a.shape[1], *value.shape[1:]))
    return nothing, nothing, a


@secants.register
def _(operator: ReLU, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """From a value above zero a secant is least steep at the low end; from one below, steepest at the high end."""
    above, below = value.clamp(min=0), value.clamp(max=0)
    least = torch.where(low < 0, above / (above - low), torch.ones_like(value))
    most = torch.where(high > 0, high / (high - below), torch.zeros_like(value))
    return _split(a, middle, least, most)


@secants.register
def _(operator: Curve, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """A secant is as steep as the function is somewhere between."""
    try:
        least, most = slopes(operator, low, high)
    except Unsupported:
        return secants.dispatch(Nonlinearity)(operator, a, middle, value, low, high)
    global_constants = least.isfinite() & most.isfinite()
    back, before, _ = _split(a, middle, least.where(global_constants, 0.0), most.where(global_constants, 0.0))
    return back, before, a * ~global_constants.unsqueeze(1)


@secants.register
def _(operator: MaxPool, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """A member that every other stays below is its window's maximum; of other windows nothing is carried on."""
    (top, left), area = operator.padding, operator.kernel[0] * operator.kernel[1]
    padded = low.shape[-2] + 2 * top, low.shape[-1] + 2 * left

    def members(x: Values) -> Values:
        x = functional.pad(x, (left, left, top, top), value=-torch.inf).flatten(0, 1).unsqueeze(1)
        return functional.unfold(x, operator.kernel, operator.dilation, stride=operator.stride)

    lows, highs = members(low), members(high)
    leads = (highs >= lows.amax(1, keepdim=True)) & (highs > -torch.inf)
    alone = leads & (leads.sum(1, keepdim=True) == 1)
    alone = alone.reshape(len(low), 1, -1, area, alone.shape[-1])
    rows, channels = a.shape[1:3]
    shares = (a.flatten(3).unsqueeze(3) * alone).flatten(0, 2)
    image = functional.fold(shares, padded, operator.kernel, operator.dilation, 0, operator.stride)
    image = image[..., top : padded[0] - top, left : padded[1] - left]
    back = image.reshape(len(low), rows, channels, *low.shape[-2:])
    settled = alone.any(3).reshape(len(low), 1, *a.shape[2:])
    return back, torch.zeros_like(value).unsqueeze(1), a * ~settled


def _split(a: Coefficients, middle: Middle, least: Values, most: Values) -> Parts:
    slope = middle(least, most)
    off = torch.maximum(most - slope, slope - least)
    return a * slope.unsqueeze(1), a * off.unsqueeze(1), torch.zeros_like(off).unsqueeze(1)


def _each(least: Values, most: Values) -> Values:
    """Of every neuron its own: the least is paid for."""
    return (least + most) / 2


def _alike(least: Values, most: Values) -> Values:
    """One for a layer: weights whose sums cancel still do, which they may not where some neurons are off."""
    return over_features((least.flatten(1).amin(1) + most.flatten(1).amax(1)) / 2, least).expand_as(least)

"""A local Lipschitz bound of each margin, by backward substitution through secants.

(Huang et al. 2021, arXiv:2111.01395, bound a local Lipschitz constant of each layer instead.)

1. A nonlinearity f turns a change d of its pre-activation from the example's value z into s d, where
   s = (f(z + d) - f(z)) / d is the slope of a secant. Over the set, s lies in an interval: {1} or {0} where a ReLU
   cannot switch, near them where it hardly can.
2. A functional a of f's change is a s d = a m d + a (s - m) d, for any slope m in that interval. The first term is
   substituted back further; the second is at most |a| max|s - m| |d|, and |d| is bounded by intervals and by Lipschitz
   constants: a *remainder*, subtracted at once.
3. At the input the remaining functional is minimised over the set itself. Before every nonlinearity it may also be
   bounded by Lipschitz constants, and the best place to stop is taken: at the scores that is GloRo's bound, and where
   no neuron can switch the bound at the input is exact.
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
    """Lower bounds on the specification, no looser than those of global Lipschitz constants.

    intervals: of every node.
    """
    everywhere = global_constants(problem.graph)
    around = _Around(problem, problem.graph.values(problem.x0), intervals, everywhere)
    loss = torch.minimum(around.decrease(_each), around.decrease(_alike))
    if everywhere is not None:
        loss = torch.minimum(loss, decrease(problem, everywhere))
    bounds = clean_margins(problem) - loss * (1 + share(4 * problem.graph.width + 8, torch.float64))
    return bounds.where(bounds.isfinite(), -torch.inf)


@final
@dataclass(frozen=True, eq=False)
class _Around:
    """values: of every node at x0. intervals: of every node over the set. everywhere: global constants, if any."""

    problem: Problem
    values: list[Values]
    intervals: list[Interval]
    everywhere: Constants | None

    def decrease(self, middle: "Middle") -> Margins:
        """The most that each row can decrease: remainders so far plus what the rest can change, where that is least.

        middle: chooses m between the least and the largest slope of the secants.
        """
        graph = self.problem.graph
        spec = self.problem.spec
        rest: dict[int, Coefficients] = {graph.output: spec}
        remainder = spec.new_zeros(spec.shape[:2])
        least = torch.full_like(remainder, inf)
        for i in range(graph.output, 0, -1):
            if i not in rest:
                continue
            operator = graph.operator(i)
            inputs = graph.nodes[i].inputs
            if isinstance(operator, Affine):
                back, _ = operator.backward(rest.pop(i))
            else:
                least = torch.minimum(least, remainder + self._change_of(rest))
                (j,) = inputs
                low = torch.minimum(self.intervals[j][0], self.values[j])
                high = torch.maximum(self.intervals[j][1], self.values[j])
                through, before, after = secants(operator, rest.pop(i), middle, self.values[j], low, high)
                remainder = remainder + self._change(j, before) + self._change(i, after)
                back = (through,)
            for parent, part in zip(inputs, back, strict=True):
                rest[parent] = rest[parent] + part if parent in rest else part
        return torch.minimum(least, remainder + self._change_of(rest)).nan_to_num(inf)

    def _change_of(self, rest: dict[int, Coefficients]) -> Margins:
        """The most that the sum of these functionals can decrease; exactly over the set at the input."""
        changes = [
            (a * self.values[0].unsqueeze(1)).flatten(2).sum(2) - self.problem.least(a)
            if i == 0
            else self._change(i, a)
            for i, a in rest.items()
        ]
        return torch.stack(changes).sum(0)

    def _change(self, i: int, a: Coefficients) -> Margins:
        """The most that <|a|, |change of node i|> can be: by its interval, or by its Lipschitz constants."""
        a = a.abs().flatten(2)
        value = self.values[i]
        change = magnitude((self.intervals[i][0] - value, self.intervals[i][1] - value))
        ways = [(a @ change.flatten(1).unsqueeze(2)).squeeze(2)]
        if self.everywhere is not None:
            l2, linf = (self.problem.perturbation.extent(self.problem.x0, norm).unsqueeze(1) for norm in (2, inf))
            ways.append(torch.linalg.vector_norm(a, dim=2) * self.everywhere.l2_nodes[i] * l2)
            ways.append(a @ self.everywhere.linf_values[i].flatten() * linf)
        return torch.stack(ways).nan_to_num(inf).amin(0)


Middle = Callable[[Values, Values], Values]
"""From the least and the largest slope of the secants to the slope m that is substituted."""

Parts = tuple[Coefficients, Coefficients, Coefficients]
"""(functional of the input to substitute further; remainders, in changes of the input, and of the output)."""


@singledispatch
def secants(operator: Nonlinearity, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """A functional a of a nonlinearity's change, in terms of its input's, which stays in [low, high] as `value` does.

    Without a rule for the operator, everything is a remainder in changes of its output.
    """
    nothing = value.new_zeros((len(value), a.shape[1], *value.shape[1:]))
    return nothing, nothing, a


@secants.register
def _(operator: ReLU, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """From a value above zero a secant is least steep at the low end; from one below, steepest at the high end."""
    above = value.clamp(min=0)
    below = value.clamp(max=0)
    least = torch.where(low < 0, above / (above - low), torch.ones_like(value))
    most = torch.where(high > 0, high / (high - below), torch.zeros_like(value))
    return _split(a, middle, least, most)


@secants.register
def _(operator: Curve, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """A secant's slope is a derivative somewhere in between (mean value theorem)."""
    try:
        least, most = slopes(operator, low, high)
    except Unsupported:
        return secants.dispatch(Nonlinearity)(operator, a, middle, value, low, high)
    global_constants = least.isfinite() & most.isfinite()
    back, before, _ = _split(a, middle, least.where(global_constants, 0.0), most.where(global_constants, 0.0))
    return back, before, a * ~global_constants.unsqueeze(1)


@secants.register
def _(operator: MaxPool, a: Coefficients, middle: Middle, value: Values, low: Values, high: Values) -> Parts:
    """A value that stays above all others of its window is its maximum; other windows are remainders."""
    top, left = operator.padding
    area = operator.kernel[0] * operator.kernel[1]
    padded = (low.shape[-2] + 2 * top, low.shape[-1] + 2 * left)

    def members(x: Values) -> Values:
        x = functional.pad(x, (left, left, top, top), value=-torch.inf).flatten(0, 1).unsqueeze(1)
        return functional.unfold(x, operator.kernel, operator.dilation, stride=operator.stride)

    lows = members(low)
    highs = members(high)
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
    """The middle of each neuron's own interval: the least remainder."""
    return (least + most) / 2


def _alike(least: Values, most: Values) -> Values:
    """One slope for a layer: weights whose sums cancel still do so, which they may not with slopes that differ."""
    return over_features((least.flatten(1).amin(1) + most.flatten(1).amax(1)) / 2, least).expand_as(least)

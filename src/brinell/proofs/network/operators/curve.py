"""Smooth functions of one number, convex and concave by turns: one linear relaxation for all of them.

1. Below: where the function is convex on part of the interval, a tangent there that passes below both ends of the
   interval lies below the function throughout; where no tangent does, the chord lies below.
2. Above: the same for the negative function.
3. The intercept is the least of those through the ends and the tangent point, less what rounding may take, so that the
   line is sound whatever rounding did to its slope.

For the sigmoid these are the lines of Zhang et al. 2018, arXiv:1811.00866, section 3.3. The tangent point is a free
parameter (alpha), as in Xu et al. 2021, arXiv:2011.13824.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from brinell.proofs.network.operators.band import Band
from brinell.proofs.network.operators.base import (
    Choices,
    Interval,
    Neurons,
    Nonlinearity,
    RowChoices,
    Slope,
    Values,
    magnitude,
)

_HALVINGS = 24
"""Bisection steps for a tangent point, which is left on the side where the tangent is sound."""

_ROUNDING = 8 * torch.finfo(torch.float64).eps
"""The error of a computed value, as a share of the numbers it comes from: some units in the last place."""

_TINY = 1e-300
"""The same near zero, absolute."""


@final
@dataclass(frozen=True, kw_only=True)
class Profile:
    """The shape of a function.

    convex: whether it is convex up to the first knot. knots: its inflection points, at most two, where convexity
    changes. turns: its local extrema. pole: where it has no value; a knot separates its sides. least, most: bounds on
    its values. slack: how far the computed function may lie below the smooth one; it is never above.
    """

    convex: bool
    knots: tuple[float, ...] = ()
    turns: tuple[float, ...] = ()
    pole: float | None = None
    least: float = -math.inf
    most: float = math.inf
    slack: float = 0.0

    def convex_intervals(self, above: bool) -> list[tuple[float, float]]:
        """The intervals on which it is convex; with `above`, on which its negative is."""
        edges = (-math.inf, *self.knots, math.inf)
        return list(pairwise(edges))[self.convex == above :: 2]


class Curve(Nonlinearity):
    """A function with a derivative. It is unbounded on an interval around its pole, or where it is NaN."""

    @property
    @abstractmethod
    def profile(self) -> Profile: ...

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """Of the smooth function. At a kink, that of either side."""

    def smooth(self, x: Tensor) -> Tensor:
        """The function that the profile speaks of: what is computed, unless that jumps."""
        return self.forward(x)

    def interval(self, *inputs: Interval) -> Interval:
        """The least and the largest value at the ends and extrema, rounded outward."""
        ((low, high),) = inputs
        profile = self.profile
        ends = (self.smooth(low), self.smooth(high))
        least = torch.minimum(*ends)
        most = torch.maximum(*ends)
        for turn in profile.turns:
            value = self.smooth(torch.full_like(low, turn))
            inside = (low < turn) & (turn < high)
            least = torch.where(inside, torch.minimum(least, value), least)
            most = torch.where(inside, torch.maximum(most, value), most)

        rounding = 4 * torch.finfo(low.dtype).eps
        least = (least - rounding * least.abs() - profile.slack - _TINY).clamp(min=profile.least)
        most = (most + rounding * most.abs() + _TINY).clamp(max=profile.most)
        if profile.pole is None:
            return least, most
        inside = (low <= profile.pole) & (profile.pole <= high)
        return least.masked_fill(inside, -torch.inf), most.masked_fill(inside, torch.inf)

    def unknown(self, low: Values, high: Values) -> Neurons:
        return low < high

    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """The tangent points below and above, as shares of their admissible ranges.

        adaptive: nearest to the centre of the interval, for the least area; same: nearest to the slope of the chord.
        """
        low, high = low.double(), high.double()
        return torch.stack([self._start(low, high, above, slope) for above in (False, True)], 1).to(low.dtype)

    def relax(self, low: Values, high: Values, choices: RowChoices) -> Band:
        dtype = low.dtype
        least, most = (end.double().unsqueeze(1) for end in self.interval((low, high)))
        low = low.double().unsqueeze(1)  # [batch, 1, *shape]
        high = high.double().unsqueeze(1)
        below, above = choices.double().unbind(2)  # [batch, rows, *shape] each

        lower, base = _or_flat(*self._line(low, high, below, False), least)
        upper, top = _or_flat(*self._line(low, high, above, True), most)
        reach = magnitude((low, high))
        return Band(*_rounded(lower, base, reach, dtype, False), *_rounded(upper, top, reach, dtype, True))

    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """Tangents and chords are no steeper than the function; the two lines count three times."""
        steepest = torch.maximum(self.derivative(low).abs(), self.derivative(high).abs())
        for knot in self.profile.knots:
            inside = (low < knot) & (knot < high)
            at_knot = float(self.derivative(low.new_tensor(knot)).abs())
            steepest = torch.where(inside, steepest.clamp(min=at_knot), steepest)

        reach = magnitude((low, high))
        values = magnitude(self.interval((low, high)))
        passed = steepest * ((1 + 3 * step) * error + 3 * step * reach)
        return passed + 3 * constant * (values + steepest * reach) if constant else passed

    def _start(self, low: Tensor, high: Tensor, above: bool, slope: Slope) -> Tensor:
        tangents = self._tangents(low, high, above)
        if slope == "adaptive":
            point = torch.minimum(torch.maximum((low + high) / 2, tangents.first), tangents.last)
        else:
            chord = self._chord(low, high)
            sign = -1.0 if above else 1.0
            point = _furthest(lambda t: sign * (self.derivative(t) - chord) <= 0, tangents.first, tangents.last)
        share = (point - tangents.first) / (tangents.last - tangents.first)
        return share.nan_to_num(0.5, 0.5, 0.5).clamp(0, 1)

    def _tangents(self, low: Tensor, high: Tensor, above: bool) -> "Tangents":
        """Where a tangent lies below the function (with `above`: above it) over the whole interval.

        1. Where the function is convex, its tangents are below it.
        2. Beyond, it is concave, and a tangent that is below it at the far end of the interval is below it all the way.
        3. A tangent point further from that end satisfies 2. more easily, so the admissible points are an interval.
        4. On an interval that meets two convex parts the chord is below: that is so for the negatives of all functions
           here with two.
        """
        sign = -1.0 if above else 1.0

        # [start, end]: the convex part of the interval; empty where there are two.
        start = low
        end = low
        for edge, other in self.profile.convex_intervals(above):
            left = low.clamp(min=edge)
            right = high.clamp(max=other)
            meets = left < right
            second = meets & (start < end)
            end = torch.where(second, left, torch.where(meets, right, end))
            start = torch.where(meets, left, start)
            end = torch.where(second, start, end)

        def below(t: Tensor, x: Tensor) -> Tensor:
            return sign * (self.smooth(t) + self.derivative(t) * (x - t) - self.smooth(x)) <= 0

        first = _furthest(lambda t: below(t, low), end, start)
        last = _furthest(lambda t: below(t, high), start, end)
        there = (start < end) & (first <= last) & below(first, low) & below(last, high)
        return Tangents(torch.where(there, first, low), torch.where(there, last, low), there)

    def _line(self, low: Tensor, high: Tensor, share: Tensor, above: bool) -> tuple[Tensor, Tensor]:
        """(slope, intercept) of the line below, or above; sound for every share, and however the slope was rounded."""
        sign = -1.0 if above else 1.0
        with torch.no_grad():
            tangents = self._tangents(low, high, above)
            chord = self._chord(low, high)
            left = self.smooth(low)
            right = self.smooth(high)

        point = tangents.first + share * (tangents.last - tangents.first)
        slope = torch.where(tangents.there, self.derivative(point), chord)
        touching = torch.where(tangents.there, sign * (self.smooth(point) - slope * point), torch.inf)
        least = torch.minimum(torch.minimum(sign * (left - slope * low), sign * (right - slope * high)), touching)
        slack = (
            _ROUNDING * (left.abs() + right.abs() + (1 + slope.abs()) * (magnitude((low, high)) + high - low)) + _TINY
        )
        return slope, sign * (least - slack - (0.0 if above else self.profile.slack))

    def _chord(self, low: Tensor, high: Tensor) -> Tensor:
        slope = (self.smooth(high) - self.smooth(low)) / (high - low)
        return torch.where(low < high, slope, self.derivative(low))


@final
@dataclass(frozen=True, eq=False)
class Tangents:
    """The first and the last admissible tangent point; none where not `there`."""

    first: Float64[Tensor, "..."]
    last: Float64[Tensor, "..."]
    there: Bool[Tensor, "..."]


def _furthest(good: Callable[[Tensor], Tensor], start: Tensor, end: Tensor) -> Tensor:
    """The last good point between start, which is taken to be good, and end, by bisection; good points come first."""
    done = good(end)
    inside = torch.where(done, end, start)
    outside = end
    for _ in range(0 if done.all() else _HALVINGS):
        middle = (inside + outside) / 2
        kept = good(middle)
        inside = torch.where(kept, middle, inside)
        outside = torch.where(kept, outside, middle)
    return inside


def _or_flat(slope: Tensor, constant: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """The line; where it is NaN or infinite, or the interval unbounded, the constant end of the interval."""
    known = slope.isfinite() & constant.isfinite() & end.isfinite()
    return torch.where(known, slope, 0.0), torch.where(known, constant, end)


def _rounded(slope: Tensor, constant: Tensor, reach: Tensor, dtype: torch.dtype, above: bool) -> tuple[Tensor, Tensor]:
    """The line in this precision; the intercept makes up for the rounding of the slope."""
    if dtype is torch.float64:
        return slope, constant
    short = slope.to(dtype)
    sign = 1.0 if above else -1.0
    constant = (constant + sign * (slope - short.double()).abs() * reach).to(dtype)
    return short, torch.nextafter(constant, torch.full_like(constant, sign * torch.inf))

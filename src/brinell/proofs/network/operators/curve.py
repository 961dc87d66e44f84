"""Smooth functions of one number, convex and concave by turns: one construction of lines below and above for all.

A line below: within the piece where the function is convex, a tangent that also passes below both ends of the
interval; where there is none, the chord. Above, the same of the negative. For the sigmoid these are the lines of
Zhang et al. 2018, arXiv:1811.00866, section 3.3; the tangent point is free, as in Xu et al. 2021, arXiv:2011.13824.
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
"""Steps of a search for a tangent point: it falls short by this power of two, on the side that is below."""

_ROUNDING = 8 * torch.finfo(torch.float64).eps
"""What a computed value may be off by, as a share of the numbers it comes from: some units in the last place."""

_TINY = 1e-300
"""What it may be off by near zero."""


@final
@dataclass(frozen=True, kw_only=True)
class Profile:
    """Where a function is convex and where it turns.

    convex: whether it is, up to the first knot; it changes from knot to knot, of which there are at most two. turns:
    where it stops rising or falling. pole: where it has no value, which a knot separates. least, most: of its values.
    slack: how far below the smooth function the one that is computed may lie; it is never above.
    """

    convex: bool
    knots: tuple[float, ...] = ()
    turns: tuple[float, ...] = ()
    pole: float | None = None
    least: float = -math.inf
    most: float = math.inf
    slack: float = 0.0

    def pieces(self, above: bool) -> list[tuple[float, float]]:
        """Where it is convex; with `above`, where its negative is."""
        edges = (-math.inf, *self.knots, math.inf)
        return list(pairwise(edges))[self.convex == above :: 2]


class Curve(Nonlinearity):
    """A function with a derivative. Nothing is known of it on an interval around its pole, or where it is no number."""

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
        """The least and the largest value at the ends and turns, rounded outward."""
        ((low, high),) = inputs
        profile = self.profile
        ends = self.smooth(low), self.smooth(high)
        least, most = torch.minimum(*ends), torch.maximum(*ends)
        for turn in profile.turns:
            value, met = self.smooth(torch.full_like(low, turn)), (low < turn) & (turn < high)
            least = torch.where(met, torch.minimum(least, value), least)
            most = torch.where(met, torch.maximum(most, value), most)
        rounding = 4 * torch.finfo(low.dtype).eps
        least = (least - rounding * least.abs() - profile.slack - _TINY).clamp(min=profile.least)
        most = (most + rounding * most.abs() + _TINY).clamp(max=profile.most)
        if profile.pole is None:
            return least, most
        met = (low <= profile.pole) & (profile.pole <= high)
        return least.masked_fill(met, -torch.inf), most.masked_fill(met, torch.inf)

    def unknown(self, low: Values, high: Values) -> Neurons:
        return low < high

    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """Where the tangents of both sides touch, as a share of where they may.

        adaptive: as near to the centre as they may, which leaves the least area; same: as near to the slope of the
        chord as they may.
        """
        low, high = low.double(), high.double()
        return torch.stack([self._start(low, high, above, slope) for above in (False, True)], 1).to(low.dtype)

    def relax(self, low: Values, high: Values, choices: RowChoices) -> Band:
        dtype, ends = low.dtype, tuple(end.double() for end in self.interval((low, high)))
        low, high = low.double().unsqueeze(1), high.double().unsqueeze(1)
        below, above = choices.double().unbind(2)
        lower, base = _or_flat(*self._line(low, high, below, False), ends[0].unsqueeze(1))
        upper, top = _or_flat(*self._line(low, high, above, True), ends[1].unsqueeze(1))
        reach = magnitude((low, high))
        return Band(*_rounded(lower, base, reach, dtype, False), *_rounded(upper, top, reach, dtype, True))

    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """Slopes of tangents and chords are slopes of the function; the two lines count three times."""
        steepest = torch.maximum(self.derivative(low).abs(), self.derivative(high).abs())
        for knot in self.profile.knots:
            met = (low < knot) & (knot < high)
            steepest = torch.where(
                met, steepest.clamp(min=float(self.derivative(low.new_tensor(knot)).abs())), steepest
            )
        reach = magnitude((low, high))
        values = magnitude(self.interval((low, high)))
        passed = steepest * ((1 + 3 * step) * error + 3 * step * reach)
        return passed + 3 * constant * (values + steepest * reach) if constant else passed

    def _start(self, low: Tensor, high: Tensor, above: bool, slope: Slope) -> Tensor:
        tangents = self._tangents(low, high, above)
        if slope == "adaptive":
            point = torch.minimum(torch.maximum((low + high) / 2, tangents.first), tangents.last)
        else:
            chord, sign = self._chord(low, high), -1.0 if above else 1.0
            point = _furthest(lambda t: sign * (self.derivative(t) - chord) <= 0, tangents.first, tangents.last)
        share = (point - tangents.first) / (tangents.last - tangents.first)
        return share.nan_to_num(0.5, 0.5, 0.5).clamp(0, 1)

    def _tangents(self, low: Tensor, high: Tensor, above: bool) -> "Tangents":
        """Where a tangent lies on one side of the function over the whole interval.

        In the convex piece it is below by nature; beyond, the function is concave and the tangent below it if it is at
        the far end. The further it touches from there the surer it is. An interval that meets two convex pieces has
        its chord below: so it is for the negatives of all functions here that have two.
        """
        sign = -1.0 if above else 1.0
        start, end = low, low
        for edge, other in self.profile.pieces(above):
            left, right = low.clamp(min=edge), high.clamp(max=other)
            met, both = left < right, (left < right) & (start < end)
            start, end = torch.where(met, left, start), torch.where(both, left, torch.where(met, right, end))
            end = torch.where(both, start, end)

        def below(t: Tensor, x: Tensor) -> Tensor:
            return sign * (self.smooth(t) + self.derivative(t) * (x - t) - self.smooth(x)) <= 0

        first = _furthest(lambda t: below(t, low), end, start)
        last = _furthest(lambda t: below(t, high), start, end)
        there = (start < end) & (first <= last) & below(first, low) & below(last, high)
        return Tangents(torch.where(there, first, low), torch.where(there, last, low), there)

    def _line(self, low: Tensor, high: Tensor, share: Tensor, above: bool) -> tuple[Tensor, Tensor]:
        """(slope, constant) of a line on one side; valid for every share, and whatever rounding did to the slope."""
        with torch.no_grad():
            tangents, sign = self._tangents(low, high, above), -1.0 if above else 1.0
            chord, left, right = self._chord(low, high), self.smooth(low), self.smooth(high)
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
    """The first and the last point where one may touch; none where not `there`."""

    first: Float64[Tensor, "..."]
    last: Float64[Tensor, "..."]
    there: Bool[Tensor, "..."]


def _furthest(good: Callable[[Tensor], Tensor], start: Tensor, end: Tensor) -> Tensor:
    """The last good point on the way from start, which is taken to be good, to end; good points come first."""
    done = good(end)
    inside, outside = torch.where(done, end, start), end
    for _ in range(0 if done.all() else _HALVINGS):
        middle = (inside + outside) / 2
        kept = good(middle)
        inside, outside = torch.where(kept, middle, inside), torch.where(kept, outside, middle)
    return inside


def _or_flat(slope: Tensor, constant: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """The line; where it is no number, or the interval has no end there, the end of the interval."""
    known = slope.isfinite() & constant.isfinite() & end.isfinite()
    return torch.where(known, slope, 0.0), torch.where(known, constant, end)


def _rounded(slope: Tensor, constant: Tensor, reach: Tensor, dtype: torch.dtype, above: bool) -> tuple[Tensor, Tensor]:
    """The line in this precision: what rounding does to the slope is made up for by the constant."""
    if dtype is torch.float64:
        return slope, constant
    short, sign = slope.to(dtype), 1.0 if above else -1.0
    constant = (constant + sign * (slope - short.double()).abs() * reach).to(dtype)
    return short, torch.nextafter(constant, torch.full_like(constant, sign * torch.inf))

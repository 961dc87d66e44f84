"""The product of two values that vary: four planes of McCormick (1976)."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from brinell.proofs.network.operators.base import (
    Choices,
    Coefficients,
    Constants,
    Interval,
    Neurons,
    Nonlinearity,
    RowChoices,
    Slope,
    TwoSided,
    Values,
    magnitude,
)

_ROUNDING = 8 * torch.finfo(torch.float64).eps
"""What a constant may be off by, as a share of the products it comes from."""


@final
@dataclass(frozen=True)
class Product(Nonlinearity):
    """x y, where the first axis of an example holds x and y."""

    @property
    def terms(self) -> int:
        return 2

    def forward(self, *inputs: Values) -> Values:
        (pair,) = inputs
        return pair[:, 0] * pair[:, 1]

    def interval(self, *inputs: Interval) -> Interval:
        """The least and the largest product of two ends, rounded outward."""
        ((low, high),) = inputs
        ends = torch.stack([x * y for x in (low[:, 0], high[:, 0]) for y in (low[:, 1], high[:, 1])])
        least = ends.amin(0)
        most = ends.amax(0)
        below, above = (torch.full_like(least, sign * torch.inf) for sign in (-1, 1))
        return torch.nextafter(least, below), torch.nextafter(most, above)

    def unknown(self, low: Values, high: Values) -> Neurons:
        """Both factors, where both vary."""
        return (low < high).all(1, keepdim=True).expand_as(low)

    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """The share of the second of two planes, below and above. same: half of each, which makes both parallel."""
        return torch.full_like(low, {"adaptive": 0.0, "same": 0.5}[slope])

    def relax(self, low: Values, high: Values, choices: RowChoices) -> "Planes":
        """(x - l)(y - l') >= 0 and three more, interpolated in pairs; where that is NaN, the ends of the interval."""
        dtype = low.dtype
        least, most = self.interval((low, high))
        (low_x, low_y), (high_x, high_y) = (end.double().unsqueeze(1).unbind(2) for end in (low, high))
        below, above = choices.double().unbind(2)
        reach = magnitude((low, high)).double().unsqueeze(1)
        slack = _ROUNDING * reach.prod(2)
        lower = torch.stack((torch.lerp(low_y, high_y, below), torch.lerp(low_x, high_x, below)), 2)
        base = -torch.lerp(low_x * low_y, high_x * high_y, below) - slack
        upper = torch.stack((torch.lerp(low_y, high_y, above), torch.lerp(high_x, low_x, above)), 2)
        top = -torch.lerp(high_x * low_y, low_x * high_y, above) + slack
        lower, base = _rounded(lower, base, least.double().unsqueeze(1), reach, dtype, -1.0)
        upper, top = _rounded(upper, top, most.double().unsqueeze(1), reach, dtype, 1.0)
        return Planes(lower, base, upper, top)

    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """Each factor is the slope of the other."""
        reach = magnitude((low, high))
        passed = reach.flip(1) * ((1 + 3 * step) * error + 3 * step * reach)
        return passed.sum(1) + 6 * constant * reach.prod(1) if constant else passed.sum(1)


@final
@dataclass(frozen=True, eq=False)
class Planes(TwoSided):
    """<lower, (x, y)> + base <= x y <= <upper, (x, y)> + top; either plane may differ from row to row."""

    lower: Float[Tensor, " batch #rows 2 *shape"]
    base: Float[Tensor, " batch #rows *shape"]
    upper: Float[Tensor, " batch #rows 2 *shape"]
    top: Float[Tensor, " batch #rows *shape"]

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        positive = a.clamp(min=0)
        negative = a.clamp(max=0)
        constant = (positive * self.base + negative * self.top).flatten(2).sum(2)
        return (positive.unsqueeze(2) * self.lower + negative.unsqueeze(2) * self.upper,), constant

    def forward_bounds(self, *bounds: Interval, offset: bool) -> Interval:
        ((low, high),) = bounds
        below = (self.lower.clamp(min=0) * low + self.lower.clamp(max=0) * high).sum(2)
        above = (self.upper.clamp(min=0) * high + self.upper.clamp(max=0) * low).sum(2)
        return (below + self.base, above + self.top) if offset else (below, above)


def _rounded(
    slopes: Tensor, constant: Tensor, end: Tensor, reach: Tensor, dtype: torch.dtype, outward: float
) -> tuple[Tensor, Tensor]:
    """The plane in this precision; flat, at the end of the interval, where it is no number."""
    known = slopes.isfinite().all(2) & constant.isfinite() & end.isfinite()
    slopes = slopes.where(known.unsqueeze(2), 0.0)
    constant = constant.where(known, end)
    short = slopes.to(dtype)
    constant = constant + outward * ((slopes - short.double()).abs() * reach).sum(2)
    return short, torch.nextafter(constant.to(dtype), torch.full_like(constant, outward * torch.inf, dtype=dtype))

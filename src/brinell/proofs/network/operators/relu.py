"""ReLU: between l < 0 < u it lies above every line through the origin of slope 0 to 1, and below its chord."""

from dataclasses import dataclass
from typing import ClassVar, final

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
from brinell.proofs.network.operators.windows import Local, Windows


@final
@dataclass(frozen=True)
class ReLU(Nonlinearity):
    """max(x, 0)."""

    exact: ClassVar[bool] = True

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x.clamp(min=0)

    def interval(self, *inputs: Interval) -> Interval:
        ((low, high),) = inputs
        return low.clamp(min=0), high.clamp(min=0)

    def unknown(self, low: Values, high: Values) -> Neurons:
        return (low < 0) & (high > 0)

    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        """adaptive: 1 if u > -l else 0 (Zhang et al. 2018, arXiv:1811.00866, 3.2); same: u / (u - l)."""
        return _CHOICES[slope](low, high)

    def relax(self, low: Values, high: Values, choices: RowChoices) -> "Wedge":
        """Stable neurons are exact: slope 1 where l >= 0, slope 0 where u <= 0."""
        low = low.unsqueeze(1)
        high = high.unsqueeze(1)
        chord = _chord(low, high)
        unstable = (low < 0) & (high > 0)
        lower = torch.where(unstable, choices, chord)
        return Wedge(lower, chord, torch.where(unstable, -chord * low, torch.zeros_like(low)))

    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """Slopes are at most 1; an intercept is at most |input|, and 0 where the neuron is stable."""
        return (1 + step) * error + (step + constant * self.unknown(low, high)) * magnitude((low, high))


@final
@dataclass(frozen=True, eq=False)
class Wedge(Local, TwoSided):
    """lower * x <= f(x) <= upper * x + intercept, value by value.

    A coefficient takes the lower line if it is positive, the upper one if it is negative (Zhang et al. 2018,
    theorem 3.2).
    """

    lower: Float[Tensor, " batch #rows *shape"]
    upper: Float[Tensor, " batch 1 *shape"]
    intercept: Float[Tensor, " batch 1 *shape"]

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        negative = a.clamp(max=0)
        constant = (negative.flatten(2) @ self.intercept.flatten(2).mT).squeeze(2)
        return ((a * self.lower).addcmul_(negative, self.upper - self.lower),), constant

    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        """The same, of the neurons in each window."""
        negative = a.values.clamp(max=0)
        lower = a.seen(self.lower)
        excess = a.seen(self.upper - self.lower)
        return (a.of((a.values * lower).addcmul_(negative, excess)),), a.of(negative).on(self.intercept)

    def reach(self, window: tuple[int, int]) -> tuple[int, int]:
        return window

    def forward_bounds(self, *bounds: Interval, offset: bool) -> Interval:
        ((low, high),) = bounds
        below = self.lower.clamp(min=0) * low + self.lower.clamp(max=0) * high
        above = self.upper.clamp(min=0) * high + self.upper.clamp(max=0) * low
        return below, above + self.intercept if offset else above


def _chord(low: Tensor, high: Tensor) -> Tensor:
    """u / (u - l) between l < 0 < u; 1 above, 0 below. NaN stays NaN, and so never becomes a proof."""
    slope = high.clamp(min=0) / (high.clamp(min=0) - low.clamp(max=0))
    return torch.where(low >= 0, torch.ones_like(low), torch.where(high <= 0, torch.zeros_like(low), slope))


def _adaptive(low: Tensor, high: Tensor) -> Tensor:
    return (high > -low).to(low.dtype)


_CHOICES = {"adaptive": _adaptive, "same": _chord}

"""Max pooling."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
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
from brinell.proofs.network.operators.convolution import Pair


@final
@dataclass(frozen=True)
class MaxPool(Nonlinearity):
    """The largest value of each window. Windows may overlap; what the padding adds never wins."""

    exact: ClassVar[bool] = True

    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def terms(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return F.max_pool2d(x, self.kernel, self.stride, self.padding, self.dilation)

    def interval(self, *inputs: Interval) -> Interval:
        ((low, high),) = inputs
        return self.forward(low), self.forward(high)

    def unknown(self, low: Values, high: Values) -> Neurons:
        return torch.ones_like(low, dtype=torch.bool)

    def choices(self, low: Values, high: Values, slope: Slope) -> Choices:
        return low.new_zeros(len(low), 0)

    def relax(self, low: Values, high: Values, choices: RowChoices) -> "Leader":
        """The input with the largest lower bound leads its window, which is never below it.

        Where its lower bound is above every other's upper bound the window equals the leader; elsewhere it is
        bounded by the largest upper bound (Singh et al. 2019, DeepPoly, doi:10.1145/3290354, section 4.4).
        """
        members = self._members(low)
        lows = _gather(low, members)  # [batch, channels, windows, members]
        highs = _gather(high, members)
        floor, leader = lows.max(-1)
        rival = highs.scatter(-1, leader.unsqueeze(-1), -torch.inf).amax(-1)
        wins = floor >= rival
        ceiling = torch.where(wins, torch.zeros_like(rival), highs.amax(-1))
        source = members.expand_as(lows).gather(-1, leader.unsqueeze(-1)).squeeze(-1)
        height, width = self.forward(low[:1]).shape[2:]
        return Leader(source, wins, ceiling, tuple(low.shape[1:]), (height, width))

    def carried(self, low: Values, high: Values, error: Values, step: float, constant: float) -> Values:
        """A window's error is that of one of its members."""
        passed: Values = self.forward((1 + step) * error + (step + constant) * magnitude((low, high)))
        return passed

    def _members(self, x: Values) -> Int64[Tensor, "windows members"]:
        """The flat positions each window sees; one past the last stands for the padding."""
        height, width = x.shape[-2:]
        places = torch.arange(height * width, dtype=x.dtype, device=x.device).reshape(1, 1, height, width)
        (top, left) = self.padding
        places = F.pad(places, (left, left, top, top), value=height * width)
        seen = F.unfold(places, self.kernel, self.dilation, stride=self.stride)
        return seen.squeeze(0).T.round().long()


@final
@dataclass(frozen=True, eq=False)
class Leader(TwoSided):
    """max >= x[source], and max <= x[source] where it wins, else max <= ceiling; windows in flat order."""

    source: Int64[Tensor, " batch channels windows"]
    wins: Bool[Tensor, " batch channels windows"]
    ceiling: Float[Tensor, " batch channels windows"]
    before: tuple[int, ...]
    after: Pair

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        a = a.flatten(3)
        followed = torch.where(self.wins.unsqueeze(1), a, a.clamp(min=0))
        constant = ((a - followed) * self.ceiling.unsqueeze(1)).flatten(2).sum(2)
        channels, height, width = self.before
        back = a.new_zeros(*a.shape[:2], channels, height * width)
        back = back.scatter_add(3, self.source.unsqueeze(1).expand_as(a), followed)
        return (back.reshape(*a.shape[:2], *self.before),), constant

    def forward_bounds(self, *bounds: Interval, offset: bool) -> Interval:
        ((low, high),) = bounds
        below = self._led(low)
        above = self._led(high)
        other = self.ceiling.unsqueeze(1) if offset else torch.zeros_like(above)
        return self._shaped(below), self._shaped(torch.where(self.wins.unsqueeze(1), above, other))

    def _led(self, bound: Coefficients) -> Coefficients:
        source = self.source.unsqueeze(1).expand(-1, bound.shape[1], -1, -1)
        return bound.flatten(3).gather(3, source)

    def _shaped(self, bound: Coefficients) -> Coefficients:
        return bound.reshape(*bound.shape[:3], *self.after)


def _gather(x: Values, members: Tensor) -> Tensor:
    padded = F.pad(x.flatten(2), (0, 1), value=-torch.inf)
    return padded[:, :, members]

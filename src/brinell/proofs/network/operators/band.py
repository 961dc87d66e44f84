"""The linear relaxation of smooth functions of one number: between two lines, value by value."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from brinell.proofs.network.operators.base import Coefficients, Constants, Interval, TwoSided, inner
from brinell.proofs.network.operators.windows import Local, Windows


@final
@dataclass(frozen=True, eq=False)
class Band(Local, TwoSided):
    """lower * x + base <= f(x) <= upper * x + top, value by value; either line may differ from row to row."""

    lower: Float[Tensor, " batch #rows *shape"]
    base: Float[Tensor, " batch #rows *shape"]
    upper: Float[Tensor, " batch #rows *shape"]
    top: Float[Tensor, " batch #rows *shape"]

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        negative = a.clamp(max=0)
        constant = inner(a, self.base) + inner(negative, self.top - self.base)
        return ((a * self.lower).addcmul_(negative, self.upper - self.lower),), constant

    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        negative = a.values.clamp(max=0)
        lower = a.seen(self.lower)
        excess = a.seen(self.upper - self.lower)
        constant = a.on(self.base) + a.of(negative).on(self.top - self.base)
        return (a.of((a.values * lower).addcmul_(negative, excess)),), constant

    def reach(self, window: tuple[int, int]) -> tuple[int, int]:
        return window

    def forward_bounds(self, *bounds: Interval, offset: bool) -> Interval:
        ((low, high),) = bounds
        below = self.lower.clamp(min=0) * low + self.lower.clamp(max=0) * high
        above = self.upper.clamp(min=0) * high + self.upper.clamp(max=0) * low
        return (below + self.base, above + self.top) if offset else (below, above)

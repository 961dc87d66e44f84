"""A matrix on the last axis."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float64
from torch import Tensor

from brinell.verify.operators.base import Affine, Coefficients, Constants, Interval, Values, inner


@final
@dataclass(frozen=True, eq=False)
class Linear(Affine):
    """x W^T + b."""

    mixes: ClassVar[bool] = True
    weight: Float64[Tensor, "outputs inputs"]
    bias: Float64[Tensor, " outputs"]

    @property
    def terms(self) -> int:
        return len(self.weight)

    @property
    def summands(self) -> int:
        return self.weight.shape[1]

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x @ self.weight.T + self.bias

    def interval(self, *inputs: Interval) -> Interval:
        """The centre moves by W, the half-width by |W| (Gowal et al. 2018, arXiv:1810.12715, eq. 6)."""
        ((low, high),) = inputs
        centre = self.forward((high + low) / 2)
        spread = (high - low) / 2 @ self.weight.T.abs()
        return centre - spread, centre + spread

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        return (a @ self.weight,), inner(a, self.bias)

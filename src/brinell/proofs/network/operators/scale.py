"""A factor and a shift for each value: normalisation of the input, batch normalisation, added constants."""

from dataclasses import dataclass
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor

from brinell.proofs.network.operators.base import Affine, Coefficients, Constants, Values, inner, more
from brinell.proofs.network.operators.windows import Local, Windows


@final
@dataclass(frozen=True, eq=False)
class Scale(Affine, Local):
    """factor * x + shift; both broadcast to one example's shape and never change it."""

    mixes: ClassVar[bool] = False
    factor: Float[Tensor, "*#shape"]
    shift: Float[Tensor, "*#shape"]

    @property
    def summands(self) -> int:
        return 1

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return x * self.factor + self.shift

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        (size,) = sizes
        factor, shift = more(self.factor.abs(), self.shift, share)
        return size * factor if shift is None else (size * factor).add_(shift)

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        return (a * self.factor,), inner(a, self.shift)

    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        image = (1, 1, a.values.shape[3], *a.size)
        return (a.of(a.values * a.seen(self.factor.expand(image))),), a.on(self.shift.expand(image))

    def reach(self, window: tuple[int, int]) -> tuple[int, int]:
        return window

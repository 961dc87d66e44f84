"""Several node values added: where the branches of a residual network meet."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from brinell.proofs.network.operators.base import Affine, Coefficients, Constants, Values
from brinell.proofs.network.operators.windows import Local, Windows


@final
@dataclass(frozen=True)
class Total(Affine, Local):
    """The sum of weights[i] * x_i, all of one shape."""

    mixes: ClassVar[bool] = True
    weights: tuple[float, ...]

    @property
    def summands(self) -> int:
        return len(self.weights)

    def forward(self, *inputs: Values) -> Values:
        return _add([weight * x for weight, x in zip(self.weights, inputs, strict=True)])

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        parts = [abs(weight) * (1 + share) * size for weight, size in zip(self.weights, sizes, strict=True)]
        return _add(parts) + 2.0**-60 * share

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        """Every branch receives the functional, times its weight."""
        return tuple(weight * a for weight in self.weights), a.new_zeros(a.shape[:2])

    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        parts = tuple(a.of(weight * a.values) for weight in self.weights)
        return parts, a.values.new_zeros(len(a.values), a.values.shape[1:3].numel())

    def reach(self, window: tuple[int, int]) -> tuple[int, int]:
        return window


def _add(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum(0)

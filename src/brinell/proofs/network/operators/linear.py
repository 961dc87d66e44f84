"""A matrix on the last axis."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from brinell.proofs.network.operators.base import Affine, Coefficients, Constants, Values, more


@final
@dataclass(frozen=True, eq=False)
class Linear(Affine):
    """x W^T + b."""

    mixes: ClassVar[bool] = True
    weight: Float[Tensor, "outputs inputs"]
    bias: Float[Tensor, " outputs"]

    @property
    def terms(self) -> int:
        return len(self.weight)

    @property
    def summands(self) -> int:
        return self.weight.shape[1]

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return F.linear(x, self.weight, self.bias)

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        (size,) = sizes
        return F.linear(size, *more(self._sizes, self.bias, share))

    @cached_property
    def _sizes(self) -> Float[Tensor, "outputs inputs"]:
        return self.weight.abs()

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        constant = a @ self.bias
        return (a @ self.weight,), constant if constant.dim() == 2 else constant.flatten(2).sum(2)

"""Transposed convolution in two dimensions."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from brinell.proofs.network.operators.base import Affine, Coefficients, Constants, Values, more
from brinell.proofs.network.operators.convolution import Pair


@final
@dataclass(frozen=True, eq=False)
class TransposedConvolution(Affine):
    """left_over: rows and columns at the far end that only the bias reaches; torch calls them output_padding."""

    mixes: ClassVar[bool] = True
    weight: Float[Tensor, "inputs outputs_a_group height width"]
    bias: Float[Tensor, " outputs"]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    left_over: Pair = (0, 0)
    groups: int = 1
    dilation: Pair = (1, 1)

    @property
    def terms(self) -> int:
        return self.weight[0].numel()

    @property
    def summands(self) -> int:
        return self.weight[:, 0].numel() // self.groups

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return self._slide(x, self.weight, self.bias)

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        (size,) = sizes
        return self._slide(size, *more(self.weight.abs(), self.bias, share))

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        back = F.conv2d(a.flatten(0, 1), self.weight, None, self.stride, self.padding, self.dilation, self.groups)
        return (back.unflatten(0, a.shape[:2]),), a.sum((-2, -1)) @ self.bias

    def _slide(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, self.left_over, self.groups, self.dilation
        )

"""Convolution in two dimensions, and average pooling, which is a convolution with equal weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from brinell.proofs.network.operators.base import Affine, Coefficients, Constants, Values, more
from brinell.proofs.network.operators.scale import Scale
from brinell.proofs.network.operators.windows import Local, Windows

Pair = tuple[int, int]

_FEW = 2
"""Channels, as of a picture, for which a product and a fold are faster than torch's transposed convolution."""


@final
@dataclass(frozen=True, eq=False)
class Convolution(Affine, Local):
    """size: height and width of the input, which the transpose cannot tell from those of the output."""

    mixes: ClassVar[bool] = True
    weight: Float[Tensor, "outputs inputs_a_group height width"]
    bias: Float[Tensor, " outputs"]
    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def terms(self) -> int:
        return len(self.weight) // self.groups * self.weight[0, 0].numel()

    @property
    def summands(self) -> int:
        return self.weight[0].numel()

    def forward(self, *inputs: Values) -> Values:
        (x,) = inputs
        return self._slide(x, self._ahead, self.bias)

    def abs_forward(self, *sizes: Values, share: float = 0.0) -> Values:
        (size,) = sizes
        return self._slide(size, *more(self._sizes, self.bias, share))

    @property
    def simplest(self) -> Affine:
        """The same function, as a scale of each channel where it is one."""
        alone = self.weight.shape[1:] == (1, 1, 1) and self.groups == len(self.weight)
        if not alone or (*self.stride, *self.padding) != (1, 1, 0, 0):
            return self
        return Scale(self.weight.reshape(-1, 1, 1), self.bias.reshape(-1, 1, 1))

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        images = a.flatten(0, 1)
        if self.groups == 1 and self.weight.shape[1] <= _FEW:
            columns = self.weight.flatten(1).T @ images.flatten(2)
            kernel = self.weight.shape[-2:]
            back = F.fold(columns, self.size, kernel, self.dilation, self.padding, self.stride)
        elif self._turns:
            padding = [self.dilation[i] * (self.weight.shape[2 + i] - 1) - self.padding[i] for i in (0, 1)]
            back = F.conv2d(images, self._turned, None, 1, padding, self.dilation)
        else:
            back = F.conv_transpose2d(
                images,
                self.weight,
                stride=self.stride,
                padding=self.padding,
                output_padding=self._left_over(a.shape[-2:]),
                groups=self.groups,
                dilation=self.dilation,
            )
        return (back.reshape(*a.shape[:2], *back.shape[1:]),), a.sum((-2, -1)) @ self.bias

    def backward_windows(self, a: Windows) -> tuple[tuple[Windows, ...], Constants]:
        """The transpose of a window is a larger window; the stride multiplies its corner, the padding shifts it."""
        height, width = a.values.shape[-2:]
        columns = a.values.flatten(3) @ self._unrolled(height, width)
        values = columns.reshape(*a.values.shape[:3], -1, *self.reach((height, width)))
        corner = a.corner * torch.tensor(self.stride) - torch.tensor(self.padding)
        constant = a.values.sum((-2, -1)) @ self.bias
        return (Windows(values, corner, self.size).clipped(),), constant.flatten(1)

    def reach(self, window: Pair) -> Pair:
        height, width = (
            (window[i] - 1) * self.stride[i] + self.dilation[i] * (self.weight.shape[2 + i] - 1) + 1 for i in (0, 1)
        )
        return height, width

    def _unrolled(self, height: int, width: int) -> Float[Tensor, " before after"]:
        """The transposed convolution of a window alone, as a matrix; cached for each size."""
        if (height, width) not in self._matrices:
            count = len(self.weight) * height * width
            units = torch.eye(count, dtype=self.weight.dtype).reshape(count, len(self.weight), height, width)
            back = F.conv_transpose2d(
                units, self.weight, stride=self.stride, groups=self.groups, dilation=self.dilation
            )
            self._matrices[height, width] = back.flatten(1)
        return self._matrices[height, width]

    @cached_property
    def _ahead(self) -> Tensor:
        """The weight in the memory layout that torch is fastest with in float32."""
        coarse = self.weight.dtype is torch.float32 and self.weight.shape[1] > 1
        return self.weight.contiguous(memory_format=torch.channels_last) if coarse else self.weight

    @cached_property
    def _sizes(self) -> Tensor:
        return self._ahead.abs()

    @property
    def _turns(self) -> bool:
        """Whether the transpose is a convolution, which torch computes faster."""
        reach = [self.dilation[i] * (self.weight.shape[2 + i] - 1) for i in (0, 1)]
        return (
            self.groups == 1 and self.stride == (1, 1) and all(p <= r for p, r in zip(self.padding, reach, strict=True))
        )

    @cached_property
    def _turned(self) -> Tensor:
        return self.weight.flip(2, 3).transpose(0, 1).contiguous()

    @cached_property
    def _matrices(self) -> dict[Pair, Tensor]:
        return {}

    def _slide(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _left_over(self, output: torch.Size) -> list[int]:
        """The rows and columns at the far end that no window reaches, because the stride steps over them."""
        kernel = self.weight.shape[-2:]
        return [
            self.size[i]
            - ((output[i] - 1) * self.stride[i] - 2 * self.padding[i] + self.dilation[i] * (kernel[i] - 1) + 1)
            for i in (0, 1)
        ]


def average(channels: int, size: Pair, kernel: Pair, stride: Pair, padding: Pair, divisor: int) -> Convolution:
    """Average pooling; the padding counts as zeros. divisor: what the sum of a window is divided by."""
    weight = torch.full((channels, 1, *kernel), 1 / divisor, dtype=torch.float64)
    bias = torch.zeros(channels, dtype=torch.float64)
    return Convolution(weight, bias, size, stride, padding, groups=channels)

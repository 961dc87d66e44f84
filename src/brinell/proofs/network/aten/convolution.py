"""Convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from brinell.proofs.network.aten.arguments import Argument, Rule, pair, varying
from brinell.proofs.network.builder import Builder, Value, constant
from brinell.proofs.network.operators import Convolution, Pad, TransposedConvolution
from brinell.proofs.network.operators.convolution import Pair

aten = torch.ops.aten


def _convolution_2d(
    build: Builder,
    x: Argument,
    weight: Argument,
    bias: Argument = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Value:
    x = varying(x)
    kernel = constant(weight)
    offset = kernel.new_zeros(len(kernel)) if bias is None else constant(bias)
    if isinstance(padding, str):
        if padding == "same":
            x = _pad_same(build, x, kernel, pair(dilation))
        padding = (0, 0)
    size = (x.shape[1], x.shape[2])
    convolution = Convolution(kernel, offset, size, pair(stride), pair(padding), pair(dilation), groups)
    return build.add(convolution.simplest, x)


def _pad_same(build: Builder, x: Value, kernel: Tensor, dilation: Pair) -> Value:
    """Padding with zeros that keeps the size; an odd number has one more after than before."""
    extra = [dilation[i] * (kernel.shape[2 + i] - 1) for i in (1, 0)]
    return build.add(Pad(tuple((total // 2, total - total // 2) for total in extra)), x)


def _convolution_1d(
    build: Builder,
    x: Argument,
    weight: Argument,
    bias: Argument = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Value:
    """A convolution over an image one row high."""
    x = varying(x)
    row = build.reshape(x, (x.shape[0], 1, x.shape[1]))
    sides = padding if isinstance(padding, str) else (0, padding[0])
    flat = constant(weight).unsqueeze(2)
    slid = _convolution_2d(build, row, flat, bias, (1, stride[0]), sides, (1, dilation[0]), groups)
    return build.reshape(slid, (slid.shape[0], slid.shape[2]))


def _transposed_convolution(
    build: Builder,
    x: Argument,
    weight: Argument,
    bias: Argument = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    left_over: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Value:
    kernel = constant(weight)
    offset = kernel.new_zeros(kernel.shape[1] * groups) if bias is None else constant(bias)
    sizes = (pair(stride), pair(padding), pair(left_over))
    return build.add(TransposedConvolution(kernel, offset, *sizes, groups, pair(dilation)), varying(x))


RULES: dict[Any, Rule] = {
    aten.conv2d.default: _convolution_2d,
    aten.conv2d.padding: _convolution_2d,
    aten.conv1d.default: _convolution_1d,
    aten.conv1d.padding: _convolution_1d,
    aten.conv_transpose2d.input: _transposed_convolution,
}

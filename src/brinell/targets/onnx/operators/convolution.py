"""Convolution in one and two dimensions, and the sides that pad it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten


def _convolution(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = list(weight.shape[2:])
    dimensions = len(kernel)
    if dimensions not in (1, 2):
        raise Foreign(f"a convolution in {dimensions} dimensions")
    strides, dilations = (call.get(name, [1] * dimensions) for name in ("strides", "dilations"))
    before, after = sides(call, x, kernel, strides, dilations)
    if before != after:
        x = padded(call, x, before, after)
        before = [0] * dimensions
    operator = aten.conv1d.default if dimensions == 1 else aten.conv2d.default
    return call.do(operator, x, weight, bias, strides, before, dilations, call.get("group", 1))


def sides(
    call: Call, x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """How much is added before and after each of the image's axes."""
    count = len(kernel)
    how = call.get("auto_pad", "NOTSET")
    if how in ("NOTSET", "", "VALID"):
        pads = call.get("pads", [0] * 2 * count) if how != "VALID" else [0] * 2 * count
        return list(pads[:count]), list(pads[count:])
    reach = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    total = [
        max(0, (-(-n // stride) - 1) * stride + size - n)
        for n, stride, size in zip(x.shape[2:], strides, reach, strict=True)
    ]
    small = [n // 2 for n in total]
    large = [n - n // 2 for n in total]
    return (small, large) if how == "SAME_UPPER" else (large, small)


def padded(call: Call, x: Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> Tensor:
    """The image with more around it; the last axis is named first."""
    pairs = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return call.do(aten.constant_pad_nd.default, x, pairs, value) if any(pairs) else x


RULES: dict[str, Rule] = {"Conv": _convolution}

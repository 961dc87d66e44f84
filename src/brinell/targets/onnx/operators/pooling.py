"""Pooling over windows of an image."""

import math

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule
from brinell.targets.onnx.operators.convolution import padded, sides

aten = torch.ops.aten


def _average(call: Call, x: Tensor) -> Tensor:
    kernel, strides, dilations = _window(call)
    if dilations != [1, 1]:
        raise Foreign(f"average pooling with dilations {dilations}")
    before, after = sides(call, x, kernel, strides, dilations)
    counted = bool(call.get("count_include_pad", 0))
    if before != after:
        if not counted:
            raise Foreign(f"average pooling that leaves out a padding of {before} before and {after} after")
        x = padded(call, x, before, after)
        before = [0, 0]
    return call.do(aten.avg_pool2d.default, x, kernel, strides, before, bool(call.get("ceil_mode", 0)), counted)


def _maximum(call: Call, x: Tensor) -> Tensor:
    kernel, strides, dilations = _window(call)
    before, after = sides(call, x, kernel, strides, dilations)
    if before != after or any(2 * n > size for n, size in zip(before, kernel, strict=True)):
        x = padded(call, x, before, after, -math.inf)
        before = [0, 0]
    return call.do(aten.max_pool2d.default, x, kernel, strides, before, dilations, bool(call.get("ceil_mode", 0)))


def _window(call: Call) -> tuple[list[int], list[int], list[int]]:
    kernel = list(call.get("kernel_shape"))
    if len(kernel) != 2:
        raise Foreign(f"pooling in {len(kernel)} dimensions")
    return kernel, list(call.get("strides", [1, 1])), list(call.get("dilations", [1, 1]))


def _global_average(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.mean.dim, x, list(range(2, x.dim())), True)


def _global_maximum(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.amax.default, x, list(range(2, x.dim())), True)


RULES: dict[str, Rule] = {
    "AveragePool": _average,
    "MaxPool": _maximum,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_maximum,
}

"""Axes summed up."""

from typing import Any

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten


def _mean(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(call, aten.mean.dim, x, axes)


def _sum(call: Call, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return _reduced(call, aten.sum.dim_IntList, x, axes)


def _reduced(call: Call, operator: Any, x: Tensor, axes: Tensor | None) -> Tensor:
    along = call.axes(axes)
    if not along:
        if call.get("noop_with_empty_axes", 0):
            return x
        along = list(range(x.dim()))
    if call.depends(x) and any(axis % x.dim() == 0 for axis in along):
        raise Foreign("examples added to one another")
    return call.do(operator, x, along, bool(call.get("keepdims", 1)))


RULES: dict[str, Rule] = {"ReduceMean": _mean, "ReduceSum": _sum}

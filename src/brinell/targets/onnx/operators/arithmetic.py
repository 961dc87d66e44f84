"""Sums, products, and what compares two values."""

from functools import reduce

import torch
from torch import Tensor

from brinell.targets.onnx.call import Call, Foreign, Rule

aten = torch.ops.aten


def _add(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return call.do(aten.add.Tensor, x, y)


def _subtract(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return call.do(aten.sub.Tensor, x, y)


def _multiply(call: Call, x: Tensor, y: Tensor) -> Tensor:
    return call.do(aten.mul.Tensor, x, y)


def _divide(call: Call, x: Tensor, y: Tensor) -> Tensor:
    """Whole numbers, which only shapes are, are divided toward zero."""
    if not x.is_floating_point():
        return call.do(aten.div.Tensor_mode, x, y, "trunc")
    return call.do(aten.div.Tensor, x, y)


def _negate(call: Call, x: Tensor) -> Tensor:
    return call.do(aten.neg.default, x)


def _power(call: Call, x: Tensor, exponent: Tensor) -> Tensor:
    """One constant exponent for all."""
    if call.depends(exponent) or exponent.unique().numel() != 1:
        raise Foreign("its exponent is not one constant")
    return call.do(aten.pow.Tensor_Scalar, x, exponent.flatten()[0].item())


def _sum(call: Call, *terms: Tensor) -> Tensor:
    return reduce(lambda x, y: _add(call, x, y), terms)


def _largest(call: Call, *terms: Tensor) -> Tensor:
    return reduce(lambda x, y: call.do(aten.maximum.default, x, y), terms)


def _smallest(call: Call, *terms: Tensor) -> Tensor:
    return reduce(lambda x, y: call.do(aten.minimum.default, x, y), terms)


RULES: dict[str, Rule] = {
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "Neg": _negate,
    "Pow": _power,
    "Sum": _sum,
    "Max": _largest,
    "Min": _smallest,
}

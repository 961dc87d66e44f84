"""Products with matrices."""

from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, varying
from brinell.proofs.network.builder import Builder, Value, constant
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators import Linear

aten = torch.ops.aten


def _linear(build: Builder, x: Argument, weight: Argument, bias: Argument = None) -> Value:
    matrix = constant(weight)
    if matrix.dim() != 2:
        raise Unsupported(f"a product with a constant of shape {tuple(matrix.shape)}")
    offset = matrix.new_zeros(len(matrix)) if bias is None else constant(bias).expand(len(matrix))
    return build.add(Linear(matrix, offset), varying(x))


def _matmul(build: Builder, x: Argument, y: Argument) -> Value:
    if isinstance(x, Value) and isinstance(y, Value):
        return build.contraction(x, y)
    return _linear(build, x, constant(y).mT)


def _addmm(build: Builder, bias: Argument, x: Argument, y: Argument, *, beta: float = 1, alpha: float = 1) -> Value:
    return _linear(build, x, alpha * constant(y).mT, beta * constant(bias))


RULES: dict[Any, Rule] = {
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    aten.mm.default: _matmul,
    aten.bmm.default: _matmul,
    aten.addmm.default: _addmm,
}

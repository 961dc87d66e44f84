"""Sums, products and quotients, of two values or of a value and a constant."""

from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, unbatched, varying
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.operators import Reciprocal

aten = torch.ops.aten


def _add(build: Builder, x: Argument, y: Argument, *, alpha: float = 1) -> Value:
    if isinstance(x, Value) and isinstance(y, Value):
        return build.total((1, x), (alpha, y))
    if isinstance(x, Value):
        return build.scale(x, shift=alpha * unbatched(y, x))
    y = varying(y)
    return build.scale(y, alpha, unbatched(x, y))


def _subtract(build: Builder, x: Argument, y: Argument, *, alpha: float = 1) -> Value:
    return _add(build, x, y, alpha=-alpha)


def _subtract_from(build: Builder, x: Argument, y: Argument, alpha: float = 1) -> Value:
    """y - alpha * x."""
    return _add(build, y, x, alpha=-alpha)


def _multiply(build: Builder, x: Argument, y: Argument) -> Value:
    if isinstance(x, Value) and isinstance(y, Value):
        return build.product(x, y)
    if isinstance(y, Value) and not isinstance(x, Value):
        x, y = y, x
    x = varying(x)
    return build.scale(x, unbatched(y, x))


def _divide(build: Builder, x: Argument, y: Argument) -> Value:
    if isinstance(y, Value):
        return _multiply(build, x, build.add(Reciprocal(), y))
    x = varying(x)
    return build.scale(x, 1 / unbatched(y, x))


def negated(build: Builder, x: Argument) -> Value:
    return build.scale(varying(x), -1.0)


def _maximum(build: Builder, x: Argument, y: Argument) -> Value:
    return build.maximum(varying(x), varying(y))


def _minimum(build: Builder, x: Argument, y: Argument) -> Value:
    """-max(-x, -y)."""
    return build.scale(build.maximum(negated(build, x), negated(build, y)), -1.0)


RULES: dict[Any, Rule] = {
    aten.add.Tensor: _add,
    aten.add.Scalar: _add,
    aten.sub.Tensor: _subtract,
    aten.sub.Scalar: _subtract,
    aten.rsub.Tensor: _subtract_from,
    aten.rsub.Scalar: _subtract_from,
    aten.mul.Tensor: _multiply,
    aten.mul.Scalar: _multiply,
    aten.div.Tensor: _divide,
    aten.div.Scalar: _divide,
    aten.neg.default: negated,
    aten.maximum.default: _maximum,
    aten.minimum.default: _minimum,
}

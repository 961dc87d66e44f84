"""Functions of each number."""

import math
from typing import Any

import torch

from brinell.proofs.network.aten.arguments import Argument, Rule, varying
from brinell.proofs.network.builder import Builder, Value, constant, number
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators import (
    ELU,
    GELU,
    Erf,
    Exp,
    HardSwish,
    Log,
    Mish,
    Nonlinearity,
    Power,
    RealPower,
    Reciprocal,
    Rsqrt,
    Sigmoid,
    SiLU,
    Softplus,
    Sqrt,
    Tanh,
    TanhGELU,
)

aten = torch.ops.aten


def _curve(nonlinearity: Nonlinearity) -> Rule:
    """A function of each number."""
    return lambda build, x: build.add(nonlinearity, varying(x))


def _relu(build: Builder, x: Argument) -> Value:
    return build.relu(varying(x))


def _clamp(build: Builder, x: Argument, low: float | None = None, high: float | None = None) -> Value:
    return build.clamp(varying(x), _limit(low, -math.inf), _limit(high, math.inf))


def _limit(limit: float | None, none: float) -> float | None:
    """The limit of a clamp; None where it is absent or infinite, and limits nothing."""
    return None if limit is None or limit == none else number(limit)


def _clamp_max(build: Builder, x: Argument, high: float) -> Value:
    return _clamp(build, x, None, high)


def _relu6(build: Builder, x: Argument) -> Value:
    return build.clamp(varying(x), 0, 6)


def _leaky_relu(build: Builder, x: Argument, slope: float = 0.01) -> Value:
    """slope * x + (1 - slope) * relu(x), of any slope."""
    x = varying(x)
    slope = number(slope)
    return build.total((slope, x), (1 - slope, build.relu(x)))


def _absolute(build: Builder, x: Argument) -> Value:
    return build.absolute(varying(x))


def _prelu(build: Builder, x: Argument, weight: Argument) -> Value:
    """weight * x + (1 - weight) * relu(x); a weight a channel."""
    x = varying(x)
    slope = constant(weight)
    slope = slope.reshape(slope.numel(), *(1,) * (len(x.shape) - 1))
    return build.total((1, build.scale(x, slope)), (1, build.scale(build.relu(x), 1 - slope)))


def _hard_sigmoid(build: Builder, x: Argument) -> Value:
    return build.clamp(build.scale(varying(x), 1 / 6, 0.5), 0, 1)


def _elu(build: Builder, x: Argument, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    """scale * (x above zero, alpha (exp(input_scale x) - 1) below): below, a larger ELU of a smaller input."""
    steep = number(input_scale)
    if not steep > 0:
        raise Unsupported(f"ELU with {input_scale=}; a positive one is supported")
    curve = ELU(number(number(alpha) * steep))
    if steep == 1:
        return build.scale(build.add(curve, varying(x)), number(scale))
    return build.scale(build.add(curve, build.scale(varying(x), steep)), number(number(scale) / steep))


def _selu(build: Builder, x: Argument) -> Value:
    """Klambauer et al. 2017, arXiv:1706.02515."""
    return _elu(build, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def _celu(build: Builder, x: Argument, alpha: float = 1.0) -> Value:
    """x above zero, alpha (exp(x / alpha) - 1) below; for alpha < 0 it is unbounded below zero."""
    if not number(alpha) > 0:
        raise Unsupported(f"CELU with {alpha=}; a positive one is supported")
    return build.scale(build.add(ELU(), build.scale(varying(x), number(1 / alpha))), alpha)


def _softplus(build: Builder, x: Argument, beta: float = 1.0, threshold: float = 20.0) -> Value:
    if number(beta) == 0:
        raise Unsupported(f"Softplus with {beta=}, by which it is divided")
    curve = Softplus(number(threshold))
    return build.scale(build.add(curve, build.scale(varying(x), beta)), number(1 / beta))


def _threshold(build: Builder, x: Argument, threshold: float, value: float) -> Value:
    """x above the threshold, else the value; supported where it is continuous: where the two are equal."""
    if threshold != value:
        raise Unsupported(f"Threshold with {threshold=} and {value=}, between which it jumps")
    return build.clamp(varying(x), number(threshold), None)


def _soft_shrink(build: Builder, x: Argument, limit: float = 0.5) -> Value:
    """relu(x - limit) - relu(-x - limit)."""
    if not number(limit) >= 0:
        raise Unsupported(f"Softshrink with a limit of {limit}; one that is not negative is supported")
    above = build.relu(build.scale(varying(x), shift=-limit))
    below = build.relu(build.scale(varying(x), -1.0, -limit))
    return build.total((1, above), (-1, below))


def _hard_shrink(build: Builder, x: Argument, limit: float = 0.5) -> Value:
    """x where |x| is above the limit, else zero; supported where it is continuous: for a limit of zero."""
    if not number(limit) <= 0:
        raise Unsupported(f"Hardshrink with a limit of {limit}, at which it jumps")
    return varying(x)


def _gelu(build: Builder, x: Argument, *, approximate: str = "none") -> Value:
    known: dict[str, Nonlinearity] = {"none": GELU(), "tanh": TanhGELU()}
    if approximate not in known:
        raise Unsupported(f"GELU with {approximate=}; 'none' and 'tanh' are supported")
    return build.add(known[approximate], varying(x))


def _power(build: Builder, x: Argument, exponent: float) -> Value:
    """A whole power of any number, a real one of positive numbers."""
    x = varying(x)
    if exponent == 1:
        return x
    if number(exponent) == 0:
        raise Unsupported(f"a power of {exponent}, which is 1 where it is one")
    known: dict[float, Nonlinearity] = {0.5: Sqrt(), -0.5: Rsqrt(), -1.0: Reciprocal()}
    if exponent in known:
        return build.add(known[exponent], x)
    if exponent != int(exponent):
        return build.add(RealPower(float(exponent)), x)
    whole = build.add(Power(abs(int(exponent))), x)
    return whole if exponent > 0 else build.add(Reciprocal(), whole)


RULES: dict[Any, Rule] = {
    aten.relu.default: _relu,
    aten.clamp.default: _clamp,
    aten.clamp_min.default: _clamp,
    aten.hardtanh.default: _clamp,
    aten.relu6.default: _relu6,
    aten.leaky_relu.default: _leaky_relu,
    aten.threshold.default: _threshold,
    aten.softshrink.default: _soft_shrink,
    aten.hardshrink.default: _hard_shrink,
    aten.prelu.default: _prelu,
    aten._prelu_kernel.default: _prelu,
    aten.hardsigmoid.default: _hard_sigmoid,
    aten.hardswish.default: _curve(HardSwish()),
    aten.clamp_max.default: _clamp_max,
    aten.abs.default: _absolute,
    aten.sigmoid.default: _curve(Sigmoid()),
    aten.tanh.default: _curve(Tanh()),
    aten.erf.default: _curve(Erf()),
    aten.exp.default: _curve(Exp()),
    aten.log.default: _curve(Log()),
    aten.sqrt.default: _curve(Sqrt()),
    aten.rsqrt.default: _curve(Rsqrt()),
    aten.reciprocal.default: _curve(Reciprocal()),
    aten.square.default: _curve(Power(2)),
    aten.silu.default: _curve(SiLU()),
    aten.mish.default: _curve(Mish()),
    aten.gelu.default: _gelu,
    aten.elu.default: _elu,
    aten.selu.default: _selu,
    aten.celu.default: _celu,
    aten.softplus.default: _softplus,
    aten.pow.Tensor_Scalar: _power,
}

"""Lipschitz rules of the operators. An operator without one is refused by name."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch

import torch
from torch.nn import functional

from brinell.proofs.lipschitz import norms
from brinell.proofs.network.graph import Unsupported
from brinell.proofs.network.operators import (
    ELU,
    GELU,
    Affine,
    Concatenate,
    Convolution,
    Curve,
    Erf,
    Expand,
    HardSwish,
    Interval,
    Linear,
    MaxPool,
    Mish,
    Operator,
    Pad,
    Permute,
    Pick,
    ReLU,
    Reshape,
    Scale,
    Sigmoid,
    SiLU,
    Tanh,
    TanhGELU,
    Total,
    TransposedConvolution,
    Values,
)

Shape = tuple[int, ...]


def no_rule(operator: Operator) -> Unsupported:
    """The error for an operator without a rule."""
    return Unsupported(f"{type(operator).__name__} has no Lipschitz rule: how far it stretches a distance is not known")


@singledispatch
def l2_constant(operator: Operator, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    """An l2 Lipschitz constant of the output, given those of the operator's inputs.

    before, after: the shape of one example's (first) input and output. steps: of Gram iteration.
    """
    raise no_rule(operator)


@l2_constant.register
def _(operator: Linear, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return float(norms.spectral(operator.weight, steps)) * inputs[0]


@l2_constant.register
def _(operator: Convolution, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return norms.convolution(operator, (after[-2], after[-1]), steps) * inputs[0]


@l2_constant.register
def _(operator: TransposedConvolution, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    """The adjoint of a convolution from its output to its input, whose norm is the same."""
    bias = torch.zeros(len(operator.weight), dtype=operator.weight.dtype)
    how = operator.stride, operator.padding, operator.dilation, operator.groups
    adjoint = Convolution(operator.weight, bias, (after[-2], after[-1]), *how)
    return norms.convolution(adjoint, (before[-2], before[-1]), steps) * inputs[0]


@l2_constant.register
def _(operator: Expand, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return math.sqrt(operator.terms) * inputs[0]


@l2_constant.register
def _(operator: Scale, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return float(operator.factor.abs().max()) * inputs[0]


@l2_constant.register
def _(operator: Total, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    """The branches of a residual network add up: they are not a sequence."""
    return sum(abs(weight) * each for weight, each in zip(operator.weights, inputs, strict=True))


@l2_constant.register
def _(operator: Concatenate, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return math.hypot(*inputs)


@l2_constant.register(Reshape)
@l2_constant.register(Permute)
@l2_constant.register(Pad)
@l2_constant.register(Pick)
@l2_constant.register(ReLU)
def _(operator: Operator, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return inputs[0]


@l2_constant.register
def _(operator: MaxPool, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    """A value is in several windows; the constant is the root of the largest number of them."""
    ones = torch.ones(1, operator.kernel[0] * operator.kernel[1], after[-2] * after[-1])
    windows = functional.fold(ones, before[-2:], operator.kernel, operator.dilation, operator.padding, operator.stride)
    return math.sqrt(float(windows.max())) * inputs[0]


@l2_constant.register(Sigmoid)
@l2_constant.register(Tanh)
@l2_constant.register(Erf)
@l2_constant.register(ELU)
@l2_constant.register(SiLU)
@l2_constant.register(GELU)
@l2_constant.register(TanhGELU)
@l2_constant.register(Mish)
@l2_constant.register(HardSwish)
def _(operator: Curve, inputs: Sequence[float], before: Shape, after: Shape, steps: int) -> float:
    return _steepest(operator) * inputs[0]


@singledispatch
def displacement(operator: Operator, *inputs: Values) -> Values:
    """The most that each value of the output can change, given the same of each value of the inputs."""
    raise no_rule(operator)


@displacement.register
def _(operator: Affine, *inputs: Values) -> Values:
    return absolute(operator).forward(*inputs)


@displacement.register
def _(operator: ReLU, *inputs: Values) -> Values:
    return inputs[0]


@displacement.register
def _(operator: MaxPool, *inputs: Values) -> Values:
    return operator.forward(*inputs)


@displacement.register(Sigmoid)
@displacement.register(Tanh)
@displacement.register(Erf)
@displacement.register(ELU)
@displacement.register(SiLU)
@displacement.register(GELU)
@displacement.register(TanhGELU)
@displacement.register(Mish)
@displacement.register(HardSwish)
def _(operator: Curve, *inputs: Values) -> Values:
    return _steepest(operator) * inputs[0]


def slopes(curve: Curve, low: Values, high: Values) -> Interval:
    """The least and the greatest derivative over an interval; it is monotone from knot to knot.

    Raises Unsupported where the function jumps, so that a derivative does not bound its change.
    """
    if curve.profile.slack:
        raise no_rule(curve)
    ends = torch.stack((curve.derivative(low), curve.derivative(high)))
    least, most = ends.amin(0), ends.amax(0)
    for knot in curve.profile.knots:
        inside = (low < knot) & (knot < high)
        at_knot = curve.derivative(torch.full_like(low, knot))
        least = torch.where(inside, torch.minimum(least, at_knot), least)
        most = torch.where(inside, torch.maximum(most, at_knot), most)
    if curve.profile.pole is not None:
        inside = (low <= curve.profile.pole) & (curve.profile.pole <= high)
        least = least.masked_fill(inside, -torch.inf)
        most = most.masked_fill(inside, torch.inf)
    return least, most


def _steepest(curve: Curve) -> float:
    """The greatest absolute slope of a function that is linear, up to rounding, beyond 60 on either side."""
    far = torch.tensor([60.0], dtype=torch.float64)
    least, most = slopes(curve, -far, far)
    return float(torch.maximum(-least, most)) * (1 + 64 * norms.UNIT)


@singledispatch
def absolute(operator: Affine) -> Affine:
    """The operator with the absolute values of its coefficients, and no offset."""
    raise no_rule(operator)


@absolute.register(Linear)
@absolute.register(Convolution)
@absolute.register(TransposedConvolution)
def _(operator: Linear | Convolution | TransposedConvolution) -> Affine:
    return replace(operator, weight=operator.weight.abs(), bias=torch.zeros_like(operator.bias))


@absolute.register
def _(operator: Scale) -> Affine:
    return replace(operator, factor=operator.factor.abs(), shift=torch.zeros_like(operator.shift))


@absolute.register
def _(operator: Total) -> Affine:
    return replace(operator, weights=tuple(abs(weight) for weight in operator.weights))


@absolute.register(Reshape)
@absolute.register(Permute)
@absolute.register(Pad)
@absolute.register(Pick)
@absolute.register(Expand)
@absolute.register(Concatenate)
def _(operator: Affine) -> Affine:
    return operator

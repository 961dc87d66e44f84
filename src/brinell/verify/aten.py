"""What each PyTorch operator means in our operators: one rule each, one table. A missing name is an error."""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from brinell.verify.builder import Builder, Value, constant
from brinell.verify.graph import Unsupported
from brinell.verify.operators import (
    ELU,
    GELU,
    Bend,
    Concatenate,
    Convolution,
    Erf,
    Exp,
    Linear,
    Log,
    MaxPool,
    Pad,
    Permute,
    Pick,
    Power,
    Reciprocal,
    Rsqrt,
    Sigmoid,
    SiLU,
    Softplus,
    Sqrt,
    Tanh,
    TransposedConvolution,
    average,
)
from brinell.verify.operators.convolution import Pair

Argument = Value | Tensor | float | None
Rule = Callable[..., Value | list[Value]]


def _value(x: Argument) -> Value:
    if not isinstance(x, Value):
        raise Unsupported(f"a {type(x).__name__} where a value of the network was expected")
    return x


def _pair(sizes: Sequence[int] | int) -> Pair:
    first, second = (sizes, sizes) if isinstance(sizes, int) else (sizes[0], sizes[-1])
    return first, second


def _axis(axis: int, x: Value) -> int:
    """An axis of the batch as an axis of one example."""
    axis = axis + len(x.shape) + 1 if axis < 0 else axis
    if axis == 0:
        raise Unsupported("the batch axis taken apart: examples would depend on one another")
    return axis - 1


def _unbatched(shift: Argument, x: Value) -> Tensor:
    """A constant as one example sees it."""
    fixed = constant(shift)
    if fixed.dim() > len(x.shape):
        if fixed.dim() > len(x.shape) + 1 or fixed.shape[0] != 1:
            raise Unsupported(f"a constant of shape {tuple(fixed.shape)}, which differs between examples")
        fixed = fixed[0]
    return fixed


# Affine in one value


def _linear(build: Builder, x: Argument, weight: Argument, bias: Argument = None) -> Value:
    matrix = constant(weight)
    if matrix.dim() != 2:
        raise Unsupported(f"a product with a constant of shape {tuple(matrix.shape)}")
    offset = matrix.new_zeros(len(matrix)) if bias is None else constant(bias).expand(len(matrix))
    return build.add(Linear(matrix, offset), _value(x))


def _matmul(build: Builder, x: Argument, y: Argument) -> Value:
    if isinstance(x, Value) and isinstance(y, Value):
        return build.contraction(x, y)
    return _linear(build, x, constant(y).mT)


def _addmm(build: Builder, bias: Argument, x: Argument, y: Argument, *, beta: float = 1, alpha: float = 1) -> Value:
    return _linear(build, x, alpha * constant(y).mT, beta * constant(bias))


def _batch_norm(
    build: Builder,
    x: Argument,
    weight: Argument,
    bias: Argument,
    mean: Argument,
    variance: Argument,
    momentum: float,
    eps: float,
) -> Value:
    x = _value(x)
    factor = (constant(variance) + eps).rsqrt() * constant(1.0 if weight is None else weight)
    shift = constant(0.0 if bias is None else bias).expand_as(factor)
    spread = (-1,) + (1,) * (len(x.shape) - 1)
    centred = build.scale(x, shift=-constant(mean).reshape(spread))  # apart, so that it is seen what may cancel
    return build.scale(centred, factor.reshape(spread), shift.reshape(spread))


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
    x, kernel = _value(x), constant(weight)
    offset = kernel.new_zeros(len(kernel)) if bias is None else constant(bias)
    if isinstance(padding, str):
        x, padding = _pad_same(build, x, kernel, _pair(dilation)) if padding == "same" else x, (0, 0)
    size = (x.shape[1], x.shape[2])
    convolution = Convolution(kernel, offset, size, _pair(stride), _pair(padding), _pair(dilation), groups)
    return build.add(convolution.simplest, x)


def _pad_same(build: Builder, x: Value, kernel: Tensor, dilation: Pair) -> Value:
    """As many zeros as keep the size; an odd one goes after."""
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
    x = _value(x)
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
    sizes = (_pair(stride), _pair(padding), _pair(left_over))
    return build.add(TransposedConvolution(kernel, offset, *sizes, groups, _pair(dilation)), _value(x))


def _average_pool(
    build: Builder,
    x: Argument,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    x, window, sides = _value(x), _pair(kernel), _pair(padding)
    if ceil_mode or (sides != (0, 0) and not count_include_pad):
        raise Unsupported(f"average pooling with {ceil_mode=}, {count_include_pad=} and padding {sides}")
    divisor = divisor_override or window[0] * window[1]
    size = (x.shape[1], x.shape[2])
    return build.add(average(x.shape[0], size, window, _pair(stride or kernel), sides, divisor), x)


def _adaptive_average_pool(build: Builder, x: Argument, output: Sequence[int]) -> Value:
    x = _value(x)
    height, width = x.shape[1:]
    rows, columns = _pair(output)
    if height % rows or width % columns:
        raise Unsupported(f"adaptive pooling from {(height, width)} to {(rows, columns)}, which does not divide it")
    return _average_pool(build, x, (height // rows, width // columns))


def _mean(build: Builder, x: Argument, axes: Sequence[int] | None, keepdim: bool = False) -> Value:
    x = _value(x)
    within = [_axis(axis, x) for axis in axes or range(len(x.shape) + 1)]
    count = torch.Size(x.shape[axis] for axis in within).numel()
    return build.weighted(x, within, 1 / count, keepdim)


def _sum(build: Builder, x: Argument, axes: Sequence[int] | None, keepdim: bool = False) -> Value:
    x = _value(x)
    return build.weighted(x, [_axis(axis, x) for axis in axes or range(len(x.shape) + 1)], 1.0, keepdim)


# Sums and factors


def _add(build: Builder, x: Argument, y: Argument, *, alpha: float = 1) -> Value:
    if isinstance(x, Value) and isinstance(y, Value):
        return build.total((1, x), (alpha, y))
    if isinstance(x, Value):
        return build.scale(x, shift=alpha * _unbatched(y, x))
    y = _value(y)
    return build.scale(y, alpha, _unbatched(x, y))


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
    x = _value(x)
    return build.scale(x, _unbatched(y, x))


def _divide(build: Builder, x: Argument, y: Argument) -> Value:
    if isinstance(y, Value):
        return _multiply(build, x, build.add(Reciprocal(), y))
    x = _value(x)
    return build.scale(x, 1 / _unbatched(y, x))


def _negate(build: Builder, x: Argument) -> Value:
    return build.scale(_value(x), -1.0)


# Bends


def _relu(build: Builder, x: Argument) -> Value:
    return build.relu(_value(x))


def _clamp(build: Builder, x: Argument, low: float | None = None, high: float | None = None) -> Value:
    return build.clamp(_value(x), low, high)


def _relu6(build: Builder, x: Argument) -> Value:
    return build.clamp(_value(x), 0, 6)


def _leaky_relu(build: Builder, x: Argument, slope: float = 0.01) -> Value:
    """slope * x + (1 - slope) * relu(x)."""
    x = _value(x)
    return build.total((slope, x), (1 - slope, build.relu(x)))


def _maximum(build: Builder, x: Argument, y: Argument) -> Value:
    return build.maximum(_value(x), _value(y))


def _minimum(build: Builder, x: Argument, y: Argument) -> Value:
    """-max(-x, -y)."""
    return build.scale(build.maximum(_negate(build, x), _negate(build, y)), -1.0)


def _clamp_max(build: Builder, x: Argument, high: float) -> Value:
    return build.clamp(_value(x), None, high)


def _absolute(build: Builder, x: Argument) -> Value:
    return build.absolute(_value(x))


def _prelu(build: Builder, x: Argument, weight: Argument) -> Value:
    """weight * x + (1 - weight) * relu(x); a weight a channel."""
    x, slope = _value(x), constant(weight)
    slope = slope.reshape(slope.numel(), *(1,) * (len(x.shape) - 1))
    return build.total((1, build.scale(x, slope)), (1, build.scale(build.relu(x), 1 - slope)))


def _hard_sigmoid(build: Builder, x: Argument) -> Value:
    return build.clamp(build.scale(_value(x), 1 / 6, 0.5), 0, 1)


def _hard_swish(build: Builder, x: Argument) -> Value:
    return build.product(_value(x), _hard_sigmoid(build, x))


def _curve(bend: Bend) -> Rule:
    """A function of each number."""
    return lambda build, x: build.add(bend, _value(x))


def _elu(build: Builder, x: Argument, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    if input_scale != 1:
        raise Unsupported(f"ELU with {input_scale=}")
    return build.scale(build.add(ELU(float(alpha)), _value(x)), scale)


def _selu(build: Builder, x: Argument) -> Value:
    """Klambauer et al. 2017, arXiv:1706.02515."""
    return _elu(build, x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


def _celu(build: Builder, x: Argument, alpha: float = 1.0) -> Value:
    return build.scale(build.add(ELU(), build.scale(_value(x), 1 / alpha)), alpha)


def _softplus(build: Builder, x: Argument, beta: float = 1.0, threshold: float = 20.0) -> Value:
    return build.scale(build.add(Softplus(float(threshold)), build.scale(_value(x), beta)), 1 / beta)


def _gelu(build: Builder, x: Argument, *, approximate: str = "none") -> Value:
    if approximate != "none":
        raise Unsupported(f"GELU with {approximate=}; 'none' is supported")
    return build.add(GELU(), _value(x))


def _power(build: Builder, x: Argument, exponent: float) -> Value:
    x = _value(x)
    if exponent == 1:
        return x
    known: dict[float, Bend] = {0.5: Sqrt(), -0.5: Rsqrt(), -1.0: Reciprocal()}
    if exponent in known:
        return build.add(known[exponent], x)
    if exponent != int(exponent) or exponent < 2:
        raise Unsupported(f"a power of {exponent}")
    return build.add(Power(int(exponent)), x)


def _softmax(build: Builder, x: Argument, axis: int, *options: object) -> Value:
    x = _value(x)
    return build.softmax(x, _axis(axis, x))


def _log_softmax(build: Builder, x: Argument, axis: int, *options: object) -> Value:
    x = _value(x)
    return build.softmax(x, _axis(axis, x), logarithm=True)


def _layer_norm(
    build: Builder,
    x: Argument,
    shape: Sequence[int],
    weight: Argument = None,
    bias: Argument = None,
    eps: float = 1e-5,
    *options: object,
) -> Value:
    x = _value(x)
    normal = build.normalised(x, range(len(x.shape) - len(shape), len(x.shape)), eps)
    return build.scale(normal, constant(1.0 if weight is None else weight), constant(0.0 if bias is None else bias))


def _attention(
    build: Builder,
    query: Argument,
    key: Argument,
    value: Argument,
    mask: Argument = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """softmax(q k' / sqrt(d)) v."""
    q, k, v = _value(query), _value(key), _value(value)
    if mask is not None or dropout or is_causal or enable_gqa:
        raise Unsupported("attention with a mask, dropout or shared keys")
    last = len(k.shape) - 1
    likeness = build.contraction(q, build.transpose(k, last - 1, last))
    likeness = build.scale(likeness, q.shape[-1] ** -0.5 if scale is None else scale)
    return build.contraction(build.softmax(likeness, last), v)


def _largest(build: Builder, x: Argument, axes: Sequence[int] = (), keepdim: bool = False) -> Value:
    """Max pooling with one window over all of them."""
    x = _value(x)
    within = [_axis(axis, x) for axis in axes or range(len(x.shape) + 1)]
    rest = [axis for axis in range(len(x.shape)) if axis not in within]
    count = torch.Size(x.shape[axis] for axis in within).numel()
    row = build.reshape(build.add(Permute((*rest, *within)), x), (torch.Size(x.shape).numel() // count, 1, count))
    return build.reshape(build.add(MaxPool((1, count), (1, count)), row), build.expected)


def _smallest(build: Builder, x: Argument, axes: Sequence[int] = (), keepdim: bool = False) -> Value:
    return _negate(build, _largest(build, _negate(build, x), axes, keepdim))


def _max_pool(
    build: Builder,
    x: Argument,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Value:
    if ceil_mode:
        raise Unsupported("max pooling with ceil_mode=True")
    return build.add(MaxPool(_pair(kernel), _pair(stride or kernel), _pair(padding), _pair(dilation)), _value(x))


# Moving values


def _reshape(build: Builder, x: Argument, *shape: object) -> Value:
    return build.reshape(_value(x), build.expected)


def _permute(build: Builder, x: Argument, axes: Sequence[int]) -> Value:
    x = _value(x)
    if axes[0] != 0:
        raise Unsupported("the batch axis moved")
    return build.add(Permute(tuple(_axis(axis, x) for axis in axes[1:])), x)


def _transpose(build: Builder, x: Argument, first: int, second: int) -> Value:
    x = _value(x)
    return build.transpose(x, _axis(first, x), _axis(second, x))


def _slice(
    build: Builder,
    x: Argument,
    axis: int = 0,
    start: int | None = None,
    stop: int | None = None,
    step: int = 1,
) -> Value:
    x = _value(x)
    place = _axis(axis, x)
    kept = range(x.shape[place])[start:stop:step]
    return build.add(Pick(place, kept.start, kept.step, len(kept), x.shape[place]), x)


def _select(build: Builder, x: Argument, axis: int, index: int) -> Value:
    x = _value(x)
    place = _axis(axis, x)
    total = x.shape[place]
    return build.reshape(build.add(Pick(place, index % total, 1, 1, total), x), build.expected)


def _pad(
    build: Builder, x: Argument, sides: Sequence[int], mode: str = "constant", value: float | None = None
) -> Value:
    if mode != "constant" or value or min(sides) < 0:
        raise Unsupported(f"padding {list(sides)} with {mode=} and {value=}; zeros are supported")
    return build.add(Pad(tuple(zip(sides[::2], sides[1::2], strict=True))), _value(x))


def _pad_zeros(build: Builder, x: Argument, sides: Sequence[int], value: float | None = None) -> Value:
    return _pad(build, x, sides, "constant", value)


def _concatenate(build: Builder, parts: Sequence[Argument], axis: int = 0) -> Value:
    values = [_value(part) for part in parts]
    place = _axis(axis, values[0])
    return build.add(Concatenate(place, tuple(value.shape[place] for value in values)), *values)


def _expand(build: Builder, x: Argument, shape: Sequence[int], *options: object) -> Value:
    return build.expand(_value(x), build.expected)


def _split(build: Builder, x: Argument, sizes: Sequence[int] | int, axis: int = 0) -> list[Value]:
    x = _value(x)
    place = _axis(axis, x)
    total = x.shape[place]
    lengths = [min(sizes, total - i) for i in range(0, total, sizes)] if isinstance(sizes, int) else list(sizes)
    starts = itertools.accumulate(lengths, initial=0)
    return [build.add(Pick(place, start, 1, length, total), x) for start, length in zip(starts, lengths, strict=False)]


def _same(build: Builder, x: Argument, *options: object, **formats: object) -> Value:
    return _value(x)


def _first(build: Builder, x: Argument | list[Value], index: int) -> Value:
    if isinstance(x, list):
        return x[index]
    if index != 0:
        raise Unsupported(f"result {index} of an operator with several")
    return _value(x)


def _dropout(build: Builder, x: Argument, share: float, train: bool) -> Value:
    if train:
        raise Unsupported("dropout that stays on in eval mode: the network is random")
    return _value(x)


RULES: dict[Any, Rule] = {
    operator.getitem: _first,
    **{
        getattr(getattr(torch.ops.aten, name), overload): rule
        for name, overload, rule in (
            ("linear", "default", _linear),
            ("matmul", "default", _matmul),
            ("mm", "default", _matmul),
            ("bmm", "default", _matmul),
            ("addmm", "default", _addmm),
            ("_native_batch_norm_legit_no_training", "default", _batch_norm),
            ("conv2d", "default", _convolution_2d),
            ("conv2d", "padding", _convolution_2d),
            ("conv1d", "default", _convolution_1d),
            ("conv1d", "padding", _convolution_1d),
            ("conv_transpose2d", "input", _transposed_convolution),
            ("avg_pool2d", "default", _average_pool),
            ("adaptive_avg_pool2d", "default", _adaptive_average_pool),
            ("mean", "dim", _mean),
            ("sum", "dim_IntList", _sum),
            ("add", "Tensor", _add),
            ("add", "Scalar", _add),
            ("sub", "Tensor", _subtract),
            ("sub", "Scalar", _subtract),
            ("rsub", "Tensor", _subtract_from),
            ("rsub", "Scalar", _subtract_from),
            ("mul", "Tensor", _multiply),
            ("mul", "Scalar", _multiply),
            ("div", "Tensor", _divide),
            ("div", "Scalar", _divide),
            ("neg", "default", _negate),
            ("relu", "default", _relu),
            ("clamp", "default", _clamp),
            ("clamp_min", "default", _clamp),
            ("hardtanh", "default", _clamp),
            ("relu6", "default", _relu6),
            ("leaky_relu", "default", _leaky_relu),
            ("prelu", "default", _prelu),
            ("_prelu_kernel", "default", _prelu),
            ("hardsigmoid", "default", _hard_sigmoid),
            ("hardswish", "default", _hard_swish),
            ("maximum", "default", _maximum),
            ("minimum", "default", _minimum),
            ("clamp_max", "default", _clamp_max),
            ("abs", "default", _absolute),
            ("amax", "default", _largest),
            ("amin", "default", _smallest),
            ("sigmoid", "default", _curve(Sigmoid())),
            ("tanh", "default", _curve(Tanh())),
            ("erf", "default", _curve(Erf())),
            ("exp", "default", _curve(Exp())),
            ("log", "default", _curve(Log())),
            ("sqrt", "default", _curve(Sqrt())),
            ("rsqrt", "default", _curve(Rsqrt())),
            ("reciprocal", "default", _curve(Reciprocal())),
            ("square", "default", _curve(Power(2))),
            ("silu", "default", _curve(SiLU())),
            ("gelu", "default", _gelu),
            ("elu", "default", _elu),
            ("selu", "default", _selu),
            ("celu", "default", _celu),
            ("softplus", "default", _softplus),
            ("pow", "Tensor_Scalar", _power),
            ("softmax", "int", _softmax),
            ("_softmax", "default", _softmax),
            ("log_softmax", "int", _log_softmax),
            ("_log_softmax", "default", _log_softmax),
            ("layer_norm", "default", _layer_norm),
            ("native_layer_norm", "default", _layer_norm),
            ("scaled_dot_product_attention", "default", _attention),
            ("max_pool2d", "default", _max_pool),
            ("max_pool2d_with_indices", "default", _max_pool),
            ("view", "default", _reshape),
            ("_unsafe_view", "default", _reshape),
            ("reshape", "default", _reshape),
            ("flatten", "using_ints", _reshape),
            ("unflatten", "int", _reshape),
            ("squeeze", "dim", _reshape),
            ("squeeze", "dims", _reshape),
            ("unsqueeze", "default", _reshape),
            ("permute", "default", _permute),
            ("transpose", "int", _transpose),
            ("expand", "default", _expand),
            ("split", "Tensor", _split),
            ("split_with_sizes", "default", _split),
            ("slice", "Tensor", _slice),
            ("select", "int", _select),
            ("pad", "default", _pad),
            ("constant_pad_nd", "default", _pad_zeros),
            ("cat", "default", _concatenate),
            ("clone", "default", _same),
            ("alias", "default", _same),
            ("detach", "default", _same),
            ("contiguous", "default", _same),
            ("dropout", "default", _dropout),
        )
    },
}

"""Running error analysis: how far rounding may carry a substitution from what exact arithmetic makes of it.

The model of Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1: a sum of n products, in any
order, errs by at most n u / (1 - n u) times the sum of their absolute values, u being half of the machine's epsilon.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Affine, Interval, Nonlinearity, Values
from brinell.proofs.network.operators import magnitude as magnitude

Precision = Literal["float64", "float32"]

_MORE = 8
"""Roundings of one value beside those of its sum: folded constants, a division, a square root, the casts between."""


def check_precision(precision: str) -> None:
    """Refuse what is no precision."""
    if precision not in get_args(Precision):
        raise UsageError(f"precision is {precision!r}; it must be one of {', '.join(get_args(Precision))}")


def trusted(precision: Precision) -> torch.dtype:
    """The dtype; float64 for either where torch has leave to compute float32 in something coarser."""
    products = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv)  # type: ignore[attr-defined]
    kept = all(product.fp32_precision in ("none", "ieee") for product in products)
    return torch.float32 if precision == "float32" and kept else torch.float64


def at_input(graph: Graph, hull: Interval, dtype: torch.dtype) -> Values:
    """E with: <a, x> over the hull, bounded in this precision, is off by at most <|a|, E>."""
    return share(math.prod(graph.nodes[0].shape) + len(graph.nodes) + 8, dtype) * magnitude(hull)


def at_node(graph: Graph, i: int, inputs: Sequence[Interval], errors: Sequence[Values], dtype: torch.dtype) -> Values:
    """E with: a bound on <a, node i>, substituted back to the input in this precision, is off by at most <|a|, E>.

    inputs, errors: the intervals and the E of the nodes it depends on. One step rounds each coefficient it makes, by a
    share of what its terms come to, and that weighs as much as the value it stands before; the rest is what the step
    hands on, |a| times the operator's absolute values. So E is carried forward like an interval, once for all neurons.
    """
    operator, few = graph.operator(i), len(graph.nodes) + 8  # roundings on the way, beside those of long sums
    constant, step = share(math.prod(graph.nodes[i].shape) + few, dtype), share(operator.terms + few, dtype)
    if isinstance(operator, Affine):
        carried = [(1 + step) * e + step * magnitude(x) for e, x in zip(errors, inputs, strict=True)]
        offset = operator.forward(*(torch.zeros_like(e[:1]) for e in carried))
        return operator.abs_forward(*carried) + constant * offset.abs()
    ((low, high),), (error,) = inputs, errors
    return operator.carried(low, high, error, step, constant)


def at_nodes(graph: Graph, intervals: Sequence[Interval]) -> list[Values]:
    """The E of every node, of substitution in float64. intervals: one a node."""
    errors = [at_input(graph, intervals[0], torch.float64)]
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs, before = [intervals[j] for j in node.inputs], [errors[j] for j in node.inputs]
        errors.append(at_node(graph, i, inputs, before, torch.float64))
    return errors


def rounds(operator: Affine | Nonlinearity) -> bool:
    """Whether floats compute its value with any rounding, as they do not what moves or compares."""
    return operator.summands != 0 if isinstance(operator, Affine) else not operator.exact


def at_value(
    operator: Affine | Nonlinearity, inputs: Sequence[Interval], errors: Sequence[Values] | None = None
) -> Values:
    """E with: the value, or the interval, that float64 computes of inputs off by `errors` is off by at most E.

    Without errors the inputs are what they are, and E is what this one operator rounds.
    """
    before = [torch.zeros_like(low) for low, _ in inputs] if errors is None else errors
    sizes = [magnitude(x) + e for x, e in zip(inputs, before, strict=True)]
    if isinstance(operator, Affine):
        new = made(operator, sizes, torch.float64)
        return new if errors is None else absolute_parts(operator, before)[0] + new
    few = 0.0 if operator.exact else share(_MORE, torch.float64)
    return operator.carried(inputs[0][0] - before[0], inputs[0][1] + before[0], before[0], few, few)


def made(operator: Affine, sizes: Sequence[Values], dtype: torch.dtype) -> Values:
    """The rounding of an affine operator alone, in this precision, on inputs up to these sizes."""
    if operator.summands == 0:
        return torch.zeros_like(operator.forward(*sizes))
    terms = (operator.summands or sum(size[0].numel() for size in sizes)) + _MORE
    linear, offset = absolute_parts(operator, sizes)
    largest = torch.stack([size.flatten(1).amax(1) for size in sizes]).amax(0)
    lost = 2 * terms * torch.finfo(dtype).tiny * (1 + largest).reshape(-1, *(1,) * (linear.dim() - 1))
    total = linear + offset.abs()
    rounded = share(terms, dtype) * total + lost
    return rounded.where(total + rounded < torch.finfo(dtype).max / 2, torch.inf)


def absolute_parts(operator: Affine, sizes: Sequence[Values]) -> tuple[Values, Tensor]:
    """(|W| sizes, the offset, one for all examples) of an affine operator."""
    return operator.abs_forward(*sizes), operator.forward(*(torch.zeros_like(size[:1]) for size in sizes))


def is_kept(operator: Affine | Nonlinearity) -> bool:
    """Whether `kept` knows the operator well enough."""
    return operator.summands is not None if isinstance(operator, Affine) else operator.exact


def kept(operator: Affine | Nonlinearity, inputs: Sequence[Interval]) -> Interval:
    """The operator's interval, no narrower than exact arithmetic has it, in the precision of the inputs.

    A sum of n products is off by a share of what it would come to without signs, |W| |x| + |b|. That share of the
    middle joins the half-width before it is spread, so that it costs no sum of its own.
    """
    if not isinstance(operator, Affine) or not operator.summands:
        return operator.interval(*inputs)
    off = share(operator.summands + _MORE, inputs[0][0].dtype)
    middles = [(high + low).mul_(0.5) for low, high in inputs]
    halves = [(x[1] - middle).add_(middle.abs(), alpha=off) for x, middle in zip(inputs, middles, strict=True)]
    # The spread is a sum as well, and may come out too small.
    middle, half = operator.forward(*middles), operator.abs_forward(*halves, share=2 * off)
    middle.add_(half)
    return half.mul_(-2).add_(middle), middle


def outward(interval: Interval, dtype: torch.dtype) -> Interval:
    """The interval in this precision, no narrower."""
    low, high = (end.to(dtype) for end in interval)
    if dtype is interval[0].dtype:
        return low, high
    down = torch.nextafter(low, torch.full_like(low, -torch.inf))
    up = torch.nextafter(high, torch.full_like(high, torch.inf))
    return torch.where(low > interval[0], down, low), torch.where(high < interval[1], up, high)


def share(terms: int, dtype: torch.dtype) -> float:
    """By what share of the sum of absolute values a sum of so many products may be off, in any order."""
    unit = terms * torch.finfo(dtype).eps / 2
    return unit / (1 - unit) if unit < 1 else math.inf

"""Running error analysis: how far rounding may carry a bound from what exact arithmetic makes of it.

The model of floating point (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1): a sum of n
products, in any order, errs by at most the share n u / (1 - n u) of the sum of their absolute values, u being half of
the machine's epsilon. `share` is that factor.

Backward substitution, `at_input` and `at_node`, find for each node an E >= 0 such that a computed bound on <a, node> is
off by at most <|a|, E>, whatever a is:

1. At the input, <a, x> is bounded over the hull: a sum of as many products as inputs, so E is that share of |x|.
2. Through a node f, the functional a becomes one of f's inputs, W^T a (of a nonlinearity, W has the slopes of its
   relaxation). Each new coefficient is rounded by the share `step` of its terms, and stands before a value of at most
   |x|: that adds |a| |W| step |x|, and enlarges the inputs' own E to (1 + step) E.
3. The constants <a, b> add up over the whole way back: the share `constant` of |a| |b|.
4. So E(f) = |W| ((1 + step) E + step |x|) + constant |b|. It does not depend on a, and is propagated forward, once for
   all neurons, like an interval.

Forward evaluation, `at_value` and `affine_rounding`: the value float64 computes of f(x), x off by e, is off by at most
|W| e plus f's own rounding, a share of |W| (|x| + e) + |b|, and what underflow may take.
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
"""Roundings of a value besides those of its sum: folded constants, a division, a square root, casts."""


def check_precision(precision: str) -> None:
    """Raise UsageError for a precision that is neither "float64" nor "float32"."""
    if precision not in get_args(Precision):
        raise UsageError(f"precision is {precision!r}; it must be one of {', '.join(get_args(Precision))}")


def trusted(precision: Precision) -> torch.dtype:
    """The dtype; float64 for both where torch may compute float32 in a coarser format (TF32, bfloat16)."""
    products = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv)  # type: ignore[attr-defined]
    kept = all(product.fp32_precision in ("none", "ieee") for product in products)
    return torch.float32 if precision == "float32" and kept else torch.float64


def at_input(graph: Graph, hull: Interval, dtype: torch.dtype) -> Values:
    """E of the input, step 1 of the derivation: a bound on <a, x> in this precision is off by at most <|a|, E>."""
    return share(math.prod(graph.nodes[0].shape) + len(graph.nodes) + 8, dtype) * magnitude(hull)


def at_node(graph: Graph, i: int, inputs: Sequence[Interval], errors: Sequence[Values], dtype: torch.dtype) -> Values:
    """E of node i, steps 2 to 4: a bound on <a, node i> by substitution in this precision is off by at most <|a|, E>.

    inputs, errors: the intervals and the E of the nodes it reads.
    """
    operator = graph.operator(i)
    few = len(graph.nodes) + 8  # roundings along the way, besides those of long sums
    constant = share(math.prod(graph.nodes[i].shape) + few, dtype)
    step = share(operator.terms + few, dtype)

    if isinstance(operator, Affine):
        # |W| ((1 + step) E + step |x|) + constant |b|
        carried = [(1 + step) * e + step * magnitude(x) for e, x in zip(errors, inputs, strict=True)]
        offset = operator.forward(*(torch.zeros_like(e[:1]) for e in carried))
        return operator.abs_forward(*carried) + constant * offset.abs()

    ((low, high),) = inputs
    (error,) = errors
    return operator.carried(low, high, error, step, constant)


def at_nodes(graph: Graph, intervals: Sequence[Interval]) -> list[Values]:
    """The E of every node, of substitution in float64. intervals: of every node."""
    errors = [at_input(graph, intervals[0], torch.float64)]
    for i, node in enumerate(graph.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        before = [errors[j] for j in node.inputs]
        errors.append(at_node(graph, i, inputs, before, torch.float64))
    return errors


def rounds(operator: Affine | Nonlinearity) -> bool:
    """Whether floats round its value: operators that only move or compare values do not."""
    return operator.summands != 0 if isinstance(operator, Affine) else not operator.exact


def at_value(
    operator: Affine | Nonlinearity, inputs: Sequence[Interval], errors: Sequence[Values] | None = None
) -> Values:
    """A bound on the error of the value, or interval, that float64 computes from inputs that are off by `errors`.

    errors: None for exact inputs; then it is what this one operator rounds.
    """
    before = [torch.zeros_like(low) for low, _ in inputs] if errors is None else errors
    sizes = [magnitude(x) + e for x, e in zip(inputs, before, strict=True)]
    if isinstance(operator, Affine):
        new = affine_rounding(operator, sizes, torch.float64)
        return new if errors is None else absolute_parts(operator, before)[0] + new
    few = 0.0 if operator.exact else share(_MORE, torch.float64)
    return operator.carried(inputs[0][0] - before[0], inputs[0][1] + before[0], before[0], few, few)


def affine_rounding(operator: Affine, sizes: Sequence[Values], dtype: torch.dtype) -> Values:
    """What an affine operator itself rounds in this precision, on inputs of up to these absolute values."""
    if operator.summands == 0:
        return torch.zeros_like(operator.forward(*sizes))
    terms = (operator.summands or sum(size[0].numel() for size in sizes)) + _MORE
    linear, offset = absolute_parts(operator, sizes)

    # Each product may underflow, by `tiny` times a factor of at most the largest input.
    largest = torch.stack([size.flatten(1).amax(1) for size in sizes]).amax(0)
    underflow = 2 * terms * torch.finfo(dtype).tiny * (1 + largest).reshape(-1, *(1,) * (linear.dim() - 1))
    total = linear + offset.abs()
    rounded = share(terms, dtype) * total + underflow
    return rounded.where(total + rounded < torch.finfo(dtype).max / 2, torch.inf)


def absolute_parts(operator: Affine, sizes: Sequence[Values]) -> tuple[Values, Tensor]:
    """(|W| sizes, the offset b, the same for all examples) of an affine operator W x + b."""
    return operator.abs_forward(*sizes), operator.forward(*(torch.zeros_like(size[:1]) for size in sizes))


def is_kept(operator: Affine | Nonlinearity) -> bool:
    """Whether `kept` has a bound on the operator's rounding."""
    return operator.summands is not None if isinstance(operator, Affine) else operator.exact


def kept(operator: Affine | Nonlinearity, inputs: Sequence[Interval]) -> Interval:
    """The operator's interval in the precision of its inputs, never narrower than in exact arithmetic.

    1. W middle + b errs by at most the share s of |W| |middle| + |b|, s being that of its sum.
    2. |W| half-width errs by at most the share s of itself.
    3. |W| (half-width + s |middle|), enlarged by the share 2 s, with 2 s |b| added, makes up for both: the allowance is
       part of a sum that is computed anyway, so it costs none of its own.
    """
    if not isinstance(operator, Affine) or not operator.summands:
        return operator.interval(*inputs)
    off = share(operator.summands + _MORE, inputs[0][0].dtype)
    middles = [(high + low).mul_(0.5) for low, high in inputs]
    halves = [(x[1] - middle).add_(middle.abs(), alpha=off) for x, middle in zip(inputs, middles, strict=True)]

    middle = operator.forward(*middles)
    half = operator.abs_forward(*halves, share=2 * off)
    middle.add_(half)
    return half.mul_(-2).add_(middle), middle


def outward(interval: Interval, dtype: torch.dtype) -> Interval:
    """The interval rounded outward to this precision."""
    low, high = (end.to(dtype) for end in interval)
    if dtype is interval[0].dtype:
        return low, high
    down = torch.nextafter(low, torch.full_like(low, -torch.inf))
    up = torch.nextafter(high, torch.full_like(high, torch.inf))
    return torch.where(low > interval[0], down, low), torch.where(high < interval[1], up, high)


def share(terms: int, dtype: torch.dtype) -> float:
    """n u / (1 - n u): the error of a sum of n products in any order, as a share of the sum of absolute values."""
    unit = terms * torch.finfo(dtype).eps / 2
    return unit / (1 - unit) if unit < 1 else math.inf

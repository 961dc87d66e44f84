"""Running error analysis: how far rounding may carry a substitution from what exact arithmetic makes of it.

The model of Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1: a sum of n products, in any
order, errs by at most n u / (1 - n u) times the sum of their absolute values, u being half of the machine's epsilon.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch

from brinell.errors import UsageError
from brinell.verify.graph import Graph
from brinell.verify.operators import Affine, Interval, Values
from brinell.verify.operators import magnitude as magnitude

Precision = Literal["float64", "float32"]


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
        low, high = operator.interval(*((-e, e) for e in carried))
        return (high - low) / 2 + constant * ((high + low) / 2).abs()
    ((low, high),), (error,) = inputs, errors
    return operator.carried(low, high, error, step, constant)


def outward(interval: Interval, dtype: torch.dtype) -> Interval:
    """The interval in this precision, no narrower."""
    low, high = (end.to(dtype) for end in interval)
    if dtype is interval[0].dtype:
        return low, high
    return torch.nextafter(low, torch.full_like(low, -torch.inf)), torch.nextafter(
        high, torch.full_like(high, torch.inf)
    )


def share(terms: int, dtype: torch.dtype) -> float:
    """By what share of the sum of absolute values a sum of so many products may be off, in any order."""
    unit = terms * torch.finfo(dtype).eps / 2
    return unit / (1 - unit) if unit < 1 else math.inf

"""Linear bounds of a network's directional derivative over a region, by backward substitution.

1. By the chain rule, the derivative of a node along a direction is linear in those of its inputs: that of an affine
   operator by its linear part, and that of a nonlinearity f is f'(z) d, with d the derivative of its input z.
2. Over the region, f'(z) lies in an interval [l, u] and d in [a, b]. Where d has one sign, f'(z) d lies between l d and
   u d; else between two chords, through (a, u a) and (b, l b) below, and through (a, l a) and (b, u b) above.
3. With these relaxations in the place of ReLUs', CROWN's substitution bounds the derivative of any functional; at the
   input it is the direction itself.

By the mean value theorem the bounds hold for difference quotients too, of two points of a convex region.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.lipschitz.rules import no_rule, slopes
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import (
    Affine,
    Band,
    Coefficients,
    Constants,
    Curve,
    Interval,
    Linearised,
    Nonlinearity,
    ReLU,
    Values,
    inner,
)
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.relaxation.network import Relaxation, intersected


def derivative_relaxations(problem: Problem, relaxed: Relaxation, direction: Values) -> dict[int, Linearised]:
    """For each node but the input, linear bounds of its derivative along `direction`, in those of its inputs.

    relaxed: the intervals of the network over the problem's inputs. Raises Unsupported where a nonlinearity is neither
    a ReLU nor a smooth function of one number.
    """
    graph = problem.graph
    derivatives: list[Interval] = [(direction, direction)]
    relaxations: dict[int, Linearised] = {}
    for i, node in enumerate(graph.nodes[1:], 1):
        operator = graph.operator(i)
        if isinstance(operator, Affine):
            relaxations[i] = _LinearPart(operator)
            inputs = [(derivatives[j][0].unsqueeze(1), derivatives[j][1].unsqueeze(1)) for j in node.inputs]
            below, above = operator.forward_bounds(*inputs, offset=False)
            derivatives.append((below.squeeze(1), above.squeeze(1)))
            continue

        (source,) = node.inputs
        derivatives[source] = intersected(derivatives[source], _substituted(graph, source, relaxations, direction))
        factors = _slope_range(operator, relaxed.intervals[source])
        products = torch.stack([factor * end for factor in factors for end in derivatives[source]])
        derivatives.append((products.amin(0), products.amax(0)))
        relaxations[i] = _product_band(factors, derivatives[source])
    return relaxations


def least_derivative(
    graph: Graph, node: int, a: Coefficients, relaxations: Mapping[int, Linearised], direction: Values
) -> Float64[Tensor, "regions rows"]:
    """A lower bound on the derivative of <a, node> along `direction`."""
    held, constant = substitute(graph, node, a, relaxations)
    if 0 not in held:
        return constant.expand(a.shape[:2])
    return inner(written(held[0]), direction.unsqueeze(1)) + constant


@final
@dataclass(frozen=True, eq=False)
class _LinearPart(Linearised):
    """An affine operator without its offset."""

    operator: Affine

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        back, constant = self.operator.backward(a)
        return back, torch.zeros_like(constant)


def _slope_range(operator: Affine | Nonlinearity, interval: Interval) -> Interval:
    """The least and the greatest slope of a nonlinearity over an interval of its input."""
    low, high = interval
    if isinstance(operator, ReLU):
        return (low >= 0).double(), (high > 0).double()
    if isinstance(operator, Curve):
        return slopes(operator, low, high)
    raise no_rule(operator)


def _product_band(factors: Interval, interval: Interval) -> Band:
    """Step 2: linear bounds of factor * d, in d, for d in the interval."""
    least, most = factors
    low, high = interval
    positive = low >= 0
    negative = high <= 0
    width = high - low

    def line(at_low: Tensor, at_high: Tensor) -> tuple[Tensor, Tensor]:
        """(slope, offset) of the line through (low, at_low * low) and (high, at_high * high)."""
        chord = (at_high * high - at_low * low) / width
        slope = torch.where(positive, at_high, torch.where(negative, at_low, chord))
        offset = torch.where(positive | negative, 0.0, (at_low - slope) * low)
        return slope.unsqueeze(1), offset.unsqueeze(1)

    return Band(*line(most, least), *line(least, most))


def _substituted(graph: Graph, node: int, relaxations: Mapping[int, Linearised], direction: Values) -> Interval:
    """Bounds on the derivative of every value of a node, by backward substitution."""
    shape = graph.nodes[node].shape
    unit = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).unflatten(1, shape)
    unit = unit.expand(len(direction), *unit.shape)  # [regions, values, *shape]
    low = least_derivative(graph, node, unit, relaxations, direction)
    high = -least_derivative(graph, node, -unit, relaxations, direction)
    return low.reshape(-1, *shape), high.reshape(-1, *shape)

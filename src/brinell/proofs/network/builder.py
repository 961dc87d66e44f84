"""The network under construction, for importers, and functions composed of several operators."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from brinell.proofs.network.graph import Node, Unsupported
from brinell.proofs.network.operators import (
    Affine,
    Concatenate,
    Exp,
    Expand,
    Linear,
    Log,
    Nonlinearity,
    Permute,
    Power,
    Product,
    Reciprocal,
    ReLU,
    Reshape,
    Rsqrt,
    Scale,
    Total,
)


@final
@dataclass(frozen=True)
class Value:
    """A value of the network under construction: its place, and one example's shape."""

    place: int
    shape: tuple[int, ...]


@final
@dataclass
class Builder:
    """The nodes so far. `expected` is the shape that the foreign operator being read gives one example."""

    nodes: list[Node] = field(default_factory=list)
    expected: tuple[int, ...] = ()

    def input(self, shape: Sequence[int]) -> Value:
        self.nodes.append(Node(None, (), tuple(shape)))
        return Value(0, tuple(shape))

    def add(self, operator: Affine | Nonlinearity, *inputs: Value) -> Value:
        """Append a node; its shape is found by running it on zeros."""
        zeros = (torch.zeros(1, *value.shape, dtype=torch.float64) for value in inputs)
        shape = tuple(operator.forward(*zeros).shape[1:])
        self.nodes.append(Node(operator, tuple(value.place for value in inputs), shape))
        return Value(len(self.nodes) - 1, shape)

    def scale(self, x: Value, factor: Tensor | float = 1.0, shift: Tensor | float = 0.0) -> Value:
        """factor * x + shift, to as many values as the constants have; the bias of a matrix that had none."""
        by = constant(factor)
        plus = constant(shift)
        shape = torch.broadcast_shapes(x.shape, by.shape, plus.shape)
        made = self.nodes[x.place]
        if isinstance(made.operator, Linear) and shape == x.shape and (by == 1).all() and not made.operator.bias.any():
            source = Value(made.inputs[0], self.nodes[made.inputs[0]].shape)
            return self.add(replace(made.operator, bias=plus.expand(made.operator.bias.shape)), source)
        return self.add(Scale(by, plus), self.expand(x, shape))

    def total(self, *terms: tuple[float, Value]) -> Value:
        """The sum of weight * value."""
        values = self.alike(*(value for _, value in terms))
        return self.add(Total(tuple(float(weight) for weight, _ in terms)), *values)

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        """x repeated along axes of length 1."""
        if len(shape) != len(x.shape):
            raise Unsupported(f"a value of shape {x.shape} where one of {tuple(shape)} is wanted")
        return x if tuple(shape) == x.shape else self.add(Expand(x.shape, tuple(shape)), x)

    def alike(self, *values: Value) -> list[Value]:
        """Values of one shape, by repetition."""
        if len({len(value.shape) for value in values}) > 1:
            raise Unsupported(f"values of different shapes joined: {sorted({value.shape for value in values})}")
        shape = torch.broadcast_shapes(*(value.shape for value in values))
        return [self.expand(value, shape) for value in values]

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return x if tuple(shape) == x.shape else self.add(Reshape(x.shape, tuple(shape)), x)

    def relu(self, x: Value) -> Value:
        return self.add(ReLU(), x)

    def maximum(self, x: Value, y: Value) -> Value:
        """max(x, y) = x + relu(y - x)."""
        return self.total((1, x), (1, self.relu(self.total((1, y), (-1, x)))))

    def absolute(self, x: Value) -> Value:
        """|x| = relu(x) + relu(-x)."""
        return self.total((1, self.relu(x)), (1, self.relu(self.scale(x, -1.0))))

    def product(self, x: Value, y: Value) -> Value:
        """x y; a square is bounded more tightly, as a function of one value."""
        if x == y:
            return self.add(Power(2), x)
        x, y = self.alike(x, y)
        pair = self.add(Concatenate(0, (1, 1)), *(self.reshape(value, (1, *x.shape)) for value in (x, y)))
        return self.add(Product(), pair)

    def contraction(self, x: Value, y: Value) -> Value:
        """The matrix product of the last two axes of x and y."""
        *first, rows, inner = x.shape
        *second, again, columns = y.shape
        if inner != again or first != second:
            raise Unsupported(f"a product of values of shapes {x.shape} and {y.shape}")
        left = self.reshape(x, (*first, rows, 1, inner))
        right = self.transpose(y, len(first), len(first) + 1)
        pairs = self.product(left, self.reshape(right, (*first, 1, columns, inner)))
        return self.weighted(pairs, [len(first) + 2], 1.0, False)

    def transpose(self, x: Value, first: int, second: int) -> Value:
        """Two axes of one example exchanged."""
        order = list(range(len(x.shape)))
        order[first] = second
        order[second] = first
        return self.add(Permute(tuple(order)), x)

    def softmax(self, x: Value, axis: int, logarithm: bool = False, allowed: Tensor | None = None) -> Value:
        """1 / sum_j exp(x_j - x_i), or minus the logarithm of that sum.

        The exponential-reciprocal decomposition of Wei et al. 2023, arXiv:2303.01713, section 3: the sum is at least 1.
        allowed: of the shape of x, which of its values there are, at least one in each sum; the others have no share.
        """
        last = len(x.shape) - 1
        moved = self.transpose(x, axis, last)
        count = moved.shape[-1]
        unit = torch.eye(count, dtype=torch.float64)
        differences = (unit.unsqueeze(0) - unit.unsqueeze(1)).reshape(count * count, count)
        powers = self.add(Exp(), self.add(Linear(differences, torch.zeros(count * count, dtype=torch.float64)), moved))
        powers = self.reshape(powers, (*moved.shape, count))
        there = None if allowed is None else allowed.to(torch.float64).transpose(axis, last)
        if there is not None:
            powers = self.scale(powers, there.unsqueeze(-2))
        whole = self.weighted(powers, [last + 1], 1.0, False)
        share = self.scale(self.add(Log(), whole), -1.0) if logarithm else self.add(Reciprocal(), whole)
        return self.transpose(share if there is None else self.scale(share, there), axis, last)

    def normalised(self, x: Value, axes: Sequence[int], eps: float) -> Value:
        """(x - mean) / sqrt(variance + eps), over `axes` of one example."""
        count = torch.Size(x.shape[axis] for axis in axes).numel()
        centred = self.total((1, x), (-1, self.weighted(x, axes, 1 / count, True)))
        variance = self.weighted(self.add(Power(2), centred), axes, 1 / count, True)
        return self.product(centred, self.add(Rsqrt(), self.scale(variance, shift=eps)))

    def clamp(self, x: Value, low: float | None, high: float | None) -> Value:
        """max(x, low) = low + relu(x - low), and min(x, high) = high - relu(high - x)."""
        if low is not None:
            x = self.relu(x) if low == 0 else self.scale(self.relu(self.scale(x, shift=-low)), shift=low)
        if high is not None:
            x = self.scale(self.relu(self.scale(x, -1.0, high)), -1.0, high)
        return x

    def weighted(self, x: Value, axes: Sequence[int], weight: float, keep: bool) -> Value:
        """weight * the sum over `axes` of one example."""
        rest = [axis for axis in range(len(x.shape)) if axis not in axes]
        count = torch.Size(x.shape[axis] for axis in axes).numel()
        last = self.add(Permute((*rest, *axes)), x)
        flat = self.reshape(last, (*(x.shape[axis] for axis in rest), count))
        row = torch.full((1, count), weight, dtype=torch.float64)
        summed = self.add(Linear(row, torch.zeros(1, dtype=torch.float64)), flat)
        kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        return self.reshape(summed, kept if keep else [x.shape[axis] for axis in rest])


def constant(value: object) -> Tensor:
    """A constant in float64 on the CPU. Raises Unsupported for NaN or infinity: such a network has no proofs."""
    if not isinstance(value, (Tensor, int, float)):
        raise Unsupported(f"a {type(value).__name__} where a constant was expected")
    held = value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
    held = held.detach().to("cpu", torch.float64)
    if not held.isfinite().all():
        raise Unsupported(f"a constant of shape {tuple(held.shape)} that holds NaN or infinite numbers")
    return held


def number(value: object) -> float:
    """A finite setting of an operator. Raises Unsupported for another."""
    held = constant(value)
    if held.numel() != 1:
        raise Unsupported(f"a setting of shape {tuple(held.shape)} where one number was expected")
    return float(held)

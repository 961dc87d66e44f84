"""What importers share: the list of nodes as it grows, and what is made of several operators."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from brinell.verify.graph import Node, Unsupported
from brinell.verify.operators import Affine, Bend, Linear, Permute, ReLU, Reshape, Scale, Total


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

    def add(self, operator: Affine | Bend, *inputs: Value) -> Value:
        """Append a node; its shape is found by running it on zeros."""
        zeros = (torch.zeros(1, *value.shape, dtype=torch.float64) for value in inputs)
        shape = tuple(operator.forward(*zeros).shape[1:])
        self.nodes.append(Node(operator, tuple(value.place for value in inputs), shape))
        return Value(len(self.nodes) - 1, shape)

    def scale(self, x: Value, factor: Tensor | float = 1.0, shift: Tensor | float = 0.0) -> Value:
        """factor * x + shift."""
        moved = self.add(Scale(constant(factor), constant(shift)), x)
        if moved.shape != x.shape:
            raise Unsupported(f"a constant that widens the shape {x.shape} to {moved.shape}")
        return moved

    def total(self, *terms: tuple[float, Value]) -> Value:
        """The sum of weight * value."""
        shapes = {value.shape for _, value in terms}
        if len(shapes) > 1:
            raise Unsupported(f"values of different shapes added: {sorted(shapes)}")
        return self.add(Total(tuple(float(weight) for weight, _ in terms)), *(value for _, value in terms))

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        return x if tuple(shape) == x.shape else self.add(Reshape(x.shape, tuple(shape)), x)

    def relu(self, x: Value) -> Value:
        return self.add(ReLU(), x)

    def maximum(self, x: Value, y: Value) -> Value:
        """max(x, y) = x + relu(y - x)."""
        return self.total((1, x), (1, self.relu(self.total((1, y), (-1, x)))))

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
    """A constant in float64, on the CPU: where proofs are made."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", torch.float64)
    if isinstance(value, (int, float)):
        return torch.tensor(float(value), dtype=torch.float64)
    raise Unsupported(f"a {type(value).__name__} where a constant was expected")

"""A network as a list of operators in the order they run: what verifiers read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import final

import torch

from brinell.errors import CannotRun
from brinell.proofs.network.operators import (
    Affine,
    Erf,
    Interval,
    Neurons,
    Nonlinearity,
    Permute,
    Reshape,
    Scale,
    Sigmoid,
    Tanh,
    Values,
)
from brinell.targets.agreement import as_approximated
from brinell.types import Inputs


class Unsupported(CannotRun):
    """An operator without a rule that bounds it. It is never skipped, nor taken for the identity."""


@final
@dataclass(frozen=True, eq=False)
class Node:
    """One value of the network; only the input has no operator.

    inputs: positions in `Graph.nodes`, all before this one. shape: that of one example, without the batch.
    """

    operator: Affine | Nonlinearity | None
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


@final
@dataclass(frozen=True, eq=False)
class Graph:
    """Node 0 is the input, the last is the output, one score a class. Constants: on the CPU; float64 unless cast."""

    nodes: tuple[Node, ...]

    def __call__(self, x: Inputs) -> Values:
        """The output, in float64 on the CPU."""
        return self.values(x)[-1]

    def values(self, x: Inputs) -> list[Values]:
        """The value of each node, in float64 on the CPU."""
        values = [x.to("cpu", torch.float64)]
        for i in range(1, len(self.nodes)):
            values.append(self.operator(i).forward(*(values[j] for j in self.nodes[i].inputs)))
        return values

    def rough(self, x: Inputs) -> Values:
        """The output computed in float32, as float64: its difference from `self(x)` shows the effect of rounding."""
        network = self.cast(torch.float32)
        values = [x.to("cpu", torch.float32)]
        for i in range(1, len(network.nodes)):
            operator = network.operator(i)
            value = operator.forward(*(values[j] for j in network.nodes[i].inputs))
            values.append(as_approximated(value) if isinstance(operator, Sigmoid | Tanh | Erf) else value)
        return values[-1].double()

    def cast(self, dtype: torch.dtype) -> "Graph":
        """The same network with constants of this precision; made once."""
        if dtype not in self._casts:
            self._casts[dtype] = Graph(
                tuple(replace(node, operator=_cast(node.operator, dtype)) for node in self.nodes)
            )
        return self._casts[dtype]

    @cached_property
    def _casts(self) -> dict[torch.dtype, "Graph"]:
        return {torch.float64: self}

    def operator(self, i: int) -> Affine | Nonlinearity:
        """The operator of any node but the input."""
        operator = self.nodes[i].operator
        assert operator is not None
        return operator

    def nonlinearity(self, i: int) -> Nonlinearity:
        """The operator of a node that is known to be a nonlinearity."""
        operator = self.nodes[i].operator
        assert isinstance(operator, Nonlinearity)
        return operator

    def unknown(self, i: int, interval: Interval) -> Neurons:
        """The neurons of node i that are unstable over `interval` in some nonlinearity that reads them."""
        readers = (self.nodes[j].operator for j in self.nonlinearities if i in self.nodes[j].inputs)
        return torch.stack([reader.unknown(*interval) for reader in readers if isinstance(reader, Nonlinearity)]).any(0)

    @property
    def output(self) -> int:
        """The place of the scores."""
        return len(self.nodes) - 1

    @property
    def classes(self) -> int:
        return self.nodes[-1].shape[0]

    @cached_property
    def width(self) -> int:
        """The most values any node holds an example."""
        return max(torch.Size(node.shape).numel() for node in self.nodes)

    @cached_property
    def last(self) -> frozenset[int]:
        """The nonlinearities that the output reads through affine operators alone."""
        seen = {self.output}
        for i in range(self.output, 0, -1):
            if i in seen and i in self.affine:
                seen.update(self.nodes[i].inputs)
        return frozenset(seen.intersection(self.nonlinearities))

    @cached_property
    def done(self) -> tuple[tuple[int, ...], ...]:
        """For each node, those that it is the last to read, but for `last`: their values can be released."""
        final = {j: i for i, node in enumerate(self.nodes) for j in node.inputs if j not in self.last}
        return tuple(tuple(j for j, at in final.items() if at == i) for i in range(len(self.nodes)))

    @cached_property
    def affine(self) -> dict[int, Affine]:
        """The operators that are affine, which are their own linear bounds."""
        return {i: node.operator for i, node in enumerate(self.nodes) if isinstance(node.operator, Affine)}

    @cached_property
    def nonlinearities(self) -> tuple[int, ...]:
        """The nodes that are not affine in their input."""
        return tuple(i for i, node in enumerate(self.nodes) if isinstance(node.operator, Nonlinearity))

    @cached_property
    def pre_activations(self) -> frozenset[int]:
        """The nodes that nonlinearities read."""
        return frozenset(self.nodes[i].inputs[0] for i in self.nonlinearities)

    @property
    def neurons(self) -> int:
        """How many values nonlinearities read."""
        return sum(math.prod(self.nodes[i].shape) for i in self.pre_activations)

    @cached_property
    def last_box_node(self) -> int:
        """The last node before which every operator acts value by value, so that a box of inputs is a box there."""
        last = 0
        while [i for i, node in enumerate(self.nodes) if last in node.inputs] == [last + 1]:
            if not isinstance(self.nodes[last + 1].operator, Scale | Reshape | Permute):
                break
            last += 1
        return last

    @cached_property
    def affine_prefix(self) -> frozenset[int]:
        """The nodes that are affine in the network's input."""
        found = {0}
        for i, node in enumerate(self.nodes[1:], 1):
            if isinstance(node.operator, Affine) and found.issuperset(node.inputs):
                found.add(i)
        return frozenset(found)

    @cached_property
    def exact_interval_nodes(self) -> frozenset[int]:
        """The affine prefix where intervals over a box are exact: at most one operator up to there mixes values."""
        mixed = {0: 0}
        for i in sorted(self.affine_prefix - {0}):
            operator = self.nodes[i].operator
            mixes = isinstance(operator, Affine) and operator.mixes and operator.summands != 1
            mixed[i] = max(mixed[j] for j in self.nodes[i].inputs) + mixes
        return frozenset(i for i, count in mixed.items() if count <= 1)


def _cast(operator: Affine | Nonlinearity | None, dtype: torch.dtype) -> Affine | Nonlinearity | None:
    if operator is None:
        return None
    values = {field.name: getattr(operator, field.name) for field in fields(operator)}
    return replace(operator, **{name: v.to(dtype) for name, v in values.items() if isinstance(v, torch.Tensor)})


def graph(nodes: Sequence[Node]) -> Graph:
    """A graph of the nodes that the last one depends on, in their order. For importers.

    Raises Unsupported where one of them has no values, such as an empty slice.
    """
    needed = {len(nodes) - 1}
    for i in range(len(nodes) - 1, 0, -1):
        if i in needed:
            needed.update(nodes[i].inputs)
    kept = sorted(needed | {0})
    if (none := next((nodes[i].shape for i in kept if 0 in nodes[i].shape), None)) is not None:
        raise Unsupported(f"a value of shape {none}, which holds nothing")
    place = {old: new for new, old in enumerate(kept)}
    return Graph(tuple(Node(nodes[i].operator, tuple(place[j] for j in nodes[i].inputs), nodes[i].shape) for i in kept))

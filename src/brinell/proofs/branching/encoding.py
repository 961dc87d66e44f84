"""A network of ReLUs over a box, written for a solver: linear constraints, exact wherever a neuron's side is known.

Sources: Ehlers 2017, arXiv:1705.01320 (the triangle around a ReLU whose side is not); Tjeng et al. 2019,
arXiv:1711.07356 (what is left to integers).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float64
from torch import Tensor

from brinell.proofs.network.graph import Graph, Unsupported
from brinell.proofs.network.operators import Affine, Interval, ReLU

LARGEST = 2**30
"""Bytes that one node may take, each of its values written out by the variables."""


@final
@dataclass(frozen=True, eq=False)
class LinearExpressions:
    """Affine functions of the variables: weights @ variables + offset."""

    weights: Float64[Tensor, "forms variables"]
    offset: Float64[Tensor, " forms"]

    def only(self, chosen: Tensor) -> "LinearExpressions":
        """Some of them."""
        return LinearExpressions(self.weights[chosen], self.offset[chosen])

    def plus(self, *others: "LinearExpressions") -> "LinearExpressions":
        """All of them."""
        all_ = (self, *others)
        return LinearExpressions(
            torch.cat([forms.weights for forms in all_]), torch.cat([forms.offset for forms in all_])
        )

    def times(self, factors: Tensor) -> "LinearExpressions":
        """Each times its factor."""
        return LinearExpressions(factors.unsqueeze(1) * self.weights, factors * self.offset)

    def less(self, others: "LinearExpressions") -> "LinearExpressions":
        """Each less another."""
        return LinearExpressions(self.weights - others.weights, self.offset - others.offset)


@final
@dataclass(frozen=True, eq=False)
class Encoding:
    """The variables are the inputs, in flat order, then the output of each undecided neuron.

    low, high: of the variables. outputs: of the network. held: what is never negative, since neurons are held on a
    side. undecided: what goes into the undecided neurons; least, most: its limits.
    """

    low: Float64[Tensor, " variables"]
    high: Float64[Tensor, " variables"]
    outputs: LinearExpressions
    held: LinearExpressions
    undecided: LinearExpressions
    least: Float64[Tensor, " undecided"]
    most: Float64[Tensor, " undecided"]

    @property
    def variables(self) -> LinearExpressions:
        """The outputs of the undecided neurons."""
        count, total = len(self.least), len(self.low)
        return LinearExpressions(
            torch.eye(total, dtype=torch.float64)[total - count :], torch.zeros(count, dtype=torch.float64)
        )

    def below(self) -> LinearExpressions:
        """What is never positive: the input of an undecided neuron less its output."""
        return self.undecided.less(self.variables)

    def triangles(self) -> LinearExpressions:
        """What is never positive: the same, and the output of an undecided neuron less its chord."""
        chord = self.most / (self.most - self.least)
        line = LinearExpressions(self.undecided.weights, self.undecided.offset - self.least).times(chord)
        return self.below().plus(self.variables.less(line))


def encode(
    graph: Graph, hull: Interval, limits: Mapping[int, Interval], phase: Mapping[int, Tensor] | None = None
) -> Encoding:
    """Of one example, the batch of which all arguments keep. limits: of the input of each nonlinearity; side: 1 where
    that is held at or above zero, and its limits say so too, -1 where at or below, else 0.

    Raises Unsupported where a nonlinearity is no ReLU, or the network is too large to be written out.
    """
    for i in graph.nonlinearities:
        if not isinstance(graph.nonlinearity(i), ReLU):
            raise Unsupported(f"{type(graph.nonlinearity(i)).__name__} cannot be written for a solver; only ReLU can")
    free = {i: ((low < 0) & (high > 0)).flatten() for i, (low, high) in limits.items()}
    inputs = hull[0].numel()
    total = inputs + sum(int(some.sum()) for some in free.values())
    if 8 * total * graph.width > LARGEST:
        raise Unsupported(f"{graph.width} values by {total} variables are too many to write out for a solver")
    low, high = (torch.cat((end.flatten(), end.new_zeros(total - inputs))) for end in hull)
    nodes = [LinearExpressions(torch.eye(inputs, total, dtype=torch.float64), torch.zeros(inputs, dtype=torch.float64))]
    none = nodes[0].only(torch.arange(0))
    held, undecided, ends, taken = [none], [none], [(low[:0], low[:0])], inputs
    for i, node in enumerate(graph.nodes[1:], 1):
        parts = [nodes[j] for j in node.inputs]
        if isinstance(node.operator, Affine):
            nodes.append(_through(graph, i, parts))
            continue
        (before,), (least, most) = parts, (end.flatten() for end in limits[i])
        if phase is not None:
            signs = phase[i].flatten()
            held.append(before.times(signs).only(signs != 0))
        active = (least >= 0).double()
        after = before.times(active)
        places = torch.arange(taken, taken + int(free[i].sum()))
        after.weights[free[i], places] = 1.0
        high[places], taken = most[free[i]], taken + len(places)
        undecided.append(before.only(free[i]))
        ends.append((least[free[i]], most[free[i]]))
        nodes.append(after)
    leasts, mosts = (torch.cat(one) for one in zip(*ends, strict=True))
    return Encoding(low, high, nodes[-1], none.plus(*held), none.plus(*undecided), leasts, mosts)


def _through(graph: Graph, i: int, parts: list[LinearExpressions]) -> LinearExpressions:
    """The forms of an affine node, by those of its inputs."""
    operator, shapes = graph.operator(i), [graph.nodes[j].shape for j in graph.nodes[i].inputs]
    assert isinstance(operator, Affine)
    rows = [part.weights.T.reshape(1, -1, *shape) for part, shape in zip(parts, shapes, strict=True)]
    weights = operator.linear(*rows)[0].flatten(1).T
    offsets = [part.offset.reshape(1, *shape) for part, shape in zip(parts, shapes, strict=True)]
    return LinearExpressions(weights.contiguous(), operator.forward(*offsets).flatten())

"""A network of ReLUs over a box as linear constraints for a solver, exact wherever a neuron is stable or split.

Sources: Ehlers 2017, arXiv:1705.01320 (the triangle relaxation of an unstable ReLU); Tjeng et al. 2019,
arXiv:1711.07356 (its big-M encoding with a binary variable, in `verifiers/milp.py`).
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
"""Bytes that the expressions of one node may take."""


@final
@dataclass(frozen=True, eq=False)
class LinearExpressions:
    """Affine functions of the variables: weights @ variables + offset."""

    weights: Float64[Tensor, "expressions variables"]
    offset: Float64[Tensor, " expressions"]

    def only(self, chosen: Tensor) -> "LinearExpressions":
        """Some of the expressions."""
        return LinearExpressions(self.weights[chosen], self.offset[chosen])

    def plus(self, *others: "LinearExpressions") -> "LinearExpressions":
        """These expressions, then the others."""
        every = (self, *others)
        return LinearExpressions(torch.cat([one.weights for one in every]), torch.cat([one.offset for one in every]))

    def times(self, factors: Tensor) -> "LinearExpressions":
        """Each expression times its factor."""
        return LinearExpressions(factors.unsqueeze(1) * self.weights, factors * self.offset)

    def less(self, others: "LinearExpressions") -> "LinearExpressions":
        """The differences, expression by expression."""
        return LinearExpressions(self.weights - others.weights, self.offset - others.offset)


@final
@dataclass(frozen=True, eq=False)
class Encoding:
    """The variables are the inputs, in flat order, then the output of each unstable neuron.

    low, high: bounds of the variables. outputs: of the network. splits: phase * pre-activation of split neurons, which
    is >= 0. unstable: pre-activations of the unstable neurons; least, most: their bounds.
    """

    low: Float64[Tensor, " variables"]
    high: Float64[Tensor, " variables"]
    outputs: LinearExpressions
    splits: LinearExpressions
    unstable: LinearExpressions
    least: Float64[Tensor, " unstable"]
    most: Float64[Tensor, " unstable"]

    @property
    def variables(self) -> LinearExpressions:
        """The outputs of the unstable neurons, which are variables themselves."""
        count = len(self.least)
        total = len(self.low)
        unit = torch.eye(total, dtype=torch.float64)[total - count :]
        return LinearExpressions(unit, torch.zeros(count, dtype=torch.float64))

    def below(self) -> LinearExpressions:
        """z - relu(z) of the unstable neurons: constrained to be <= 0."""
        return self.unstable.less(self.variables)

    def triangles(self) -> LinearExpressions:
        """The triangle relaxation: z - relu(z) <= 0, and relu(z) - u (z - l) / (u - l) <= 0, below the chord."""
        slope = self.most / (self.most - self.least)
        chord = LinearExpressions(self.unstable.weights, self.unstable.offset - self.least).times(slope)
        return self.below().plus(self.variables.less(chord))


def encode(
    graph: Graph, hull: Interval, pre_activations: Mapping[int, Interval], phase: Mapping[int, Tensor] | None = None
) -> Encoding:
    """The constraints of one example; all arguments have a batch axis of one.

    hull: bounds of the input. pre_activations: bounds of the input of each nonlinearity, by its node. phase: 1 where a
    pre-activation is split to be >= 0, -1 where <= 0, else 0; its bounds must agree.

    Raises Unsupported where a nonlinearity is no ReLU, or the network is too large to be written out.
    """
    for i in graph.nonlinearities:
        if not isinstance(graph.nonlinearity(i), ReLU):
            raise Unsupported(f"{type(graph.nonlinearity(i)).__name__} cannot be written for a solver; only ReLU can")
    unstable = {i: ((low < 0) & (high > 0)).flatten() for i, (low, high) in pre_activations.items()}
    inputs = hull[0].numel()
    total = inputs + sum(int(neurons.sum()) for neurons in unstable.values())
    if 8 * total * graph.width > LARGEST:
        raise Unsupported(f"{graph.width} values by {total} variables are too many to write out for a solver")
    low, high = (torch.cat((end.flatten(), end.new_zeros(total - inputs))) for end in hull)
    nodes = [LinearExpressions(torch.eye(inputs, total, dtype=torch.float64), torch.zeros(inputs, dtype=torch.float64))]
    none = nodes[0].only(torch.arange(0))
    split = [none]
    before = [none]
    bounds = [(low[:0], low[:0])]
    taken = inputs

    for i, node in enumerate(graph.nodes[1:], 1):
        if isinstance(node.operator, Affine):
            nodes.append(_affine(graph, i, [nodes[j] for j in node.inputs]))
            continue
        (source,) = node.inputs
        z = nodes[source]
        least, most = (end.flatten() for end in pre_activations[i])
        if phase is not None:
            signs = phase[i].flatten()
            split.append(z.times(signs).only(signs != 0))

        # relu(z) is z where l >= 0, 0 where u <= 0, and a variable of its own, in [0, u], where l < 0 < u.
        after = z.times((least >= 0).double())
        places = torch.arange(taken, taken + int(unstable[i].sum()))
        after.weights[unstable[i], places] = 1.0
        high[places] = most[unstable[i]]
        taken += len(places)

        before.append(z.only(unstable[i]))
        bounds.append((least[unstable[i]], most[unstable[i]]))
        nodes.append(after)
    leasts, mosts = (torch.cat(ends) for ends in zip(*bounds, strict=True))
    return Encoding(low, high, nodes[-1], none.plus(*split), none.plus(*before), leasts, mosts)


def _affine(graph: Graph, i: int, inputs: list[LinearExpressions]) -> LinearExpressions:
    """The expressions of an affine node, from those of its inputs."""
    operator = graph.operator(i)
    assert isinstance(operator, Affine)
    shapes = [graph.nodes[j].shape for j in graph.nodes[i].inputs]

    # [values, variables] -> [1, variables, *shape]: one functional a variable
    rows = [one.weights.T.reshape(1, -1, *shape) for one, shape in zip(inputs, shapes, strict=True)]
    weights = operator.linear(*rows)[0].flatten(1).T
    offsets = [one.offset.reshape(1, *shape) for one, shape in zip(inputs, shapes, strict=True)]
    return LinearExpressions(weights.contiguous(), operator.forward(*offsets).flatten())

"""Lipschitz constants of every node of a network, and of every functional of its scores."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf
from typing import final
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from brinell.proofs.lipschitz import norms
from brinell.proofs.lipschitz.rules import absolute, displacement, l2_constant
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Affine, Coefficients, Convolution, Linear, Scale, Values
from brinell.proofs.numerics.rounding import share
from brinell.proofs.query.substitution import substitute, written

SMALL = 2**22
"""Most entries of the dense matrix that a chain of affine operators is merged into."""

NARROW = 800
"""The lesser side of such a matrix, at most: Gram iteration squares it."""


@final
@dataclass(frozen=True, eq=False)
class Constants:
    """Global Lipschitz constants of a network, rounded upward.

    l2_nodes: of each node, from l2 to l2. l2_values: of each value of a node, for l2 distances of inputs. linf_values:
    the same for linf distances. last: the scores as functionals of the outputs of the last nonlinearities. sizes: the
    sums of the absolute values of the terms of those coefficients.
    """

    graph: Graph
    l2_nodes: dict[int, float]
    linf_values: dict[int, Values]
    l2_values: dict[int, Values]
    last: dict[int, Coefficients]
    sizes: dict[int, Coefficients]

    def of(self, spec: Float[Tensor, "batch rows classes"]) -> dict[float, Float64[Tensor, "batch rows"]]:
        """Constants of <spec row, scores>, by the norm of input distances, 2 and inf."""
        rows = {i: spec @ a.flatten(2) for i, a in self.last.items()}
        return self._of(rows, {i: spec.abs() @ size.flatten(2) for i, size in self.sizes.items()})

    @cached_property
    def pairs(self) -> dict[float, Float64[Tensor, "classes classes"]]:
        """By norm, K: score i less score j changes by at most K[i, j] times the distance of inputs."""
        last = {i: a.flatten(2) for i, a in self.last.items()}
        sizes = {i: a.flatten(2) for i, a in self.sizes.items()}
        found = [
            self._of(
                {i: a[:, c : c + 1] - a for i, a in last.items()},
                {i: size[:, c : c + 1] + size for i, size in sizes.items()},
            )
            for c in range(self.graph.classes)
        ]
        return {norm: torch.cat([row[norm] for row in found]) for norm in found[0]}

    def _of(
        self, last: dict[int, Coefficients], sizes: dict[int, Coefficients]
    ) -> dict[float, Float64[Tensor, "batch rows"]]:
        """Constants of functionals of the last nonlinearities' outputs: their dual norms times the nodes' constants."""
        off = share(sum(operator.terms for operator in self._affine) + self.graph.classes + 8, torch.float64)
        l2 = []
        linf = []
        for i, a in last.items():
            rounding = off * sizes[i]
            length = torch.linalg.vector_norm(a, dim=2) + torch.linalg.vector_norm(rounding, dim=2)
            l2.append(length * self.l2_nodes[i])
            linf.append((a.abs() + rounding) @ self.linf_values[i].flatten())
        outward = _outward(self.graph)
        return {2: torch.stack(l2).sum(0) * outward, inf: torch.stack(linf).sum(0) * outward}

    @property
    def _affine(self) -> list[Affine]:
        return [node.operator for node in self.graph.nodes if isinstance(node.operator, Affine)]


def constants(graph: Graph, steps: int = 10) -> Constants:
    """The constants of a network, found once. steps: of Gram iteration; ten are within 0.2 % of a norm of rank 64.

    Raises Unsupported, by name, where an operator has no rule.
    """
    known = _KNOWN.setdefault(graph, {})
    if steps not in known:
        known[steps] = _found(graph, steps)
    return known[steps]


_KNOWN: WeakKeyDictionary[Graph, dict[int, Constants]] = WeakKeyDictionary()


def _found(graph: Graph, steps: int) -> Constants:
    affine = {i: o for i, node in enumerate(graph.nodes) if isinstance(o := node.operator, Affine)}
    l2_nodes: dict[int, float] = {0: 1.0}
    linf_values: dict[int, Values] = {0: torch.ones(1, *graph.nodes[0].shape, dtype=torch.float64)}
    l2_values = dict(linf_values)
    for i, node in enumerate(graph.nodes[1:], 1):
        operator = graph.operator(i)
        inputs = [l2_nodes[j] for j in node.inputs]
        before = graph.nodes[node.inputs[0]].shape

        # The best of three: operator by operator, a chain of affine operators merged, a scale folded into its kernel.
        l2_nodes[i] = l2_constant(operator, inputs, before, node.shape, steps)
        if i in affine and i in graph.pre_activations:
            l2_nodes[i] = min(l2_nodes[i], _at_once(graph, i, affine, l2_nodes, steps))
        if isinstance(operator, Scale):
            l2_nodes[i] = min(l2_nodes[i], _folded(graph, i, l2_nodes, steps))
        linf_values[i] = displacement(operator, *(linf_values[j] for j in node.inputs))
        l2_values[i] = displacement(operator, *(l2_values[j] for j in node.inputs)).clamp(max=l2_nodes[i])
        if isinstance(operator, Linear | Convolution):
            l2_values[i] = torch.minimum(l2_values[i], _rows(operator, before) * inputs[0])
        l2_nodes[i] *= _outward(graph)
        linf_values[i] = linf_values[i] * _outward(graph)
        l2_values[i] = l2_values[i] * _outward(graph)
    identity = torch.eye(graph.classes, dtype=torch.float64).unsqueeze(0)
    return Constants(graph, l2_nodes, linf_values, l2_values, *_taken_together(graph, graph.output, identity, affine))


def _outward(graph: Graph) -> float:
    """A factor that covers the rounding of one node's sums, all of whose terms are positive."""
    return 1 + share(2 * graph.width + 8, torch.float64)


def _taken_together(
    graph: Graph, node: int, unit: Coefficients, affine: dict[int, Affine]
) -> tuple[dict[int, Coefficients], dict[int, Coefficients]]:
    """(functionals of a node, as functionals of the nonlinearities before it; the sizes of their coefficients)."""
    both = [
        substitute(graph, node, unit, relaxations)[0]
        for relaxations in (affine, {i: absolute(o) for i, o in affine.items()})
    ]
    return {i: written(a) for i, a in both[0].items()}, {i: written(a) for i, a in both[1].items()}


def _at_once(graph: Graph, node: int, affine: dict[int, Affine], l2_nodes: dict[int, float], steps: int) -> float:
    """The constant of an affine node, the affine operators since the last nonlinearities merged into one matrix."""
    size = torch.Size(graph.nodes[node].shape).numel()
    sources = _sources(graph, node, affine)
    if any(min(size, width) > NARROW or size * width > SMALL for width in sources.values()):
        return inf
    unit = torch.eye(size, dtype=torch.float64).reshape(1, size, *graph.nodes[node].shape)
    held, sizes = _taken_together(graph, node, unit, affine)
    off = share(sum(operator.terms for operator in affine.values()) + 8, torch.float64)
    return sum(
        float(norms.spectral(a[0].flatten(1), steps) + off * torch.linalg.vector_norm(sizes[i])) * l2_nodes[i]
        for i, a in held.items()
    )


def _rows(operator: Linear | Convolution, before: tuple[int, ...]) -> Values:
    """The l2 norm of the operator's row, for each value of its output."""
    squares = replace(operator, weight=operator.weight.square(), bias=torch.zeros_like(operator.bias))
    return squares.forward(torch.ones(1, *before, dtype=torch.float64)).sqrt() * (1 + 1e-12)


def _folded(graph: Graph, node: int, l2_nodes: dict[int, float], steps: int) -> float:
    """The constant of a convolution with the channel scales after it folded in, as of batch normalisation."""
    factor = torch.ones((), dtype=torch.float64)
    while isinstance(operator := graph.nodes[node].operator, Scale):
        factor = factor * operator.factor
        node = graph.nodes[node].inputs[0]
    if not isinstance(operator, Convolution) or (factor.dim() and factor.shape[-2:].numel() > 1):
        return inf
    channels = factor.flatten().expand(len(operator.weight)).reshape(-1, 1, 1, 1)
    rows, columns = graph.nodes[node].shape[-2:]
    norm = norms.convolution(replace(operator, weight=operator.weight * channels), (rows, columns), steps)
    return norm * l2_nodes[graph.nodes[node].inputs[0]]


def _sources(graph: Graph, node: int, affine: dict[int, Affine]) -> dict[int, int]:
    """The last nodes before this one that are not affine, with their sizes."""
    found: dict[int, int] = {}
    waiting = [node]
    while waiting:
        i = waiting.pop()
        if i in affine:
            waiting += graph.nodes[i].inputs
        else:
            found[i] = torch.Size(graph.nodes[i].shape).numel()
    return found

"""Subproblems of branch and bound while they wait: what differs between them, neuron by neuron, in few bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Interval, ReLU, Values
from brinell.proofs.numerics.rounding import at_nodes, outward
from brinell.proofs.relaxation.optimised import LayerState, Splits, State


@final
@dataclass(frozen=True, eq=False)
class StoredLayer:
    """One nonlinearity of some subproblems: its neurons that are unstable at the root, a column each.

    A nonlinearity that cannot be split keeps all its slopes, and no phase or multiplier.
    """

    low: Tensor
    high: Tensor
    slopes: Tensor
    phase: Tensor
    multipliers: Tensor

    def only(self, chosen: Tensor) -> "StoredLayer":
        """Those of some of the subproblems."""
        return StoredLayer(*(values[chosen] for values in self._values()))

    def plus(self, other: "StoredLayer") -> "StoredLayer":
        """The subproblems of both."""
        return StoredLayer(*(torch.cat(pair) for pair in zip(self._values(), other._values(), strict=True)))

    def _values(self) -> tuple[Tensor, ...]:
        return self.low, self.high, self.slopes, self.phase, self.multipliers


@final
@dataclass(frozen=True, eq=False)
class Subproblems:
    """Subproblems that are still open. owner: the row of the specification each belongs to. bound: a lower bound."""

    owner: Int64[Tensor, " subproblems"]
    bound: Float64[Tensor, " subproblems"]
    layers: Mapping[int, StoredLayer]

    def only(self, chosen: Tensor) -> "Subproblems":
        """Some of them."""
        layers = {i: layer.only(chosen) for i, layer in self.layers.items()}
        return Subproblems(self.owner[chosen], self.bound[chosen], layers)

    def plus(self, other: "Subproblems") -> "Subproblems":
        """Both."""
        return Subproblems(
            torch.cat((self.owner, other.owner)),
            torch.cat((self.bound, other.bound)),
            {i: layer.plus(other.layers[i]) for i, layer in self.layers.items()},
        )


@final
class DomainStore:
    """Stores subproblems compactly and restores their state. intervals: of all nodes, for each row, at the root.

    Numbers are stored in float32: bounds rounded outward, slopes and multipliers to nearest, as any value is sound.
    """

    def __init__(self, graph: Graph, intervals: Sequence[Interval]) -> None:
        self._graph = graph
        self._intervals = intervals
        self._pre_activations = {i: intervals[graph.nodes[i].inputs[0]] for i in graph.nonlinearities}
        self._unstable = {
            i: graph.nonlinearity(i).unknown(low, high).flatten(1).any(0).nonzero().squeeze(1)
            for i, (low, high) in self._pre_activations.items()
        }
        self._errors = at_nodes(graph, intervals)
        self._can_split = {i: isinstance(graph.nonlinearity(i), ReLU) for i in graph.nonlinearities}

    @property
    def size(self) -> int:
        """Bytes a subproblem takes, about."""
        return sum(17 * len(places) for places in self._unstable.values()) + 16

    def fully_split(self, subproblems: Subproblems) -> Bool[Tensor, " subproblems"]:
        """Whether no neuron is left to split."""
        unstable = [
            ((layer.low < 0) & (layer.high > 0) & (layer.phase == 0)).any(1)
            for i, layer in subproblems.layers.items()
            if self._can_split[i]
        ]
        return ~torch.stack(unstable).any(0)

    def intervals(self, owner: Tensor, state: State) -> list[Interval]:
        """The intervals of all nodes in this state."""
        intervals = [(low[owner], high[owner]) for low, high in self._intervals]
        for i, layer in state.items():
            intervals[self._graph.nodes[i].inputs[0]] = layer.low, layer.high
        return intervals

    def errors(self, owner: Tensor) -> dict[int, Values]:
        """Rounding errors of bounds on the pre-activations, of these rows: see `rounding.at_nodes`."""
        return {i: self._errors[i][owner] for i in self._graph.pre_activations}

    def put(self, owner: Tensor, bound: Tensor, state: State) -> Subproblems:
        """Store subproblems with this state."""
        return Subproblems(owner, bound, {i: self._put(i, layer) for i, layer in state.items()})

    def take(self, subproblems: Subproblems) -> State:
        """Restore the state of subproblems."""
        return {i: self._take(i, layer, subproblems.owner) for i, layer in subproblems.layers.items()}

    def _put(self, i: int, layer: LayerState) -> StoredLayer:
        unstable = self._unstable[i]
        low, high = outward((layer.low.flatten(1)[:, unstable], layer.high.flatten(1)[:, unstable]), torch.float32)
        if layer.splits is None:
            return StoredLayer(low, high, layer.slopes.float(), low[:, :0], low[:, :0])

        # [subproblems, 1, neurons] of one row each -> [subproblems, unstable]
        slopes = layer.slopes.flatten(2)[:, 0, unstable].float()
        multipliers = layer.splits.multipliers.flatten(2)[:, 0, unstable].float()
        phase = layer.splits.phase.flatten(1)[:, unstable].to(torch.int8)
        return StoredLayer(low, high, slopes, phase, multipliers)

    def _take(self, i: int, stored: StoredLayer, owner: Tensor) -> LayerState:
        low, high = (end[owner] for end in self._pre_activations[i])
        shape = low.shape
        unstable = self._unstable[i]

        def scattered(values: Tensor, over: Tensor) -> Tensor:
            """[subproblems, unstable] -> [subproblems, *shape], with those of `over` elsewhere."""
            return over.flatten(1).index_copy(1, unstable, values.double()).reshape(shape)

        low = torch.maximum(low, scattered(stored.low, low))
        high = torch.minimum(high, scattered(stored.high, high))
        if not self._can_split[i]:
            return LayerState(low, high, stored.slopes.double())

        zeros = torch.zeros_like(low)
        phase = scattered(stored.phase, zeros)
        slopes = scattered(stored.slopes, zeros)
        multipliers = scattered(stored.multipliers, zeros)
        low = low.where(phase <= 0, low.clamp(min=0))
        high = high.where(phase >= 0, high.clamp(max=0))
        return LayerState(low, high, slopes.unsqueeze(1), Splits(phase, multipliers.unsqueeze(1)))

"""Cases of a branch and bound, at rest: of each neuron only what may differ from case to case, in few bytes."""

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
class Rest:
    """One nonlinearity of some cases: its free neurons, or all its choices where it holds none."""

    low: Tensor
    high: Tensor
    slopes: Tensor
    phase: Tensor
    multipliers: Tensor

    def only(self, chosen: Tensor) -> "Rest":
        """Some of the cases."""
        return Rest(*(values[chosen] for values in self._values()))

    def plus(self, other: "Rest") -> "Rest":
        """The cases of both."""
        return Rest(*(torch.cat(pair) for pair in zip(self._values(), other._values(), strict=True)))

    def _values(self) -> tuple[Tensor, ...]:
        return self.low, self.high, self.slopes, self.phase, self.multipliers


@final
@dataclass(frozen=True, eq=False)
class Subproblems:
    """Parts of the rows' regions that are still to be proved. owner: the row each belongs to."""

    owner: Int64[Tensor, " cases"]
    bound: Float64[Tensor, " cases"]
    rest: Mapping[int, Rest]

    def only(self, chosen: Tensor) -> "Subproblems":
        """Some of them."""
        return Subproblems(
            self.owner[chosen], self.bound[chosen], {i: rest.only(chosen) for i, rest in self.rest.items()}
        )

    def plus(self, other: "Subproblems") -> "Subproblems":
        """Both."""
        return Subproblems(
            torch.cat((self.owner, other.owner)),
            torch.cat((self.bound, other.bound)),
            {i: rest.plus(other.rest[i]) for i, rest in self.rest.items()},
        )


@final
class DomainStore:
    """Puts cases away and takes them out again. intervals: of all nodes, for each row, as they hold at the root.

    What is put away is rounded to float32: limits outward, slopes and multipliers as it comes, since any will do.
    """

    def __init__(self, graph: Graph, intervals: Sequence[Interval]) -> None:
        self._graph, self._intervals = graph, intervals
        self._limits = {i: intervals[graph.nodes[i].inputs[0]] for i in graph.nonlinearities}
        self._free = {
            i: graph.nonlinearity(i).unknown(low, high).flatten(1).any(0).nonzero().squeeze(1)
            for i, (low, high) in self._limits.items()
        }
        self._errors = at_nodes(graph, intervals)
        self._held = {i: isinstance(graph.nonlinearity(i), ReLU) for i in graph.nonlinearities}

    @property
    def size(self) -> int:
        """Bytes a case, about."""
        return sum(17 * len(places) for places in self._free.values()) + 16

    def whole(self, subproblems: Subproblems) -> Bool[Tensor, " cases"]:
        """Whether no neuron is left to split."""
        open_ = [
            ((rest.low < 0) & (rest.high > 0) & (rest.phase == 0)).any(1)
            for i, rest in subproblems.rest.items()
            if self._held[i]
        ]
        return ~torch.stack(open_).any(0)

    def intervals(self, owner: Tensor, state: State) -> list[Interval]:
        """The intervals of all nodes in this state."""
        intervals = [(low[owner], high[owner]) for low, high in self._intervals]
        for i, layer in state.items():
            intervals[self._graph.nodes[i].inputs[0]] = layer.low, layer.high
        return intervals

    def errors(self, owner: Tensor) -> dict[int, Values]:
        """How far a bound of what each nonlinearity reads may be off by its rounding, of the rows of these cases."""
        return {i: self._errors[i][owner] for i in self._graph.pre_activations}

    def put(self, owner: Tensor, bound: Tensor, state: State) -> Subproblems:
        """The cases in this state."""
        return Subproblems(owner, bound, {i: self._put(i, layer) for i, layer in state.items()})

    def take(self, subproblems: Subproblems) -> State:
        """The state of the cases."""
        return {i: self._take(i, rest, subproblems.owner) for i, rest in subproblems.rest.items()}

    def _put(self, i: int, layer: LayerState) -> Rest:
        free = self._free[i]
        low, high = outward((layer.low.flatten(1)[:, free], layer.high.flatten(1)[:, free]), torch.float32)
        if layer.splits is None:
            return Rest(low, high, layer.slopes.float(), low[:, :0], low[:, :0])
        slopes, multipliers = (
            values.flatten(2)[:, 0, free].float() for values in (layer.slopes, layer.splits.multipliers)
        )
        return Rest(low, high, slopes, layer.splits.phase.flatten(1)[:, free].to(torch.int8), multipliers)

    def _take(self, i: int, rest: Rest, owner: Tensor) -> LayerState:
        low, high = (end[owner] for end in self._limits[i])
        shape, free = low.shape, self._free[i]

        def scattered(values: Tensor, over: Tensor) -> Tensor:
            return over.flatten(1).index_copy(1, free, values.double()).reshape(shape)

        low, high = torch.maximum(low, scattered(rest.low, low)), torch.minimum(high, scattered(rest.high, high))
        if not self._held[i]:
            return LayerState(low, high, rest.slopes.double())
        zeros = torch.zeros_like(low)
        phase, slopes, multipliers = (
            scattered(values, zeros) for values in (rest.phase, rest.slopes, rest.multipliers)
        )
        low, high = low.where(phase <= 0, low.clamp(min=0)), high.where(phase >= 0, high.clamp(max=0))
        return LayerState(low, high, slopes.unsqueeze(1), Splits(phase, multipliers.unsqueeze(1)))

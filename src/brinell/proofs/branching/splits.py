"""The branching heuristic: split the ReLU whose relaxation may cost the bound most.

The intercept score of BaBSR (Bunel et al. 2020, arXiv:1909.06588, section 5.2), without its bias term. The best few
candidates are not bounded before the choice, as filtered smart branching does (De Palma et al. 2021, arXiv:2104.06718):
each would cost a bound of its own.
"""

from dataclasses import dataclass, field, replace
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.proofs.network.operators import Coefficients, Constants, Linearised
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import substitute
from brinell.proofs.relaxation.optimised import LayerState, State, relaxations

_TIE_BREAK = 1e-9
"""Share of its intercept that a neuron of positive coefficient scores: it is split where there is no other."""


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """The neuron to split in each subproblem: its nonlinearity, and its flat position in it."""

    nonlinearity: Int64[Tensor, " subproblems"]
    neuron: Int64[Tensor, " subproblems"]


def choose(problem: Problem, state: State) -> Choice:
    """The neuron of highest score in each subproblem. Each needs an unstable neuron that is not split yet."""
    scores = _scores(problem, state)
    place = torch.cat(list(scores.values()), 1).argmax(1)  # [subproblems], over the neurons of all layers

    counts = torch.tensor([score.shape[1] for score in scores.values()])
    ends = counts.cumsum(0)
    layer = torch.bucketize(place, ends, right=True)
    return Choice(torch.tensor(list(scores))[layer], place - (ends - counts)[layer])


def split(state: State, choice: Choice) -> tuple[Int64[Tensor, " children"], State]:
    """(the parent of each child, the children): first those with pre-activation >= 0, then those with <= 0."""
    parent = torch.arange(len(choice.neuron)).repeat(2)
    children = {i: _child(layer, i, choice, 1.0).plus(_child(layer, i, choice, -1.0)) for i, layer in state.items()}
    return parent, children


def _child(layer: LayerState, nonlinearity: int, choice: Choice, phase: float) -> LayerState:
    """The layer with the chosen neuron, where it is in this layer, in this phase."""
    if layer.splits is None:
        return layer
    subproblems = (choice.nonlinearity == nonlinearity).nonzero().squeeze(1)
    phases = torch.zeros_like(layer.low).flatten(1)  # [subproblems, neurons]
    phases[subproblems, choice.neuron[subproblems]] = phase
    phases = phases.reshape(layer.low.shape)

    low = torch.where(phases > 0, layer.low.clamp(min=0), layer.low)
    high = torch.where(phases < 0, layer.high.clamp(max=0), layer.high)
    return replace(layer, low=low, high=high, splits=replace(layer.splits, phase=layer.splits.phase + phases))


def _scores(problem: Problem, state: State) -> dict[int, Float[Tensor, " subproblems neurons"]]:
    """-min(a, 0) u (-l) / (u - l): the most that the upper relaxation of a neuron of coefficient a costs the bound."""
    graph = problem.graph
    linear = relaxations(graph, state)
    recorded = {i: Recorded(linear[i]) for i, layer in state.items() if layer.splits is not None}
    substitute(graph, graph.output, problem.spec, {**linear, **recorded})

    scores = {}
    for i, relaxation in recorded.items():
        low = state[i].low
        high = state[i].high
        intercept = torch.where((low < 0) & (high > 0), -low * high / (high - low), 0.0)
        a = relaxation.seen[0].squeeze(1)
        scores[i] = (intercept * (_TIE_BREAK * (1 + a.abs()) - a.clamp(max=0))).flatten(1)
    return scores


@final
@dataclass(frozen=True, eq=False)
class Recorded(Linearised):
    """A linear relaxation that records the coefficients that reach it in a backward substitution."""

    relaxation: Linearised
    seen: list[Coefficients] = field(default_factory=list)

    def only(self, chosen: Tensor) -> "Recorded":
        """The coefficients of some of the examples."""
        return replace(self, seen=[a[chosen] for a in self.seen])

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        self.seen.append(a)
        return self.relaxation.backward(a)

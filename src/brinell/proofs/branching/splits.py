"""Where to split: the ReLU whose relaxation may cost the bound most.

The intercept score of Bunel et al. 2020, arXiv:1909.06588, section 5.2 (BaBSR), without their term for the bias. The
best few candidates are not tried out (De Palma et al. 2021, arXiv:2104.06718): each would cost a bound of its own.
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

_TRIFLE = 1e-9


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """For each case the nonlinearity and the neuron, by flat position, to split."""

    nonlinearity: Int64[Tensor, " cases"]
    neuron: Int64[Tensor, " cases"]


def choose(problem: Problem, state: State) -> Choice:
    """The neuron of highest score. Every case has one whose side is not known."""
    scores = _scores(problem, state)
    nonlinearities, counts = list(scores), [score.shape[1] for score in scores.values()]
    place = torch.cat(list(scores.values()), 1).argmax(1)
    ends = torch.tensor(counts).cumsum(0)
    which = torch.bucketize(place, ends, right=True)
    return Choice(torch.tensor(nonlinearities)[which], place - (ends - torch.tensor(counts))[which])


def split(state: State, choice: Choice) -> tuple[Int64[Tensor, " halves"], State]:
    """(the case each half is of, the halves): those with the neuron at or above zero, then those with it below."""
    parent = torch.arange(len(choice.neuron)).repeat(2)
    return parent, {i: _half(layer, i, choice, 1.0).plus(_half(layer, i, choice, -1.0)) for i, layer in state.items()}


def _half(layer: LayerState, nonlinearity: int, choice: Choice, phase: float) -> LayerState:
    if layer.splits is None:
        return layer
    subproblems = (choice.nonlinearity == nonlinearity).nonzero().squeeze(1)
    phases = torch.zeros_like(layer.low).flatten(1)
    phases[subproblems, choice.neuron[subproblems]] = phase
    phases = phases.reshape(layer.low.shape)
    low = torch.where(phases > 0, layer.low.clamp(min=0), layer.low)
    high = torch.where(phases < 0, layer.high.clamp(max=0), layer.high)
    return replace(layer, low=low, high=high, splits=replace(layer.splits, phase=layer.splits.phase + phases))


def _scores(problem: Problem, state: State) -> dict[int, Float[Tensor, " cases neurons"]]:
    """-[a]_- u (-l) / (u - l): the most that the upper line of a neuron with coefficient a can take from the bound.

    A trifle is added, so that a neuron of positive coefficient is still split where there is no other.
    """
    graph, linear = problem.graph, relaxations(problem.graph, state)
    noted = {i: Noted(linear[i]) for i, layer in state.items() if layer.splits is not None}
    substitute(graph, graph.output, problem.spec, {**linear, **noted})
    scores = {}
    for i, note in noted.items():
        low, high = state[i].low, state[i].high
        rise = torch.where((low < 0) & (high > 0), -low * high / (high - low), 0.0)
        a = note.seen[0].squeeze(1)
        scores[i] = (rise * (_TRIFLE * (1 + a.abs()) - a.clamp(max=0))).flatten(1)
    return scores


@final
@dataclass(frozen=True, eq=False)
class Noted(Linearised):
    """A linear bound that keeps the coefficients it was given."""

    relaxation: Linearised
    seen: list[Coefficients] = field(default_factory=list)

    def only(self, chosen: Tensor) -> "Noted":
        """What was given of some of the examples."""
        return replace(self, seen=[a[chosen] for a in self.seen])

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        self.seen.append(a)
        return self.relaxation.backward(a)

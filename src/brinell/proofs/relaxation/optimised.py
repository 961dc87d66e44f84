"""What a linear bound leaves open, and gradient ascent on it: every choice is sound, so it may stop at any step.

Slopes: Xu et al. 2021 (alpha-CROWN), arXiv:2011.13824. Multipliers of split neurons: Wang et al. 2021
(beta-CROWN), arXiv:2103.06624.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import (
    Coefficients,
    Constants,
    Interval,
    Linearised,
    Nonlinearity,
    ReLU,
    RowChoices,
    Values,
    magnitude,
)
from brinell.proofs.numerics.rounding import Precision, check_precision, share, trusted
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import Margins
from brinell.proofs.relaxation.adam import Parameter, adam_step
from brinell.proofs.relaxation.network import bound


@final
@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Adam's settings. steps: gradient evaluations. patience: after so many of them an example is given up whose
    bounds, rising twice as fast as they did, would still not be positive at the end; None gives up none.

    slope_rate: length of the first step of a slope, which is in [0, 1]. multiplier_rate: the same of a multiplier,
    in the units of a score by a neuron. Both fall by `decay` a step. precision: of the climb; the bound of where it
    led is computed in float64 whatever it was.
    """

    steps: int
    slope_rate: float = 0.25
    multiplier_rate: float = 0.1
    decay: float = 0.98
    patience: int | None = None
    precision: Precision = "float64"

    def __post_init__(self) -> None:
        check_precision(self.precision)


@final
@dataclass(frozen=True, eq=False)
class Splits:
    """Neurons held on one side of zero. side: 1 where at or above, -1 where at or below, 0 where free.

    multipliers: the price of each, >= 0, for each row.
    """

    phase: Values
    multipliers: Float[Tensor, " batch rows ..."]

    def only(self, chosen: Tensor) -> "Splits":
        """Some of the examples."""
        return Splits(self.phase[chosen], self.multipliers[chosen])

    def plus(self, other: "Splits") -> "Splits":
        """The examples of both."""
        return Splits(torch.cat((self.phase, other.phase)), torch.cat((self.multipliers, other.multipliers)))


@final
@dataclass(frozen=True, eq=False)
class LayerState:
    """The state of one nonlinearity: the limits of its input, the choice of its lower bound, and what is held, if
    anything."""

    low: Values
    high: Values
    slopes: RowChoices
    splits: Splits | None = None

    def relaxation(self, operator: Nonlinearity) -> Linearised:
        """The linear bound in this state."""
        relaxation = operator.relax(self.low, self.high, self.slopes)
        return (
            relaxation
            if self.splits is None
            else SplitRelaxation(relaxation, self.splits.phase.unsqueeze(1) * self.splits.multipliers)
        )

    def only(self, chosen: Tensor) -> "LayerState":
        """The state of some of the examples."""
        splits = None if self.splits is None else self.splits.only(chosen)
        return LayerState(self.low[chosen], self.high[chosen], self.slopes[chosen], splits)

    def cast(self, dtype: torch.dtype) -> "LayerState":
        """The same in this precision."""
        splits = None
        if self.splits is not None:
            splits = Splits(self.splits.phase.to(dtype), self.splits.multipliers.to(dtype))
        return LayerState(self.low.to(dtype), self.high.to(dtype), self.slopes.to(dtype), splits)

    def where(self, examples: Tensor, rows: Tensor, other: "LayerState") -> "LayerState":
        """The slopes and multipliers of the other in these rows of these examples, which are all that it has."""
        chosen = rows.any(1).nonzero().squeeze(1)
        examples, rows = examples[chosen], rows[chosen]
        slopes = _moved(self.slopes, examples, rows, other.slopes[chosen])
        if self.splits is None or other.splits is None:
            return replace(self, slopes=slopes)
        multipliers = _moved(self.splits.multipliers, examples, rows, other.splits.multipliers[chosen])
        return replace(self, slopes=slopes, splits=replace(self.splits, multipliers=multipliers))

    def plus(self, other: "LayerState") -> "LayerState":
        """The states of the examples of both."""
        low, high = torch.cat((self.low, other.low)), torch.cat((self.high, other.high))
        splits = None if self.splits is None or other.splits is None else self.splits.plus(other.splits)
        return LayerState(low, high, torch.cat((self.slopes, other.slopes)), splits)


State = dict[int, LayerState]
"""One entry a nonlinearity, by its place in the graph."""


@final
@dataclass(frozen=True, eq=False)
class SplitRelaxation(Linearised):
    """A nonlinearity whose input z is held: multiplier * side * z is never negative there, so it may be taken off.

    What remains is a lower bound for every multiplier >= 0 (Wang et al. 2021, theorem 3.1).
    """

    relaxation: Linearised
    push: Coefficients

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        (back,), constant = self.relaxation.backward(a)
        return (back - self.push,), constant


def first(graph: Graph, intervals: list[Interval], rows: int) -> State:
    """Nothing held, and CROWN's slopes: the same for each of `rows` rows, but free to part."""
    state: State = {}
    for i in graph.nonlinearities:
        low, high = intervals[graph.nodes[i].inputs[0]]
        slopes = graph.nonlinearity(i).choices(low, high, "adaptive").unsqueeze(1)
        state[i] = LayerState(low, high, slopes.repeat_interleave(rows, 1))
    return state


def with_splits(graph: Graph, state: State) -> State:
    """The same, ready to hold neurons of ReLUs: none is held yet."""
    return {
        i: replace(layer, splits=Splits(torch.zeros_like(layer.low), torch.zeros_like(layer.low).unsqueeze(1)))
        if isinstance(graph.nonlinearity(i), ReLU)
        else layer
        for i, layer in state.items()
    }


def relaxations(graph: Graph, state: State) -> dict[int, Linearised]:
    """The linear bounds of all nodes."""
    return {**graph.affine, **{i: layer.relaxation(graph.nonlinearity(i)) for i, layer in state.items()}}


def optimise(
    problem: Problem, state: State, optimisation: Optimisation, errors: Mapping[int, Values] | None = None
) -> tuple[Margins, Int64[Tensor, " left"], State]:
    """(the best bound of each row, the examples with a row that is not positive, their state there).

    An example that was given up is not among those left. errors: of functionals of the nodes that nonlinearities read
    (`rounding.at_nodes`). With them, what the rounding of prices may take is taken off; that of slopes is left in.
    """
    reached, left, top = _optimised(problem.cast(trusted(optimisation.precision)), state, optimisation)
    bounds = reached
    if optimisation.precision != "float64":
        bounds = bound(problem, problem.graph.output, problem.spec, relaxations(problem.graph, top))
    if errors is not None:
        bounds = bounds - multiplier_rounding(problem.graph, top, errors)
    going = torch.zeros(len(bounds), dtype=torch.bool).index_fill(0, left, True)
    left = ((going | (reached > 0).all(1)) & ~(bounds > 0).all(1)).nonzero().squeeze(1)
    return bounds, left, {i: layer.only(left) for i, layer in top.items()}


def multiplier_rounding(graph: Graph, state: State, errors: Mapping[int, Values]) -> Constants:
    """How far the prices of a state may carry a bound by their rounding, beyond what `rounding_error` holds.

    A price is one more coefficient before its neuron, and is substituted back like any other.
    """
    lost: Constants = torch.zeros(1, 1, dtype=torch.float64)
    for i, layer in state.items():
        if layer.splits is not None:
            added = share(8, torch.float64) * magnitude((layer.low, layer.high))
            off = layer.splits.phase.abs() * (errors[graph.nodes[i].inputs[0]] + added)
            lost = lost + (layer.splits.multipliers.double() * off.unsqueeze(1)).flatten(2).sum(2)
    return lost * (1 + 2 * len(graph.nonlinearities))  # as `rounding_error` has it


def _optimised(
    problem: Problem, state: State, optimisation: Optimisation
) -> tuple[Margins, Int64[Tensor, " left"], State]:
    """(the best bound of each row, the examples left, the state of all where each row was best), as precise as the
    problem is.
    """
    bounds = torch.full(problem.spec.shape[:2], -torch.inf, dtype=torch.float64)
    left, top = torch.arange(len(bounds)), state
    state = {i: layer.cast(problem.spec.dtype) for i, layer in state.items()}
    slopes = {i: Parameter(layer.slopes, 1.0, optimisation.slope_rate) for i, layer in state.items()}
    multipliers = {
        i: Parameter(layer.splits.multipliers, torch.inf, optimisation.multiplier_rate)
        for i, layer in state.items()
        if layer.splits is not None
    }
    parameters = [*slopes.values(), *multipliers.values()]
    for taken in range(optimisation.steps + 1):
        problem.checkpoint()
        state = {i: _at(layer, slopes[i], multipliers.get(i)) for i, layer in state.items()}
        with torch.enable_grad():
            now = bound(problem, problem.graph.output, problem.spec, relaxations(problem.graph, state))
            better = now.detach() > bounds[left]
            bounds[left] = torch.where(better, now.detach().double(), bounds[left])
            unproved = bounds[left] <= 0
            aim = now.where(unproved, 0.0).sum()
        if taken == 0:
            start = bounds.clone()
        else:
            top = {i: layer.where(left, better, state[i]) for i, layer in top.items()}
        if taken < optimisation.steps and aim.requires_grad:
            gradients = torch.autograd.grad(aim, [p.values for p in parameters], allow_unused=True)
            adam_step(parameters, gradients, taken, optimisation.decay)
        staying = unproved.any(1)
        if taken and taken == optimisation.patience:
            rise_a_step = (bounds[left] - start[left]) / taken
            staying &= (bounds[left] + 2 * (optimisation.steps - taken) * rise_a_step > 0).all(1)
        staying = staying.nonzero().squeeze(1)
        if len(staying) < len(left):
            left, problem = left[staying], problem.only(staying)
            state = {i: layer.only(staying) for i, layer in state.items()}
            for parameter in parameters:
                parameter.only(staying)
        if not len(left):
            break
    return bounds, left, top


def _at(layer: LayerState, slopes: Parameter, multipliers: Parameter | None) -> LayerState:
    """The state at the parameters' values, ready to be differentiated by them."""
    slopes.values = slopes.values.detach().requires_grad_()
    if layer.splits is None or multipliers is None:
        return replace(layer, slopes=slopes.values)
    multipliers.values = multipliers.values.detach().requires_grad_()
    return replace(layer, slopes=slopes.values, splits=replace(layer.splits, multipliers=multipliers.values))


def _moved(values: Tensor, examples: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    rows = rows.reshape(*rows.shape, *(1,) * (values.dim() - 2))
    return values.index_copy(0, examples, torch.where(rows, others.detach().to(values.dtype), values[examples]))

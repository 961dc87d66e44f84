"""The free parameters of CROWN's bounds, optimised by projected gradient ascent (Adam).

1. Slopes alpha in [0, 1] of the lower linear relaxations: every slope gives a lower bound (alpha-CROWN, Xu et al. 2021,
   arXiv:2011.13824, section 3).
2. Multipliers beta >= 0 of split neurons: where a neuron's pre-activation z keeps to its phase s, beta s z >= 0, so
   f(x) >= f(x) - beta s z, and a lower bound on the right side is one on f (beta-CROWN, Wang et al. 2021,
   arXiv:2103.06624, theorem 3.1).

Every admissible alpha and beta gives a sound bound, so the optimisation may stop at any step.
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
    """Adam's settings.

    steps: gradient evaluations, >= 0. patience: after so many of them an example is given up if its bounds, improving
    twice as fast as they did so far, would still not be positive at the end; None gives up none. slope_rate: learning
    rate of the slopes, which are in [0, 1]. multiplier_rate: learning rate of the multipliers, in units of a score
    divided by a pre-activation. decay: factor of both learning rates, each step. precision: of the optimisation; the
    bound at the parameters it finds is computed in float64 in any case.

    Raises UsageError for a precision that is neither "float64" nor "float32".
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
    """The split neurons of one layer, and their dual variables.

    phase: 1 where the pre-activation is constrained to be >= 0, -1 where <= 0, 0 where the neuron is not split.
    multipliers: beta >= 0 of each neuron, for each row of the specification.
    """

    phase: Values
    multipliers: Float[Tensor, " batch rows ..."]

    def only(self, chosen: Tensor) -> "Splits":
        """Those of some of the examples."""
        return Splits(self.phase[chosen], self.multipliers[chosen])

    def plus(self, other: "Splits") -> "Splits":
        """The examples of both."""
        return Splits(torch.cat((self.phase, other.phase)), torch.cat((self.multipliers, other.multipliers)))


@final
@dataclass(frozen=True, eq=False)
class LayerState:
    """The state of one nonlinearity: pre-activation bounds, slopes of the lower relaxation, and splits, if any."""

    low: Values
    high: Values
    slopes: RowChoices
    splits: Splits | None = None

    def relaxation(self, operator: Nonlinearity) -> Linearised:
        """The linear relaxation in this state."""
        relaxation = operator.relax(self.low, self.high, self.slopes)
        if self.splits is None:
            return relaxation
        return SplitRelaxation(relaxation, self.splits.phase.unsqueeze(1) * self.splits.multipliers)

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
        """With the slopes and multipliers of `other` in these rows of these examples; `other` has no more examples."""
        chosen = rows.any(1).nonzero().squeeze(1)
        examples = examples[chosen]
        rows = rows[chosen]

        slopes = _replaced(self.slopes, examples, rows, other.slopes[chosen])
        if self.splits is None or other.splits is None:
            return replace(self, slopes=slopes)

        multipliers = _replaced(self.splits.multipliers, examples, rows, other.splits.multipliers[chosen])
        return replace(self, slopes=slopes, splits=replace(self.splits, multipliers=multipliers))

    def plus(self, other: "LayerState") -> "LayerState":
        """The states of the examples of both."""
        splits = None if self.splits is None or other.splits is None else self.splits.plus(other.splits)
        return LayerState(
            torch.cat((self.low, other.low)),
            torch.cat((self.high, other.high)),
            torch.cat((self.slopes, other.slopes)),
            splits,
        )


State = dict[int, LayerState]
"""One entry a nonlinearity, by its place in the graph."""


@final
@dataclass(frozen=True, eq=False)
class SplitRelaxation(Linearised):
    """The relaxation of a layer with split neurons: beta * phase * pre-activation, which is >= 0, is subtracted.

    What remains is a lower bound for every beta >= 0 (Wang et al. 2021, theorem 3.1). dual: beta * phase.
    """

    relaxation: Linearised
    dual: Coefficients

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        (back,), constant = self.relaxation.backward(a)
        return (back - self.dual,), constant


def first(graph: Graph, intervals: list[Interval], rows: int) -> State:
    """The state before any optimisation: no splits, and CROWN's slopes, a copy of them for each of `rows` rows."""
    state: State = {}
    for i in graph.nonlinearities:
        low, high = intervals[graph.nodes[i].inputs[0]]
        slopes = graph.nonlinearity(i).choices(low, high, "adaptive").unsqueeze(1)
        state[i] = LayerState(low, high, slopes.repeat_interleave(rows, 1))
    return state


def with_splits(graph: Graph, state: State) -> State:
    """The same with room for splits of ReLUs, none of which is split yet; of one row an example."""
    return {
        i: replace(layer, splits=Splits(torch.zeros_like(layer.low), torch.zeros_like(layer.low).unsqueeze(1)))
        if isinstance(graph.nonlinearity(i), ReLU)
        else layer
        for i, layer in state.items()
    }


def relaxations(graph: Graph, state: State) -> dict[int, Linearised]:
    """The linear relaxations of all nodes but the input."""
    return {**graph.affine, **{i: layer.relaxation(graph.nonlinearity(i)) for i, layer in state.items()}}


def optimise(
    problem: Problem, state: State, optimisation: Optimisation, errors: Mapping[int, Values] | None = None
) -> tuple[Margins, Int64[Tensor, " left"], State]:
    """(the best bound of each row, the examples with a row that is not positive, their state at the best bounds).

    Examples that `patience` gave up are not among those left. errors: rounding errors of functionals of the
    pre-activations (`rounding.at_nodes`). With them, what the rounding of multipliers may add to a bound is taken off;
    that of slopes is not.
    """
    reached, left, best = _optimised(problem.cast(trusted(optimisation.precision)), state, optimisation)

    bounds = reached
    if optimisation.precision != "float64":
        bounds = bound(problem, problem.graph.output, problem.spec, relaxations(problem.graph, best))
    if errors is not None:
        bounds = bounds - multiplier_rounding(problem.graph, best, errors)

    # An example may count as proved in float32 and be open in float64.
    active = torch.zeros(len(bounds), dtype=torch.bool).index_fill(0, left, True)
    left = ((active | (reached > 0).all(1)) & ~(bounds > 0).all(1)).nonzero().squeeze(1)
    return bounds, left, {i: layer.only(left) for i, layer in best.items()}


def multiplier_rounding(graph: Graph, state: State, errors: Mapping[int, Values]) -> Constants:
    """How much the rounding of a state's multipliers may add to a bound, beyond what `rounding_error` covers.

    A multiplier is one more coefficient of its pre-activation, and is substituted back like any other.
    """
    total: Constants = torch.zeros(1, 1, dtype=torch.float64)
    for i, layer in state.items():
        if layer.splits is not None:
            added = share(8, torch.float64) * magnitude((layer.low, layer.high))
            error = layer.splits.phase.abs() * (errors[graph.nodes[i].inputs[0]] + added)
            total = total + (layer.splits.multipliers.double() * error.unsqueeze(1)).flatten(2).sum(2)
    return total * (1 + 2 * len(graph.nonlinearities))  # the factor of `rounding_error`


def _optimised(
    problem: Problem, state: State, optimisation: Optimisation
) -> tuple[Margins, Int64[Tensor, " left"], State]:
    """(the best bound of each row, the examples left, the state of all examples where each row was best).

    Bounds are as precise as the problem is. Rows that are positive are not improved further.
    """
    bounds = torch.full(problem.spec.shape[:2], -torch.inf, dtype=torch.float64)  # [batch, rows]
    left = torch.arange(len(bounds))
    best = state

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
            now = bound(problem, problem.graph.output, problem.spec, relaxations(problem.graph, state))  # [left, rows]
            better = now.detach() > bounds[left]
            bounds[left] = torch.where(better, now.detach().double(), bounds[left])
            unproved = bounds[left] <= 0
            objective = now.where(unproved, 0.0).sum()

        if taken == 0:
            start = bounds.clone()
        else:
            best = {i: layer.where(left, better, state[i]) for i, layer in best.items()}

        if taken < optimisation.steps and objective.requires_grad:
            gradients = torch.autograd.grad(objective, [p.values for p in parameters], allow_unused=True)
            adam_step(parameters, gradients, taken, optimisation.decay)

        active = unproved.any(1)
        if taken and taken == optimisation.patience:
            gain_a_step = (bounds[left] - start[left]) / taken
            active &= (bounds[left] + 2 * (optimisation.steps - taken) * gain_a_step > 0).all(1)
        active = active.nonzero().squeeze(1)
        if len(active) < len(left):
            left = left[active]
            problem = problem.only(active)
            state = {i: layer.only(active) for i, layer in state.items()}
            for parameter in parameters:
                parameter.only(active)
        if not len(left):
            break
    return bounds, left, best


def _at(layer: LayerState, slopes: Parameter, multipliers: Parameter | None) -> LayerState:
    """The state at the parameters' values, which require gradients."""
    slopes.values = slopes.values.detach().requires_grad_()
    if layer.splits is None or multipliers is None:
        return replace(layer, slopes=slopes.values)
    multipliers.values = multipliers.values.detach().requires_grad_()
    return replace(layer, slopes=slopes.values, splits=replace(layer.splits, multipliers=multipliers.values))


def _replaced(values: Tensor, examples: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """`values` with those of `others` in these rows of these examples."""
    rows = rows.reshape(*rows.shape, *(1,) * (values.dim() - 2))
    return values.index_copy(0, examples, torch.where(rows, others.detach().to(values.dtype), values[examples]))

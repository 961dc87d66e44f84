"""Monotony: whether a score can fall where one feature rises and all else is equal.

A score rises along a feature wherever its slope there is not negative, so a box is proved part by part. What the
network's values change by, for a change of the feature, is itself a network: the same affine layers without offsets,
and in each nonlinearity's place a factor between the least and the greatest slope that the nonlinearity has in the
part. Its bounds are those of CROWN, of products in the place of ReLUs. Parts that they leave open are cut in two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.errors import UsageError, out_of_memory
from brinell.proofs.branching.cutting import halves, shares
from brinell.proofs.branching.queue import Queue
from brinell.proofs.branching.splits import Recorded
from brinell.proofs.lipschitz.rules import no_rule, slopes
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import (
    Affine,
    Band,
    Coefficients,
    Constants,
    Curve,
    Interval,
    Linearised,
    Nonlinearity,
    ReLU,
    Values,
    inner,
)
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.property.property import within
from brinell.proofs.property.witness import Run
from brinell.proofs.query.deadline import Deadline, OutOfTime
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import Progress
from brinell.proofs.query.substitution import substitute, written
from brinell.proofs.query.verifier import Checkpoint
from brinell.proofs.relaxation.network import Relaxation, intersected, relax
from brinell.threat import Linf

Verdict = Literal["proved", "refuted", "unknown", "timeout"]

BATCH = 64
"""Parts of the box that are bounded at once."""

MOST_UNITS = 2**22
"""Numbers in the functionals that are carried back at once from a layer."""

MEMORY = 2**22

LINES = 512
"""Lines along the feature, at random, that are first looked at for a fall."""

STEPS = 33
"""Points on each."""


@final
@dataclass(frozen=True, eq=False)
class Pair:
    """Two inputs that differ in the feature alone, which rises, and the scores, one of whose rows falls."""

    x: Float64[Tensor, "2 inputs"]
    y: Float64[Tensor, "2 scores"]


@final
@dataclass(frozen=True, eq=False)
class Monotony:
    """proved: no pair of the box is a counterexample. refuted: here is one. Else slope says how far the proof came: a
    unit of the feature lowers no row by more than -slope.
    """

    verdict: Verdict
    pair: Pair | None
    slope: float
    seconds: float


def monotone(
    network: Graph,
    low: Tensor,
    high: Tensor,
    feature: int,
    rows: Tensor,
    *,
    timeout: float,
    run: Run | None = None,
    precision: torch.dtype = torch.float32,
    slack: float = 1e-9,
    seed: int = 0,
) -> Monotony:
    """Whether no row of rows @ scores can fall where `feature` rises, over the box from low to high, all else equal.

    low, high: in flat order; equal where a feature does not vary. feature: a flat index. rows: (rows, scores);
    `margins(classes, classes)` has those of a class against all others, and minus them asks about falling.
    run, precision: the model as it is deployed, which alone makes two inputs a counterexample, and the type of its
    inputs; the graph itself if there is none. slack: what a unit of the feature may lower a row by, to leave rounding
    its room. Exact arithmetic is assumed of the network, as by `decide`. Raises Unsupported where an operator is no
    affine one, ReLU or smooth function of one number.
    """
    low, high, rows = (x.detach().cpu().double() for x in (low.flatten(), high.flatten(), rows))
    inputs = torch.Size(network.nodes[0].shape).numel()
    check_question(inputs, network.classes, low, high, feature, rows, timeout)
    question = _Question(network, feature, rows, run or network, slack, *within([(low, high)], precision))
    deadline, progress = Deadline(timeout), Progress()
    if low[feature] == high[feature]:
        return Monotony("proved", None, torch.inf, 0.0)  # there is no pair

    with torch.no_grad():
        pair = question.sampled(precision, seed)
        verdict: Verdict = "refuted"
        if pair is None:
            try:
                verdict, pair = question.searched(low, high, precision, progress, deadline)
            except OutOfTime:
                verdict = "timeout"
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                verdict = "unknown"
    return Monotony(verdict, pair, progress.bound, deadline.spent)


def check_question(
    inputs: int, classes: int, low: Tensor, high: Tensor, feature: int, rows: Tensor, timeout: float
) -> None:
    """Refuse what cannot be asked of a model of so many inputs and classes."""
    if len(low) != inputs or len(high) != inputs:
        raise UsageError(f"the box has {len(low)} and {len(high)} limits; the model has {inputs} inputs")
    if not (low.isfinite() & high.isfinite() & (low <= high)).all():
        raise UsageError("the box is empty or has no end; each low must be finite, and at most its high")
    if not 0 <= feature < inputs:
        raise UsageError(f"feature is {feature}; the model has features 0 to {inputs - 1}")
    if rows.dim() != 2 or rows.shape[1] != classes or len(rows) == 0:
        raise UsageError(f"rows has shape {tuple(rows.shape)}; it must be (rows, {classes}), one row at least")
    if not timeout > 0:
        raise UsageError(f"timeout is {timeout}; it must be a positive number of seconds")


@final
@dataclass(frozen=True, eq=False)
class _Question:
    network: Graph
    feature: int
    rows: Tensor
    run: Run
    slack: float
    low: Tensor
    high: Tensor
    there: Tensor
    """The least and the largest inputs of the model's precision in the box, where there are any."""

    def sampled(self, precision: torch.dtype, seed: int) -> Pair | None:
        """A counterexample among the neighbours on random lines."""
        low, high = self.low, self.high
        rng = torch.Generator().manual_seed(seed)
        share = torch.rand(LINES, 1, len(low), generator=rng, dtype=torch.float64).expand(-1, STEPS, -1).clone()
        share[..., self.feature] = torch.linspace(0, 1, STEPS, dtype=torch.float64)
        x = (low + share * (high - low)).to(precision).double().clamp(low, high)
        return self.shown(x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1))

    def shown(self, before: Tensor, after: Tensor) -> Pair | None:
        """A counterexample among pairs, if the model itself agrees: of those that the graph is one of, the steepest.

        Pairs are moved into the box. Where that holds no number of the model's precision, it holds no pair.
        """
        before, after = before.clamp(self.low, self.high), after.clamp(self.low, self.high)
        length = (after - before)[:, self.feature]
        fall = ((self._scores(before) - self._scores(after)) @ self.rows.T).amax(1) - self.slack * length
        worst = int((fall / length).where(length > 0, -torch.inf).argmax())
        if not (fall[worst] > 0 and length[worst] > 0 and self.there.all()):
            return None
        x = torch.stack((before[worst], after[worst]))
        y = self.run(x).double()
        fallen = ((y[0] - y[1]) @ self.rows.T).amax() > self.slack * length[worst]
        return Pair(x, y) if bool(y.isfinite().all() and fallen) else None

    def searched(
        self, low: Tensor, high: Tensor, precision: torch.dtype, progress: Progress, checkpoint: Checkpoint
    ) -> tuple[Verdict, Pair | None]:
        """Part by part, those of the least slope first. watch: what no slope of a row is below."""
        queue: Queue[Regions] = Queue(max(1, min(BATCH, MOST_UNITS // self.network.width**2)))
        queue.put(Regions.boxes(low.unsqueeze(0), high.unsqueeze(0)))
        proved = torch.inf
        while (asked := queue.take()) is not None:
            progress.bound = min(proved, queue.least, float(asked.bound.min()))
            checkpoint()
            bound, axis = self._bounded(asked, checkpoint)
            open_ = bound < -self.slack
            proved = min(proved, float(bound.where(~open_, torch.inf).min()))
            left = replace(asked, bound=torch.maximum(asked.bound, bound)).only(open_)
            if not open_.any():
                continue
            pair = self._met(left, precision)
            if pair is not None:
                return "refuted", pair
            axis = axis[open_]
            middle = ((left.low + left.high) / 2).gather(1, axis.unsqueeze(1))
            ends = (end.gather(1, axis.unsqueeze(1)) for end in (left.low, left.high))
            if not torch.cat([middle != end for end in ends]).all():
                return "unknown", None
            queue.put(halves(left, axis))
        progress.bound = proved
        return "proved", None

    def _bounded(
        self, asked: Regions, checkpoint: Checkpoint
    ) -> tuple[Float64[Tensor, " regions"], Int64[Tensor, " regions"]]:
        """(the least slope of a row in each part, the axis to cut it along)."""
        shape = (len(asked.low), *self.network.nodes[0].shape)
        part = asked.low.reshape(shape), asked.high.reshape(shape)
        spec = self.rows.expand(len(asked.low), -1, -1)
        problem = Problem(self.network, (part[0] + part[1]) / 2, Linf(1.0), spec, MEMORY, checkpoint, part)
        relaxed = relax(problem, "adaptive", substituted=True)
        direction = torch.zeros(len(asked.low), asked.low.shape[1], dtype=torch.float64)
        direction[:, self.feature] = 1.0
        direction = direction.reshape(shape)
        relaxations = changes(problem, relaxed, direction)
        recorded = {i: Recorded(relaxations[i]) for i in self.network.nonlinearities}
        bound = least(self.network, self.network.output, spec, {**relaxations, **recorded}, direction).amin(1)
        bound = bound.where(bound.isfinite(), -torch.inf)
        error = _uncertain(problem, relaxed, recorded)
        width = asked.high - asked.low
        score = torch.where((error > 0).any(1, keepdim=True), error, width)
        return bound, score.where(width > 0, -1.0).argmax(1)

    def _met(self, left: Regions, precision: torch.dtype) -> Pair | None:
        """A counterexample among the ends of the lines through the centres."""
        low, high, _ = within([(left.low, left.high)], precision)
        centre = ((low + high) / 2).to(precision).double().clamp(low, high)
        before, after = centre.clone(), centre.clone()
        before[:, self.feature], after[:, self.feature] = low[:, self.feature], high[:, self.feature]
        return self.shown(before, after)

    def _scores(self, x: Tensor) -> Tensor:
        return self.network(x.reshape(len(x), *self.network.nodes[0].shape))


def changes(problem: Problem, relaxed: Relaxation, direction: Values) -> dict[int, Linearised]:
    """For each node but the input, linear bounds of what it changes by, by what its inputs change by.

    All for a unit of the direction, anywhere within the problem's set: the mean value theorem, nonlinearity by
    nonlinearity.
    """
    graph = problem.graph
    moves: list[Interval] = [(direction, direction)]
    relaxations: dict[int, Linearised] = {}
    for i, node in enumerate(graph.nodes[1:], 1):
        operator = graph.operator(i)
        if isinstance(operator, Affine):
            relaxations[i] = _Still(operator)
            forms = (tuple(end.unsqueeze(1) for end in moves[j]) for j in node.inputs)
            below, above = operator.forward_bounds(*((low, high) for low, high in forms), offset=False)
            moves.append((below.squeeze(1), above.squeeze(1)))
            continue
        (source,) = node.inputs
        moves[source] = intersected(moves[source], _substituted(graph, source, relaxations, direction))
        factors = _factors(operator, relaxed.intervals[source])
        ends = torch.stack([factor * move for factor in factors for move in moves[source]])
        moves.append((ends.amin(0), ends.amax(0)))
        relaxations[i] = _scaled(factors, moves[source])
    return relaxations


@final
@dataclass(frozen=True, eq=False)
class _Still(Linearised):
    """An affine operator without its offset."""

    operator: Affine

    def backward(self, a: Coefficients) -> tuple[tuple[Coefficients, ...], Constants]:
        parts, constant = self.operator.backward(a)
        return parts, torch.zeros_like(constant)


def _factors(operator: Affine | Nonlinearity, interval: Interval) -> Interval:
    """The least and the greatest slope of a nonlinearity between two limits of its input."""
    low, high = interval
    if isinstance(operator, ReLU):
        return (low >= 0).double(), (high > 0).double()
    if isinstance(operator, Curve):
        return slopes(operator, low, high)
    raise no_rule(operator)


def _scaled(factors: Interval, move: Interval) -> Band:
    """factor * move between lines: those of the ends where the move has a sign, else chords through both ends."""
    (least, most), (low, high) = factors, move
    rising, falling, width = low >= 0, high <= 0, high - low

    def line(negative: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
        """Through (low, negative * low) and (high, positive * high)."""
        slope = torch.where(
            rising, positive, torch.where(falling, negative, (positive * high - negative * low) / width)
        )
        offset = torch.where(rising | falling, 0.0, (negative - slope) * low)
        return slope.unsqueeze(1), offset.unsqueeze(1)

    return Band(*line(most, least), *line(least, most))


def _substituted(graph: Graph, node: int, relaxations: Mapping[int, Linearised], direction: Values) -> Interval:
    """What a node changes by, between the linear bounds of what comes before it."""
    shape = graph.nodes[node].shape
    unit = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).unflatten(1, shape)
    unit = unit.expand(len(direction), *unit.shape)
    low, high = (least(graph, node, a, relaxations, direction) for a in (unit, -unit))
    return low.reshape(-1, *shape), -high.reshape(-1, *shape)


def least(
    graph: Graph, node: int, a: Coefficients, relaxations: Mapping[int, Linearised], direction: Values
) -> Float64[Tensor, "regions rows"]:
    """A lower bound on <a, what the node changes by>."""
    held, constant = substitute(graph, node, a, relaxations)
    return inner(written(held[0]), direction.unsqueeze(1)) + constant if 0 in held else constant.expand(a.shape[:2])


def _uncertain(
    problem: Problem, relaxed: Relaxation, recorded: Mapping[int, Recorded]
) -> Float64[Tensor, "regions inputs"]:
    """For each axis, how much of the uncertainty of the slope a thinner part would take away, in the linear model."""
    graph, by_axis = problem.graph, shares(problem, relaxed.intervals)
    error = torch.zeros_like(problem.x0).flatten(1)
    for i, note in recorded.items():
        (source,), relaxation = graph.nodes[i].inputs, note.relaxation
        if not note.seen or not isinstance(relaxation, Band):
            continue
        low, high = (end.flatten(1) for end in relaxed.intervals[source])
        gap = (relaxation.upper - relaxation.lower).abs().squeeze(1).flatten(1) + (
            relaxation.top - relaxation.base
        ).squeeze(1).flatten(1)
        weight = note.seen[0].abs().flatten(2).sum(1) * (gap / (high - low)).where(high > low, 0.0)
        error += (by_axis[source].abs() @ weight.unsqueeze(2)).squeeze(2)
    return error.nan_to_num(0.0)

"""Monotonicity: whether a score can fall where one feature rises and all else is equal.

A score is monotone along a feature over a box if its derivative there is >= 0. Branch and bound over the box: the
derivative is bounded from below over each region (`derivatives`), and regions that are still open are halved along the
axis that tightens their bounds most.
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
from brinell.proofs.monotonicity.derivatives import derivative_relaxations, least_derivative
from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import (
    Band,
)
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.property.property import within
from brinell.proofs.property.witness import Run
from brinell.proofs.query.deadline import Deadline, OutOfTime
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import SearchProgress
from brinell.proofs.query.verifier import Checkpoint
from brinell.proofs.relaxation.network import Relaxation, relax
from brinell.threat import Linf

Verdict = Literal["proved", "refuted", "unknown", "timeout"]

BATCH = 64
"""Regions that are bounded at once."""

MOST_UNITS = 2**22
"""Coefficients in the functionals of one layer that are substituted at once."""

MEMORY = 2**22

LINES = 512
"""Random lines along the feature that are searched for a counterexample first."""

STEPS = 33
"""Points on each."""


@final
@dataclass(frozen=True, eq=False)
class Pair:
    """A counterexample: two inputs that differ in the feature alone, which rises, and their scores; some row falls."""

    x: Float64[Tensor, "2 inputs"]
    y: Float64[Tensor, "2 scores"]


@final
@dataclass(frozen=True, eq=False)
class Monotonicity:
    """proved: no pair of the box is a counterexample. refuted: `pair` is one. slope: a lower bound on the derivative of
    every row, of use where neither is so: a unit of the feature lowers no row by more than -slope.
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
) -> Monotonicity:
    """Whether no row of rows @ scores can fall where `feature` rises, over the box from low to high, all else equal.

    low, high: in flat order; equal where a feature does not vary. feature: a flat index. rows: (rows, scores);
    `margins(classes, classes)` has those of a class against all others, and their negatives ask whether it can rise.
    run, precision: the model as deployed, which has the last word on a counterexample, and the type of its inputs; the
    graph itself if None. slack: what a unit of the feature may lower a row by, which allows for rounding. Exact
    arithmetic is assumed of the network, as by `decide`. Raises UsageError for arguments that do not fit, Unsupported
    where an operator is neither affine, nor a ReLU, nor a smooth function of one number.
    """
    low, high, rows = (x.detach().cpu().double() for x in (low.flatten(), high.flatten(), rows))
    inputs = torch.Size(network.nodes[0].shape).numel()
    check_question(inputs, network.classes, low, high, feature, rows, timeout)
    question = _Question(network, feature, rows, run or network, slack, *within([(low, high)], precision))
    deadline = Deadline(timeout)
    progress = SearchProgress()
    if low[feature] == high[feature]:
        return Monotonicity("proved", None, torch.inf, 0.0)  # there is no pair

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
    return Monotonicity(verdict, pair, progress.bound, deadline.spent)


def check_question(
    inputs: int, classes: int, low: Tensor, high: Tensor, feature: int, rows: Tensor, timeout: float
) -> None:
    """Raise UsageError for arguments that do not fit a model of so many inputs and classes."""
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
    """low, high: the least and the largest inputs of the model's precision in the box. there: whether it has any."""

    network: Graph
    feature: int
    rows: Tensor
    run: Run
    slack: float
    low: Tensor
    high: Tensor
    there: Tensor

    def sampled(self, precision: torch.dtype, seed: int) -> Pair | None:
        """A counterexample among neighbouring points of random lines."""
        low = self.low
        high = self.high
        rng = torch.Generator().manual_seed(seed)
        share = torch.rand(LINES, 1, len(low), generator=rng, dtype=torch.float64).expand(-1, STEPS, -1).clone()
        share[..., self.feature] = torch.linspace(0, 1, STEPS, dtype=torch.float64)
        x = (low + share * (high - low)).to(precision).double().clamp(low, high)
        return self.checked(x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1))

    def checked(self, before: Tensor, after: Tensor) -> Pair | None:
        """The steepest of the pairs that are counterexamples on the graph, if it is one on the model.

        Pairs are moved into the box. Where that has no number of the model's precision, there is no pair.
        """
        before = before.clamp(self.low, self.high)
        after = after.clamp(self.low, self.high)
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
        self, low: Tensor, high: Tensor, precision: torch.dtype, progress: SearchProgress, checkpoint: Checkpoint
    ) -> tuple[Verdict, Pair | None]:
        """Branch and bound, the region of the lowest derivative first. progress: its bound is on all derivatives."""
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

            pair = self._through_centres(left, precision)
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
        """(a lower bound on the derivatives of all rows in each region, the axis to cut it along)."""
        shape = (len(asked.low), *self.network.nodes[0].shape)
        box = (asked.low.reshape(shape), asked.high.reshape(shape))
        spec = self.rows.expand(len(asked.low), -1, -1)
        problem = Problem(self.network, (box[0] + box[1]) / 2, Linf(1.0), spec, MEMORY, checkpoint, box)
        relaxed = relax(problem, "adaptive", substituted=True)

        direction = torch.zeros(len(asked.low), asked.low.shape[1], dtype=torch.float64)
        direction[:, self.feature] = 1.0
        direction = direction.reshape(shape)
        relaxations = derivative_relaxations(problem, relaxed, direction)
        recorded = {i: Recorded(relaxations[i]) for i in self.network.nonlinearities}
        every = {**relaxations, **recorded}
        bound = least_derivative(self.network, self.network.output, spec, every, direction).amin(1)
        bound = bound.where(bound.isfinite(), -torch.inf)

        error = _gain_by_axis(problem, relaxed, recorded)
        width = asked.high - asked.low
        score = torch.where((error > 0).any(1, keepdim=True), error, width)
        return bound, score.where(width > 0, -1.0).argmax(1)

    def _through_centres(self, left: Regions, precision: torch.dtype) -> Pair | None:
        """A counterexample among the ends of the lines along the feature through the regions' centres."""
        low, high, _ = within([(left.low, left.high)], precision)
        centre = ((low + high) / 2).to(precision).double().clamp(low, high)
        before = centre.clone()
        before[:, self.feature] = low[:, self.feature]
        after = centre.clone()
        after[:, self.feature] = high[:, self.feature]
        return self.checked(before, after)

    def _scores(self, x: Tensor) -> Tensor:
        return self.network(x.reshape(len(x), *self.network.nodes[0].shape))


def _gain_by_axis(
    problem: Problem, relaxed: Relaxation, recorded: Mapping[int, Recorded]
) -> Float64[Tensor, "regions inputs"]:
    """For each axis, its share in the gaps of the relaxations, times their coefficients; see `branching.cutting`."""
    graph = problem.graph
    by_axis = shares(problem, relaxed.intervals)
    error = torch.zeros_like(problem.x0).flatten(1)
    for i, one in recorded.items():
        (source,) = graph.nodes[i].inputs
        relaxation = one.relaxation
        if not one.seen or not isinstance(relaxation, Band):
            continue
        low, high = (end.flatten(1) for end in relaxed.intervals[source])
        gap = (relaxation.upper - relaxation.lower).abs() + (relaxation.top - relaxation.base)
        gap = gap.squeeze(1).flatten(1)  # [regions, neurons]
        weight = one.seen[0].abs().flatten(2).sum(1) * (gap / (high - low)).where(high > low, 0.0)
        error += (by_axis[source].abs() @ weight.unsqueeze(2)).squeeze(2)
    return error.nan_to_num(0.0)

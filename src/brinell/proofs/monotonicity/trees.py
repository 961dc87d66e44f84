"""Monotony of trees, exactly: whether a score can fall where one feature rises, threshold by threshold.

The score changes only where the feature passes a threshold, and there only in the trees that compare with it. Either
side of it an input lies in a leaf of each such tree; pairs of leaves that share a place in the other features make a
change. The least sum of changes, a pair a tree, all sharing a place, is sought depth first: what the trees that are
left can take away at most bounds it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from brinell.proofs.exact.forest import Forest, first_right, last_left
from brinell.proofs.monotonicity.monotone import Monotony, Pair, Verdict, check_question
from brinell.proofs.property.property import rounded_inward
from brinell.proofs.property.witness import Run
from brinell.proofs.query.deadline import Deadline, OutOfTime
from brinell.proofs.query.verifier import Checkpoint

SLACK = 2.0**-30
"""A fall counts from this share of the scores' size on: what sums may be off by is less."""

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class _Changes:
    """What one tree adds as the feature passes a threshold: gains, on boxes that cover all places, closed."""

    low: Float64[np.ndarray, "boxes features"]
    high: Float64[np.ndarray, "boxes features"]
    gain: Float64[np.ndarray, " boxes"]


def monotone_trees(
    forest: Forest,
    low: Tensor,
    high: Tensor,
    feature: int,
    rows: Tensor,
    *,
    timeout: float,
    run: Run | None = None,
    precision: torch.dtype = torch.float32,
) -> Monotony:
    """What `monotone` decides, of trees; slope says nothing of them. Where sums tie but for rounding, nothing falls."""
    low, high, rows = (x.detach().cpu().double() for x in (low.flatten(), high.flatten(), rows))
    check_question(forest.features, forest.classes, low, high, feature, rows, timeout)
    deadline = Deadline(timeout)

    size = sum(np.abs(tree.scores).max() for tree in forest.trees) * float(rows.abs().sum(1).max())
    verdict: Verdict = "proved"
    pair = None
    try:
        question = _Question(forest, low, high, feature, rows.numpy(), precision, SLACK * size, deadline)
        for before, after in question.falls():
            x = torch.from_numpy(np.stack([before, after]))
            y = (run or forest.scores)(x).double()
            if bool(((y[0] - y[1]) @ rows.T > 0).any()):
                verdict, pair = "refuted", Pair(x, y)
                break
            verdict = "unknown"  # the trees fall there, and the model as it runs does not
    except OutOfTime:
        verdict = "timeout"
    return Monotony(verdict, pair, 0.0 if verdict == "proved" else -torch.inf, deadline.spent)


@final
class _Question:
    def __init__(
        self,
        forest: Forest,
        low: Tensor,
        high: Tensor,
        feature: int,
        rows: Floats,
        precision: torch.dtype,
        slack: float,
        checkpoint: Checkpoint,
    ) -> None:
        self._feature, self._rows, self._slack, self._checkpoint = feature, rows, slack, checkpoint
        self._precision, self._trees = precision, forest.trees
        self._lows = [first_right(tree.above, precision) for tree in forest.trees]
        self._highs = [last_left(tree.upto, precision) for tree in forest.trees]
        self._low, self._high = (end.numpy() for end in rounded_inward(low, high, precision))

    def falls(self) -> Iterator[tuple[Floats, Floats]]:
        """Pairs of inputs between which the trees fall: one a threshold and row, where there is any.

        None where the box holds no input of the model's precision.
        """
        if (self._low > self._high).any():
            return
        ends = np.concatenate([tree.upto[:, self._feature] for tree in self._trees])
        for threshold in np.unique(ends[np.isfinite(ends)]):
            below = last_left(np.array([threshold]), self._precision)[0]
            above = first_right(np.array([threshold]), self._precision)[0]
            if not self._low[self._feature] <= below < above <= self._high[self._feature]:
                continue
            meeting = [i for i, tree in enumerate(self._trees) if (tree.upto[:, self._feature] == threshold).any()]
            for row in self._rows:
                changes = [self._changes(i, below, above, row) for i in meeting]
                place = self._least(changes, self._low, self._high, 0.0)
                if place is not None:
                    before, after = place.copy(), place.copy()
                    before[self._feature], after[self._feature] = below, above
                    yield before, after

    def _changes(self, i: int, below: float, above: float, row: Floats) -> _Changes:
        """Of a tree, every pair of leaves on the two sides that shares a place in the other features."""
        low, high = self._lows[i].copy(), self._highs[i].copy()
        at = self._feature
        first = np.flatnonzero((low[:, at] <= below) & (below <= high[:, at]))
        second = np.flatnonzero((low[:, at] <= above) & (above <= high[:, at]))
        low[:, at], high[:, at] = self._low[at], self._high[at]
        low, high = np.maximum(low, self._low), np.minimum(high, self._high)
        scores = self._trees[i].scores @ row
        parts = []
        for leaf in first:
            self._checkpoint()
            shared = np.maximum(low[leaf], low[second]), np.minimum(high[leaf], high[second])
            some = (shared[0] <= shared[1]).all(1)
            parts.append((shared[0][some], shared[1][some], scores[second][some] - scores[leaf]))
        return _Changes(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _least(self, changes: list[_Changes], low: Floats, high: Floats, total: float) -> Floats | None:
        """A place between low and high where the sum of the changes is below zero, beyond rounding."""
        self._checkpoint()
        met = [(change.low <= high).all(1) & (change.high >= low).all(1) for change in changes]
        least = [change.gain[some].min() for change, some in zip(changes, met, strict=True)]
        if total + sum(least) >= -self._slack:
            return None
        if not changes:
            return low
        change = changes[0]
        for box in np.flatnonzero(met[0])[change.gain[met[0]].argsort(kind="stable")]:
            ends = np.maximum(low, change.low[box]), np.minimum(high, change.high[box])
            place = self._least(changes[1:], *ends, total + float(change.gain[box]))
            if place is not None:
                return place
        return None

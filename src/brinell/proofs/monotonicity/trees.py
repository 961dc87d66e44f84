"""Monotonicity of tree ensembles, exactly: whether a score can fall where one feature rises.

1. A score changes only where the feature passes a threshold, and there only in the trees that compare with it.
2. On either side of a threshold an input lies in a leaf of each such tree. Two leaves, one a side, that overlap in the
   other features make a possible change of the tree.
3. The least sum of changes, one pair of leaves a tree, all overlapping in a point, is found by depth-first branch and
   bound: the sum of the remaining trees' least changes bounds it from below.
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
from brinell.proofs.monotonicity.monotone import Monotonicity, Pair, Verdict, check_question
from brinell.proofs.property.property import rounded_inward
from brinell.proofs.property.witness import Run
from brinell.proofs.query.deadline import Deadline, OutOfTime
from brinell.proofs.query.verifier import Checkpoint

SLACK = 2.0**-30
"""A decrease counts from this share of the scores' size on; the rounding of their sums is less."""

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class _Changes:
    """How one tree's score changes as the feature passes a threshold: `gain` on closed boxes, which cover the rest."""

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
) -> Monotonicity:
    """What `monotone` decides, for tree ensembles, without a slope. Sums that tie up to rounding count as no decrease.

    Arguments and errors are those of `monotone`.
    """
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
                verdict = "refuted"
                pair = Pair(x, y)
                break
            verdict = "unknown"  # the trees decrease there, and the model as it runs does not
    except OutOfTime:
        verdict = "timeout"
    return Monotonicity(verdict, pair, 0.0 if verdict == "proved" else -torch.inf, deadline.spent)


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
        self._feature = feature
        self._rows = rows
        self._slack = slack
        self._checkpoint = checkpoint
        self._precision = precision
        self._trees = forest.trees
        self._lows = [first_right(tree.above, precision) for tree in forest.trees]
        self._highs = [last_left(tree.upto, precision) for tree in forest.trees]
        self._low, self._high = (end.numpy() for end in rounded_inward(low, high, precision))

    def falls(self) -> Iterator[tuple[Floats, Floats]]:
        """Pairs of inputs between which a row decreases: one for each threshold and row, where there is any.

        None at all where the box has no input of the model's precision.
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
                    before = place.copy()
                    before[self._feature] = below
                    after = place.copy()
                    after[self._feature] = above
                    yield before, after

    def _changes(self, i: int, below: float, above: float, row: Floats) -> _Changes:
        """The changes of a tree: every pair of leaves, one a side, that overlap in the other features."""
        low = self._lows[i].copy()
        high = self._highs[i].copy()
        at = self._feature
        first = np.flatnonzero((low[:, at] <= below) & (below <= high[:, at]))
        second = np.flatnonzero((low[:, at] <= above) & (above <= high[:, at]))
        low[:, at] = self._low[at]
        high[:, at] = self._high[at]
        low = np.maximum(low, self._low)
        high = np.minimum(high, self._high)

        scores = self._trees[i].scores @ row
        lows = []
        highs = []
        gains = []
        for leaf in first:
            self._checkpoint()
            shared_low = np.maximum(low[leaf], low[second])
            shared_high = np.minimum(high[leaf], high[second])
            overlap = (shared_low <= shared_high).all(1)
            lows.append(shared_low[overlap])
            highs.append(shared_high[overlap])
            gains.append(scores[second][overlap] - scores[leaf])
        return _Changes(np.concatenate(lows), np.concatenate(highs), np.concatenate(gains))

    def _least(self, changes: list[_Changes], low: Floats, high: Floats, total: float) -> Floats | None:
        """A point between low and high where the sum of the changes is negative, beyond rounding; None without one."""
        self._checkpoint()
        met = [(change.low <= high).all(1) & (change.high >= low).all(1) for change in changes]
        least = [change.gain[some].min() for change, some in zip(changes, met, strict=True)]
        if total + sum(least) >= -self._slack:
            return None
        if not changes:
            return low
        change = changes[0]
        for box in np.flatnonzero(met[0])[change.gain[met[0]].argsort(kind="stable")]:
            inner_low = np.maximum(low, change.low[box])
            inner_high = np.minimum(high, change.high[box])
            place = self._least(changes[1:], inner_low, inner_high, total + float(change.gain[box]))
            if place is not None:
                return place
        return None

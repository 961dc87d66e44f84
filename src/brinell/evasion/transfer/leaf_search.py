"""Leaf search: in a decision tree, climb from an example's leaf to the nearest fork below which another class waits.

Source: Papernot et al. 2016, arXiv:1605.07277, algorithm 2.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.evasion.attack import Attack
from brinell.evasion.hunt import Hunt
from brinell.targets import Target
from brinell.targets.differentiable import fitted
from brinell.threat import Access
from brinell.threat.goal import met_by_label
from brinell.threat.sets import over_features
from brinell.types import Inputs


@final
@dataclass(frozen=True)
class LeafSearch(Attack):
    """The decision-tree attack (Papernot et al. 2016): few features change, each just past its threshold.

    tree: the adversary's own copy, a fitted DecisionTreeClassifier or ExtraTreeClassifier. What it is asked does not
    count; the hunt's target is shown one point an example. Among the leaves below the first fork that has any, the
    paper takes one; here it is the nearest one, and the climb goes on while none of them lies in the set.
    """

    tree: Target
    needs: ClassVar[Access] = Access.LABELS

    def __post_init__(self) -> None:
        name = type(fitted(self.tree)).__name__
        if name not in ("DecisionTreeClassifier", "ExtraTreeClassifier"):
            raise UsageError(f"{name} is not one tree; give a DecisionTreeClassifier or an ExtraTreeClassifier")
        if self.tree.mean is not None or self.tree.std is not None:
            raise UsageError("a tree is read in the units it was fitted on; wrap it without mean and std")

    def __call__(self, hunt: Hunt) -> None:
        hunt.begin()
        if not len(hunt):
            return
        leaves = _Leaves.of(fitted(self.tree).tree_, hunt.x0).rescaled(hunt.unit)
        points = torch.cat([leaves.reached(hunt, row) for row in range(len(hunt))])
        inside = over_features(hunt.set.contains(hunt.x0, points), points)
        # Exactly there where that is allowed: a projection's rounding would lead back over the threshold.
        hunt.move_in_box(torch.where(inside, points, hunt.set.project(hunt.x0, points)))
        hunt.query_if_moved()


@final
@dataclass(frozen=True, eq=False)
class _Leaves:
    """The leaves of a tree, from left to right. path: -1 for left, 1 for right, 0 beyond the leaf: (leaves, depth).

    low, high: the float32 numbers that a leaf holds, both ends included: (leaves, features). says: its class.
    """

    path: Tensor
    low: Tensor
    high: Tensor
    says: Tensor

    @classmethod
    def of(cls, tree: Any, like: Inputs) -> "_Leaves":
        """Of scikit-learn's arrays. It casts an input to float32 and goes left where that is at most the threshold."""
        free = np.full(tree.n_features, np.inf, np.float32)
        found: list[tuple[list[int], np.ndarray, np.ndarray, int]] = []
        ahead: list[tuple[int, list[int], np.ndarray, np.ndarray]] = [(0, [], -free, free)]

        while ahead:
            node, path, low, high = ahead.pop()
            if tree.children_left[node] < 0:
                found.append((path, low, high, int(tree.value[node][0].argmax())))
                continue
            feature = tree.feature[node]
            edge = np.float32(tree.threshold[node])
            if edge > tree.threshold[node]:
                edge = np.nextafter(edge, np.float32(-np.inf))
            above = low.copy()
            below = high.copy()
            above[feature] = max(low[feature], np.nextafter(edge, np.float32(np.inf)))
            below[feature] = min(high[feature], edge)
            ahead += [
                (tree.children_right[node], [*path, 1], above, high),
                (tree.children_left[node], [*path, -1], low, below),
            ]

        depth = max(len(path) for path, *_ in found)
        paths, lows, highs, says = zip(*found, strict=True)
        return cls(
            torch.tensor([[*path, *[0] * (depth - len(path))] for path in paths], device=like.device),
            torch.from_numpy(np.stack(lows)).to(like),
            torch.from_numpy(np.stack(highs)).to(like),
            torch.tensor(says, device=like.device),
        )

    def rescaled(self, unit: float) -> "_Leaves":
        """The same of inputs that are divided by a power of two."""
        return replace(self, low=self.low / unit, high=self.high / unit)

    def reached(self, hunt: Hunt, row: int) -> Inputs:
        """The point that the climb of one example ends at; the example itself where no leaf succeeds."""
        x0 = hunt.x0[row : row + 1]
        seen = x0.flatten(1).float().to(x0)
        own = int(((self.low <= seen) & (seen <= self.high)).all(1).to(torch.uint8).argmax())
        points = hunt.set.box.clamp(x0.flatten(1).clamp(self.low, self.high).reshape(-1, *x0.shape[1:]))
        held = ((self.low <= points.flatten(1)) & (points.flatten(1) <= self.high)).all(1)
        aims = None if hunt.aim is None else hunt.aim[row].expand_as(self.says)
        succeeds = held & met_by_label(self.says, hunt.y[row].expand_as(self.says), aims)
        if not succeeds.any():
            return x0
        rows = x0.expand_as(points)
        succeeds_inside = succeeds & hunt.set.contains(rows, points)
        wanted = succeeds_inside if succeeds_inside.any() else succeeds
        shared = (self.path == self.path[own]).to(torch.int64).cumprod(1).sum(1)  # forks above both leaves
        first = wanted & (shared == shared[wanted].max())
        return points[hunt.set.distance(rows, points).where(first, torch.inf).argmin()].unsqueeze(0)

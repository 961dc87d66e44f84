"""Decision trees and their ensembles, as fitted by scikit-learn, as sums of boxes: the leaves.

scikit-learn casts an input to float32 and goes left where it is at most the threshold, a float64. So a leaf is a
product of closed intervals of the numbers that an input can hold, for inputs of either type.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from brinell.proofs.network.graph import Unsupported
from brinell.targets import SklearnBackend, Target
from brinell.threat import Access
from brinell.types import Inputs, Logits

Floats = NDArray[np.float64]
Thresholds = Float64[np.ndarray, "leaves features"]
Leaves = Float64[np.ndarray, "leaves classes"]

LARGEST = 50_000_000
"""The most leaves times features that are read; each takes 16 bytes, and more during a search."""


@final
@dataclass(frozen=True, eq=False)
class Tree:
    """The leaves of one tree: above < float32(x) <= upto, in float32 numbers or infinite. scores: what a leaf adds."""

    above: Thresholds
    upto: Thresholds
    scores: Leaves


@final
@dataclass(frozen=True, eq=False)
class Forest:
    """A sum of trees and a constant: scores(x) = constant + sum of the scores of the leaf of each tree that holds x."""

    trees: tuple[Tree, ...]
    constant: Floats
    features: int

    @property
    def classes(self) -> int:
        """The number of scores."""
        return len(self.constant)

    def scores(self, x: Inputs) -> Logits:
        """The scores, computed from the leaves in float64: the target's, up to rounding."""
        rows = x.detach().cpu().flatten(1).float().double().numpy()
        total = np.repeat(self.constant[None], len(rows), 0)
        for tree in self.trees:
            inside = (tree.above < rows[:, None]) & (rows[:, None] <= tree.upto)
            total += tree.scores[inside.all(2).argmax(1)]
        return torch.from_numpy(total)


def forest_of(target: Target) -> Forest:
    """The trees of a target; compared with it at points of many leaves.

    Raises Unsupported where the target is neither a tree, nor a forest, nor gradient boosting, or may not be read.
    """
    if not isinstance(target.backend, SklearnBackend):
        raise Unsupported(f"{target.describe()} is not made of scikit-learn trees")
    if target.max_access < Access.WEIGHTS:
        raise Unsupported(f"the target shows {target.access.name}, not its trees")
    if target.mean is not None or target.std is not None:
        raise Unsupported("trees are read in the units they were fitted on; wrap the model without mean and std")
    forest = _read(target.backend.estimator)
    x = _corners(forest)
    if not torch.allclose(
        forest.scores(x), target.restrict(target.max_access).scores(x).double(), rtol=1e-9, atol=1e-9
    ):
        raise Unsupported(f"{target.describe()} answers otherwise than its trees do")
    return forest


def _read(estimator: Any) -> Forest:
    name = type(estimator).__name__
    features = int(getattr(estimator, "n_features_in_", 0))
    trees = np.ravel(getattr(estimator, "estimators_", []))
    size = features * sum(each.tree_.n_leaves for each in trees if hasattr(each, "tree_"))
    if size > LARGEST:
        raise Unsupported(f"its {len(trees)} trees have {size // features:,} leaves; that is too much to be read")
    zero = np.zeros(len(estimator.classes_))
    if name in ("DecisionTreeClassifier", "ExtraTreeClassifier"):
        return Forest((_tree(estimator.tree_, features),), zero, features)
    if name in ("RandomForestClassifier", "ExtraTreesClassifier"):
        return Forest(tuple(_tree(each.tree_, features, 1 / len(trees)) for each in trees), zero, features)
    if name == "GradientBoostingClassifier":
        return _boosted(estimator, features)
    raise Unsupported(
        f"{name} is not among the ensembles whose trees are read; give a tree, forest or gradient boosting"
    )


def last_left(threshold: Floats, dtype: torch.dtype) -> Floats:
    """The largest input of this type that goes left at each threshold of a forest; infinite ones stay.

    A float64 input is rounded to float32 first, so those up to the middle between two float32 numbers go left too.
    """
    if dtype == torch.float32:
        return threshold
    single = threshold.astype(np.float32)
    middle = (threshold + np.nextafter(single, np.float32(np.inf)).astype(np.float64)) / 2
    edge = np.where(middle.astype(np.float32) <= single, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isfinite(threshold), edge, threshold)


def first_right(threshold: Floats, dtype: torch.dtype) -> Floats:
    """The smallest input of this type that goes right at each threshold."""
    left = last_left(threshold, dtype)
    held = np.float32 if dtype == torch.float32 else np.float64
    right = np.nextafter(left.astype(held), held(np.inf)).astype(np.float64)
    return np.where(np.isfinite(threshold), right, threshold)


def cells(tree: Tree, low: Tensor, high: Tensor, dtype: torch.dtype) -> tuple[Floats, Floats]:
    """Each leaf intersected with the box: (lowest, highest) input of this type; lowest > highest where empty."""
    return (
        np.maximum(first_right(tree.above, dtype), low.double().numpy()),
        np.minimum(last_left(tree.upto, dtype), high.double().numpy()),
    )


def _tree(tree: Any, features: int, share: float = 1.0, column: int | None = None, classes: int = 0) -> Tree:
    """The leaves of a fitted tree. column: the one class that a regression tree adds to, of `classes`."""
    above = []
    upto = []
    scores = []

    def walk(node: int, low: Floats, high: Floats) -> None:
        if tree.children_left[node] < 0:
            value = tree.value[node][0]
            if column is not None:
                value = np.eye(classes)[column] * value[0]
            above.append(low)
            upto.append(high)
            scores.append(share * value)
            return
        feature = tree.feature[node]
        threshold = _single(tree.threshold[node])
        left_high = high.copy()
        left_high[feature] = min(high[feature], threshold)
        right_low = low.copy()
        right_low[feature] = max(low[feature], threshold)
        walk(tree.children_left[node], low, left_high)
        walk(tree.children_right[node], right_low, high)

    walk(0, np.full(features, -np.inf), np.full(features, np.inf))
    return Tree(np.stack(above), np.stack(upto), np.stack(scores))


def _corners(forest: Forest, most: int = 64) -> Inputs:
    """The upper corner of some leaves of each tree, float32: inputs exactly at thresholds, which go left."""
    corners = []
    for tree in forest.trees[:: -(-len(forest.trees) // most)]:
        step = -(-len(tree.above) * len(forest.trees) // most)
        above = tree.above[::step]
        upto = tree.upto[::step]
        beyond = np.where(np.isfinite(above), first_right(above, torch.float32), 0.0)
        corners.append(np.where(np.isfinite(upto), upto, beyond))
    return torch.from_numpy(np.concatenate(corners)).float()


def _single(threshold: float) -> float:
    """The largest float32 at most the threshold: the same decision, of inputs cast to float32."""
    single = np.float32(threshold)
    return float(single if float(single) <= threshold else np.nextafter(single, np.float32(-np.inf)))


def _boosted(estimator: Any, features: int) -> Forest:
    """Raw scores of gradient boosting; a binary decision value d becomes the scores (-d/2, d/2), as in the target."""
    if estimator.init_ != "zero" and type(estimator.init_).__name__ != "DummyClassifier":
        raise Unsupported("gradient boosting that starts from a model is not a sum of trees; fit it with init=None")
    classes = len(estimator.classes_)
    stages = estimator.estimators_
    first = np.asarray(estimator._raw_predict_init(np.zeros((1, features), np.float32)), np.float64)[0]
    rate = float(estimator.learning_rate)
    if classes > 2:
        trees = [_tree(t.tree_, features, rate, k, classes) for stage in stages for k, t in enumerate(stage)]
        return Forest(tuple(trees), first, features)
    trees = [_tree(t.tree_, features, rate, 0, 1) for (t,) in stages]
    halves = np.array([-0.5, 0.5])
    return Forest(tuple(Tree(t.above, t.upto, t.scores * halves) for t in trees), first * halves, features)

"""Leaf search against brute force over the leaves of small trees."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

import brinell
from brinell.errors import UsageError
from brinell.evasion import attack
from brinell.evasion.transfer import LeafSearch
from brinell.targets import Target
from brinell.threat import L2, Access, Linf, Targeted, Threat

ANY = Threat(Linf(float("inf")))


def grown(depth: int | None = None, n: int = 300, kind=DecisionTreeClassifier) -> tuple[Target, torch.Tensor]:
    rng = np.random.default_rng(0)
    x = rng.random((n, 4)).astype(np.float32)
    y = (4 * (x @ np.array([0.5, 0.3, 0.2, 0.0]))).astype(int)
    return brinell.target(kind(max_depth=depth, random_state=0).fit(x, y)), torch.from_numpy(x)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", [DecisionTreeClassifier, ExtraTreeClassifier])
@pytest.mark.parametrize("depth", [1, 3, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_without_a_radius_every_example_is_broken_with_one_candidate(kind, depth, dtype) -> None:
    tree, x = grown(depth, kind=kind)
    x = x.to(dtype)
    y = tree.labels(x)
    found = attack(LeafSearch(tree), tree.restrict(Access.LABELS), x, y, ANY)
    assert found.broken.all()
    assert (found.queries == 2).all()  # the clean look, and the one candidate
    assert (found.gradients == 0).all()


def test_the_fork_is_the_lowest_one_and_its_leaf_the_nearest() -> None:
    # x0 <= 0.5: (x1 <= 0.5: class 0, else class 1); x0 > 0.5: class 2.
    corners = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]], np.float32)
    tree = brinell.target(
        DecisionTreeClassifier(random_state=0).fit(np.repeat(corners, 4, 0), np.repeat([0, 1, 2, 2], 4))
    )
    assert tree.backend.estimator.tree_.feature[0] == 0
    x = torch.tensor([[0.49, 0.1]])
    found = attack(LeafSearch(tree), tree, x, torch.tensor([0]), ANY)
    # The sibling below the lowest fork, though the other side of the root is nearer.
    assert torch.equal(found.x[0, :1], x[0, :1])
    assert found.x[0, 1] == np.nextafter(np.float32(0.5), np.float32(1))
    near = attack(LeafSearch(tree), tree, x, torch.tensor([0]), Threat(Linf(0.1)))
    assert near.x[0, 0] == np.nextafter(np.float32(0.5), np.float32(1))  # the climb goes on: the sibling is too far
    aimed = attack(LeafSearch(tree), tree, x, torch.tensor([0]), Threat(Linf(float("inf")), Targeted(2)))
    assert torch.equal(aimed.x, near.x)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("set", [Linf(0.05), L2(0.08)], ids=lambda s: s.name)
def test_within_a_radius_it_finds_a_leaf_exactly_where_there_is_one(set) -> None:
    tree, x = grown()
    y = tree.labels(x)
    found = attack(LeafSearch(tree), tree, x, y, Threat(set))
    assert 0 < int(found.broken.sum()) < len(x)
    for row in range(len(x)):
        assert bool(found.broken[row]) == reachable(tree, x[row], int(y[row]), set)


def reachable(tree: Target, x: torch.Tensor, y: int, set) -> bool:
    """By brute force: the nearest point of every leaf of another class, through scikit-learn's own nodes."""
    inner = tree.backend.estimator.tree_

    def walk(node: int, low: np.ndarray, high: np.ndarray) -> bool:
        if inner.children_left[node] < 0:
            if inner.value[node][0].argmax() == y or (low > high).any():
                return False
            point = torch.from_numpy(np.clip(x.numpy(), low, high))
            return bool(set.contains(x.unsqueeze(0), point.unsqueeze(0)))
        feature, threshold = inner.feature[node], inner.threshold[node]
        edge = np.float32(threshold)
        edge = edge if edge <= threshold else np.nextafter(edge, np.float32(-1))
        left, right = high.copy(), low.copy()
        left[feature], right[feature] = min(high[feature], edge), max(low[feature], np.nextafter(edge, np.float32(9)))
        return walk(inner.children_left[node], low, left) or walk(inner.children_right[node], right, high)

    return walk(0, np.zeros(4, np.float32), np.ones(4, np.float32))


def test_few_features_change() -> None:
    tree, x = grown(depth=5)
    found = attack(LeafSearch(tree), tree, x, tree.labels(x), ANY)
    assert ((found.x != x).sum(1) <= 2).float().mean() > 0.9


def test_a_copy_that_differs_still_proposes() -> None:
    tree, x = grown(depth=4)
    other, _ = grown(depth=None)
    y = other.labels(x)
    found = attack(LeafSearch(tree), other, x, y, ANY)
    assert 0 < int(found.broken.sum()) <= len(x)
    assert (found.queries == 2).all()


def test_images_are_one_row_of_features() -> None:
    tree, x = grown()
    x = x.reshape(-1, 1, 2, 2)
    found = attack(LeafSearch(tree), tree, x, tree.labels(x), ANY)
    assert found.broken.all()
    assert found.x.shape == x.shape


def test_what_is_not_one_tree_is_refused() -> None:
    tree, x = grown()
    line = brinell.target(LogisticRegression().fit(x.numpy(), tree.labels(x).numpy()))
    with pytest.raises(UsageError, match="LogisticRegression is not one tree"):
        LeafSearch(line)
    with pytest.raises(UsageError, match="shows LABELS only"):
        LeafSearch(tree.restrict(Access.LABELS))
    with pytest.raises(UsageError, match="without mean and std"):
        LeafSearch(Target(tree.backend, tree.box, mean=0.5))

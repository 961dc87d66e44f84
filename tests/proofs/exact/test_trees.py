"""The exact smallest perturbation of trees, against every product of leaves."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import brinell
from brinell.errors import CannotRun, UsageError
from brinell.proofs.exact.forest import cells, forest_of
from brinell.proofs.exact.trees import ExactTrees
from brinell.threat import L1, L2, Box, Linf
from brinell.threat.goal import met

FEATURES = 3
SETS = [Linf(float("inf")), L1(float("inf")), L2(float("inf"))]
each_set = pytest.mark.parametrize("set", SETS, ids=lambda s: s.name)

MODELS = {
    "tree": DecisionTreeClassifier(max_depth=5, random_state=0),
    "forest": RandomForestClassifier(3, max_depth=3, random_state=0),
    "extra": ExtraTreesClassifier(3, max_depth=3, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=2, learning_rate=1.0, max_depth=2, random_state=0),
}


def problem(name, classes=3, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.random((200, FEATURES)).astype(dtype)
    middle = np.digitize(x.sum(1) + 0.5 * np.sin(9 * x[:, 0]), np.linspace(0, 3, classes + 1)[1:-1])
    target = brinell.target(MODELS[name].fit(x, middle))
    asked = torch.from_numpy(rng.random((6, FEATURES)).astype(dtype))
    return target, asked, target.labels(asked)


def brute(target, x0, y, set, aim=None):
    """The least distance over every way to take one leaf of each tree."""
    forest = forest_of(target)
    low, high = (side.expand(FEATURES) for side in set.box.limits(x0))
    boxes = [cells(tree, low, high, x0.dtype) for tree in forest.trees]
    nearest = np.inf
    for choice in product(*(range(len(tree.scores)) for tree in forest.trees)):
        below = np.max([box[0][i] for box, i in zip(boxes, choice, strict=True)], 0)
        above = np.min([box[1][i] for box, i in zip(boxes, choice, strict=True)], 0)
        if (below > above).any():
            continue
        x = torch.from_numpy(x0.double().numpy().clip(below, above)).to(x0.dtype)
        distance = float(set.distance(x0, x))
        aims = None if aim is None else torch.tensor([aim])
        if distance < nearest and met(target.scores(x), torch.tensor([y]), aims):
            nearest = distance
    return nearest


@pytest.mark.sweep(6)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 3])
@each_set
def test_the_distance_is_that_of_every_product_of_leaves(name, classes, set):
    target, x, y = problem(name, classes)
    set = set.within(Box(0.0, 1.0))
    found = ExactTrees()(forest_of(target), x, y, set)
    exact = torch.tensor([brute(target, x[i : i + 1], int(y[i]), set) for i in range(len(x))], dtype=torch.float64)
    assert torch.allclose(found.distance, exact, rtol=1e-9, atol=0)
    there = exact.isfinite()
    assert there.any()
    assert (found.certified < found.distance)[there].all()
    assert (found.certified >= found.distance * (1 - 1e-9))[there].all()
    assert found.certified[~there].isinf().all()  # no input of the box changes the label
    assert (target.labels(found.x) != y)[found.distance.isfinite()].float().mean() > 0.9  # ties keep the label
    assert torch.equal(set.distance(x, found.x)[found.distance.isfinite()], found.distance[found.distance.isfinite()])


@pytest.mark.sweep(3)
@each_set
@pytest.mark.parametrize("name", ["tree", "forest", "boosting"])
def test_a_class_aimed_at_is_reached_at_its_own_distance(name, set):
    target, x, y = problem(name)
    set = set.within(Box(0.0, 1.0))
    x, y = x[y != 2], y[y != 2]
    found = ExactTrees()(forest_of(target), x, y, set, torch.full_like(y, 2))
    exact = torch.tensor([brute(target, x[i : i + 1], int(y[i]), set, 2) for i in range(len(x))], dtype=torch.float64)
    assert torch.allclose(found.distance, exact, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_no_input_between_the_certificate_and_the_witness(name, dtype):
    """One step of the input's own type back from the witness, along each feature it moved, the label is kept."""
    target, x, y = problem(name, dtype={torch.float32: np.float32, torch.float64: np.float64}[dtype])
    found = ExactTrees()(forest_of(target), x, y, Linf(float("inf")).within(Box(0.0, 1.0)))
    assert found.distance.isfinite().any()
    scores = target.scores(found.x)
    assert met(scores, y, None).equal(found.distance.isfinite())
    moved = (found.x.double() - x.double()).abs()
    furthest = moved == moved.amax(1, keepdim=True)
    back = torch.where(furthest, torch.nextafter(found.x, x), found.x)
    assert not met(target.scores(back), y, None)[found.distance.isfinite()].any()


@pytest.mark.parametrize("name", MODELS)
def test_the_leaves_answer_as_the_estimator_does(name):
    for classes in (2, 3):
        target, _, _ = problem(name, classes)
        x = torch.rand(500, FEATURES, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(forest_of(target).scores(x), target.scores(x).double(), atol=1e-12)


def test_a_radius_bounds_the_search_and_the_certificate():
    target, x, y = problem("forest")
    free = ExactTrees()(forest_of(target), x, y, Linf(float("inf")).within(Box(0.0, 1.0)))
    radius = float(free.distance.median())
    found = ExactTrees()(forest_of(target), x, y, Linf(radius).within(Box(0.0, 1.0)))
    near = free.distance <= radius
    assert torch.equal(found.distance[near], free.distance[near])
    assert found.distance[~near].isinf().all()
    assert (found.certified[~near] == radius).all()


def test_a_node_too_few_leaves_a_bracket():
    target, x, y = problem("forest")
    set = L1(float("inf")).within(Box(0.0, 1.0))
    whole, cut = (ExactTrees(nodes)(forest_of(target), x, y, set) for nodes in (100_000, 1))
    assert (cut.certified <= whole.distance).all()
    assert (cut.distance >= whole.distance).all()


def test_what_is_not_trees_is_refused_by_name():
    x, y = np.random.default_rng(0).random((20, 2)), np.arange(20) % 2
    with pytest.raises(CannotRun, match="LogisticRegression"):
        forest_of(brinell.target(LogisticRegression().fit(x, y)))
    target, asked, labels = problem("tree")
    with pytest.raises(UsageError, match="an example has 2 features"):
        ExactTrees()(forest_of(target), asked[:, :2], labels, Linf(0.1))
    with pytest.raises(UsageError, match="nodes is 0"):
        ExactTrees(0)

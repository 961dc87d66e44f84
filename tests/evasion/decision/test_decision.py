"""What decision-based attacks find from labels alone, against closed forms and brute force."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import brinell
from brinell.evasion import (
    OPT,
    Attack,
    Boundary,
    Evolutionary,
    GeoDA,
    HopSkipJump,
    Hunt,
    LabelOnly,
    PartialInformation,
    RayS,
    SignOPT,
    Start,
    attack,
)
from brinell.evasion.decision.ray import measure
from brinell.evasion.decision.search import approach
from brinell.evasion.decision.slope import slope
from brinell.evasion.decision.start import Point, unit
from brinell.threat import L2, Access, Linf, PerturbationSet, Targeted, Threat
from models import UNIT, affine, constant, generator, relu_net, target

FREE = {"l2": L2(math.inf), "linf": Linf(math.inf)}


def middling(features: int = 10, n: int = 12):
    """Examples near the middle of the box, so that the nearest point across a plane lies inside."""
    model = affine(features)
    x = 0.45 + 0.1 * torch.rand(n, features, generator=generator(7))
    y = target(model).labels(x)
    far = model.distances(x, y, "l2") > 1e-2
    return model, x[far], y[far]


def hunt_on(model, x: Tensor, y: Tensor, set: PerturbationSet = FREE["l2"], queries: int | None = None) -> Hunt:
    threat = Threat(set.within(UNIT), access=Access.LABELS, queries=queries)
    return Hunt(target(model), x, y, threat, generator())


def across(model, x: Tensor) -> Tensor:
    """A point far on the other side of the plane between two classes."""
    w = (model.weight[1] - model.weight[0]).detach()
    side = (model(x)[:, 0] > model(x)[:, 1]).float() * 2 - 1
    return (x + 0.4 * side.unsqueeze(1) * w.sign()).clamp(0, 1)


def test_the_estimated_normal_of_a_plane_comes_ever_closer_to_the_true_one() -> None:
    model, x, y = middling(20)
    w = unit((model.weight[1] - model.weight[0]).detach().unsqueeze(0))
    cosines = []
    for count in (50, 500, 5000):
        hunt = hunt_on(model, x, y)
        at = hunt.carry(Point(across(model, x)))
        approach(hunt, at, 1e-6)
        normal = unit(slope(hunt, at, torch.full((len(x),), 0.01), count))
        cosines.append((normal @ w.T).abs().mean().item())
    assert all(a < b for a, b in pairwise(cosines))
    assert cosines[-1] > 0.99


def test_the_search_ends_on_the_plane_and_asks_only_those_still_searching() -> None:
    model, x, y = middling()
    hunt = hunt_on(model, x, y)
    ends = across(model, x)
    before = hunt.queries.clone()
    at = hunt.carry(Point(ends))
    approach(hunt, at, 1e-6)
    lead, far = (model(z).diff(dim=1).abs().squeeze(1) for z in (at.x, ends))
    assert (lead < 1e-4 * (lead + far)).all()
    assert (hunt.queries - before == 20).all()


def test_the_distance_along_a_ray_is_that_of_the_plane() -> None:
    model, x, y = middling()
    hunt = hunt_on(model, x, y)
    direction = unit(across(model, x) - x)
    w, lead = model.weight.diff(dim=0).squeeze(0), model(x).diff(dim=1).squeeze(1)
    true = -(lead / (direction @ w)).detach()
    for start in (0.3, 1.0, 3.0):
        found = measure(hunt, direction.unsqueeze(1), (start * true).unsqueeze(1), 10 * true, 1e-4).squeeze(1)
        assert torch.allclose(found, true, rtol=1e-3)
    beyond = measure(hunt, direction.unsqueeze(1), true.unsqueeze(1) / 2, 0.9 * true, 1e-4)
    assert beyond.isinf().all()


@pytest.mark.sweep(11)
@pytest.mark.parametrize(
    ("made", "norm", "ratio"),
    [
        (HopSkipJump(), "l2", 1.02),
        (HopSkipJump(), "linf", 1.1),
        (SignOPT(), "l2", 1.01),
        (OPT(), "l2", 1.02),
        (GeoDA(), "l2", 1.02),
        (GeoDA(), "linf", 1.05),
        (RayS(), "linf", 1.1),
        (Boundary(), "l2", 1.05),
        (Evolutionary(), "l2", 1.5),
        (LabelOnly(), "l2", 1.15),
        (PartialInformation(), "l2", 1.15),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Attack) else str(value),
)
def test_the_nearest_point_across_a_plane_is_found(made, norm, ratio) -> None:
    model, x, y = middling()
    found = attack(made, target(model), x, y, Threat(FREE[norm], queries=4000))
    best = model.distances(x, y, norm)
    assert found.broken.all()
    assert (found.distance >= best * (1 - 1e-5)).all()
    assert (found.distance / best).median() <= ratio


ALL = [Boundary(), OPT(), SignOPT(), HopSkipJump(), GeoDA(), RayS(), Evolutionary(), LabelOnly()]
each = pytest.mark.parametrize("made", ALL, ids=lambda made: type(made).__name__)


@each
@pytest.mark.parametrize("queries", [1, 7, 150])
def test_a_budget_is_spent_and_the_target_counts_the_same(made, queries) -> None:
    model = relu_net((6,))
    x = torch.rand(10, 6, generator=generator(2))
    asked = target(model, access=Access.LABELS)
    y = asked.labels(x)
    threat = Threat(FREE["l2"].within(UNIT), access=Access.LABELS, queries=queries)
    hunt = Hunt(asked, x, y, threat, generator())
    made(hunt)
    assert len(hunt) == 0
    assert (hunt.queries <= queries).all()
    assert (hunt.queries >= 0.5 * queries).all()
    assert hunt._target.meter.forwards == hunt.queries.sum()


@pytest.mark.slow
@each
def test_trees_and_neighbours_are_broken_by_their_labels(made) -> None:
    sklearn = pytest.importorskip("sklearn")
    del sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    x = torch.rand(200, 4, generator=generator(3))
    y = (x[:, 0] + x[:, 1] > 1).long()
    for model in (
        DecisionTreeClassifier(random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
        KNeighborsClassifier(3),
    ):
        asked = brinell.target(model.fit(x.numpy(), y.numpy()), box=UNIT)
        found = attack(made, asked, x[:8], y[:8], Threat(L2(math.inf), access=Access.LABELS, queries=400))
        assert found.broken.all()


def test_an_example_nothing_serves_spends_its_queries_on_starts() -> None:
    x = torch.rand(3, 4, generator=generator())
    y = torch.zeros(3, dtype=torch.int64)
    found = attack(HopSkipJump(queries=90), target(constant(1.0, 0.0)), x, y, Threat(L2(math.inf)))
    assert not found.broken.any()
    assert (found.queries == 90).all()


def test_a_targeted_goal_starts_from_the_examples_given() -> None:
    model = affine(40, classes=10)
    x = torch.rand(400, 40, generator=generator(1))
    y = target(model).labels(x)
    goal = Targeted(3)
    made = HopSkipJump(queries=300, start=Start(x[y == 3]))
    found = attack(made, target(model), x[y != 3][:10], y[y != 3][:10], Threat(L2(math.inf), goal))
    assert found.broken.all()
    assert (target(model).labels(found.x) == 3).all()

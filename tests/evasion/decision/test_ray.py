"""Rays from x0: their lengths to the boundary, the shortest of several, and turning toward it."""

import math

import pytest
import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.evasion import OPT, Hunt, LabelOnly, SignOPT, Start
from brinell.evasion.decision.ray import Ray, beside, follow, measure, shortest, turn
from brinell.evasion.decision.slope import signed_sum
from brinell.evasion.decision.start import inside, unit
from brinell.threat import L2, Access, Threat
from models import UNIT, affine, generator, target


def middling(features: int = 12, n: int = 10):
    model = affine(features)
    x = 0.45 + 0.1 * torch.rand(n, features, generator=generator(7))
    y = target(model).labels(x)
    far = model.distances(x, y, "l2") > 1e-2
    return model, x[far], y[far]


def hunt_on(model, x: Tensor, y: Tensor, queries: int | None = None) -> Hunt:
    return Hunt(
        target(model), x, y, Threat(L2(math.inf).within(UNIT), access=Access.LABELS, queries=queries), generator()
    )


def lengths(model, x: Tensor, directions: Tensor) -> Tensor:
    """The closed form: where x + length * direction meets the plane; inf where it never does."""
    w, lead = model.weight.diff(dim=0).squeeze(0), model(x).diff(dim=1)
    length = -(lead / (directions @ w)).detach()
    return length.where(length > 0, torch.inf)


def bundle(model, x: Tensor, count: int) -> Tensor:
    """Directions about the one straight across."""
    w = model.weight.diff(dim=0).detach()
    side = -model(x).diff(dim=1).sign().detach()
    u = torch.randn(len(x), count, x.shape[1], generator=generator(2))
    return unit((unit(side * w).unsqueeze(1) + 0.4 * unit(u.flatten(0, 1)).reshape(u.shape)).flatten(0, 1)).reshape(
        u.shape
    )


@pytest.mark.parametrize(("above", "part"), [(1.001, 0.25), (1.01, 0.5), (1.5, 0.75)])
def test_the_shortest_of_several_costs_less_than_measuring_all_and_the_less_the_nearer_the_guess(above, part) -> None:
    model, x, y = middling()
    directions = bundle(model, x, 9)
    true = lengths(model, x, directions)
    assert true.isfinite().all()
    hunt = hunt_on(model, x, y)
    guess = above * true.amin(1)
    chosen, length = shortest(hunt, directions, guess, 1e-4)
    assert torch.allclose(length, true.amin(1), rtol=1e-3)
    assert torch.allclose(lengths(model, x, chosen.unsqueeze(1)).squeeze(1), true.amin(1), rtol=1e-3)
    race = hunt.queries.clone()
    hunt = hunt_on(model, x, y)
    each = measure(hunt, directions, guess.unsqueeze(1).expand_as(true), 10 * true.amax(1), 1e-4)
    assert torch.allclose(each, true, rtol=1e-3)
    assert (race < part * hunt.queries).all()


def test_nothing_is_shortest_where_all_exceed_what_is_asked() -> None:
    model, x, y = middling()
    directions = bundle(model, x, 5)
    hunt = hunt_on(model, x, y)
    _, length = shortest(hunt, directions, 0.9 * lengths(model, x, directions).amin(1), 1e-4)
    assert length.isinf().all()
    assert (hunt.queries == 6).all()


def test_a_turn_toward_the_normal_shortens_a_ray_and_one_away_leaves_it() -> None:
    model, x, y = middling()
    w = -model(x).diff(dim=1).sign().detach() * model.weight.diff(dim=0).detach()
    direction = bundle(model, x, 1).squeeze(1)
    before = lengths(model, x, direction.unsqueeze(1)).squeeze(1)
    hunt = hunt_on(model, x, y)
    ray = hunt.carry(Ray(direction, before * (1 + 1e-6)))
    turn(hunt, ray, w, 1e-5)
    assert (ray.length < 0.99 * before).all()
    kept = Ray(ray.direction.clone(), ray.length.clone())
    turn(hunt, ray, -w, 1e-5)
    assert torch.equal(ray.direction, kept.direction)
    assert torch.equal(ray.length, kept.length)


def test_a_ray_begins_on_the_boundary_and_its_points_beside_it_are_as_far() -> None:
    model, x, y = middling()
    hunt = hunt_on(model, x, y)
    ray = follow(hunt, Start(draws=20), 500, 1e-4)
    assert torch.allclose(ray.length, lengths(model, x, ray.direction.unsqueeze(1)).squeeze(1), rtol=1e-2)
    near = beside(ray, 0.1 * torch.randn(len(x), 3, x.shape[1], generator=generator()))
    assert torch.allclose(near.norm(dim=2), torch.ones(len(x), 3))
    assert (hunt.left + hunt.queries == 500).all()


def test_one_sided_decisions_sum_to_the_directions_and_mixed_ones_lose_their_mean() -> None:
    model, x, y = middling()
    drawn = []

    def places(points: Tensor):
        def of(u: Tensor) -> tuple[Tensor, Tensor]:
            drawn.append(u)
            return inside(hunt, points.unsqueeze(1) + 1e-4 * u), u

        return of

    hunt = hunt_on(model, x, y)
    assert torch.allclose(signed_sum(hunt, 8, places(x)), -drawn[0].sum(1), atol=1e-6)
    w = unit(-model(x).diff(dim=1).sign().detach() * model.weight.diff(dim=0).detach())
    across = x + model.distances(x, y, "l2").float().unsqueeze(1) * w
    hunt = hunt_on(model, x, y)
    sum = signed_sum(hunt, 30, places(across))
    asked = inside(hunt, across.unsqueeze(1) + 1e-4 * drawn[1]).flatten(0, 1)
    served = target(model).labels(asked).reshape(len(x), 30) != y.unsqueeze(1)
    signs = torch.where(served, 1.0, -1.0)
    mixed = signs.mean(1).abs() < 1
    centred = torch.einsum("bk,bkd->bd", signs - signs.mean(1, keepdim=True), drawn[1])
    assert mixed.any()
    assert torch.allclose(sum[mixed], centred[mixed], atol=1e-5)


def test_an_example_that_cannot_pay_for_all_probes_makes_do_with_fewer() -> None:
    model, x, y = middling()
    hunt = hunt_on(model, x, y, queries=6)
    signed_sum(hunt, 20, lambda u: (inside(hunt, hunt.x0.unsqueeze(1) + u), u))
    assert (hunt.queries == 6).all()


@pytest.mark.parametrize(
    ("made", "about"),
    [
        (lambda: OPT(queries=0), "queries is 0; it must be at least 1"),
        (lambda: SignOPT(probes=0), "probes is 0; it must be at least 1"),
        (lambda: LabelOnly(probes=1), "probes is 1; it must be at least 2"),
        (lambda: OPT(smoothing=0.0), "smoothing is 0.0; it must be more than 0"),
        (lambda: SignOPT(memory=1.0), "memory is 1.0"),
    ],
)
def test_settings_that_leave_nothing_to_do_are_refused(made, about) -> None:
    with pytest.raises(UsageError, match=about):
        made()

"""The last search draws a witness to the boundary, at the price it states."""

import math

import pytest
import torch

from brinell.evasion import FAB, attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.final_search import final_search
from brinell.evasion.minimal.nearest import NearestAdversarial
from brinell.threat import L2, Box, Linf, Threat
from models import affine, generator, relu_net, target


def hunted(model, set, far: float) -> tuple[Hunt, NearestAdversarial, torch.Tensor]:
    """A hunt that has seen one point straight along the gradient, what it showed, and how far the boundary is."""
    x = torch.rand(20, 8, generator=generator(3))
    y = model(x).argmax(1)
    hunt = Hunt(target(model, Box(-99.0, 99.0)), x, y, Threat(set), generator(0))
    apart = model.weight[1 - y] - model.weight[y]
    distance = model.distances(x, y, "l2")
    nearest = NearestAdversarial(hunt)
    hunt.move_in_box(x + (far * distance / apart.norm(dim=1)).float().unsqueeze(1) * apart)
    hunt.query()
    nearest.note(hunt)
    return hunt, nearest, distance


@pytest.mark.parametrize("far", [1.01, 2.0, 50.0])
def test_on_a_linear_model_one_crossing_is_enough(far) -> None:
    hunt, nearest, distance = hunted(affine(8, 2), L2(math.inf), far)
    before = hunt.queries.clone()
    final_search(hunt, 2, nearest)
    assert torch.allclose(hunt.distance / distance, torch.ones_like(distance), atol=1.5e-3 * far)
    assert (hunt.queries - before <= 2).all()
    assert not hunt.gradients.any()


def test_what_served_beyond_the_radius_leads_to_a_witness_within_it() -> None:
    model = affine(8, 2)
    _, _, distance = hunted(model, L2(math.inf), 0.5)
    radius = distance.median().item()
    hunt, nearest, _ = hunted(model, L2(radius), 50.0)
    final_search(hunt, 3, nearest)
    assert hunt.distance.isfinite().sum() >= (distance < 0.99 * radius).sum() > 5
    assert not (hunt.distance > radius).logical_and(hunt.distance.isfinite()).any()


def test_where_nothing_served_nothing_is_asked() -> None:
    hunt, nearest, _ = hunted(affine(8, 2), L2(math.inf), 0.5)
    before = hunt.queries.clone()
    final_search(hunt, 5, nearest)
    assert torch.equal(hunt.queries, before)


@pytest.mark.parametrize("set", [L2(math.inf), Linf(math.inf)], ids=["l2", "linf"])
def test_a_curved_boundary_is_neared_and_no_witness_is_lost(set) -> None:
    model = relu_net((8,))
    x = torch.rand(30, 8, generator=generator(5))
    y = model(x).argmax(1)
    short, long = (attack(FAB(steps=3, search=n), target(model), x, y, Threat(set), seed=1) for n in (0, 6))
    assert torch.equal(short.broken, long.broken)
    assert (long.distance <= short.distance)[short.broken].all()
    assert (long.distance < 0.999 * short.distance)[short.broken].double().mean() > 0.5

"""The last search draws a witness to the boundary, at the price it states."""

import math

import pytest
import torch

from brinell.evasion import FAB, attack
from brinell.evasion.hunt import Hunt
from brinell.evasion.minimal.homeward import homeward
from brinell.threat import L2, Box, Linf, Threat
from models import affine, generator, relu_net, target


def hunted(model, set, far: float) -> tuple[Hunt, torch.Tensor]:
    """A hunt that has seen one point beyond the boundary, straight along the gradient, and how far the boundary is."""
    x = torch.rand(20, 8, generator=generator(3))
    y = model(x).argmax(1)
    hunt = Hunt(target(model, Box(-99.0, 99.0)), x, y, Threat(set), generator(0))
    apart = model.weight[1 - y] - model.weight[y]
    distance = model.distances(x, y, "l2")
    hunt.move(x + (far * distance / apart.norm(dim=1)).float().unsqueeze(1) * apart)
    hunt.look()
    return hunt, distance


@pytest.mark.parametrize("far", [1.01, 2.0, 50.0])
def test_on_a_linear_model_one_crossing_is_enough(far) -> None:
    hunt, distance = hunted(affine(8, 2), L2(math.inf), far)
    before = hunt.queries.clone()
    homeward(hunt, 2)
    assert torch.allclose(hunt.distance / distance, torch.ones_like(distance), atol=1.5e-3 * far)
    assert (hunt.queries - before <= 2).all()
    assert not hunt.gradients.any()


def test_at_a_radius_nothing_is_asked() -> None:
    hunt, _ = hunted(affine(8, 2), L2(1e-3), 0.5)
    before = hunt.queries.clone()
    homeward(hunt, 5)
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

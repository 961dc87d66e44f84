import math

import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import FAB, attack
from brinell.threat import L1, L2, REALS, Linf, Threat
from brinell.threat.loudness import Loudness
from models import affine, generator, relu_net, target

SETS = [Linf(math.inf), L2(math.inf), L1(math.inf)]
each_set = pytest.mark.parametrize("set", SETS, ids=lambda s: s.name)


@each_set
@pytest.mark.parametrize("targets", [None, 2])
def test_on_a_linear_model_the_distance_is_the_smallest(set, targets) -> None:
    model = affine(10, classes=3, dtype=torch.float64)
    x = torch.rand(30, 10, generator=generator(1), dtype=torch.float64)
    asked = target(model, REALS)
    y = asked.labels(x)
    w = model.weight.detach()
    lead = asked.scores(x).gather(1, y.unsqueeze(1)) - asked.scores(x)
    apart = w[y].unsqueeze(1) - w
    dual = {"linf": apart.abs().sum(2), "l2": apart.norm(dim=2), "l1": apart.abs().amax(2)}[set.name]
    best = torch.where(dual > 0, lead / dual, torch.inf).scatter(1, y.unsqueeze(1), torch.inf).amin(1)
    found = attack(FAB(steps=60, targets=targets), asked, x, y, Threat(set))
    assert found.broken.all()
    assert (found.distance >= best * (1 - 1e-9)).all()
    assert (found.distance / best).median() <= 1.006


@each_set
def test_a_finite_radius_breaks_what_the_smallest_perturbation_says(set) -> None:
    """The walk is free to leave the set, and only a witness inside of it counts."""
    model = relu_net((8,))
    x = torch.rand(40, 8, generator=generator(2))
    asked = target(model)
    y = asked.labels(x)
    smallest = attack(FAB(steps=30), asked, x, y, Threat(set))
    radius = smallest.distance.median().item()
    within = attack(FAB(steps=30), asked, x, y, Threat(set.resized(radius)))
    assert torch.equal(within.broken, smallest.distance <= radius)


@each_set
def test_a_step_costs_two_questions_and_a_gradient(set) -> None:
    model = relu_net((8,))
    x = torch.rand(10, 8, generator=generator(2))
    y = target(model).labels(x)
    found = attack(FAB(steps=5, targets=1), target(model), x, y, Threat(set))
    assert (found.queries >= 1 + 2 * 5).all()
    assert (found.queries <= 1 + 2 * 5 + 1).all()  # the last step back is looked at too
    assert (found.gradients == 5).all()


def test_a_set_without_planes_is_refused() -> None:
    model = relu_net((8,))
    x = torch.rand(4, 8, generator=generator(2))
    with pytest.raises(UsageError, match="no way to a plane in the set 'loudness'"):
        attack(FAB(), target(model), x, target(model).labels(x), Threat(Loudness(0.2)))


@pytest.mark.parametrize("about", [{"steps": 0}, {"restarts": 0}, {"targets": 0}, {"bias": 2}, {"overshoot": 0.5}])
def test_settings_that_cannot_be_are_refused(about) -> None:
    with pytest.raises(UsageError):
        FAB(**about)

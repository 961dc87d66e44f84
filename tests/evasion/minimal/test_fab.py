import math

import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import FAB, FMN, attack
from brinell.threat import L1, L2, REALS, Linf, Masked, Threat
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
    assert (found.distance / best).median() <= 1.001


@each_set
def test_a_finite_radius_breaks_what_the_smallest_perturbation_says(set) -> None:
    """The walk is free to leave the set, and only a witness inside of it counts."""
    model = relu_net((8,))
    x = torch.rand(40, 8, generator=generator(2))
    asked = target(model)
    y = asked.labels(x)
    smallest = attack(FAB(steps=30, search=0), asked, x, y, Threat(set))
    radius = smallest.distance.median().item()
    within = attack(FAB(steps=30, search=0), asked, x, y, Threat(set.resized(radius)))
    assert torch.equal(within.broken, smallest.distance <= radius)


@each_set
def test_a_step_costs_two_questions_and_a_gradient(set) -> None:
    model = relu_net((8,))
    x = torch.rand(10, 8, generator=generator(2))
    y = target(model).labels(x)
    found = attack(FAB(steps=5, targets=1, search=0), target(model), x, y, Threat(set))
    assert (found.queries >= 1 + 2 * 5).all()
    assert (found.queries <= 1 + 2 * 5 + 1).all()  # the last step back is looked at too
    assert (found.gradients == 5).all()


@pytest.mark.parametrize("made", [FAB(steps=60), FMN(steps=60)], ids=lambda made: type(made).__name__)
def test_inside_a_mask_the_nearest_point_inside_it_is_found(made) -> None:
    model = affine(8, dtype=torch.float64)
    mask = torch.arange(8) < 5
    x = torch.rand(30, 8, generator=generator(2), dtype=torch.float64)
    asked = target(model, REALS)
    y = asked.labels(x)
    found = attack(made, asked, x, y, Threat(Masked(mask, L2(math.inf))))
    scores, w = asked.scores(x), model.weight.detach()[:, mask]
    best = (scores[:, 0] - scores[:, 1]).abs() / (w[0] - w[1]).norm()
    assert torch.equal(found.x[:, ~mask], x[:, ~mask])
    assert (found.distance / best).median() <= 1.001
    assert (found.distance / best).min() >= 1 - 1e-9


@pytest.mark.parametrize(
    "about", [{"steps": 0}, {"restarts": 0}, {"targets": 0}, {"bias": 2}, {"overshoot": 0.5}, {"search": -1}]
)
def test_settings_that_cannot_be_are_refused(about) -> None:
    with pytest.raises(UsageError):
        FAB(**about)

import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import PGD, attack
from brinell.evasion.fooling import Fooling
from brinell.threat import Box, Targeted, Threat
from brinell.threat.patch import Patch
from models import UNIT, affine, generator, relu_net, target


def test_noise_becomes_what_a_linear_model_is_surest_of():
    model = affine(5, classes=3)
    aims = torch.tensor([0, 1, 2])
    found = Fooling(steps=300).rubbish(target(model), (5,), aims)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 5)
    best = target(model).scores(corners).softmax(1).amax(0)
    assert UNIT.contains(found.x).all()
    assert found.confidence.tolist() == pytest.approx(best.tolist(), rel=0.02)


def test_an_image_is_taken_for_another_class_with_more_confidence_than_a_ball_allows():
    model = relu_net((1, 4, 4))
    asked = target(model)
    x = torch.rand(20, 1, 4, 4, generator=generator(1))
    y = asked.labels(x)
    aims = (y + 1) % 3
    near = attack(PGD(), asked, x[aims == 1], y[aims == 1], Threat(Patch.everywhere(), Targeted(1)))
    first = asked.scores(near.x).softmax(1)[:, 1]
    found = Fooling().learn(asked, x, aims)
    assert (asked.labels(found.x) == aims).all()
    assert (found.confidence[aims == 1] >= first - 1e-6).all()
    assert found.confidence.mean() > first.mean()


def test_examples_do_not_see_each_other_and_the_seed_decides_the_noise():
    asked = target(relu_net((1, 4, 4)))
    x, aims = torch.rand(6, 1, 4, 4, generator=generator(1)), torch.tensor([0, 1, 2, 0, 1, 2])
    together = Fooling(steps=20).learn(asked, x, aims)
    alone = Fooling(steps=20).learn(asked, x[2:3], aims[2:3])
    assert together.x[2:3].allclose(alone.x, atol=1e-4)
    one, same, other = (Fooling(steps=2).rubbish(asked, (1, 4, 4), aims, seed).x for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_box_without_an_end_has_no_surest_input():
    with pytest.raises(UsageError, match="one finite range"):
        Fooling().rubbish(target(affine(3), Box(0.0, float("inf"))), (3,), torch.tensor([0]))

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import brinell
from brinell.errors import UsageError
from brinell.evasion import PGD, Noise
from brinell.threat import REALS, Box, Threat
from brinell.threat.patch import Patch
from models import UNIT, affine, generator, target

MASK = torch.tensor([True, False, True, False, False, True])


@given(st.floats(0, 1.5), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 1000))
def test_projections_and_samples_are_contained_and_touch_nothing_outside(radius, dtype, seed):
    box = Box((0.0, -1.0, 0.5, 0.0, 0.0, -3.0), (1.0, 0.0, 2.5, 0.7, 0.1, 3.0))
    set, rng = Patch(MASK, radius).within(box), generator(seed)
    x0 = box.clamp(3 * torch.randn(5, 6, generator=rng, dtype=dtype))
    for x in (set.project(x0, 5 * torch.randn(5, 6, generator=rng, dtype=dtype)), set.sample(x0, rng)):
        assert set.contains(x0, x).all()
        assert torch.equal(x[:, ~MASK], x0[:, ~MASK])
        low, high = set.hull(x0)
        assert ((low <= x) & (x <= high)).all()
    assert set.minimum(x0, torch.eye(6, dtype=dtype).expand(5, 6, 6)).allclose(set.hull(x0)[0])


def test_every_value_of_the_box_is_allowed_inside_and_none_outside():
    set = Patch(MASK).within(UNIT)
    x0 = torch.zeros(1, 6)
    assert set.contains(x0, MASK.float()[None]).item()
    assert set.distance(x0, MASK.float()[None]).item() == 1
    moved = x0.clone()
    moved[0, 1] = 1e-7
    assert set.distance(x0, moved).isinf().item()


def test_steepest_is_the_support_of_the_body():
    set = Patch(MASK).within(Box(0.0, 2.0))
    g = torch.tensor([[1.0, 9.0, -2.0, 9.0, 9.0, 0.0]])
    assert set.steepest(g).tolist() == [[2, 0, -2, 0, 0, 0]]


@pytest.mark.parametrize("attack", [PGD(steps=10), Noise(draws=40)])
def test_a_linear_model_breaks_exactly_where_the_best_corner_of_the_mask_breaks_it(attack):
    model = affine(6, seed=10)
    x = torch.rand(40, 6, generator=generator(1))
    asked = target(model)
    y = asked.labels(x)
    found = brinell.attack(attack, asked, x, y, Threat(Patch(MASK)))
    apart = model.weight[1] - model.weight[0]
    lead = (2 * y - 1) * (x @ apart + model.bias[1] - model.bias[0])
    toward = -(2 * y - 1).unsqueeze(1) * apart
    gain = torch.where(toward > 0, (1 - x) * toward, -x * toward) * MASK
    possible = gain.sum(1) >= lead
    if isinstance(attack, PGD):
        assert torch.equal(found.broken, possible)
    else:
        assert not (found.broken & ~possible).any()
    assert 0 < possible.sum() < 40


def test_a_mask_that_does_not_fit_and_a_box_without_end_are_refused():
    with pytest.raises(UsageError, match="mask has shape"):
        Patch(MASK).within(UNIT).project(torch.zeros(1, 4), torch.zeros(1, 4))
    with pytest.raises(UsageError, match="bounded"):
        Patch(MASK).within(REALS)
    with pytest.raises(UsageError, match="give some True"):
        Patch(~MASK & MASK)


def test_everywhere_every_valid_input_is_contained_and_none_else():
    everywhere = Patch.everywhere().within(Box(0.0, 1.0))
    x0, x = torch.rand(9, 2, 3, 3, generator=generator(1)), torch.rand(9, 2, 3, 3, generator=generator(2)).round()
    assert everywhere.contains(x0, x).all()
    assert torch.equal(everywhere.project(x0, x), x)
    assert not everywhere.contains(x0, x + 1.5).any()


def test_no_radius_reaches_outside_the_mask():
    set, x0 = Patch(MASK, torch.inf).within(UNIT), torch.zeros(1, 6)
    assert set.contains(x0, MASK.float()[None]).item()
    assert not set.contains(x0, torch.ones(1, 6)).item()

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.threat import L0, L1, L2, Box, Linf, Masked, Pixels
from brinell.threat.patch import Patch
from threat.strategies import Case, cases

INNER = [Linf(0.1), L2(0.5), L1(1.0), L0(2.0), Pixels(2.0)]
each_inner = pytest.mark.parametrize("inner", INNER, ids=lambda s: s.name)


def a_mask(shape, seed: int):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask.view(-1)[0] = True
    return mask


@given(cases(), st.integers(0, 2**31))
def test_nothing_moves_outside_the_mask(case: Case, seed: int) -> None:
    set = Masked(a_mask(case.x0.shape[1:], seed), case.set)
    for z in (set.project(case.x0, case.x), set.sample(case.x0, case.rng)):
        assert set.contains(case.x0, z).all()
        assert torch.equal(z[:, ~set.mask], case.x0[:, ~set.mask])
        low, high = set.hull(case.x0)
        assert ((low <= z) & (z <= high)).all()
    assert (set.steepest(case.g)[:, ~set.mask] == 0).all()


@given(cases(), st.integers(0, 2**31))
def test_a_search_that_heeds_no_radius_heeds_the_mask(case: Case, seed: int) -> None:
    set = Masked(a_mask(case.x0.shape[1:], seed), case.set)
    z = set.valid(case.x0, case.x)
    assert torch.equal(z, torch.where(set.mask, case.set.box.clamp(case.x), case.x0))
    assert set.resized(math.inf).contains(case.x0, z).all()
    for move in (set.stride(case.g, torch.ones(len(case.x0), dtype=torch.float64)),):
        assert (move[:, ~set.mask] == 0).all()


@given(cases(norms=("linf", "l2", "l1")), st.integers(0, 2**31))
def test_within_the_mask_it_is_the_set_of_those_values_alone(case: Case, seed: int) -> None:
    mask = a_mask(case.x0.shape[1:], seed)
    low, high = (side.expand(mask.shape)[mask].tolist() for side in case.set.box.limits(case.x0))
    alone, x0 = case.set.within(Box(tuple(low), tuple(high))), case.x0[:, mask]
    z = Masked(mask, case.set).project(case.x0, case.x)
    torch.testing.assert_close(z[:, mask], alone.project(x0, case.x[:, mask]), rtol=1e-5, atol=1e-5)
    d = Masked(mask, case.set).steepest(case.g)
    torch.testing.assert_close(d[:, mask], alone.steepest(case.g[:, mask]), rtol=1e-5, atol=1e-6)


@given(cases(norms=("linf", "l1")), st.integers(0, 2**31))
def test_the_minimum_counts_what_cannot_move(case: Case, seed: int) -> None:
    mask = a_mask(case.x0.shape[1:], seed)
    a = torch.randn((len(case.x0), 2, *case.x0.shape[1:]), dtype=case.x0.dtype, generator=case.rng)
    low, high = (side.expand(mask.shape)[mask].tolist() for side in case.set.box.limits(case.x0))
    alone = case.set.within(Box(tuple(low), tuple(high))).minimum(case.x0[:, mask], a[:, :, mask])
    rest = (a * case.x0.unsqueeze(1))[:, :, ~mask].sum(2)
    torch.testing.assert_close(Masked(mask, case.set).minimum(case.x0, a), alone + rest, rtol=1e-4, atol=1e-3)


@each_inner
def test_a_stray_value_is_not_contained_at_any_radius(inner) -> None:
    mask = torch.tensor([True, False, True])
    x0 = torch.full((1, 3), 0.5)
    x = x0 + torch.tensor([0.0, 1e-6, 0.0])
    for radius in (inner.radius, math.inf):
        set = Masked(mask, inner.resized(radius))
        assert not set.contains(x0, x).any()
        assert set.distance(x0, x).item() == math.inf


@each_inner
def test_it_answers_as_its_inner_set_does(inner) -> None:
    set = Masked(torch.tensor([True, False]), inner)
    assert (set.name, set.radius, set.box) == (inner.name, inner.radius, inner.box)
    assert set.resized(1.0).inner == inner.resized(1.0)
    assert set.within(Box(0.0, 1.0)).box == Box(0.0, 1.0)


@each_inner
def test_one_mask_serves_every_channel_and_no_examples_are_no_trouble(inner) -> None:
    set = Masked(torch.eye(4, dtype=torch.bool), inner.within(Box(0.0, 1.0)))
    for n in (0, 2):
        x0 = torch.full((n, 3, 4, 4), 0.5)
        x = set.sample(x0, torch.Generator().manual_seed(0))
        assert set.contains(x0, x).all()
        assert torch.equal(x[:, :, 0, 1], x0[:, :, 0, 1])


def test_a_sample_is_as_long_as_without_a_mask() -> None:
    """Uniform over the few values that may move, and not the shadow of a sample over all."""
    mask = torch.zeros(1000, dtype=torch.bool)
    mask[:2] = True
    x0 = torch.zeros(500, 1000)
    set = Masked(mask, L2(1.0))
    length = set.distance(x0, set.sample(x0, torch.Generator().manual_seed(0)))
    assert abs(length.square().mean().item() - 0.5) < 0.05


@pytest.mark.parametrize("mask", [torch.zeros(3, dtype=torch.bool), torch.ones(3)], ids=["empty", "float"])
def test_a_mask_that_allows_nothing_or_is_none_is_refused(mask) -> None:
    with pytest.raises(UsageError, match="give some True"):
        Masked(mask, Linf(0.1))


def test_two_masks_tell_their_sets_apart() -> None:
    one, other = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    assert Masked(one, Linf(0.1)).about == Masked(one.clone(), Linf(0.2)).about
    assert len({set.about for set in (Linf(0.1), Masked(one, Linf(0.1)), Masked(other, Linf(0.1)))}) == 3
    assert Patch(one).about != Patch(other).about

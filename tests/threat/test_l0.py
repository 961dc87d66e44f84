import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from brinell.errors import UsageError
from brinell.threat import L0, REALS, Box, Pixels

BOXES = [Box(0.0, 1.0), REALS, Box(0.0, float("inf"))]
each_set = pytest.mark.parametrize("made", [L0, Pixels])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def examples(box: Box, seed: int, shape=(2, 2, 2)) -> tuple[Tensor, Tensor]:
    x0 = torch.rand((3, *shape), generator=rng(seed), dtype=torch.float64)
    edge = torch.rand(x0.shape, generator=rng(seed + 1))
    x0 = torch.where(edge < 0.3, 0.0, torch.where(edge > 0.8, 1.0, x0))
    return box.clamp(x0), x0 + torch.randn(x0.shape, generator=rng(seed + 2), dtype=torch.float64)


def choices(set, shape) -> list[Tensor]:
    """Every mask of as many features (or pixels) as the set allows."""
    one = torch.zeros((1, *shape))
    places = set.places(one).shape[2]
    masks = []
    for chosen in itertools.combinations(range(places), min(int(set.radius), places)):
        mask = torch.zeros(places, dtype=torch.bool)
        mask[list(chosen)] = True
        masks.append(mask.expand(set.places(one).shape[1], -1).reshape(shape))
    return masks


@each_set
@given(st.sampled_from(BOXES), st.integers(0, 8), st.integers(0, 2**31))
def test_no_choice_of_places_is_nearer_than_the_projection(made, box, radius, seed) -> None:
    set = made(radius).within(box)
    x0, x = examples(box, seed)
    z = set.project(x0, x)
    assert set.contains(x0, z).all()
    got = (z - x).square().flatten(1).sum(1)
    for mask in choices(set, x0.shape[1:]):
        assert (got <= (torch.where(mask, box.clamp(x), x0) - x).square().flatten(1).sum(1) + 1e-12).all()


@each_set
@given(st.integers(0, 8), st.integers(0, 2**31))
def test_the_minimum_is_attained_by_a_choice_of_places(made, radius, seed) -> None:
    box = Box(0.0, 1.0)
    set = made(radius).within(box)
    x0, _ = examples(box, seed)
    a = torch.randn((3, 2, *x0.shape[1:]), generator=rng(seed + 3), dtype=torch.float64)
    corner = torch.where(a > 0, 0.0, 1.0)
    values = [(a * torch.where(m, corner, x0.unsqueeze(1))).flatten(2).sum(2) for m in choices(set, x0.shape[1:])]
    torch.testing.assert_close(set.minimum(x0, a), torch.stack(values).amin(0))


@each_set
@given(st.sampled_from(BOXES), st.integers(0, 8), st.integers(0, 2**31))
def test_samples_are_contained_and_within_the_hull(made, box, radius, seed) -> None:
    set = made(radius).within(box)
    x0, _ = examples(box, seed)
    x = set.sample(x0, rng(seed))
    low, high = set.hull(x0)
    assert set.contains(x0, x).all()
    assert ((low <= x) & (x <= high)).all()
    assert set.minimum(x0, torch.zeros(3, 1, 2, 2, 2, dtype=torch.float64)).abs().max() == 0


def test_features_and_pixels_are_counted_apart() -> None:
    x0 = torch.zeros(1, 3, 4, 4)
    x = x0.clone()
    x[0, :, 1, 2] = 1.0
    assert L0(1).distance(x0, x).item() == 3
    assert Pixels(1).distance(x0, x).item() == 1
    assert Pixels(1).contains(x0, x).all()
    assert not L0(2).contains(x0, x).any()


@pytest.mark.parametrize("shape", [(5,), (4, 5)])
def test_without_channels_a_pixel_is_a_feature(shape) -> None:
    x0, x = torch.zeros(2, *shape), torch.rand(2, *shape, generator=rng())
    assert torch.equal(L0(3).project(x0, x), Pixels(3).project(x0, x))


@each_set
def test_a_part_of_a_place_allows_nothing_more(made) -> None:
    x0, x = torch.zeros(1, 6), torch.ones(1, 6)
    assert made(2.9).distance(x0, made(2.9).project(x0, x)).item() == 2
    assert torch.equal(made(0.5).project(x0, x), x0)


@each_set
def test_an_infinite_radius_leaves_the_box(made) -> None:
    box = Box(0.0, 1.0)
    x0, x = examples(box, 0)
    assert torch.equal(made(float("inf")).within(box).project(x0, x), box.clamp(x))


@each_set
def test_a_radius_that_cannot_be_is_refused(made) -> None:
    with pytest.raises(UsageError, match="radius is -1"):
        made(-1)


@each_set
def test_the_steepest_direction_has_its_largest_value_at_one(made) -> None:
    g = torch.tensor([[1e-30, -4e-30], [0.0, 0.0]])
    torch.testing.assert_close(made(1).steepest(g), torch.tensor([[0.25, -1.0], [0.0, 0.0]]))


@each_set
@given(st.sampled_from(BOXES), st.lists(st.integers(0, 8), min_size=3, max_size=3), st.integers(0, 2**31))
def test_each_example_may_have_a_count_of_its_own(made, box, counts, seed) -> None:
    x0, x = examples(box, seed)
    each = made(float("inf")).within(box).project_each(x0, x, torch.tensor(counts, dtype=torch.float64))
    for i, count in enumerate(counts):
        assert torch.equal(each[i : i + 1], made(count).within(box).project(x0[i : i + 1], x[i : i + 1]))


@each_set
@given(st.sampled_from(BOXES), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_no_choice_of_fewer_places_reaches_the_plane(made, box, share, seed) -> None:
    """A place counts for what its values can add to <w, z - x> within the box."""
    x0, _ = examples(box, seed)
    w = torch.randn(x0.shape, generator=rng(seed + 4), dtype=torch.float64)
    low, high = box.limits(x0)
    room = torch.where(w > 0, high - x0, x0 - low)
    rise = share * (w.abs() * room.clamp(max=1)).flatten(1).sum(1)
    set = made(float("inf")).within(box)
    z = set.toward_plane(x0, w, rise)
    assert box.contains(z).all()
    torch.testing.assert_close((w * (z - x0)).flatten(1).sum(1), rise, rtol=1e-6, atol=1e-9)
    moved = set.distance(x0, z)
    for i in range(len(z)):
        for mask in choices(made(int(moved[i]) - 1), x0.shape[1:]):
            assert (w[i].abs() * room[i] * mask).nan_to_num(0.0).sum() <= rise[i] * (1 + 1e-9)

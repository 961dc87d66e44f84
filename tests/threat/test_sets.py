"""Laws that hold for every perturbation set."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.threat import L1, L2, REALS, Box, Linf
from brinell.threat.sets import over_features
from threat.strategies import Case, cases


def unit_length(set, d):
    return set.distance(torch.zeros_like(d), d)


@given(cases())
def test_a_projection_is_contained(case: Case) -> None:
    z = case.set.project(case.x0, case.x)
    assert z.dtype == case.x.dtype
    assert z.shape == case.x.shape
    assert case.set.contains(case.x0, z).all()


@given(cases())
def test_a_projection_stays_where_it_is(case: Case) -> None:
    z = case.set.project(case.x0, case.x)
    eps = torch.finfo(z.dtype).eps
    size = 1 + case.x0.abs().amax() + min(case.set.radius, 1e3)
    assert (case.set.project(case.x0, z) - z).abs().max() <= 16 * eps * size


@given(cases(), st.floats(0, 1))
def test_no_point_of_the_set_is_nearer_than_the_projection(case: Case, t: float) -> None:
    """The variational inequality <x - z, q - z> <= 0 for every q of the set, to rounding."""
    z = case.set.project(case.x0, case.x).double()
    q = case.set.sample(case.x0, case.rng).double()
    q = case.x0.double() + t * (q - case.x0.double())
    inner = ((case.x.double() - z) * (q - z)).flatten(1).sum(1)
    away = (case.x.double() - z).flatten(1).norm(dim=1)
    size = 1 + case.x0.double().flatten(1).norm(dim=1) + case.set.radius
    assert (inner <= 1e2 * torch.finfo(case.x.dtype).eps * (away + 1) * size * z[0].numel()).all()


@given(cases())
def test_samples_are_contained(case: Case) -> None:
    for _ in range(3):
        assert case.set.contains(case.x0, case.set.sample(case.x0, case.rng)).all()


@given(cases())
def test_what_leads_out_of_the_hull_is_taken_off_a_gradient_and_nothing_else(case: Case) -> None:
    """At points of the set, and at the ends of its hull, where everything outward goes."""
    low, high = case.set.hull(case.x0)
    g = torch.randn(case.x0.shape, dtype=case.x0.dtype, generator=case.rng)
    for x in (case.set.project(case.x0, case.x), low, high):
        kept = case.set.inward(case.x0, x, g)
        out = ((x >= high) & (g > 0)) | ((x <= low) & (g < 0))
        assert (kept[out] == 0).all()
        assert torch.equal(kept[~out], g[~out])


@given(cases())
def test_points_of_the_set_stay_within_its_hull(case: Case) -> None:
    low, high = case.set.hull(case.x0)
    for z in (case.x0, case.set.sample(case.x0, case.rng), case.set.project(case.x0, case.x)):
        assert (low <= z).all()
        assert (z <= high).all()


@given(cases())
def test_the_hull_is_rounded_outward(case: Case) -> None:
    """In float64: the true interval of each input, met with the box, lies within."""
    low, high = (side.double() for side in case.set.hull(case.x0))
    box_low, box_high = (side.double() for side in case.set.box.limits(case.x0))
    x0 = case.x0.double()
    assert (low <= torch.maximum(x0 - case.set.radius, box_low) + 1e-16).all()
    assert (high >= torch.minimum(x0 + case.set.radius, box_high) - 1e-16).all()


@given(cases())
def test_the_steepest_direction_attains_the_dual_norm(case: Case) -> None:
    d = case.set.steepest(case.g)
    g = case.g.double().flatten(1)
    dual = {"linf": g.abs().sum(1), "l2": g.square().sum(1).sqrt(), "l1": g.abs().amax(1)}[case.set.name]
    torch.testing.assert_close((g * d.double().flatten(1)).sum(1), dual, rtol=1e-5, atol=0)
    torch.testing.assert_close(unit_length(case.set, d), torch.ones_like(dual), rtol=1e-5, atol=0)


@pytest.mark.parametrize("set", [Linf(1.0), L2(1.0), L1(1.0)], ids=lambda s: s.name)
@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-10, 1e30])
def test_the_steepest_direction_does_not_depend_on_the_gradients_size(set, scale) -> None:
    g = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(set.steepest(scale * g), set.steepest(g), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("set", [Linf(1.0), L2(1.0), L1(1.0)], ids=lambda s: s.name)
def test_there_is_no_steepest_direction_where_the_gradient_is_zero(set) -> None:
    assert torch.equal(set.steepest(torch.zeros(2, 5)), torch.zeros(2, 5))


@given(cases())
def test_the_minimum_is_a_lower_bound(case: Case) -> None:
    a = torch.randn((len(case.x0), 3, *case.x0.shape[1:]), dtype=case.x0.dtype, generator=case.rng)
    bound = case.set.minimum(case.x0, a).double()
    slack = 1e2 * torch.finfo(a.dtype).eps * a.double().abs().flatten(2).sum(2)
    slack = slack * (1 + case.x0.abs().amax().double() + case.set.radius)
    points = [case.x0, *(case.set.sample(case.x0, case.rng) for _ in range(4))]
    points += [case.set.project(case.x0, case.x0 - case.set.radius * case.set.steepest(a[:, i])) for i in range(3)]
    for z in points:
        value = (a.double().flatten(2) @ z.double().flatten(1).unsqueeze(2)).squeeze(2)
        assert (value >= bound - slack).all()


@given(cases(norms=("linf",)))
def test_the_minimum_over_linf_is_attained(case: Case) -> None:
    a = torch.randn((len(case.x0), 2, *case.x0.shape[1:]), dtype=case.x0.dtype, generator=case.rng)
    bound = case.set.minimum(case.x0, a)
    for row in range(2):
        corner = case.set.project(case.x0, case.x0 - case.set.radius * a[:, row].sign())
        value = (a[:, row] * corner).flatten(1).sum(1)
        torch.testing.assert_close(value, bound[:, row], rtol=1e-4, atol=1e-3 if a.dtype == torch.float32 else 1e-9)


@given(cases())
def test_radius_zero_allows_the_example_alone(case: Case) -> None:
    set = case.set.resized(0.0)
    assert torch.equal(set.project(case.x0, case.x), case.x0)
    assert torch.equal(set.sample(case.x0, case.rng), case.x0)
    assert set.contains(case.x0, case.x0).all()


@given(cases())
def test_an_infinite_radius_leaves_the_box(case: Case) -> None:
    set = case.set.resized(math.inf)
    z = set.project(case.x0, case.x)
    assert set.contains(case.x0, z).all()
    torch.testing.assert_close(z, case.set.box.clamp(case.x), rtol=1e-5, atol=1e-5)


@given(cases())
def test_a_larger_radius_allows_no_less(case: Case) -> None:
    larger = case.set.resized(min(case.set.radius * 1.5, case.set.box.width))
    if larger.radius >= case.set.radius:
        assert larger.contains(case.x0, case.set.sample(case.x0, case.rng)).all()


@given(cases())
def test_one_example_at_a_time_gives_the_same(case: Case) -> None:
    whole = case.set.project(case.x0, case.x)
    for i in range(len(whole)):
        one = case.set.project(case.x0[i : i + 1], case.x[i : i + 1])
        torch.testing.assert_close(one, whole[i : i + 1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "set", [Linf(0.25, Box(0.0, 1.0)), L2(0.25, Box(0.0, 1.0)), L1(0.25, Box(0.0, 1.0))], ids=lambda s: s.name
)
def test_no_tolerance_outward(set) -> None:
    x0 = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    at = torch.tensor([[0.75, 0.5]], dtype=torch.float64)
    assert set.contains(x0, at).all()
    beyond = torch.nextafter(at, torch.full_like(at, 2.0)) * torch.tensor([1.0, 0.0]) + x0 * torch.tensor([0.0, 1.0])
    assert not set.contains(x0, beyond).any()


@pytest.mark.parametrize(
    "set", [Linf(1.0, Box(0.0, 1.0)), L2(1.0, Box(0.0, 1.0)), L1(1.0, Box(0.0, 1.0))], ids=lambda s: s.name
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-45, 1 + 2e-7])
def test_what_is_not_in_the_box_is_not_contained(set, value) -> None:
    x0 = torch.full((1, 3), 0.5)
    x = x0.clone()
    x[0, 1] = value
    assert not set.contains(x0, x).any()


@pytest.mark.parametrize("made", [Linf, L2, L1])
@pytest.mark.parametrize("radius", [-1.0, math.nan])
def test_a_radius_that_cannot_be_is_refused(made, radius) -> None:
    with pytest.raises(UsageError, match=f"radius is {radius}"):
        made(radius)


def test_a_radius_in_pixels_is_recognised() -> None:
    with pytest.raises(UsageError, match=r"radius 8 is larger than the box \[0.0, 1.0\]; did you mean 8/255\?"):
        Linf(8.0).within(Box(0.0, 1.0))
    with pytest.raises(UsageError, match="larger than the box") as caught:
        Linf(300.0).within(Box(0.0, 255.0))
    assert "did you mean" not in str(caught.value)
    assert Linf(8.0).within(Box(0.0, 255.0)).radius == 8.0
    assert Linf(8.0).within(REALS).radius == 8.0


def test_features_are_broadcast_from_the_front() -> None:
    assert over_features(torch.ones(4), torch.ones(4, 2, 3)).shape == (4, 1, 1)


@pytest.mark.parametrize(
    "set", [Linf(0.1, Box(0.0, 1.0)), L2(0.1, Box(0.0, 1.0)), L1(0.1, Box(0.0, 1.0))], ids=lambda s: s.name
)
def test_no_examples_are_no_trouble(set) -> None:
    none = torch.zeros(0, 2, 3)
    assert set.sample(none, torch.Generator()).shape == none.shape
    assert set.project(none, none).shape == none.shape
    assert set.steepest(none).shape == none.shape
    assert set.contains(none, none).shape == (0,)

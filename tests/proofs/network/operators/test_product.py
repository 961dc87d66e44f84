"""The product of two values lies between its planes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs.network.operators import Product

SCALES = st.sampled_from([0.0, 1e-160, 1e-9, 0.1, 1.0, 30.0, 1e6, 1e150])
EPS = torch.finfo(torch.float64).eps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@settings(max_examples=60)
@given(seed=st.integers(0, 9999), centre=SCALES, width=SCALES, how=st.sampled_from(["adaptive", "same", "free"]))
def test_no_product_is_outside_the_interval_or_the_planes(dtype, seed, centre, width, how) -> None:
    rng = torch.Generator().manual_seed(seed)
    low = centre * torch.randn(2, 2, 5, generator=rng, dtype=torch.float64)
    high = low + width * torch.rand(2, 2, 5, generator=rng, dtype=torch.float64)
    low, high = low.clamp(-1e15, 1e15).to(dtype), high.clamp(-1e15, 1e15).to(dtype)
    choices = torch.rand(2, 3, 2, 5, generator=rng, dtype=dtype)
    if how != "free":
        choices = Product().choices(low, high, how).unsqueeze(1)
    planes = Product().relax(low, high, choices)
    least, most = (end.double() for end in Product().interval((low, high)))
    for point in range(20):
        share = torch.rand(2, 2, 5, generator=rng, dtype=torch.float64)
        share = share if point % 2 else share.round()
        pair = torch.minimum(low.double() + share * (high.double() - low.double()), high.double())
        value = Product().forward(pair)
        computed = 8 * EPS * (low.double().abs() + high.double().abs()).prod(1) + 1e-299
        assert ((least - computed <= value) & (value <= most + computed)).all()
        below = (planes.lower.double() * pair.unsqueeze(1)).sum(2) + planes.base.double()
        above = (planes.upper.double() * pair.unsqueeze(1)).sum(2) + planes.top.double()
        value, computed = value.unsqueeze(1), computed.unsqueeze(1)
        assert ((below - computed <= value) & (value <= above + computed)).all()


def test_the_planes_meet_the_product_in_the_corners() -> None:
    """McCormick's planes are its convex envelope: each goes through three corners of the rectangle."""
    low, high = torch.tensor([[[-1.0], [2.0]]]).double(), torch.tensor([[[3.0], [5.0]]]).double()
    corners = torch.cartesian_prod(torch.tensor([-1.0, 3.0]), torch.tensor([2.0, 5.0])).double()
    for share in (0.0, 1.0):
        planes = Product().relax(low, high, torch.full((1, 1, 2, 1), share).double())
        for slopes, constant in ((planes.lower, planes.base), (planes.upper, planes.top)):
            gap = corners @ slopes.flatten() + constant.flatten() - corners.prod(1)
            assert (gap.abs() <= 1e-12).sum() == 3
    same = Product().relax(low, high, torch.full((1, 1, 2, 1), 0.5).double())
    assert torch.equal(same.lower, same.upper)


def test_limits_that_are_not_finite_give_no_bound() -> None:
    low, high = torch.tensor([[[0.0, 0.0], [-1.0, torch.nan]]]).double(), torch.tensor([[[torch.inf, 1.0], [1.0, 2.0]]])
    least, most = Product().interval((low, high.double()))
    assert not ((least <= most) & least.isfinite() & most.isfinite()).any()
    planes = Product().relax(low, high.double(), torch.zeros(1, 1, 2, 2).double())
    assert not planes.base.isfinite().any()
    assert not planes.top.isfinite().any()

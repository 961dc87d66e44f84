"""Regions: what clipping and trimming leave."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs.numerics.polytopes import Regions, clip, trimmed
from brinell.proofs.numerics.simplex import AffineFunctions


def box_and_constraints(seed, count):
    rng = torch.Generator().manual_seed(seed)
    low, size = (torch.rand(1, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(1, count, 4, generator=rng, dtype=torch.float64).round(decimals=1)
    offset = torch.randn(1, count, generator=rng, dtype=torch.float64)
    x = low + size * torch.rand(2000, 4, generator=rng, dtype=torch.float64)
    return Regions.boxes(low, low + size), AffineFunctions(weights, offset), x


def in_all(constraints, x):
    return (x @ constraints.weights[0].T + constraints.offset[0] <= 0).all(1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_clipping_loses_no_point_that_is_open(seed, count):
    regions, constraints, x = box_and_constraints(seed, count)
    kept = clip(regions, constraints)
    open_ = x[in_all(constraints, x)]
    assert ((open_ >= kept.low) & (open_ <= kept.high)).all()


def test_clipping_uses_all_constraints_together():
    """x + y <= 1 and x - y <= 0 leave x no more than a half, which neither does alone."""
    unit = torch.ones(1, 2, dtype=torch.float64)
    constraints = AffineFunctions(
        torch.tensor([[[1.0, 1.0], [1.0, -1.0]]]).double(), torch.tensor([[-1.0, 0.0]]).double()
    )
    kept = clip(Regions.boxes(0 * unit, unit), constraints)
    torch.testing.assert_close(kept.high, torch.tensor([[0.5, 1.0]]).double())
    assert (kept.low <= 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_trimming_changes_no_region(seed, count):
    regions, constraints, x = box_and_constraints(seed, count)
    kept = trimmed(Regions(regions.low, regions.high, regions.case, regions.bound, regions.rows, constraints)).splits
    assert len(kept) <= len(constraints)
    assert torch.equal(in_all(constraints, x), in_all(kept, x))

"""Many small linear programmes at once, against HiGHS."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from brinell.proofs.numerics.simplex import AffineFunctions, dual_bound, excess, least, solve

COUNT = 20


def programmes(seed, inputs, count, slack):
    """(a function, constraints, the ends of a box) each; with little slack the constraints are infeasible."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    low = normal(COUNT, inputs)
    high = low + normal(COUNT, inputs).abs()
    high[::5, 0] = low[::5, 0]
    weights = normal(COUNT, count, inputs).round(decimals=1)
    centre = (weights @ ((low + high) / 2).unsqueeze(2)).squeeze(2)
    constraints = AffineFunctions(weights, normal(COUNT, count) / 4 - slack - centre)
    return AffineFunctions(normal(COUNT, 1, inputs), normal(COUNT, 1)), constraints, low, high


def by_highs(cost, constraints, low, high, which):
    ends = torch.stack((low[which], high[which]), 1).tolist()
    solved = linprog(
        cost[which].numpy(), constraints.weights[which].numpy(), -constraints.offset[which].numpy(), bounds=ends
    )
    return solved.fun if solved.status == 0 else None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 9), st.sampled_from([0.0, 0.3]))
def test_least_values_are_those_of_highs(seed, inputs, count, slack):
    function, constraints, low, high = programmes(seed, inputs, count, slack)
    bounds = least(function, constraints, low, high).squeeze(1)
    _, point = solve(function.weights.squeeze(1), constraints.weights, constraints.offset, low, high)
    for i in range(COUNT):
        value = by_highs(function.weights.squeeze(1), constraints, low, high, i)
        if value is not None:
            assert abs(value + float(function.offset[i]) - float(bounds[i])) < 1e-7
            assert abs(float(function.weights[i, 0] @ point[i]) - value) < 1e-7
            assert ((low[i] - 1e-9 <= point[i]) & (point[i] <= high[i] + 1e-9)).all()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9), st.sampled_from([0.0, 0.3]))
def test_constraints_are_found_infeasible_exactly_where_they_are(seed, inputs, count, slack):
    _, constraints, low, high = programmes(seed, inputs, count, slack)
    empty, multipliers, point = excess(constraints, low, high)
    assert (multipliers >= 0).all()
    for i in range(COUNT):
        size = (constraints.weights[i].abs() @ (high - low)[i]).clamp(min=1e-300)
        cost = torch.tensor([[0.0] * inputs + [1.0]]).double()
        lifted = AffineFunctions(
            torch.cat((constraints.weights[i] / size.unsqueeze(1), -torch.ones(count, 1).double()), 1).unsqueeze(0),
            (constraints.offset[i] / size).unsqueeze(0),
        )
        far = torch.tensor([1e3]).double()
        value = by_highs(cost, lifted, torch.cat((low[i], -far))[None], torch.cat((high[i], far))[None], 0)
        if value is None or abs(value) < 1e-7 or size.min() < 1e-9:
            continue
        assert (empty[i] > 0) == (value > 0)
        highest = float(((constraints.weights[i] @ point[i] + constraints.offset[i]) / size).amax())
        assert abs(highest - value) < 1e-7


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 6))
def test_any_multipliers_bound_from_below(seed, inputs, count):
    """Also where the method stops early, and where multipliers are far off."""
    function, constraints, low, high = programmes(seed, inputs, count, 0.3)
    rng = torch.Generator().manual_seed(seed)
    multipliers = torch.rand(COUNT, 1, count, generator=rng, dtype=torch.float64) * 10
    early, _ = solve(function.weights.squeeze(1), constraints.weights, constraints.offset, low, high, pivots=1)
    x = low.unsqueeze(1) + torch.rand(COUNT, 500, inputs, generator=rng, dtype=torch.float64) * (high - low).unsqueeze(
        1
    )
    allowed = ((x @ constraints.weights.mT + constraints.offset.unsqueeze(1)) <= 0).all(2)
    values = (x @ function.weights.mT).squeeze(2) + function.offset
    lowest = values.where(allowed, torch.inf).amin(1)
    for tried in (multipliers, early.unsqueeze(1)):
        assert (dual_bound(function, constraints, tried, low, high).squeeze(1) <= lowest).all()


def test_rounding_is_taken_off_the_bound():
    """1e16 + 1 - 1e16 is 0 in float64 and 1 in truth; a multiplier of 1 on x - 1 <= 0 shows no more than is certain."""
    one = torch.ones(1, 1, dtype=torch.float64)
    function = AffineFunctions(one.unsqueeze(2) * 0, one * 1e16)
    constraints = AffineFunctions(one.unsqueeze(2), -one * 1e16)
    bound = dual_bound(function, constraints, one.unsqueeze(2), one, one)
    assert float(bound) <= 1.0
    assert float(bound) >= -1e3

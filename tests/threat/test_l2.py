import numpy as np
import pytest
import torch
from hypothesis import given
from scipy.optimize import brentq
from scipy.stats import kstest

from brinell.threat import L2, REALS, Box
from threat.strategies import Case, cases


def nearest(x0, x, low, high, radius):
    """The nearest point of ball ∩ box by its KKT system: clip(x0 + (x - x0) / (1 + mu)), mu >= 0 by root finding."""

    def at(mu):
        return np.clip((x + mu * x0) / (1 + mu), low, high)

    def excess(mu):
        return np.linalg.norm(at(mu) - x0) - radius

    if excess(0.0) <= 0:
        return at(0.0)
    top = 1.0
    while excess(top) > 0:
        top *= 2
    return at(brentq(excess, 0.0, top, xtol=1e-14, rtol=1e-14))


@given(cases(norms=("l2",)))
def test_the_projection_is_the_nearest_point(case: Case) -> None:
    if case.set.radius < 1e-3:
        return
    z = case.set.project(case.x0, case.x)
    low, high = (side.expand(case.x0.shape).double().numpy() for side in case.set.box.limits(case.x0))
    for i in range(len(z)):
        ours, x0, x = (t[i].double().numpy() for t in (z, case.x0, case.x))
        best = nearest(x0, x, low[i], high[i], case.set.radius)
        eps = float(torch.finfo(z.dtype).eps)
        assert np.abs(ours - best).max() <= 300 * eps * (1 + np.linalg.norm(x0) + case.set.radius)


def test_samples_are_uniform_in_the_ball() -> None:
    """The share of the volume within a sample's distance is uniform in [0, 1]."""
    rng = torch.Generator().manual_seed(0)
    x0 = torch.zeros(4000, 3, dtype=torch.float64)
    share = (L2(2.0, REALS).sample(x0, rng).norm(dim=1) / 2) ** 3
    assert kstest(share.numpy(), "uniform").pvalue > 1e-3


def test_a_large_radius_is_no_mistake() -> None:
    assert L2(8.0).within(Box(0.0, 1.0)).radius == 8.0


@pytest.mark.parametrize("features", [3, 3072, 150_528])
@pytest.mark.parametrize("radius", [1e-3, 0.5, 20.0])
def test_rounding_never_leaves_the_ball(features, radius) -> None:
    """However many squares are summed in float32."""
    rng = torch.Generator().manual_seed(features)
    x0 = torch.rand(4, features, generator=rng)
    for box in (Box(0.0, 1.0), Box(-3.0, 300.0), REALS):
        set = L2(radius, box)
        for scale in (1e-2, 1.0, 1e4):
            x = x0 + scale * torch.randn(x0.shape, generator=rng)
            assert set.contains(x0, set.project(x0, x)).all()


def test_the_ball_bounds_a_functional_more_tightly_than_its_hull() -> None:
    a = torch.ones(1, 1, 16, dtype=torch.float64)
    x0 = torch.full((1, 16), 0.5, dtype=torch.float64)
    assert L2(0.4, Box(0.0, 1.0)).minimum(x0, a).item() == pytest.approx(8 - 0.4 * 4)

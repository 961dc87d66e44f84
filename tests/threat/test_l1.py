import numpy as np
import torch
from hypothesis import given
from scipy.optimize import brentq, linprog

from brinell.threat import L1, REALS, Box
from brinell.threat.l1 import soft_threshold
from threat.strategies import Case, cases


def nearest(x0, x, low, high, radius):
    """The nearest point of ball ∩ box by its KKT system, its multiplier by root finding."""

    def at(threshold):
        move = x - x0
        return np.clip(x0 + np.sign(move) * np.maximum(np.abs(move) - threshold, 0), low, high)

    def excess(threshold):
        return np.abs(at(threshold) - x0).sum() - radius

    if excess(0.0) <= 0:
        return at(0.0)
    return at(brentq(excess, 0.0, np.abs(x - x0).max(), xtol=1e-14, rtol=1e-14))


@given(cases(norms=("l1",)))
def test_the_projection_is_the_nearest_point(case: Case) -> None:
    z = case.set.project(case.x0, case.x)
    low, high = (side.double().expand(case.x0.shape) for side in case.set.box.limits(case.x0))
    for i in range(len(z)):
        x0, x = (t[i].double().flatten().numpy() for t in (case.x0, case.x))
        want = nearest(x0, x, low[i].flatten().numpy(), high[i].flatten().numpy(), case.set.radius)
        eps = torch.finfo(z.dtype).eps
        np.testing.assert_allclose(z[i].flatten().double(), want, rtol=4 * eps, atol=max(4 * eps, 1e-12) * 100)


def test_the_projection_is_not_a_rescaling() -> None:
    x0 = torch.zeros(1, 3, dtype=torch.float64)
    z = L1(1.0).project(x0, torch.tensor([[2.0, 0.5, -0.1]], dtype=torch.float64))
    torch.testing.assert_close(z, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
    z = L1(1.0, Box(-0.6, 0.6)).project(x0, torch.tensor([[2.0, 0.5, -0.1]], dtype=torch.float64))
    torch.testing.assert_close(z, torch.tensor([[0.6, 0.4, 0.0]], dtype=torch.float64))


def test_the_whole_radius_is_used_in_many_features() -> None:
    rng = torch.Generator().manual_seed(0)
    x0 = torch.rand(4, 3, 64, 64, generator=rng)
    set = L1(12.0, Box(0.0, 1.0))
    z = set.project(x0, x0 + torch.randn(x0.shape, generator=rng))
    assert set.contains(x0, z).all()
    assert (set.distance(x0, z) > 12.0 * (1 - 1e-5)).all()


@given(cases(norms=("l1",)))
def test_the_minimum_is_that_of_a_linear_program(case: Case) -> None:
    if case.set.box == REALS or case.x0.dtype != torch.float64:
        return
    a = torch.randn((len(case.x0), 1, *case.x0.shape[1:]), dtype=case.x0.dtype, generator=case.rng)
    bound = case.set.minimum(case.x0, a)
    low, high = (side.expand(case.x0.shape).flatten(1).numpy() for side in case.set.box.limits(case.x0))
    for i in range(len(bound)):
        x0, c = case.x0[i].flatten().numpy(), a[i].flatten().numpy()
        room = [(0, b if np.isfinite(b) else None) for b in np.concatenate([high[i] - x0, x0 - low[i]])]
        solved = linprog(np.concatenate([c, -c]), np.ones((1, 2 * len(c))), [case.set.radius], bounds=room)
        want = c @ x0 + solved.fun
        assert abs(bound[i].item() - want) <= 1e-9 * (1 + np.abs(c).sum() * (1 + np.abs(x0).max()))


def test_samples_are_uniform_in_the_ball() -> None:
    """In d dimensions (|x|_1 / radius)^d is uniform on [0, 1], and every value has the mean zero."""
    x0 = torch.zeros(4000, 3, dtype=torch.float64)
    x = L1(2.0).sample(x0, torch.Generator().manual_seed(0))
    share = (L1(2.0).distance(x0, x) / 2.0) ** 3
    assert abs(share.mean().item() - 0.5) < 0.02
    assert abs(share.square().mean().item() - 1 / 3) < 0.02
    assert x.mean(0).abs().max() < 0.05


def test_no_change_costs_less_than_the_thresholded_one() -> None:
    rng = torch.Generator().manual_seed(0)
    change = torch.randn(50, 7, generator=rng)
    threshold = torch.rand(50, 7, generator=rng)

    def cost(d: torch.Tensor) -> torch.Tensor:
        return (threshold * d.abs() + (d - change).square() / 2).sum(1)

    best = soft_threshold(change, threshold)
    assert (best == 0).any()
    for size in (1e-3, 1e-1, 1.0):
        other = best + size * torch.randn(best.shape, generator=rng)
        assert (cost(best) <= cost(other)).all()

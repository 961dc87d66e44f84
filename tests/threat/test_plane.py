import numpy as np
import torch
from hypothesis import given
from scipy.optimize import minimize

from brinell.threat import REALS, Box, PerturbationSet
from threat.strategies import Case, cases


def reachable(case: Case, share: float):
    """A rise that some point of the box brings, and the room of each value on the way."""
    w = case.g.double()
    low, high = (side.expand(case.x0.shape) for side in case.set.box.limits(case.x0.double()))
    x0 = case.set.box.clamp(case.x0.double())
    room = torch.where(w > 0, high - x0, x0 - low).clamp(max=10)
    return share * (w.abs() * room).flatten(1).sum(1), low, high


@given(cases())
def test_the_plane_is_met_and_no_ball_that_misses_it_is_larger(case: Case) -> None:
    """The nearest point of a plane has the plane's own distance: no shorter change in the box raises <w, x> so much."""
    x0, w = case.set.box.clamp(case.x0.double()), case.g.double()
    rise, _, _ = reachable(case, 0.3)
    z = case.set.toward_plane(x0, w, rise)
    size = 1 + (w.abs().flatten(1).sum(1) * (1 + x0.abs().flatten(1).amax(1)))
    assert (((w * (z - x0)).flatten(1).sum(1) - rise).abs() <= 1e-9 * size).all()
    assert case.set.box.contains(z).all()
    for i in range(len(z)):
        length = case.set.distance(x0[i : i + 1], z[i : i + 1]).item() * (1 - 1e-6)
        if length > case.set.box.width:
            continue
        most = -case.set.resized(length).minimum(x0[i : i + 1], -w[i : i + 1].unsqueeze(1)).item()
        if case.set.name == "l2":  # a lower bound only, so an upper one here
            continue
        assert most - (w[i] * x0[i]).sum().item() <= rise[i].item() * (1 + 1e-9) + 1e-9 * size[i].item()


@given(cases(norms=("l2",)))
def test_the_way_in_l2_is_that_of_a_quadratic_program(case: Case) -> None:
    x0, w = case.set.box.clamp(case.x0.double())[:1], case.g.double()[:1]
    if x0.abs().max() > 2:
        return
    rise, low, high = (v[:1] for v in reachable(case, 0.6))
    z = case.set.toward_plane(x0, w, rise).flatten().numpy()
    x, c = x0.flatten().numpy(), w.flatten().numpy()
    bounds = [
        (None if np.isinf(a) else a, None if np.isinf(b) else b)
        for a, b in zip(low.flatten().tolist(), high.flatten().tolist(), strict=True)
    ]
    solved = minimize(
        lambda v: ((v - x) ** 2).sum(),
        z,
        jac=lambda v: 2 * (v - x),
        bounds=bounds,
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda v: c @ (v - x) - rise.item(), "jac": lambda v: c},
    )
    assert ((z - x) ** 2).sum() <= ((solved.x - x) ** 2).sum() * (1 + 1e-6) + 1e-9


@given(cases(norms=("l1",)))
def test_a_rise_beyond_the_box_goes_as_far_as_it_can(case: Case) -> None:
    for made in (case.set,):
        set = made.within(Box(0.0, 1.0))
        x0 = case.x0.double().clamp(0, 1)
        z = set.toward_plane(x0, case.g.double(), torch.full((len(x0),), 1e9, dtype=torch.float64))
        torch.testing.assert_close(z, (case.g > 0).double())


@given(cases(norms=("l2", "linf")))
def test_without_a_box_the_nearest_way_is_the_steepest(case: Case) -> None:
    """What a set does that knows no better."""
    set, x0, rise = case.set.within(REALS), case.x0.double(), torch.full((len(case.x0),), 0.3, dtype=torch.float64)
    w = case.g.double()
    torch.testing.assert_close(PerturbationSet.toward_plane(set, x0, w, rise), set.toward_plane(x0, w, rise))

import torch
from hypothesis import given
from scipy.stats import kstest

from brinell.threat import REALS, Box, Linf
from threat.strategies import Case, cases


@given(cases(norms=("linf",)))
def test_the_projection_is_the_clamp(case: Case) -> None:
    low, high = (side.double() for side in case.set.box.limits(case.x0))
    x0 = case.x0.double()
    exact = case.x.double().clamp(x0 - case.set.radius, x0 + case.set.radius)
    exact = torch.minimum(torch.maximum(exact, low), high)
    z = case.set.project(case.x0, case.x).double()
    size = 1 + x0.abs().amax() + (0 if low.isinf().any() or high.isinf().any() else high.abs().amax())
    assert (z - exact).abs().max() <= 4 * torch.finfo(case.x.dtype).eps * size


def test_samples_are_uniform_in_the_cube() -> None:
    x0 = torch.zeros(2000, 2, dtype=torch.float64)
    z = Linf(3.0, REALS).sample(x0, torch.Generator().manual_seed(0))
    assert kstest(((z / 3 + 1) / 2).flatten().numpy(), "uniform").pvalue > 1e-3


def test_an_infinite_radius_samples_the_whole_box() -> None:
    x0 = torch.full((500, 2), 0.1)
    z = Linf(float("inf"), Box(0.0, 1.0)).sample(x0, torch.Generator().manual_seed(0))
    assert z.max() > 0.9
    assert z.min() == 0.0

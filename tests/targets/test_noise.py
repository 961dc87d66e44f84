import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from brinell.errors import UsageError
from brinell.targets import Gaussian, Uniform

NOISES = pytest.mark.parametrize("noise", [Gaussian(0.25), Uniform(0.5)], ids=["gaussian", "uniform"])


def test_radii_of_published_shares() -> None:
    """sigma times the normal quantile; computed apart with scipy.stats."""
    shares = np.array([0.9113731113, 0.9332543008, 0.9760361872, 0.9942718184, 0.4234106513, 0.5])
    expected = [1.349259, 1.500475, 1.978010, 2.528462, 0.0, 0.0]
    assert Gaussian(2.0).radius(shares) / 2 == pytest.approx(expected, abs=1e-6)
    assert Uniform(2.0).radius(np.array([0.75, 1.0, 0.5, 0.2])) == pytest.approx([1.0, 2.0, 0.0, 0.0])


@NOISES
@given(radius=st.floats(0.001, 0.4))
def test_the_share_a_radius_needs_is_the_share_that_gives_it(noise, radius: float) -> None:
    assert noise.radius(noise.share(np.array([radius])))[0] == pytest.approx(radius, rel=1e-9)
    assert noise.radius(noise.share(np.array([radius])))[0] <= radius * (1 + 1e-15)


@NOISES
def test_noise_has_its_distribution_and_comes_from_the_generator_alone(noise) -> None:
    like = torch.zeros(1, dtype=torch.float64)
    drawn = noise.draw((4000,), like, torch.Generator().manual_seed(0))
    law = ("norm", (0, 0.25)) if isinstance(noise, Gaussian) else ("uniform", (-0.5, 1.0))
    assert kstest(drawn.numpy(), *law).pvalue > 0.01
    before = torch.get_rng_state()
    assert torch.equal(drawn, noise.draw((4000,), like, torch.Generator().manual_seed(0)))
    assert torch.equal(before, torch.get_rng_state())
    assert noise.draw((2, 3), like.float(), torch.Generator()).dtype is torch.float32


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_of_no_size_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"sigma is .*; noise needs a positive number"):
        Gaussian(value)
    with pytest.raises(UsageError, match=r"reach is .*; noise needs a positive number"):
        Uniform(value)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brinell.threat import Box
from brinell.threat.loudness import Loudness, decibels
from models import generator

SOUND = Box(-1.0, 1.0)


@given(st.floats(-80, 6), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 1000))
def test_projections_and_samples_are_contained(db, dtype, seed):
    set, rng = Loudness.of_decibels(db).within(SOUND), generator(seed)
    x0 = (torch.randn(5, 20, generator=rng, dtype=dtype) * torch.rand(5, 1, generator=rng, dtype=dtype)).clamp(-1, 1)
    x0[0] = 0
    for x in (set.project(x0, torch.randn(5, 20, generator=rng, dtype=dtype)), set.sample(x0, rng)):
        assert set.contains(x0, x).all()
        low, high = set.hull(x0)
        assert ((low <= x) & (x <= high)).all()
        assert torch.equal(x[0], x0[0])  # silence stays


def test_decibels_are_those_of_the_change_less_those_of_the_sound():
    x0 = torch.tensor([[0.5, -0.25, 0.1]])
    x = x0 + torch.tensor([[0.0, 0.05, -0.01]])
    assert decibels(Loudness(1.0).distance(x0, x)).item() == pytest.approx(-20, abs=1e-5)
    assert Loudness.of_decibels(-31).decibels == pytest.approx(-31)
    assert Loudness(0.0).decibels == -torch.inf


def test_no_loudness_reaches_a_change_of_silence():
    silence, sound = torch.zeros(1, 8), torch.full((1, 8), 0.1)
    assert not Loudness(torch.inf, Box(-1.0, 1.0)).contains(silence, sound).item()
    assert Loudness(torch.inf, Box(-1.0, 1.0)).contains(silence, silence).item()

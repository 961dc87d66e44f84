from math import atan, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import brinell
from brinell.errors import UsageError
from brinell.evasion import PGD, margin
from brinell.evasion.audio.masking import LOUDEST, Ear, FrequencyMasking
from brinell.evasion.spatial.transformation import Transformed
from brinell.threat import Box, Targeted, Threat
from models import generator, target

EAR = Ear(8000, 256)
SOUND = Box(-1.0, 1.0)


def sounds(n=4, samples=1024, seed=1, dtype=torch.float64):
    """Chords of three tones with a pause at the end."""
    rng = generator(seed)
    time = torch.arange(samples, dtype=dtype) / 8000
    pitch = 200 + 3000 * torch.rand(n, 3, 1, generator=rng, dtype=dtype)
    chord = (2 * pi * pitch * time).sin().sum(1) / 4
    chord[:, 3 * samples // 4 :] = 0
    return chord


def in_db(threshold, sound):
    loudest = EAR.spectrum(sound).abs().flatten(1).amax(1).reshape(-1, 1, 1)
    return LOUDEST + 20 * (threshold / loudest).log10()


def bark(frequency):
    return 13 * atan(0.00076 * frequency) + 3.5 * atan((frequency / 7500) ** 2)


def test_a_tone_raises_the_threshold_by_the_published_amount_around_it():
    tone = (2 * pi * 1000 * torch.arange(4096, dtype=torch.float64) / 8000).sin().unsqueeze(0)
    level = in_db(EAR.threshold(tone), tone)[0, :, 30]
    at, step = 32, 31.25  # the bin of 1000 Hz, and the distance of bins
    peak = LOUDEST + 10 * torch.tensor(1.5).log10().item()  # with its neighbours, each half as large
    assert level[at].item() == pytest.approx(peak - 6.025 - 0.275 * bark(1000), abs=0.1)
    for below in (28, 30):
        fall = 27 * (bark(1000) - bark(below * step))
        assert (level[at] - level[below]).item() == pytest.approx(fall, abs=0.2)
    for above in (36, 44):
        fall = (27 - 0.37 * (peak - 40)) * (bark(above * step) - bark(1000))
        assert (level[at] - level[above]).item() == pytest.approx(fall, abs=0.2)


def test_nothing_masks_in_silence_but_the_ear_itself():
    x = sounds()
    level = in_db(EAR.threshold(x), x)[:, :, -2]
    frequency = torch.linspace(0, 4000, 129, dtype=torch.float64).clamp(min=20) / 1000
    quiet = 3.64 * frequency**-0.8 - 6.5 * torch.exp(-0.6 * (frequency - 3.3) ** 2) + 0.001 * frequency**4 - 12
    assert level.allclose(quiet.expand_as(level), atol=0.01)


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 1.0]), st.sampled_from([torch.float32, torch.float64]))
def test_what_is_added_is_never_heard_more_than_the_largest_parameter_says(seed, radius, dtype):
    x = sounds(3, seed=seed, dtype=dtype)
    added = FrequencyMasking(EAR)
    p = radius * (2 * torch.rand(3, added.count((1024,)), generator=generator(seed), dtype=dtype) - 1)
    loudness = EAR.loudness(x, added(x, p))
    rounding = 0.03 if dtype is torch.float32 else 1e-6  # of the sound itself, which is far louder
    assert (loudness <= radius + rounding).all()
    assert (loudness >= radius / 10).all()


def test_loudness_is_a_share_of_the_threshold():
    x = sounds()
    change = 1e-4 * torch.randn(x.shape, generator=generator(2), dtype=x.dtype)
    one, half = EAR.loudness(x, x + change), EAR.loudness(x, x + change / 2)
    assert half.allclose(one / 2)
    assert EAR.loudness(x, x).tolist() == [0.0] * 4
    assert EAR.loudness(3 * x, 3 * (x + change)).allclose(one)  # however loud it is played


def test_a_sound_is_the_one_its_spectrum_is_of():
    x = sounds(samples=1100)
    assert EAR.sound(EAR.spectrum(x), 1100).allclose(x, atol=1e-9)


@pytest.mark.slow
def test_gradients_by_the_parameters_are_those_of_differences():
    added, x = FrequencyMasking(Ear(8000, 16)), sounds(2, 32)
    p = 0.2 * torch.randn(2, added.count((32,)), generator=generator(1), dtype=x.dtype)
    weigh = torch.randn(2, 32, generator=generator(3), dtype=x.dtype)
    assert torch.autograd.gradcheck(lambda p: 1e3 * ((added(x, p) - x) * weigh).sum(1), p.requires_grad_(), rtol=1e-2)


@pytest.mark.slow
def test_a_targeted_attack_stays_below_the_threshold_of_hearing():
    class Tilt(nn.Module):
        """Class 1 where a sound leans to one side of noise."""

        def forward(self, x):
            lean = x @ torch.randn(1024, generator=generator(5))
            return torch.stack([-lean, lean], 1)

    x = 0.9 * sounds(60, dtype=torch.float32)
    asked = target(Tilt(), SOUND)
    y = asked.labels(x)
    x, y = x[y == 0], y[y == 0]
    heard = Transformed(asked, FrequencyMasking(EAR), (1024,))
    attack = PGD(20, objective=margin)
    found = brinell.attack(attack, heard.target, heard.lift(x), y, Threat(heard.set(), Targeted(1)))
    silent = Threat(heard.set(1e-6), Targeted(1))
    assert found.broken.sum() >= 3
    assert not brinell.attack(attack, heard.target, heard.lift(x), y, silent).broken.any()
    assert (EAR.loudness(x, heard.render(found.x)) <= 1.001).all()


def test_what_is_no_sound_is_refused():
    with pytest.raises(UsageError, match="at least 256 samples"):
        EAR.threshold(torch.zeros(2, 100))
    with pytest.raises(UsageError, match="in fours"):
        Ear(8000, 250)

import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion.spatial.corruption import CORRUPTIONS, corrupt
from models import generator

each = pytest.mark.parametrize("kind", CORRUPTIONS)


def smooth_images(channels=3):
    coarse = torch.rand(6, channels, 5, 5, generator=generator(3))
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1)


@each
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_images_and_the_seed_decides(kind, channels):
    x = smooth_images(channels)
    for severity in range(1, 6):
        y = corrupt(x, kind, severity, seed=1)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.amin() >= 0
        assert y.amax() <= 1
        assert torch.equal(y, corrupt(x, kind, severity, seed=1))


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"saturate", "elastic", "pixelate"}))
def test_more_severe_is_farther_from_the_image(kind):
    x = smooth_images()
    away = [(corrupt(x, kind, severity) - x).square().mean() for severity in range(1, 6)]
    assert away == sorted(away)


def test_noise_has_the_standard_deviation_that_is_published():
    x = torch.full((1, 1, 200, 200), 0.5)
    assert corrupt(x, "gaussian noise", 5).std().item() == pytest.approx(0.10, rel=0.03)
    assert corrupt(x, "shot noise", 5).std().item() == pytest.approx((0.5 / 50) ** 0.5, rel=0.03)
    assert (corrupt(x, "impulse noise", 5) != 0.5).float().mean().item() == pytest.approx(0.07, rel=0.1)


def test_what_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="one of gaussian noise"):
        corrupt(torch.zeros(1, 1, 4, 4), "snow", 1)
    with pytest.raises(UsageError, match="severity is 6"):
        corrupt(torch.zeros(1, 1, 4, 4), "jpeg", 6)

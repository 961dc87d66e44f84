import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion.spatial.corruption import BENCHMARK, CORRUPTIONS, CorruptedAccuracy, corrupt, corrupted_accuracy
from brinell.evasion.spatial.corruptions.blur import smear
from brinell.evasion.spatial.corruptions.weather import plasma
from brinell.evidence import wilson
from models import constant, generator, target

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


@pytest.mark.parametrize(
    "kind", sorted(set(CORRUPTIONS) - {"saturate", "elastic", "pixelate", "glass blur", "frost", "spatter"})
)
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
        corrupt(torch.zeros(1, 1, 4, 4), "rain", 1)
    with pytest.raises(UsageError, match="severity is 6"):
        corrupt(torch.zeros(1, 1, 4, 4), "jpeg", 6)


@pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if "blur" in kind or kind == "pixelate"])
def test_a_blur_leaves_what_is_even_as_it_is(kind):
    grey = torch.full((2, 3, 32, 32), 0.5)
    assert corrupt(grey, kind, 5).allclose(grey, atol=1e-5)


@pytest.mark.parametrize("kind", ["defocus blur", "motion blur", "gaussian blur"])
def test_a_blur_moves_light_and_makes_none(kind):
    spot = torch.zeros(40, 1, 33, 33)
    spot[..., 16, 16] = 1.0
    blurred = corrupt(spot, kind, 5)
    assert blurred.sum().item() / 40 == pytest.approx(1, rel=1e-3)
    assert blurred.amax() < 0.5


def test_defocus_is_the_disc_it_is_defined_by():
    spot = torch.zeros(1, 1, 9, 9)
    spot[..., 4, 4] = 1.0
    five = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5
    assert corrupt(spot, "defocus blur", 4)[0, 0, 3:6, 3:6].allclose(five, atol=1e-4)
    assert corrupt(spot, "defocus blur", 5)[0, 0, 3:6, 3:6].allclose(torch.full((3, 3), 1 / 9), atol=1e-4)


def test_motion_leaves_a_trail_to_one_side_that_fades_as_a_gaussian_does():
    spot = torch.zeros(1, 1, 41, 41)
    spot[..., 20, 20] = 1.0
    row = smear(spot, 9, 2.5, torch.zeros(1))[0, 0, 20]
    trail = row[:21].flip(0)
    assert row[21:].abs().amax() < 1e-6
    assert (trail[1] / trail[0]).item() == pytest.approx(2.718281828 ** (-1 / 12.5), rel=1e-4)
    assert smear(spot, 9, 2.5, torch.full((1,), 90.0))[0, 0, :, 20].flip(0)[20:].allclose(trail, atol=1e-5)


def test_glass_takes_every_pixel_from_its_neighbourhood():
    x = torch.rand(1, 1, 16, 16, generator=generator(4))
    y = corrupt(x, "glass blur", 1)  # one pixel, and a Gaussian too narrow to blur
    near = torch.nn.functional.unfold(torch.nn.functional.pad(x, (1, 0, 1, 0)), 2).reshape(4, 16, 16)
    assert (near - y[0]).abs().amin(0).amax() < 1e-6
    assert (y != x).float().mean() > 0.4


def test_clouds_fill_their_range_and_are_smooth_where_disorder_falls_fast():
    x = torch.zeros(5, 3, 24, 40)
    for decay in (1.75, 3.0):
        clouds = plasma(x, decay, generator(1))
        assert clouds.shape == (5, 1, 24, 40)
        assert clouds.amin() >= 0
        assert clouds.amax() <= 1
    rough, fine = (plasma(x, decay, generator(1)).diff(2, dim=3).abs().mean() for decay in (1.4, 3.0))
    assert fine < rough / 2


def test_fog_keeps_the_brightest_value_no_brighter():
    x = smooth_images()
    assert (corrupt(x, "fog", 5).flatten(1).amax(1) <= x.flatten(1).amax(1) + 1e-6).all()


def test_the_table_counts_what_was_right_and_says_how_sure_that_is():
    asked = target(constant(1.0, 0.0))
    y = torch.tensor([0] * 6 + [1] * 2)
    table = corrupted_accuracy(asked, torch.rand(8, 1, 8, 8, generator=generator()), y, ("snow", "jpeg"))
    assert (table.n, table.clean, table.right) == (8, 6, {"snow": (6,) * 5, "jpeg": (6,) * 5})
    assert table.accuracy("snow", 3) == table.mean == 0.75
    assert table.interval("jpeg", 5) == wilson(6, 8)
    assert "jpeg               75.0   75.0   75.0   75.0   75.0   75.0" in str(table)


def test_the_mean_corruption_error_is_that_of_the_paper():
    ours = CorruptedAccuracy(10, 10, {"fog": (9, 8, 7, 6, 5), "snow": (10, 10, 10, 10, 10)})
    theirs = CorruptedAccuracy(10, 10, {"fog": (8, 6, 4, 2, 0), "snow": (9, 9, 9, 9, 9), "jpeg": (1, 1, 1, 1, 1)})
    assert ours.mean_corruption_error(theirs) == pytest.approx((1.5 / 3 + 0 / 0.5) / 2)
    assert ours.mean_corruption_error(ours) <= 1
    assert len(BENCHMARK) == 15
    assert len(CORRUPTIONS) == 19

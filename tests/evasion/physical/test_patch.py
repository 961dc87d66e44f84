import pytest
import torch
from torch import nn

from brinell.errors import UsageError
from brinell.evasion import margin
from brinell.evasion.physical.masks import sticker_mask
from brinell.evasion.physical.patch import AdversarialPatch, fooled
from brinell.evasion.physical.placement import Anywhere
from brinell.evasion.physical.rendered import pull_back
from models import UNIT, Box, generator, target


class Red(nn.Module):
    """Class 1 where the image is more red than blue on average."""

    def forward(self, x):
        red, blue = x[:, 0].mean((1, 2)), x[:, 2].mean((1, 2))
        return torch.stack([blue + 0.3, red], 1)


def images(n=20):
    return torch.rand(n, 3, 16, 16, generator=generator(1), dtype=torch.float64)


def test_a_patch_covers_the_share_it_is_given_and_nothing_else():
    x, patch = images(200), torch.full((3, 4, 4), 2.0, dtype=torch.float64)
    for disc, share in ((False, 0.25), (True, 0.25 * torch.pi / 4)):
        stuck = Anywhere((0.5, 0.5), 180, disc).stick(x, patch, generator(0))
        covered = (stuck > 1.5).all(1)
        assert torch.equal(stuck[stuck <= 1.5], x[stuck <= 1.5])
        assert covered.double().mean().item() == pytest.approx(share, rel=0.05)


def test_a_patch_is_drawn_upright_where_it_is_not_turned_and_fills_the_image():
    patch = images(1)[0]
    stuck = Anywhere((1, 1), 0, disc=False).stick(images(2), patch, generator(0))
    assert stuck.allclose(patch.expand(2, -1, -1, -1), atol=1e-12)


def test_the_gradient_by_the_patch_is_that_of_differences():
    x, placed = images(3), Anywhere((0.4, 0.6))
    asked, y = target(Red()), torch.zeros(3, dtype=torch.int64)
    patch = torch.rand(3, 5, 5, generator=generator(4), dtype=torch.float64)

    def mean(patch):
        return pull_back(asked, patch, lambda p: placed.stick(x, p, generator(7)), margin, y, None)

    _, g = mean(patch)
    step = 0.01 * torch.randn(patch.shape, generator=generator(5), dtype=torch.float64)
    change = (mean(patch + step)[0] - mean(patch - step)[0]).mean() / 2
    assert change.item() == pytest.approx((g * step).sum().item(), rel=1e-3)  # linear, but asked in float32


def test_a_patch_learnt_on_some_images_fools_the_others_and_is_of_the_colour_that_must_be():
    asked, x = target(Red()), images(40)
    y = asked.labels(x)
    assert (y == 0).all()
    placed = Anywhere((0.7, 0.8), side=4)
    patch = AdversarialPatch(placed, steps=60, batch=8).learn(asked, x[:20], y[:20], aim=1)
    assert UNIT.contains(patch[None]).all()
    assert patch[0].mean() > 0.9
    assert patch[2].mean() < 0.1
    assert fooled(asked, x[20:], y[20:], patch, placed, aim=1).all()
    assert not fooled(asked, x[20:], y[20:], torch.full_like(patch, 0.5), placed, aim=1).any()


def test_the_seed_decides_the_patch():
    asked, x = target(Red()), images(8)
    y = asked.labels(x)
    learn = AdversarialPatch(Anywhere(side=4), steps=3, batch=4)
    assert torch.equal(learn.learn(asked, x, y, seed=1), learn.learn(asked, x, y, seed=1))
    assert not torch.equal(learn.learn(asked, x, y, seed=1), learn.learn(asked, x, y, seed=2))


def test_a_sticker_mask_is_a_rectangle():
    assert sticker_mask((3, 8, 8), 2, 3, 2, 4).sum() == 3 * 8
    assert sticker_mask((3, 8, 8), 2, 3, 2, 4)[:, 2:4, 3:7].all()


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="scale is"):
        Anywhere((0.5, 1.5))
    with pytest.raises(UsageError, match="channels must agree"):
        Anywhere().stick(images(1), torch.zeros(1, 4, 4), generator())
    with pytest.raises(UsageError, match="one finite range"):
        AdversarialPatch().learn(target(Red(), Box(0.0, float("inf"))), images(2), torch.zeros(2, dtype=torch.int64))

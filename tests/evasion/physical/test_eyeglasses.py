import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from brinell.evasion.physical.eyeglasses import Eyeglasses
from brinell.evasion.physical.masks import eyeglass_mask
from brinell.evasion.physical.patch import fooled
from brinell.evasion.physical.placement import Anywhere, View, Worn
from brinell.evasion.physical.printable import NonPrintability, TotalVariation
from models import generator, target

EYES = ((12.0, 9.0), (12.0, 22.0))
STILL = View(0, 0, 0)


class Band(nn.Module):
    """Three people, told by how bright the rows around the eyes are on average."""

    def forward(self, x):
        bright = x[:, :, 8:16].mean((1, 2, 3))
        return torch.stack([-((bright - level) ** 2) * 50 for level in (0.2, 0.45, 0.8)], 1)


class Checks(nn.Module):
    """Two people, told by how much of a chessboard there is."""

    def forward(self, x):
        board = 2.0 * ((torch.arange(28).unsqueeze(1) + torch.arange(32)) % 2) - 1
        much = (x * board).mean((1, 2, 3))
        return torch.stack([0.02 - much, much], 1)


def faces(n=12):
    return 0.3 * torch.rand(n, 1, 28, 32, generator=generator(1))


def test_a_frame_has_two_holes_and_reaches_both_edges():
    mask = eyeglass_mask((3, 28, 32), *EYES)
    assert mask.shape == (3, 28, 32)
    assert not mask[:, 12, 9].any()
    assert not mask[:, 12, 22].any()
    assert mask[:, 12, 0].all()
    assert mask[:, 12, 31].all()
    assert mask[:, 12, 15].all()  # the bridge
    assert torch.equal(mask, mask.flip(2))


def test_a_worn_picture_covers_its_mask_and_nothing_else():
    x, mask = faces(), eyeglass_mask((1, 28, 32), *EYES)
    worn = Worn(mask, STILL).stick(x, torch.ones(1, 28, 32), generator())
    assert torch.allclose(worn[:, mask], torch.ones(()), atol=1e-5)
    assert torch.allclose(worn[:, ~mask], x[:, ~mask], atol=1e-5)


@given(st.floats(0.0, 0.9))
def test_light_changes_no_value_by_more_than_its_share(light):
    x = faces(20).double()
    seen = View(0, 0, light)(x, generator(3))
    assert ((seen - x).abs() <= light * x + 1e-9).all()


def test_each_image_is_seen_in_a_view_of_its_own():
    x = faces(1).expand(50, -1, -1, -1)
    seen = View()(x, generator(3))
    assert len(seen.flatten(1).unique(dim=0)) == 50


def test_total_variation_counts_seen_neighbours_alone():
    picture = torch.zeros(1, 4, 4)
    picture[0, 1, 1] = 1.0
    seen = torch.ones(1, 4, 4, dtype=torch.bool)
    # (1,1) differs from the two after it, and those before it from it.
    assert TotalVariation()(picture, seen).item() == pytest.approx((2**0.5 + 2) / 16)
    assert TotalVariation(3.0)(picture, seen).item() == pytest.approx(3 * (2**0.5 + 2) / 16)
    seen[0, 1, 1] = False
    assert TotalVariation()(picture, seen).item() == pytest.approx(0, abs=1e-9)


def test_what_is_in_the_palette_costs_nothing_and_the_rest_the_product_of_its_distances():
    palette = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    picture = torch.tensor(palette).T.reshape(3, 1, 3)
    seen = torch.ones(3, 1, 3, dtype=torch.bool)
    assert NonPrintability(palette)(picture, seen).item() == 0
    grey = torch.full((3, 1, 1), 0.5)
    assert NonPrintability(palette)(grey, seen[:, :, :1]).item() == pytest.approx(0.75**1.5)


@pytest.mark.parametrize("penalty", [TotalVariation(2.0), NonPrintability(((0.1,), (0.9,)), 3.0)])
def test_penalties_are_differentiable(penalty):
    picture = torch.rand(1, 5, 6, generator=generator(1), dtype=torch.float64).requires_grad_()
    seen = torch.rand(1, 5, 6, generator=generator(2)) < 0.7
    assert torch.autograd.gradcheck(lambda p: penalty(p, seen), picture)
    assert (torch.autograd.grad(penalty(picture, seen), picture)[0][~seen] == 0).all()


def test_a_round_patch_is_seen_where_it_is_round():
    x = torch.zeros(1, 2, 40, 40)
    assert Anywhere(disc=False, side=20).seen(x).all()
    assert Anywhere(side=200).seen(x).double().mean().item() == pytest.approx(torch.pi / 4, rel=0.01)


def test_frames_dodge_and_impersonate_in_views_and_on_faces_they_were_not_learnt_from():
    asked, x = target(Band()), faces(40)
    y = asked.labels(x)
    assert (y == 0).all()
    mask = eyeglass_mask((1, 28, 32), *EYES)
    view = View(4, 1, 0.1)
    plain = torch.full((1, 28, 32), 0.15)
    assert not fooled(asked, x[20:], y[20:], plain, Worn(mask, view)).any()
    for aim in (None, 1):
        attack = Eyeglasses(mask, ((0.1,), (0.9,)), view, smooth=0.0, printable=0.0, steps=120, batch=8)
        frame = attack.learn(asked, x[:20], y[:20], aim)
        assert fooled(asked, x[20:], y[20:], frame, Worn(mask, view), aim).all()


def test_weights_buy_smooth_and_printable_frames():
    asked, x = target(Checks()), faces(8)
    y, mask = asked.labels(x), eyeglass_mask((1, 28, 32), *EYES)
    palette = ((0.1,), (0.9,))

    def learnt(smooth, printable):
        attack = Eyeglasses(mask, palette, STILL, smooth, printable, steps=80, batch=4)
        frame = attack.learn(asked, x, y)
        return [penalty(frame, mask).item() for penalty in (TotalVariation(), NonPrintability(palette))]

    free, smooth, printable = learnt(0, 0), learnt(3, 0), learnt(0, 3)
    assert smooth[0] < free[0] / 2
    assert printable[1] < free[1] / 2

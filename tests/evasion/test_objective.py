import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brinell.evasion import cross_entropy, dlr, margin
from brinell.threat.goal import met

SCORES = torch.tensor([[4.0, 1.0, 3.0, -2.0, 0.5]], dtype=torch.float64)
TOP, SECOND, THIRD = (torch.tensor([c]) for c in (0, 2, 1))


def test_cross_entropy_by_hand() -> None:
    total = sum(math.exp(v) for v in SCORES[0].tolist())
    assert cross_entropy(SCORES, TOP, None).item() == pytest.approx(math.log(total) - 4)
    assert cross_entropy(SCORES, TOP, SECOND).item() == pytest.approx(3 - math.log(total))


def test_the_margin_by_hand() -> None:
    assert margin(SCORES, TOP, None).item() == 3 - 4
    assert margin(SCORES, THIRD, None).item() == 4 - 1
    assert margin(SCORES, TOP, SECOND).item() == 3 - 4
    assert margin(SCORES, SECOND, TOP).item() == 4 - 3
    assert margin(SCORES, SECOND, THIRD).item() == 1 - 4  # the class in the way, not the label


def test_dlr_is_equation_6() -> None:
    """-(z_y - max of the others) / (z_1st - z_3rd)."""
    assert dlr(SCORES, TOP, None).item() == pytest.approx(-(4 - 3) / (4 - 1))
    assert dlr(SCORES, SECOND, None).item() == pytest.approx(-(3 - 4) / (4 - 1))
    assert dlr(SCORES, THIRD, None).item() == pytest.approx(-(1 - 4) / (4 - 1))


def test_dlr_with_an_aim_is_equation_7() -> None:
    """-(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2), while the label is on top."""
    assert dlr(SCORES, TOP, SECOND).item() == pytest.approx(-(4 - 3) / (4 - (1 + 0.5) / 2))
    assert dlr(SCORES, TOP, torch.tensor([3])).item() == pytest.approx(-(4 + 2) / (4 - (1 + 0.5) / 2))
    assert dlr(SCORES, SECOND, THIRD).item() == pytest.approx((1 - 4) / (4 - (1 + 0.5) / 2))


def test_dlr_with_few_classes() -> None:
    three, two = SCORES[:, :3], SCORES[:, :2]
    assert dlr(three, TOP, None).item() == pytest.approx(-1 / 3)
    assert dlr(three, TOP, THIRD).item() == -3.0  # eq. 7 would be -1 wherever the aim is the third
    assert dlr(two, TOP, None).item() == -3.0
    assert dlr(two, TOP, THIRD).item() == -3.0


def test_ties_give_numbers() -> None:
    flat = torch.ones(1, 4, requires_grad=True)
    for aim in (None, SECOND):
        for objective in (cross_entropy, margin, dlr):
            value = objective(flat, TOP, aim)
            assert value.isfinite().all()
            (g,) = torch.autograd.grad(value.sum(), flat)
            assert g.isfinite().all()


@pytest.mark.parametrize("lead", [1.0, 12.0, 30.0])
def test_a_confident_model_is_seen_as_exactly_as_any_other(lead) -> None:
    """In float32: the usual form says 0 from a lead of 17 on, with a gradient by one of the two scores only."""
    exact = torch.tensor([[lead, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    value = torch.log1p(torch.exp(exact[:, 1:] - exact[:, :1]).sum(1))
    (g,) = torch.autograd.grad(value.sum(), exact)
    single = exact.detach().float().requires_grad_()
    ours = cross_entropy(single, TOP, None)
    (ours_g,) = torch.autograd.grad(ours.sum(), single)
    torch.testing.assert_close(ours.double(), value, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours_g.double(), g, rtol=1e-5, atol=0)
    assert -cross_entropy(single, SECOND, TOP).item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("lead", [31.0, 80.0, 1e4, 1e30])
def test_however_confident_a_model_is_the_slope_is_there_and_rises_with_the_rivals(lead) -> None:
    scores = torch.tensor([[lead, 0.0, -1.0]], requires_grad=True)
    value = cross_entropy(scores, TOP, None)
    (g,) = torch.autograd.grad(value.sum(), scores)
    share = torch.tensor([0.0, -1.0]).softmax(0)
    torch.testing.assert_close(g / g.abs().amax(), torch.cat([torch.tensor([-1.0]), share]).unsqueeze(0))
    assert g.abs().amax() > 1e-14
    less = cross_entropy(2 * scores, TOP, None)
    assert less < value < 1e-12


@st.composite
def scored(draw):
    classes = draw(st.integers(2, 6))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    scores = 5 * torch.randn(4, classes, generator=rng, dtype=torch.float64)
    y = torch.randint(0, classes, (4,), generator=rng)
    aim = (y + torch.randint(1, classes, (4,), generator=rng)) % classes if draw(st.booleans()) else None
    return scores, y, aim


@given(scored())
def test_margin_and_dlr_say_where_the_goal_is_met(case) -> None:
    scores, y, aim = case
    won = met(scores, y, aim)
    assert torch.equal(margin(scores, y, aim) >= 0, won)
    assert torch.equal(dlr(scores, y, aim) >= 0, won)


@given(scored(), st.floats(-50, 50), st.floats(0.1, 20))
def test_dlr_is_free_of_shift_and_scale(case, shift, scale) -> None:
    scores, y, aim = case
    if scores.shape[1] > 3:
        torch.testing.assert_close(dlr(scale * scores + shift, y, aim), dlr(scores, y, aim), rtol=1e-6, atol=1e-9)


@given(scored())
def test_every_objective_rises_with_the_rival_and_falls_with_the_label(case) -> None:
    scores, y, aim = case
    rows = torch.arange(len(y))
    for objective in (cross_entropy, margin):
        leaf = scores.clone().requires_grad_()
        (g,) = torch.autograd.grad(objective(leaf, y, aim).sum(), leaf)
        if aim is None:
            assert (g[rows, y] <= 0).all()
        else:
            assert (g[rows, aim] >= 0).all()


@given(scored())
def test_rows_do_not_see_each_other(case) -> None:
    scores, y, aim = case
    for objective in (cross_entropy, margin, dlr):
        whole = objective(scores, y, aim)
        assert whole.shape == y.shape
        for i in range(len(y)):
            one = objective(scores[i : i + 1], y[i : i + 1], None if aim is None else aim[i : i + 1])
            torch.testing.assert_close(one, whole[i : i + 1])

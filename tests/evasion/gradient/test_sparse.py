"""Sparse steps and Auto-PGD in the l1 ball."""

import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import APGD, PGD, SLIDE, Hunt, SparseStep, attack, cross_entropy, margin
from brinell.evasion.gradient.apgd_l1 import _Sparsity
from brinell.evasion.gradient.sparse import leading
from brinell.threat import L1, L2, Linf, Threat
from brinell.threat.masked import Masked
from models import UNIT, Affine, Crooked, generator, relu_net, target


def standing(x0, set) -> Hunt:
    model = Affine(torch.tensor([[9.0] * x0.shape[1], [0.0] * x0.shape[1]]))
    return Hunt(target(model), x0, torch.zeros(len(x0), dtype=torch.int64), Threat(set.within(UNIT)), generator())


def test_the_largest_gradients_move_by_the_same_amount() -> None:
    x = torch.full((2, 6), 0.5)
    g = torch.tensor([[0.1, -5.0, 3.0, 0.2, 0.0, -1.0], [1.0, 2.0, -3.0, 4.0, -5.0, 6.0]])
    hunt = standing(x, L1(1.0))
    half = leading(hunt, x, g, torch.tensor([0.5, 0.5]))
    third = torch.tensor([[0.0, -1.0, 1.0, 0.0, 0.0, -1.0], [0.0, 0.0, 0.0, 1.0, -1.0, 1.0]]) / 3
    torch.testing.assert_close(half, third)
    each = leading(hunt, x, g, torch.tensor([0.01, 1.0]))
    assert each[0].tolist() == [0.0, -1.0, 0.0, 0.0, 0.0, 0.0]
    torch.testing.assert_close(each[1], g[1].sign() / 6)


@pytest.mark.parametrize("set", [L1(1.0), L2(1.0), Linf(1.0)], ids=lambda s: s.name)
def test_a_sparse_move_has_length_one_in_any_set(set) -> None:
    x = torch.rand(20, 30, generator=generator(), dtype=torch.float64)
    g = torch.randn(20, 30, generator=generator(1), dtype=torch.float64)
    move = leading(standing(x, set), x, g, torch.rand(20, generator=generator(2), dtype=torch.float64))
    zero = torch.zeros_like(x)
    torch.testing.assert_close(set.distance(zero, move), torch.ones(20, dtype=torch.float64))


def test_what_leads_out_of_the_box_or_the_mask_is_left_out() -> None:
    x = torch.tensor([[1.0, 0.0, 0.5, 0.5]])
    g = torch.tensor([[9.0, -9.0, 8.0, 1.0]])
    share = torch.tensor([0.25])
    assert leading(standing(x, L1(1.0)), x, g, share).tolist() == [[0.0, 0.0, 1.0, 0.0]]
    inside = Masked(torch.tensor([True, True, False, True]), L1(1.0))
    assert leading(standing(x, inside), x, g, share).tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_nothing_moves_where_no_gradient_is() -> None:
    x = torch.full((2, 4), 0.5)
    assert leading(standing(x, L1(1.0)), x, torch.zeros(2, 4), torch.tensor([0.5, 1.0])).eq(0).all()


def test_slide_is_algorithm_1_of_its_paper() -> None:
    model, set = Crooked(), L1(0.8, UNIT)
    x = 0.3 + 0.4 * torch.rand(5, 6, generator=generator(2), dtype=torch.float64)
    y = torch.zeros(5).long()
    hunt = Hunt(target(model), x, y, Threat(set), generator())
    PGD(steps=8, step=0.1, rule=SparseStep(0.34), random=False)(hunt)
    z = x.clone()
    for _ in range(8):
        leaf = z.clone().requires_grad_()
        (g,) = torch.autograd.grad(cross_entropy(model(leaf), y, None).sum(), leaf)
        g = torch.where(((z <= 0) & (g < 0)) | ((z >= 1) & (g > 0)), 0.0, g)
        top = g.abs() >= g.abs().sort(1).values[:, int(0.66 * 6)].unsqueeze(1)
        z = set.project(x, z + 0.1 * g.sign() * top / top.sum(1, keepdim=True))
    torch.testing.assert_close(hunt.x, z, rtol=0, atol=1e-9)


def test_a_share_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"share is 0\.0"):
        SparseStep(0.0)


def test_a_check_thins_the_steps_and_starts_afresh_from_a_thinner_best() -> None:
    run = _Sparsity.at(torch.zeros(3, 100), 8.0)
    assert run.share.tolist() == pytest.approx([0.2] * 3)
    assert run.check(torch.tensor([30.0, 94.0, 99.0]), 100, 8.0).tolist() == [True, True, False]
    assert run.share.tolist() == pytest.approx([0.2, 0.94 / 1.5, 0.66])
    assert run.step.tolist() == pytest.approx([8.0, 8.0, 8.0 / 1.5])
    assert run.check(torch.tensor([30.0, 90.0, 99.0]), 100, 8.0).tolist() == [False, False, False]
    assert run.step.tolist() == pytest.approx([8.0 / 1.5, 8.0 / 1.5, 8.0 / 1.5**2])
    for _ in range(9):
        run.check(torch.tensor([30.0, 90.0, 99.0]), 100, 8.0)
    assert run.step.tolist() == pytest.approx([0.8] * 3)  # a tenth of the radius, and no less


def l1_distance(model: Affine, x, y):
    """Exact, in the box: the features that gain most are spent first, each until the box stops it. Two classes."""
    w = model.weight.detach().double()
    w = torch.where((y == 0).unsqueeze(1), w[1] - w[0], w[0] - w[1])
    scores = model(x).detach().double()
    lead = scores.gather(1, y.unsqueeze(1)).squeeze(1) - scores.gather(1, 1 - y.unsqueeze(1)).squeeze(1)
    room = torch.where(w > 0, 1 - x.double(), x.double())
    order = w.abs().argsort(1, descending=True)
    size, room = w.abs().gather(1, order), room.gather(1, order)
    gain = (size * room).cumsum(1)
    before = gain - size * room
    spent = room.cumsum(1) - room
    at = (gain < lead.unsqueeze(1)).sum(1, keepdim=True).clamp(max=x.shape[1] - 1)
    rest = (lead.unsqueeze(1) - before.gather(1, at)) / size.gather(1, at)
    return (spent.gather(1, at) + rest).squeeze(1), gain[:, -1] >= lead


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("made", "slack"),
    [(APGD(steps=100), 0.2), (APGD(steps=100, objective=margin), 0.2), (SLIDE(steps=300, share=0.05), 0.03)],
    ids=["APGD", "APGD-margin", "SLIDE"],
)
@pytest.mark.parametrize("radius", [0.15, 0.35])
def test_a_linear_model_is_broken_within_reach_and_never_beyond(made, slack, radius) -> None:
    """Also where the box stops features on the way: these examples lie anywhere in it.

    Auto-PGD's steps are never shorter than a tenth of the radius, so that it may stop short by as much.
    """
    rng = generator(3)
    model = Affine(torch.randn(2, 12, generator=rng))
    model.bias.data -= model(torch.full((1, 12), 0.5))[0].detach()
    x = torch.rand(300, 12, generator=rng)
    y = model(x).argmax(1)
    exact, possible = l1_distance(model, x, y)
    found = attack(made, target(model), x, y, Threat(L1(radius)))
    near = possible & (exact < (1 - slack) * radius)
    assert 20 < int(near.sum()) < 290
    assert not found.broken[exact > radius * (1 + 1e-6)].any()
    assert found.broken[near].all()


def test_sparse_steps_break_more_than_the_steepest_in_l1() -> None:
    """The reason that both exist, on nets of 144 inputs and in as many steps."""
    broken = dict.fromkeys(("steepest", "slide", "apgd"), 0)
    for seed in range(4):
        model = relu_net((144,), classes=5, seed=seed)
        x = torch.rand(60, 144, generator=generator(seed))
        y = model(x).argmax(1)
        for name, made in (
            ("steepest", PGD(steps=30)),
            ("slide", SLIDE(steps=30, share=0.05)),
            ("apgd", APGD(steps=30)),
        ):
            broken[name] += int(attack(made, target(model), x, y, Threat(L1(1.2))).broken.sum())
    assert broken["steepest"] < broken["slide"]
    assert broken["steepest"] < broken["apgd"]

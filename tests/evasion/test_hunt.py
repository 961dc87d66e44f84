from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from brinell.evasion import Hunt, attack, margin
from brinell.evasion.pgd import PGD
from brinell.threat import L2, Access, Linf, Targeted, Threat
from models import UNIT, Affine, Recorder, affine, generator, target


@dataclass
class Names:
    """Something an attack carries: the row each example had at first."""

    name: Tensor
    image: Tensor


def middling(n=30, features=6, classes=3):
    model = affine(features, classes)
    x = torch.rand(n, features, generator=generator(5))
    return model, x, model(x).argmax(1)


def test_everything_that_belongs_to_an_example_leaves_with_it() -> None:
    model, x, y = middling()
    y[3] = (y[3] + 1) % 3
    hunt = Hunt(target(model), x, y, Threat(Linf(0.1, UNIT)), generator())
    assert 3 not in hunt.rows.tolist()
    carried = hunt.carry(Names(hunt.rows.clone(), hunt.x0.clone()))
    hunt.aim = (hunt.y + 1) % 3
    sizes = []
    for _ in hunt.steps(20):
        value, g = hunt.gradient(margin)
        sizes.append(len(hunt))
        assert len(value) == len(g) == len(hunt.x) == len(hunt.y) == len(hunt.aim) == len(hunt.clean) == len(hunt)
        assert torch.equal(carried.name, hunt.rows)
        assert torch.equal(carried.image, x[hunt.rows])
        assert torch.equal(hunt.x0, x[hunt.rows])
        assert torch.equal(hunt.y, y[hunt.rows])
        assert torch.equal(hunt.aim, (hunt.y + 1) % 3)
        torch.testing.assert_close(hunt.clean, model(x[hunt.rows]).detach())
        hunt.move(hunt.x + 0.02 * g.sign())
    assert sizes[0] > sizes[-1] > 0


def test_what_is_carried_is_let_go_at_the_next_beginning() -> None:
    model, x, y = middling()
    hunt = Hunt(target(model), x, y, Threat(Linf(0.3, UNIT)), generator())
    carried = hunt.carry(Names(hunt.rows, hunt.x0))
    hunt.begin()
    before = len(carried.name)
    hunt.sample()
    hunt.settle()
    assert len(hunt) < before == len(carried.name)


def test_the_last_point_is_judged_too() -> None:
    model = Affine(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]))
    hunt = Hunt(target(model), torch.tensor([[0.45]]), torch.tensor([0]), Threat(Linf(0.1, UNIT)), generator())
    hunt.move(torch.tensor([[0.9]]))
    assert hunt.distance.isinf().all()
    hunt.settle()
    assert hunt.distance.item() == pytest.approx(0.1, rel=1e-5)
    assert len(hunt) == 0
    hunt.settle()
    assert hunt.queries.tolist() == [2]


def test_beginning_anew_looks_at_what_was_left_unseen() -> None:
    model = Affine(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]))
    hunt = Hunt(target(model), torch.tensor([[0.45]]), torch.tensor([0]), Threat(Linf(0.1, UNIT)), generator())
    hunt.move(torch.tensor([[0.9]]))
    hunt.begin()
    assert hunt.distance.isfinite().all()


@pytest.mark.parametrize("set", [Linf(0.3, UNIT), L2(0.3, UNIT)], ids=lambda s: s.name)
def test_an_attack_may_go_on_with_nobody_left(set) -> None:
    """The last examples can fall anywhere: every move after that is a move of no rows."""
    model = affine(4)
    x = torch.full((2, 4), 0.5)
    y = model(x).argmax(1)
    hunt = Hunt(target(model), x, y, Threat(set, queries=1), generator())
    assert len(hunt) == 2
    hunt.sample()
    hunt.look()
    assert len(hunt) == 0
    hunt.begin()
    hunt.sample()
    hunt.move(hunt.x)
    value, g = hunt.gradient(margin)
    assert value.shape == (0,)
    assert g.shape == (0, 4)
    assert hunt.value(margin).shape == (0,)
    assert hunt.scores().shape == (0, 2)
    assert list(hunt.steps(3)) == []
    assert hunt.queries.tolist() == [1, 1]


def test_where_no_radius_is_given_the_nearest_hit_is_kept() -> None:
    model = Affine(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]))
    x0 = torch.tensor([[0.2], [0.6]])
    y = torch.tensor([0, 0])
    hunt = Hunt(target(model), x0, y, Threat(Linf(float("inf"), UNIT)), generator())
    assert hunt.rows.tolist() == [0]
    for at in (0.9, 0.6, 0.8, 0.3):
        hunt.move(torch.tensor([[at]]))
        hunt.look()
    assert hunt.distance.tolist() == pytest.approx([0.4, 0.0], abs=1e-6)
    assert hunt.candidates.flatten().tolist() == pytest.approx([0.6, 0.6])
    assert len(hunt) == 1


def test_a_gradient_that_is_not_finite_is_zero() -> None:
    class Root(torch.nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0].sqrt(), 0 * x[:, 0] - 1], 1)

    x = torch.tensor([[0.0], [0.25]])
    hunt = Hunt(target(Root()), x, torch.tensor([0, 0]), Threat(Linf(0.1, UNIT)), generator())
    _, g = hunt.gradient(margin)
    assert g.tolist() == [[0.0], [-1.0]]


def test_an_aim_of_the_goal_is_taken_up_again() -> None:
    model, x, y = middling()
    x, y = x[y != 2], y[y != 2]
    hunt = Hunt(target(model), x, y, Threat(Linf(0.01, UNIT), Targeted(2)), generator())
    hunt.aim = torch.zeros_like(hunt.y)
    hunt.begin()
    assert (hunt.aim == 2).all()
    assert (hunt.goal_aims == 2).all()
    assert len(hunt.goal_aims) == len(x)


def test_a_black_box_shows_no_scores() -> None:
    model, x, y = middling()
    hunt = Hunt(target(model), x, y, Threat(Linf(0.1, UNIT), access=Access.LABELS), generator())
    assert hunt.clean is None
    hunt.sample()
    hunt.look()
    assert int(hunt.queries.sum()) >= len(x)
    with pytest.raises(Exception, match="shows LABELS; this needs SCORES"):
        hunt.scores()


def test_the_judge_alone_decides() -> None:
    """An attack that smuggles in a candidate outside the set, or one that breaks nothing, is not believed."""
    from brinell.evasion import Attack

    class Liar(Attack):
        needs = Access.LABELS

        def __init__(self, candidate: Tensor) -> None:
            self.candidate = candidate

        def __call__(self, hunt: Hunt) -> None:
            hunt.candidates = self.candidate
            hunt.distance = torch.zeros(len(self.candidate), dtype=torch.float64)

    model = Affine(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]))
    x = torch.full((3, 1), 0.45)
    y = torch.zeros(3, dtype=torch.int64)
    lies = torch.tensor([[0.9], [0.46], [0.53]])
    found = attack(Liar(lies), target(model), x, y, Threat(Linf(0.1)))
    assert found.broken.tolist() == [False, False, True]
    assert found.distance.tolist() == pytest.approx([float("inf"), float("inf"), 0.08], abs=1e-6)
    assert torch.equal(found.x[:2], x[:2])


def test_the_query_count_leaves_the_judge_out() -> None:
    inner = affine(3)
    model = Recorder(inner)
    x = torch.rand(4, 3, generator=generator())
    y = inner(x).argmax(1)
    found = attack(PGD(steps=3, restarts=2), model.target(), Recorder.examples(x), y, Threat(Linf(1e-3)))
    assert not found.broken.any()
    # The clean look, and a restart: three gradients and the last point.
    assert found.queries.tolist() == [1 + 2 * (3 + 1)] * 4
    assert found.gradients.tolist() == [2 * 3] * 4

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from brinell.evasion import Hunt, attack, margin
from brinell.evasion.gradient.pgd import PGD
from brinell.threat import L2, UNTARGETED, Access, Linf, Targeted, Threat
from models import UNIT, Affine, Recorder, affine, generator, target


@dataclass
class Names:
    """Something an attack carries: the row each example had at first."""

    name: Tensor
    image: Tensor


def raw(hunt: Hunt, values: Tensor) -> Tensor:
    """Scores or gradients as the target has them; the examples are on the first axis, or the last but one."""
    axes = (1,) * (values.dim() - 1) if len(values) == len(hunt) else (1,)
    return values * hunt.score_unit.float().reshape(-1, *axes)


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
        torch.testing.assert_close(raw(hunt, hunt.clean), model(x[hunt.rows]).detach())
        hunt.move(hunt.x + 0.02 * g.sign())
    assert sizes[0] > sizes[-1] > 0


def test_what_is_carried_is_let_go_at_the_next_beginning() -> None:
    model, x, y = middling()
    hunt = Hunt(target(model), x, y, Threat(Linf(0.3, UNIT)), generator())
    carried = hunt.carry(Names(hunt.rows, hunt.x0))
    hunt.begin()
    before = len(carried.name)
    hunt.sample()
    hunt.query_if_moved()
    assert len(hunt) < before == len(carried.name)


def test_the_last_point_is_judged_too() -> None:
    model = Affine(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]))
    hunt = Hunt(target(model), torch.tensor([[0.45]]), torch.tensor([0]), Threat(Linf(0.1, UNIT)), generator())
    hunt.move(torch.tensor([[0.9]]))
    assert hunt.distance.isinf().all()
    hunt.query_if_moved()
    assert hunt.distance.item() == pytest.approx(0.1, rel=1e-5)
    assert len(hunt) == 0
    hunt.query_if_moved()
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
    hunt.query()
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
        hunt.query()
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
    assert raw(hunt, g).tolist() == [[0.0], [-1.0]]


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
    hunt.query()
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


def around(hunt: Hunt, count: int, size: float) -> Tensor:
    """Points about each example, kept in its set."""
    noise = size * torch.randn((count, *hunt.x0.shape), generator=hunt.rng)
    return torch.stack([hunt.set.project(hunt.x0, hunt.x0 + n) for n in noise])


def standing(model, x, y, radius=0.3, **about) -> Hunt:
    return Hunt(target(model), x, y, Threat(Linf(radius, UNIT), **about), generator())


def test_a_probe_answers_for_several_points_at_once_and_keeps_the_nearest_that_breaks() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, torch.inf)
    points = around(hunt, 5, 0.5)
    scores = hunt.probe(points)
    assert len(hunt) == len(x)
    truth = torch.stack([model(p) for p in points])
    torch.testing.assert_close(raw(hunt, scores), truth)
    broken = truth.argmax(2) != y
    apart = (points.double() - x.double()).abs().amax(2).where(broken, torch.inf).amin(0)
    assert 0 < broken.any(0).sum() < len(x)
    assert torch.equal(hunt.distance, apart)
    assert torch.equal(hunt.reach, apart)
    assert torch.equal(hunt.hit, broken.any(0))
    assert torch.equal((hunt.candidates[hunt.rows].double() - x.double()).abs().amax(1)[hunt.hit], apart[hunt.hit])
    assert (hunt.queries == 6).all()


def test_what_a_probe_breaks_leaves_and_its_answers_with_it() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y)
    carried = hunt.carry(Names(hunt.rows.clone(), hunt.x0.clone()))
    points = around(hunt, 5, 0.3)
    scores = hunt.probe(points)
    assert 0 < len(hunt) < len(x)
    assert scores.shape == (5, len(hunt), 3)
    assert torch.equal(scores.argmax(2), y[hunt.rows].expand(5, -1))
    assert torch.equal(carried.name, hunt.rows)


def test_a_probe_outside_the_set_is_answered_and_never_a_witness() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, 0.01)
    scores = hunt.probe((x + 10).unsqueeze(0))
    torch.testing.assert_close(raw(hunt, scores[0]), model(x + 10))
    assert hunt.distance.isinf().all()
    assert len(hunt) == len(x)


def test_a_probe_counts_each_point_and_leaves_out_those_that_cannot_pay() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, 1e-5, queries=7)
    assert (hunt.left == 6).all()
    hunt.probe(around(hunt, 4, 1e-5))
    assert (hunt.left == 2).all()
    assert hunt.probe(around(hunt, 3, 1e-5)).shape == (3, 0, 3)
    assert (hunt.queries == 5).all()


def test_an_unseen_point_is_still_looked_at_after_a_probe() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, 0.3)
    hunt.move(x + 0.3 * (0.5 - x).sign())
    hunt.probe(x.unsqueeze(0))
    hunt.query_if_moved()
    assert (hunt.queries == 3).all()


def test_gradients_at_several_points_are_those_at_each() -> None:
    model, x, y = middling()
    hunt, alone = standing(model, x, y, 1e-5), standing(model, x, y, 1e-5)
    points = around(hunt, 3, 1e-5)
    value, g = hunt.probe_gradient(points, margin)
    for k in range(3):
        alone.move(points[k])
        v, h = alone.gradient(margin)
        torch.testing.assert_close(value[k], v)
        torch.testing.assert_close(g[k], h)
    assert (hunt.gradients == 3).all()
    assert (hunt.queries == 4).all()


@pytest.mark.parametrize("access", [Access.LABELS, Access.SCORES])
def test_decisions_are_asked_of_some_and_cost_only_them(access) -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, torch.inf, access=access)
    points = around(hunt, 4, 0.5)
    asked = torch.arange(len(x)) % 2 == 0
    hits = hunt.decide(points, asked)
    assert torch.equal(hits, (torch.stack([model(p) for p in points]).argmax(2) != y) & asked)
    assert torch.equal(hunt.queries, 1 + 4 * asked.long())
    assert hits.any()


def test_nobody_need_be_asked() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, torch.inf, queries=1)
    assert not hunt.decide(around(hunt, 4, 0.5), torch.zeros(len(x), dtype=torch.bool)).any()
    assert len(hunt) == len(x)
    assert hunt.decide(around(hunt, 4, 0.5)).shape == (4, 0)


def test_a_jacobian_holds_the_gradient_of_each_class_asked_for() -> None:
    model, x, y = middling(classes=4)
    hunt = standing(model, x, y, 1e-5)
    classes = torch.stack([y, (y + 2) % 4], 1)
    scores, jacobian = hunt.jacobian(classes)
    torch.testing.assert_close(raw(hunt, scores), model(x).detach())
    torch.testing.assert_close(raw(hunt, jacobian), model.weight.detach()[classes])
    assert (hunt.gradients == 2).all()
    assert (hunt.queries == 2).all()


def test_a_jacobian_may_take_one_class_off_the_others() -> None:
    model, x, y = middling(classes=4)
    hunt = standing(model, x, y, 1e-5)
    classes = torch.stack([(y + 1) % 4, (y + 2) % 4], 1)
    _, jacobian = hunt.jacobian(classes, y)
    weight = model.weight.detach()
    torch.testing.assert_close(raw(hunt, jacobian), weight[classes] - weight[y].unsqueeze(1))
    assert (hunt.gradients == 2).all()


@pytest.mark.parametrize("goal", [UNTARGETED, Targeted(1)], ids=lambda g: g.label)
def test_a_hit_leads_by_as_much_as_is_demanded(goal) -> None:
    model = Affine(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]))
    x0, y = torch.tensor([[0.2]]), torch.tensor([0])
    hunt = Hunt(target(model), x0, y, Threat(Linf(torch.inf, UNIT), goal), generator())
    hunt.require_margin(0.25)
    for at, hit in ((0.6, False), (0.74, False), (0.8, True)):
        hunt.move(torch.tensor([[at]]))
        hunt.query()
        assert hunt.hit.tolist() == [hit]
        assert hunt.decide(hunt.x.unsqueeze(0)).tolist() == [[hit]]
    assert hunt.distance.item() == pytest.approx(0.6)


def test_who_is_dismissed_is_asked_no_more_and_keeps_its_candidate() -> None:
    model, x, y = middling()
    hunt = standing(model, x, y, torch.inf)
    hunt.move(hunt.x0 + 0.5)
    hunt.query()
    rows, hit = hunt.rows, hunt.hit
    assert 0 < int(hit.sum()) < len(hit)
    before = hunt.queries.clone()
    hunt.drop(hit)
    hunt.query()
    assert torch.equal(hunt.rows, rows[~hit])
    assert torch.equal(hunt.queries[rows[hit]], before[rows[hit]])
    assert hunt.distance[rows[hit]].isfinite().all()

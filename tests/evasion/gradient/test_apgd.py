import pytest
import torch

from brinell.errors import UsageError
from brinell.evasion import APGD, PGD, Hunt, attack, cross_entropy, dlr
from brinell.evasion.gradient.apgd import _checkpoints, _Progress
from brinell.evasion.gradient.best import Best
from brinell.threat import L1, L2, Linf, Targeted, Threat
from models import UNIT, Crooked, affine, constant, generator, relu_net, target


def test_the_checkpoints_of_the_paper() -> None:
    """0, 22, 41, 57, 70, 80, 87, 93, 99 of 100 steps (section 3)."""
    assert sorted(_checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(_checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]
    assert sorted(_checkpoints(1)) == [1]


def climb(n=3) -> _Progress:
    return _Progress.at(torch.zeros(n, 2), 1.0)


def test_the_best_point_and_its_gradient_are_kept_and_rises_are_counted() -> None:
    run, best = climb(2), Best.none(torch.zeros(2, 2))
    for k, values in enumerate([(1.0, 1.0), (3.0, 0.0), (2.0, 0.5), (2.5, float("nan"))]):
        best.note(torch.full((2, 2), float(k)), torch.full((2, 2), 10.0 * k), torch.tensor(values))
        run.note(torch.tensor(values))
    assert best.x[:, 0].tolist() == [1.0, 0.0]
    assert best.gradient[:, 0].tolist() == [10.0, 0.0]
    assert best.value.tolist() == [3.0, 1.0]
    assert run.increases.tolist() == [2.0, 1.0]  # the first value is no rise


def test_some_go_back_to_their_best_and_others_stay() -> None:
    best = Best(torch.full((3, 2), 7.0), torch.full((3, 2), 8.0), torch.ones(3))
    x, g = best.back(torch.tensor([True, False, False]), torch.zeros(3, 2), torch.zeros(3, 2))
    assert x[:, 0].tolist() == [7.0, 0.0, 0.0]
    assert g[:, 0].tolist() == [8.0, 0.0, 0.0]


def test_condition_1_too_few_rises() -> None:
    run = climb()
    run.increases = torch.tensor([2.0, 3.0, 4.0])
    assert run.check(torch.tensor([1.0, 1.0, 1.0]), enough=3.0).tolist() == [True, False, False]
    assert run.step.tolist() == [0.5, 1.0, 1.0]
    assert run.increases.tolist() == [0.0] * 3


def test_condition_2_nothing_new_since_the_last_checkpoint() -> None:
    run = climb()
    run.checked_value = torch.tensor([1.0, 0.5, 1.0])
    run.halved = torch.tensor([False, False, True])  # the last has a new step already
    run.increases = torch.full((3,), 9.0)
    run.check(torch.tensor([1.0, 1.0, 1.0]), enough=3.0)
    assert run.step.tolist() == [0.5, 1.0, 1.0]
    assert run.halved.tolist() == [True, False, False]


@pytest.mark.parametrize("set", [Linf(0.4, UNIT), L2(0.6, UNIT)], ids=lambda s: s.name)
@pytest.mark.parametrize("seed", range(4))
def test_a_run_is_algorithm_1(set, seed) -> None:
    """Point by point, against the algorithm written out for one example."""
    steps, x0, y = 40, torch.full((1, 6), 0.5, dtype=torch.float64), torch.zeros(1).long()
    model = Crooked()
    asked = target(model)
    hunt = Hunt(asked, x0, y, Threat(set), generator(seed))
    APGD(steps=steps)(hunt)
    hunt.query_if_moved()

    def ask(x):
        leaf = x.clone().requires_grad_()
        value = cross_entropy(model(leaf), y, None)
        return value.item(), torch.autograd.grad(value.sum(), leaf)[0]

    x = set.sample(x0, generator(seed))
    path, values = [x0, x], []
    step, last, previous, best_f = 2 * set.radius, 0, x, -float("inf")
    last_step, last_best, halvings = -1.0, -float("inf"), 0
    for k in range(steps):
        f, g = ask(x)
        values.append(f)
        if f > best_f:
            best, best_g, best_f = x, g, f
        if k in _checkpoints(steps):
            rises = sum(b > a for a, b in zip(values[last:k], values[last + 1 :], strict=True))
            few, stuck = rises < 0.75 * (k - last), last_step == step and last_best == best_f
            last_step, last_best, last = step, best_f, k
            if few or stuck:
                step, x, g, halvings = step / 2, best, best_g, halvings + 1
        z = set.project(x0, x + step * set.steepest(g))
        new = z if k == 0 else set.project(x0, x + 0.75 * (z - x) + 0.25 * (x - previous))
        previous, x = x, new
        path.append(x)
    assert halvings >= 1
    visited = asked.backend._module.seen
    assert len(visited) == len(path)
    torch.testing.assert_close(torch.cat(visited), torch.cat(path), rtol=0, atol=1e-9)


def test_the_rivals_are_aimed_at_from_the_likeliest_down() -> None:
    aims = []

    def spy(scores, y, aim):
        aims.append(aim.tolist())
        return dlr(scores, y, aim)

    model = constant(5.0, 1.0, 3.0, 2.0)
    x = torch.full((2, 3), 0.5)
    y = torch.zeros(2, dtype=torch.int64)
    attack(APGD(steps=1, objective=spy, targets=2, restarts=2), target(model), x, y, Threat(Linf(0.1)))
    assert aims == [[2, 2], [3, 3], [2, 2], [3, 3]]
    aims.clear()
    attack(APGD(steps=1, objective=spy, targets=9), target(model), x, y, Threat(Linf(0.1)))
    assert aims == [[2, 2], [3, 3], [1, 1]]
    aims.clear()
    attack(APGD(steps=1, objective=spy, targets=9), target(model), x, y, Threat(Linf(0.1), Targeted(3)))
    assert aims == [[3, 3]]


@pytest.mark.parametrize("targets", [1, 9])
def test_two_classes_have_one_rival(targets) -> None:
    x = torch.rand(5, 4, generator=generator())
    model = affine(4)
    y = model(x).argmax(1)
    found = attack(APGD(steps=5, objective=dlr, targets=targets), target(model), x, y, Threat(Linf(1e-4)))
    assert (found.gradients == 5).all()


@pytest.mark.parametrize("set", [Linf(0.05), L2(0.2)], ids=lambda s: s.name)
def test_it_breaks_no_fewer_than_a_plain_ascent_of_the_same_length(set) -> None:
    broken = {}
    for made in (APGD(steps=40), PGD(steps=40)):
        broken[type(made)] = 0
        for seed in range(5):
            model = relu_net((12,), classes=5, seed=seed)
            x = torch.rand(100, 12, generator=generator(seed))
            found = attack(made, target(model), x, model(x).argmax(1), Threat(set))
            broken[type(made)] += int(found.broken.sum())
    assert broken[APGD] >= broken[PGD] - 2


@pytest.mark.parametrize(
    ("about", "message"),
    [({"steps": 0}, "steps is 0"), ({"restarts": 0}, "restarts is 0"), ({"targets": 0}, "targets is 0")],
)
def test_counts_that_cannot_be_are_refused(about, message) -> None:
    with pytest.raises(UsageError, match=message):
        APGD(**about)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30])
def test_a_run_that_shrinks_spends_the_steps_of_one_that_does_not(steps) -> None:
    model = affine(8)
    x = torch.rand(20, 8, generator=generator(1))
    y = target(model).labels(x)
    found = attack(APGD(steps=steps, shrinking=True), target(model), x, y, Threat(L1(1e-6)))
    assert (found.gradients[~found.broken] == steps).all()
    assert not found.broken.all()


def test_a_run_that_shrinks_counts_witnesses_of_the_radius_alone_and_finds_them() -> None:
    model = affine(8)
    x = 0.5 + 0.3 * (torch.rand(200, 8, generator=generator(7)) - 0.5)
    y = target(model).labels(x)
    ratio = model.distances(x, y, "l1") / 0.04
    found = attack(APGD(steps=40, shrinking=True), target(model), x, y, Threat(L1(0.04)))
    assert not found.broken[ratio > 1].any()
    assert found.broken[ratio < 0.95].all()
    assert 20 < int(found.broken.sum()) < 180


def test_beyond_l1_shrinking_changes_nothing() -> None:
    model = affine(8)
    x = torch.rand(20, 8, generator=generator(1))
    y = target(model).labels(x)
    plain, shrinking = (attack(APGD(steps=5, shrinking=s), target(model), x, y, Threat(L2(0.1))) for s in (False, True))
    assert torch.equal(plain.x, shrinking.x)

"""One perturbation for every input."""

from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import brinell
from brinell.data import load
from brinell.errors import UsageError
from brinell.evasion import attack
from brinell.evasion.universal import UAP, Universal, UniversalSGD, fooling
from brinell.evidence import Share
from brinell.targets import Target
from brinell.targets.differentiable import differentiable
from brinell.threat import L1, L2, LEAST_LIKELY, REALS, Access, Box, Linf, Targeted, Threat
from models import UNIT, Affine, Recorder, constant, generator, relu_net, target

LEARNERS = [UAP(passes=2), UniversalSGD(passes=5, batch=8)]
SETS = [Linf(0.1), L2(0.25), L1(0.5)]

each_learner = pytest.mark.parametrize("learner", LEARNERS, ids=lambda made: type(made).__name__)
each_set = pytest.mark.parametrize("set", SETS, ids=lambda s: s.name)


def examples(n: int = 40, shape: tuple[int, ...] = (6,), dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, *shape, generator=generator(1), dtype=dtype)


def line() -> Target:
    """Two classes, told apart by the sum of the features: class 1 above 3.05, so that class 0 has most of them."""
    return target(Affine(torch.stack([-torch.ones(6), torch.ones(6)]) / 2, torch.tensor([1.525, -1.525])))


@each_set
def test_a_perturbation_is_tried_with_one_query_and_stays_in_the_set(set) -> None:
    model, x = line(), examples()
    y = model.labels(x)
    found = attack(Universal(torch.full((6,), 0.3)), model, x, y, Threat(set))
    assert set.within(UNIT).contains(x, found.x).all()
    assert (found.queries == 2).all()  # the clean look, and the one candidate
    nearest = set.within(UNIT).project(x, x + 0.3)
    assert torch.equal(found.broken, model.labels(nearest) != y)


def test_the_fooling_rate_is_a_recount_of_changed_decisions() -> None:
    model, x = line(), examples(200)
    universal = Universal(torch.full((6,), 0.08))
    y = model.labels(x)
    changed = model.labels((x + 0.08).clamp(0, 1)) != y
    assert fooling(universal, model, x, Threat(Linf(0.1))) == Share(int(changed.sum()), 200)
    aimed = fooling(universal, model, x, Threat(Linf(0.1), Targeted(1)))
    assert aimed == Share(int(changed[y == 0].sum()), int((y == 0).sum()))
    assert fooling(universal, target(constant(0.0, 1.0)), x, Threat(Linf(0.1), Targeted(1))) == Share(0, 0)


@each_learner
@each_set
def test_on_a_linear_model_what_is_learnt_is_the_best_there_is(learner, set) -> None:
    # Toward class 1 the best perturbation of any set is steepest along the one gradient there is.
    model, threat = line(), Threat(set, Targeted(1))
    fitted = learner.learn(model, examples(), threat)
    best = Universal(set.radius * set.steepest(torch.ones(1, 6))[0])
    held = torch.rand(400, 6, generator=generator(7))
    most = fooling(best, model, held, threat)
    assert 0 < most.count < most.of
    assert fooling(fitted.universal, model, held, threat).count >= 0.9 * most.count


@pytest.mark.slow
@each_learner
@pytest.mark.parametrize("set", [L2(1.0), L1(4.0)], ids=lambda s: s.name)
def test_digits_that_were_held_out_are_fooled_far_beyond_chance(learner, set) -> None:
    digits, held = load("digits:train").take(60, seed=0), load("digits").take(300, seed=0)
    classifier = LogisticRegression().fit(digits.x.flatten(1).numpy(), digits.y.numpy())
    model = differentiable(brinell.target(classifier))
    fitted = learner.learn(model, digits.x, Threat(set))
    assert fitted.universal.perturbation.shape == (1, 8, 8)
    rng, noise = generator(3), digits.x.new_zeros(5, 1, 8, 8)
    corners = set.radius * set.steepest(noise.normal_(generator=rng))
    chance = max(fooling(Universal(corner), model, held.x, Threat(set)).count for corner in corners)
    assert fooling(fitted.universal, model, held.x, Threat(set)).count > 1.5 * chance


@pytest.mark.sweep(2)
@each_learner
@each_set
@pytest.mark.parametrize("shape", [(6,), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_learnt_lies_in_the_set_whatever_the_example(learner, set, shape, dtype) -> None:
    fitted = learner.learn(target(relu_net(shape)), examples(12, shape, dtype), Threat(set))
    v = fitted.universal.perturbation
    assert v.shape == shape
    assert v.dtype == dtype
    assert set.within(REALS).contains(torch.zeros_like(v)[None], v[None]).all()


@each_learner
def test_the_share_it_reports_is_that_of_its_own_examples(learner) -> None:
    model, x, threat = target(relu_net((6,))), examples(), Threat(Linf(0.1))
    fitted = learner.learn(model, x, threat)
    assert fitted.fooled == fooling(fitted.universal, model, x, threat)


@each_learner
def test_every_row_asked_is_counted(learner) -> None:
    inner = relu_net((5,))
    model = Recorder(lambda x: inner(x.float()))
    x = Recorder.examples(torch.rand(10, 5, generator=generator()))
    fitted = learner.learn(model.target(), x, Threat(L2(0.2)))
    # The shape of the scores is asked for once, when the examples are checked.
    assert fitted.queries == model.forwards - 1
    assert fitted.gradients == model.gradients


@each_learner
def test_the_least_likely_classes_can_be_aimed_at(learner) -> None:
    model, x = target(relu_net((6,))), examples()
    threat = Threat(Linf(0.4), LEAST_LIKELY)
    fitted = learner.learn(model, x, threat)
    aims = model.scores(x).argmin(1)
    reached = model.labels((x + fitted.universal.perturbation).clamp(0, 1)) == aims
    assert fitted.fooled == Share(int(reached.sum()), len(x))
    assert fitted.fooled.count > 0


@each_learner
def test_the_seed_decides_everything_and_nothing_else_is_touched(learner) -> None:
    net = relu_net((6,)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state, x = torch.get_rng_state(), examples()
    kept = x.clone()
    one, two, other = (learner.learn(target(net), x, Threat(L2(0.25)), seed=s).universal for s in (1, 1, 2))
    assert torch.equal(one.perturbation, two.perturbation)
    assert not torch.equal(one.perturbation, other.perturbation)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, kept)
    assert net.training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@each_learner
def test_it_stops_when_enough_are_fooled(learner) -> None:
    model, x, threat = target(relu_net((6,))), examples(), Threat(Linf(0.1))
    few, many = (replace(learner, passes=4, enough=e).learn(model, x, threat) for e in (0.05, 1.0))
    assert few.fooled.rate >= 0.05
    assert few.queries < many.queries
    assert few.fooled.count <= many.fooled.count < len(x)


def test_a_box_of_features_is_kept() -> None:
    box = Box((0.0, -1.0, 0.5, 0.0, 0.0, -3.0), (1.0, 0.0, 2.5, 0.7, 0.1, 3.0))
    model = target(relu_net((6,)), box)
    x = box.clamp(3 * torch.randn(20, 6, generator=generator(3)))
    fitted = UniversalSGD(passes=3).learn(model, x, Threat(Linf(0.08)))
    found = attack(fitted.universal, model, x, model.labels(x), Threat(Linf(0.08)))
    assert Linf(0.08).within(box).contains(x, found.x).all()


def test_the_cap_leaves_fooled_examples_out_of_the_gradient() -> None:
    # Two examples pull in opposite directions; the one that is past the cap no longer does.
    model = target(Affine(torch.tensor([[0.0], [10.0]])), REALS)
    x = torch.tensor([[-1.0], [0.01]])
    capped = UniversalSGD(passes=1, step=0.1, cap=1e-6).learn(model, x, Threat(Linf(0.3)))
    assert torch.equal(capped.universal.perturbation, torch.zeros(1))
    free = UniversalSGD(passes=1, step=0.1).learn(model, x, Threat(Linf(0.3)))
    assert free.universal.perturbation.abs() > 0.09


def test_what_cannot_be_right_is_refused() -> None:
    model, x = line(), examples()
    with pytest.raises(UsageError, match="learnt from GRADIENTS; the target shows SCORES"):
        UAP().learn(model.restrict(Access.SCORES), x, Threat(Linf(0.1)))
    with pytest.raises(UsageError, match="decides every example as the goal 'targeted at 1' wants"):
        UAP().learn(target(constant(0.0, 1.0)), torch.rand(3, 6), Threat(Linf(0.1), Targeted(1)))
    with pytest.raises(UsageError, match="leave the box"):
        UAP().learn(model, x + 1, Threat(Linf(0.1)))
    with pytest.raises(UsageError, match="needs a finite radius"):
        UniversalSGD().learn(model, x, Threat(Linf(float("inf"))))
    for made, says in (
        (lambda: UAP(passes=0), "passes is 0"),
        (lambda: UAP(enough=0.0), "enough is 0.0"),
        (lambda: UniversalSGD(batch=0), "batch is 0"),
        (lambda: UniversalSGD(step=-1.0), "step is -1.0"),
    ):
        with pytest.raises(UsageError, match=says):
            made()

"""What holds for every attack, on every set: an attack that breaks one of these is not one."""

import inspect
import typing
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from torch import Tensor

import brinell.evasion
from brinell.errors import UsageError
from brinell.evasion import PGD, Attack, Clean, Found, Hunt, attack
from brinell.targets import Target, TargetError, TorchBackend
from brinell.threat import L0, L1, L2, LEAST_LIKELY, REALS, Access, Box, Linf, Targeted, Threat
from evasion.cases import BEYOND, CASES, MINIMAL, POPULATION, RENDERED, WEAK, answers_for
from models import (
    UNIT,
    Recorder,
    affine,
    constant,
    generator,
    nan_beyond,
    noisy,
    quantised,
    raising_beyond,
    relu_net,
    target,
)

SETS = [Linf(0.08), L2(0.3)]
PAIRS = [(n, s) for n in CASES for s in (*SETS, L1(0.6), L0(2)) if answers_for(n, s.name)]

each_attack = pytest.mark.parametrize("name", CASES)
each_attack_on_each_set = pytest.mark.parametrize(("name", "set"), PAIRS, ids=[f"{n}-{s.name}" for n, s in PAIRS])


def examples(model, shape=(6,), n=12, dtype=torch.float32, seed=1) -> tuple[Tensor, Tensor]:
    """Random examples with the model's own labels, but for the last, which is misclassified."""
    x = torch.rand((n, *shape), generator=generator(seed), dtype=dtype)
    y = target(model).labels(x)
    y[-1] = (y[-1] + 1) % target(model).scores(x).shape[1]
    return x, y


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def test_every_exported_attack_has_a_case() -> None:
    exported = set()
    for name, thing in vars(brinell.evasion).items():
        if inspect.isclass(thing) and issubclass(thing, Attack) and not inspect.isabstract(thing):
            exported.add(name)
        elif inspect.isfunction(thing):
            made = typing.get_type_hints(thing).get("return")
            if inspect.isclass(made) and issubclass(made, Attack):
                exported.add(name)
    assert exported == {name.split("-")[0] for name in CASES}


@each_attack
def test_an_attack_is_a_value(name) -> None:
    made = CASES[name]
    assert made == replace(made)
    assert made.needs in Access
    for field in fields(made):
        with pytest.raises(FrozenInstanceError):
            setattr(made, field.name, None)


@pytest.mark.sweep(24)
@each_attack_on_each_set
@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 5, 5), (1, 2, 3, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_found_is_in_the_set_and_breaks(name, set, shape, dtype) -> None:
    model = relu_net(shape)
    x, y = examples(model, shape, dtype=dtype)
    before = x.clone()
    found = attack(CASES[name], target(model), x, y, Threat(set))
    assert torch.equal(x, before)
    assert found.x.shape == x.shape
    assert found.x.dtype == x.dtype
    assert found.x.device == x.device
    set = set.within(UNIT)
    assert set.contains(x, found.x).all()
    assert torch.equal(found.distance[found.broken], set.distance(x, found.x)[found.broken])
    assert found.distance[~found.broken].isinf().all()
    assert torch.equal(found.x[~found.broken], x[~found.broken])
    for i in range(len(x)):  # alone, and in float64 arithmetic of our own
        assert (target(model).labels(found.x[i : i + 1]).item() != y[i].item()) == bool(found.broken[i])
    assert found.broken[-1]
    assert found.distance[-1] == 0


@pytest.mark.sweep(3)
@each_attack_on_each_set
def test_a_model_in_double_precision_leaves_the_examples_in_theirs(name, set) -> None:
    model = relu_net((6,)).double()
    x = torch.rand(12, 6, generator=generator(1))
    y = target(model).labels(x)
    found = attack(CASES[name], target(model), x, y, Threat(set))
    assert found.x.dtype == torch.float32
    assert set.within(UNIT).contains(x, found.x).all()


@pytest.mark.sweep(3)
@each_attack_on_each_set
def test_candidates_stay_in_a_box_of_features_and_on_its_boundary(name, set) -> None:
    box = Box((0.0, -1.0, 0.5, 0.0, 0.0, -3.0), (1.0, 0.0, 2.5, 0.7, 0.1, 3.0))
    model = relu_net((6,))
    x = box.clamp(3 * torch.randn(12, 6, generator=generator(3)))
    asked = target(model, box)
    found = attack(CASES[name], asked, x, asked.labels(x), Threat(set.resized(0.1)))
    assert set.resized(0.1).within(box).contains(x, found.x).all()


@pytest.mark.sweep(3)
@each_attack_on_each_set
def test_nothing_is_changed_behind_the_caller(name, set) -> None:
    model = relu_net((6,)).train()
    before = state(model)
    torch.manual_seed(123)
    global_state = torch.get_rng_state()
    x, y = examples(model)
    labels = y.clone()
    attack(CASES[name], target(model), x, y, Threat(set))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(y, labels)
    assert not x.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.sweep(7)
@each_attack_on_each_set
def test_the_seed_decides_everything(name, set) -> None:
    model = relu_net((6,))
    x, y = examples(model, n=20)

    def run(seed: int) -> Found:
        return attack(CASES[name], target(model), x, y, Threat(set), seed=seed)

    torch.manual_seed(1)
    one = run(5)
    torch.manual_seed(2)
    two = run(5)
    for field in fields(Found):
        assert torch.equal(getattr(one, field.name), getattr(two, field.name))
    assert run(6).broken.shape == one.broken.shape


def recorded(name: str, set, access=Access.WEIGHTS, **about) -> tuple[Hunt, Recorder]:
    inner = relu_net((5,))
    model = Recorder(lambda x: inner(x.float()))
    x = torch.rand(15, 5, generator=generator(2))
    y = inner(x).argmax(1)
    y[4] = (y[4] + 1) % 3
    hunt = Hunt(
        model.target(), Recorder.examples(x), y, Threat(set, access=access, **about), generator(0), lambda: None
    )
    CASES[name](hunt)
    hunt.query_if_moved()
    return hunt, model


@pytest.mark.sweep(3)
@each_attack_on_each_set
def test_every_row_asked_is_counted(name, set) -> None:
    hunt, model = recorded(name, set)
    assert int(hunt.queries.sum()) == model.forwards
    assert int(hunt.gradients.sum()) == model.gradients
    if name not in RENDERED:
        asked = torch.cat([names for names, _, _ in model.asked])
        assert torch.equal(torch.bincount(asked, minlength=len(hunt.queries)), hunt.queries)


@each_attack_on_each_set
def test_a_broken_example_is_never_asked_again(name, set) -> None:
    if name in BEYOND:
        pytest.skip("it asks about points that are no witnesses")
    hunt, model = recorded(name, set)
    y = model.asked[0][1].argmax(1)
    y[4] = (y[4] + 1) % 3  # as in `recorded`
    broken: dict[int, bool] = {}
    for names, scores, _ in model.asked:
        round: dict[int, bool] = {}
        for i, s in zip(names.tolist(), scores, strict=True):
            assert not broken.get(i)
            rivals = torch.cat([s[: y[i]], s[y[i] + 1 :]])
            round[i] = round.get(i, False) or bool(rivals.max() >= s[y[i]])
        broken |= round
    assert [broken[i] for i in range(len(y))] == hunt.distance.isfinite().tolist()
    assert hunt.queries[4] == 1


@pytest.mark.sweep(8)
@each_attack_on_each_set
@pytest.mark.parametrize("budget", [1, 2, 5])
def test_no_example_is_asked_beyond_the_budget(name, set, budget) -> None:
    hunt, model = recorded(name, set, queries=budget)
    assert int(hunt.queries.max()) <= budget
    assert int(hunt.queries.sum()) == model.forwards
    free, _ = recorded(name, set)
    if name not in POPULATION:
        assert torch.equal(hunt.queries, free.queries.clamp(max=budget))


@pytest.mark.sweep(8)
@each_attack
def test_less_access_than_needed_is_refused(name) -> None:
    made = CASES[name]
    model = affine(4)
    x, y = examples(model, (4,))
    for access in Access:
        for asked, threat in (
            (target(model, access=access), Threat(SETS[0])),
            (target(model), Threat(SETS[0], access=access)),
        ):
            if access >= made.needs:
                attack(made, asked, x, y, threat)
            else:
                with pytest.raises(UsageError, match=f"needs {made.needs.name}; the target shows {access.name}"):
                    attack(made, asked, x, y, threat)


@pytest.mark.sweep(3)
@each_attack_on_each_set
def test_a_target_class_is_reached(name, set) -> None:
    model = relu_net((6,))
    x = torch.rand(40, 6, generator=generator(4))
    y = target(model).labels(x)
    x, y = x[y != 2], y[y != 2]
    radius = (
        0.1 if name == "FGSM" and set in SETS else 1.0
    )  # a single step of the length of the box goes past the class
    found = attack(CASES[name], target(model), x, y, Threat(set.resized(radius), Targeted(2)))
    assert (target(model).labels(found.x[found.broken]) == 2).all()
    if not isinstance(CASES[name], Clean):
        assert found.broken.any()


@pytest.mark.sweep(3)
@each_attack_on_each_set
def test_the_least_likely_class_is_reached(name, set) -> None:
    model = relu_net((6,))
    x = torch.rand(40, 6, generator=generator(4))
    scores = target(model).scores(x)
    threat = Threat(set.resized(1.0), LEAST_LIKELY)
    found = attack(CASES[name], target(model), x, scores.argmax(1), threat)
    aims = scores.argmin(1)
    assert torch.equal(target(model).labels(found.x[found.broken]), aims[found.broken])
    if not isinstance(CASES[name], Clean):
        assert found.broken.any()


@each_attack_on_each_set
def test_examples_that_are_lost_already_cost_one_query(name, set) -> None:
    model = constant(0.0, 1.0, 2.0)
    x = torch.rand(5, 4, generator=generator())
    found = attack(CASES[name], target(model), x, torch.zeros(5, dtype=torch.int64), Threat(set))
    assert found.broken.all()
    assert (found.queries == 1).all()
    assert (found.gradients == 0).all()
    assert (found.distance == 0).all()
    assert torch.equal(found.x, x)


@pytest.mark.sweep(2)
@each_attack_on_each_set
def test_nothing_breaks_a_constant_model(name, set) -> None:
    x = torch.rand(5, 3, 3, generator=generator())
    found = attack(CASES[name], target(constant(1.0, 0.0, 0.5)), x, torch.zeros(5, dtype=torch.int64), Threat(set))
    assert not found.broken.any()


@each_attack_on_each_set
def test_a_model_that_ties_everywhere_is_broken_at_once(name, set) -> None:
    x = torch.rand(5, 3, generator=generator())
    found = attack(CASES[name], target(constant(1.0, 1.0)), x, torch.zeros(5, dtype=torch.int64), Threat(set))
    assert found.broken.all()
    assert (found.queries == 1).all()


@pytest.mark.sweep(4)
@each_attack_on_each_set
def test_a_model_that_answers_nan_breaks_no_other_row_and_is_never_believed(name, set) -> None:
    inner = relu_net((6,))
    model = nan_beyond(inner, 0.5)
    x, _ = examples(inner)
    y = target(inner).labels(x)
    found = attack(CASES[name], target(model), x, y, Threat(set))
    assert target(model).scores(found.x[found.broken]).isfinite().all()
    if name in ("FGSM", "BIM") and set in SETS:  # without chance, rows that never meet NaN fare as without it
        alone = x[:, 0] < 0.5 - set.radius
        whole = attack(CASES[name], target(inner), x, y, Threat(set))
        assert alone.any()
        assert torch.equal(found.x[alone], whole.x[alone])


@pytest.mark.parametrize(("name", "set"), [(n, s) for n, s in PAIRS if s in SETS])  # those that move every feature
def test_what_the_model_raises_passes_through(name, set) -> None:
    inner = relu_net((6,))
    x, y = examples(inner)
    if name != "Clean":
        x[:, 0] = 0.5
        y = target(inner).labels(x)
        with pytest.raises(TargetError, match="RuntimeError: no such input"):
            attack(replace_steps(CASES[name]), target(raising_beyond(inner, 0.5)), x, y, Threat(set))
    x[:1, 0] = 1.0
    with pytest.raises(TargetError, match="RuntimeError: no such input"):
        attack(CASES[name], target(raising_beyond(inner, 0.5)), x, y, Threat(set))
    x[:, 0] = 1.0
    with pytest.raises(UsageError, match=r"raises on every example.*RuntimeError: no such input"):
        attack(CASES[name], target(raising_beyond(inner, 0.5)), x, y, Threat(set))


def replace_steps(made: Attack) -> Attack:
    """FGSM from one side only might never cross; a random start does."""
    return replace(made, random=True) if isinstance(made, PGD) else made


@each_attack_on_each_set
def test_a_checkpoint_ends_the_hunt(name, set) -> None:
    class Stop(Exception):
        pass

    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Stop

    x = torch.rand(4, 6, generator=generator())
    y = torch.zeros(4, dtype=torch.int64)
    if name == "Clean":
        attack(CASES[name], target(constant(1.0, 0.0)), x, y, Threat(set), checkpoint=checkpoint)
        assert calls == 1
        return
    with pytest.raises(Stop):
        attack(CASES[name], target(constant(1.0, 0.0)), x, y, Threat(set), checkpoint=checkpoint)


@pytest.mark.sweep(4)
@each_attack_on_each_set
def test_radius_zero_leaves_the_clean_accuracy(name, set) -> None:
    model = relu_net((6,))
    x, y = examples(model)
    found = attack(CASES[name], target(model), x, y, Threat(set.resized(0.0)))
    assert found.broken.tolist() == [False] * 11 + [True]


@pytest.mark.sweep(2)
@each_attack
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_are_no_trouble(name, classes) -> None:
    model = affine(6, classes)
    x, y = examples(model)
    found = attack(CASES[name], target(model), x, y, Threat(Linf(0.5)))
    assert found.broken.all() or name in WEAK


@pytest.mark.sweep(4)
@pytest.mark.parametrize(("name", "set"), [(n, s) for n, s in PAIRS if hasattr(CASES[n], "restarts")])
def test_restarts_never_lose_what_was_broken(name, set) -> None:
    model = relu_net((6,))
    x, y = examples(model, n=60)
    first = attack(replace(CASES[name], restarts=1), target(model), x, y, Threat(set), seed=3)
    third = attack(replace(CASES[name], restarts=3), target(model), x, y, Threat(set), seed=3)
    assert (third.broken | ~first.broken).all()
    assert (third.queries >= first.queries).all()


@pytest.mark.sweep(2)
@each_attack
def test_masked_gradients_stop_those_that_need_them_and_no_others(name) -> None:
    inner = affine(6)
    model = quantised(inner)
    x, y = examples(model, n=40)
    found = attack(CASES[name], target(model), x, y, Threat(Linf(0.3)))
    if name in ("Square", "Noise"):
        assert found.broken.float().mean() > 0.3
    elif name in ("FGSM", "BIM"):
        assert int(found.broken.sum()) == 1


@pytest.mark.sweep(4)
@each_attack_on_each_set
def test_a_randomised_model_is_no_trouble(name, set) -> None:
    x = torch.rand(20, 6, generator=generator())
    y = affine(6)(x).argmax(1)
    found = attack(CASES[name], target(noisy(affine(6), 0.1)), x, y, Threat(set))
    assert set.within(UNIT).contains(x, found.x).all()


@pytest.mark.sweep(4)
@each_attack
def test_a_batch_is_cut_into_chunks_without_a_trace(name) -> None:
    model = relu_net((6,))
    x, y = examples(model, n=9)
    whole, cut = (
        attack(CASES[name], Target(TorchBackend(model), UNIT, chunk=chunk), x, y, Threat(Linf(0.08)))
        for chunk in (128, 2)
    )
    assert torch.equal(whole.broken, cut.broken)


@each_attack
def test_one_example_of_one_feature(name) -> None:
    x = torch.tensor([[0.45]])
    model = affine(1)
    y = target(model).labels(x)
    for set in SETS:
        found = attack(CASES[name], target(model), x, y, Threat(set.resized(0.2)))
        assert set.resized(0.2).within(UNIT).contains(x, found.x).all()


@pytest.mark.sweep(8)
@each_attack
def test_steps_cannot_be_measured_by_an_infinite_radius(name) -> None:
    model = relu_net((6,))
    x, y = examples(model)
    for box in (UNIT, REALS):
        threat = Threat(Linf(float("inf")))
        if name in MINIMAL:
            found = attack(CASES[name], target(model, box), x, y, threat)
            assert torch.equal(found.distance[found.broken], threat.set.distance(x, found.x)[found.broken])
        elif isinstance(CASES[name], Clean):
            assert int(attack(CASES[name], target(model, box), x, y, threat).broken.sum()) == 1
        else:
            with pytest.raises(UsageError, match="needs a finite radius"):
                attack(CASES[name], target(model, box), x, y, threat)

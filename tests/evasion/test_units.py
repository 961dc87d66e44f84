"""A change of units changes no robustness: the same model in a box of any size gives the same from every attack."""

from dataclasses import fields

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from brinell.evasion import APGD, FGSM, PGD, SPSA, Attack, Found, attack
from brinell.evasion.transfer import Transfer
from brinell.evasion.universal import Universal
from brinell.targets import Target, TorchBackend
from brinell.threat import L0, L1, L2, REALS, Box, Features, Linf, Masked, PerturbationSet, Pixels, Rules, Threat
from brinell.threat.loudness import Loudness
from brinell.threat.patch import Patch
from brinell.threat.rescaled import Rescaled
from evasion.cases import CASES, MINIMAL, answers_for
from models import UNIT, generator, relu_net

FEATURES = Box((0.0, -1.0, 0.5, 0.0, 0.0, -3.0), (1.0, 0.0, 2.5, 0.7, 0.1, 3.0))
POWERS = [2.0**8, 2.0**-7, 2.0**40]
BOXES = [UNIT, FEATURES, REALS]
UNITS = [255.0, 5000.0, 0.01]
BALLS: list[PerturbationSet] = [Linf(0.08), L2(0.3), L1(0.6), L0(2)]
PAIRS = [(name, ball) for name in CASES for ball in BALLS if answers_for(name, ball.name)]

each_attack = pytest.mark.parametrize("name", CASES)
each_attack_on_each_set = pytest.mark.parametrize(("name", "ball"), PAIRS, ids=[f"{n}-{s.name}" for n, s in PAIRS])


def in_units(model: nn.Module, box: Box, unit: float) -> Target:
    """The same model of inputs that are `unit` times as large."""
    return Target(TorchBackend(model), box.rescaled(1 / unit), std=unit)


def found_in(
    made: Attack, model: nn.Module, x: Tensor, box: Box, ball: PerturbationSet, unit: float, seed: int = 0
) -> Found:
    """What an attack finds in these units, of examples with the model's own labels."""
    y = in_units(model, box, 1.0).labels(x)
    return attack(made, in_units(model, box, unit), x * unit, y, Threat(ball), seed)


def assert_same(found: Found, other: Found, unit: float, measure: float) -> None:
    """To the last bit, once the second is taken back to the units of the first."""
    for field in fields(Found):
        ours, theirs = getattr(found, field.name), getattr(other, field.name)
        scale = {"x": unit, "distance": measure}.get(field.name)
        assert torch.equal(ours, theirs if scale is None else theirs / scale), field.name


def larger(ball: PerturbationSet, unit: float) -> PerturbationSet:
    """The same ball in units `unit` times as small."""
    return ball.resized(ball.radius * ball.distance_unit(unit))


def first_ball(name: str) -> PerturbationSet:
    """Of those that the attack is for."""
    return next(ball for ball in BALLS if answers_for(name, ball.name))


def p_value(one: Tensor, other: Tensor) -> float:
    """McNemar's exact test of what was broken twice, pair by pair."""
    alone, other_alone = int((one & ~other).sum()), int((other & ~one).sum())
    return float(binomtest(alone, alone + other_alone).pvalue) if alone + other_alone else 1.0


@pytest.mark.sweep(24)
@each_attack_on_each_set
@pytest.mark.parametrize(("unit", "box"), list(zip(POWERS, BOXES, strict=True)), ids=["unit", "features", "reals"])
def test_powers_of_two_change_no_bit(name, ball, unit, box) -> None:
    model = relu_net((6,))
    x = box.clamp(torch.rand(10, 6, generator=generator(3)))
    one = found_in(CASES[name], model, x, box, ball, 1.0)
    other = found_in(CASES[name], model, x, box, larger(ball, unit), unit)
    assert_same(one, other, unit, ball.distance_unit(unit))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", [name for name in CASES if name in MINIMAL])
def test_without_a_radius_they_change_no_bit_either(name) -> None:
    unit = POWERS[0]
    model = relu_net((6,))
    x = torch.rand(10, 6, generator=generator(3))
    ball = first_ball(name).resized(float("inf"))
    one = found_in(CASES[name], model, x, UNIT, ball, 1.0)
    other = found_in(CASES[name], model, x, UNIT, ball, unit)
    assert one.broken.any()
    assert_same(one, other, unit, ball.distance_unit(unit))


@pytest.mark.slow
@each_attack
@pytest.mark.parametrize("unit", UNITS)
def test_other_units_break_as_many(name, unit) -> None:
    """McNemar's exact test over 2 seeds of the same 40 examples does not tell the two apart, at 1 in 1,000."""
    model = relu_net((6,))
    x = torch.rand(40, 6, generator=generator(3))
    ball = first_ball(name)
    ours, theirs = [], []
    for seed in range(2):
        ours.append(found_in(CASES[name], model, x, UNIT, ball, 1.0, seed).broken)
        theirs.append(found_in(CASES[name], model, x, UNIT, larger(ball, unit), unit, seed).broken)
    assert p_value(torch.cat(ours), torch.cat(theirs)) >= 0.001


def rules(unit: float) -> Rules:
    """Of a table in units `unit` times as small."""
    return Rules.of(6, scale=[unit * s for s in (1.0, 0.5, 2.0, 1.0, 1.0, 0.3)], down=[True] * 5 + [False])


MASK = torch.tensor([True, True, False, True, True, False])
OWN = {
    "features": lambda unit: Features(0.2, rules(unit)),
    "scales": lambda unit: Features(0.2 / unit, rules(unit * unit)),
    "masked": lambda unit: Masked(MASK, Linf(0.2 * unit)),
    "patch": lambda unit: Patch(MASK, 0.3),
    "pixels": lambda unit: Pixels(2),
    "loudness": lambda unit: Loudness(0.2),
}
"""Sets with numbers of their own, for inputs `unit` times as large."""


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize(
    "made", [PGD(steps=5), APGD(steps=8), SPSA(steps=6, pairs=6)], ids=lambda made: type(made).__name__
)
def test_sets_with_numbers_of_their_own_change_no_bit(own, made) -> None:
    model, unit = relu_net((6,)), 2.0**9
    x = torch.rand(12, 6, generator=generator(3))
    one = found_in(made, model, x, UNIT, OWN[own](1.0), 1.0)
    other = found_in(made, model, x, UNIT, OWN[own](unit), unit)
    assert one.broken.any()
    assert torch.equal(one.broken, other.broken)
    assert torch.equal(one.x, other.x / unit)
    assert torch.equal(one.queries, other.queries)


def test_what_an_attack_holds_in_the_users_units_stays_in_them() -> None:
    """A model of the adversary's own, a perturbation, and the length of a step."""
    model, unit = relu_net((6,)), 2.0**9
    x = torch.rand(12, 6, generator=generator(3))

    def made(unit: float) -> list[Attack]:
        source = in_units(relu_net((6,), seed=1), UNIT, unit)
        way = 0.1 * unit * torch.randn(6, generator=generator(5)).sign()
        return [Transfer(source, FGSM()), Universal(way), PGD(steps=5, step=0.03 * unit)]

    for one, other in zip(made(1.0), made(unit), strict=True):
        ours = found_in(one, model, x, UNIT, Linf(0.1), 1.0)
        assert ours.broken.any()
        assert_same(ours, found_in(other, model, x, UNIT, Linf(0.1 * unit), unit), unit, unit)


def test_a_box_or_data_about_one_wide_is_left_as_it_is() -> None:
    x = torch.rand(50, 6, generator=generator(3))
    for box in (UNIT, REALS, Box(0.0, 1.3)):
        assert Linf(0.1).within(box).unit(x) == 1.0


def test_a_set_in_other_units_leaves_no_answer_to_the_ordinary_one():
    """A method with a default, left out of the wrapper, would answer for a box and forget the inner set's rules."""
    answers = {name for name, value in vars(PerturbationSet).items() if callable(value) and not name.startswith("_")}
    assert answers <= set(vars(Rescaled))

"""A positive factor on all scores changes no robustness: every attack does the same."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from brinell.evasion import Found, attack
from brinell.threat import Threat
from evasion.cases import CASES
from evasion.test_units import each_attack, each_attack_on_each_set, first_ball, p_value
from models import Of, generator, relu_net, target

POWERS = [2.0**14, 2.0**-12]
FACTORS = [1e4, 1e-3]


def times(factor: float) -> nn.Module:
    """A network with its scores multiplied."""
    return Of(lambda scores: factor * scores, relu_net((6,)))


def examples(n: int) -> Tensor:
    return torch.rand(n, 6, generator=generator(3))


def found(name: str, ball, factor: float, n: int, seed: int = 0) -> Found:
    x = examples(n)
    return attack(CASES[name], target(times(factor)), x, target(times(1.0)).labels(x), Threat(ball), seed)


@pytest.mark.sweep(8)
@each_attack_on_each_set
def test_powers_of_two_change_no_bit(name, ball) -> None:
    one = found(name, ball, 1.0, 10)
    for factor in POWERS:
        other = found(name, ball, factor, 10)
        for field in fields(Found):
            assert torch.equal(getattr(one, field.name), getattr(other, field.name)), (field.name, factor)


@pytest.mark.slow
@each_attack
def test_other_factors_break_as_many(name) -> None:
    """McNemar's exact test over 2 seeds of the same 40 examples does not tell the two apart, at 1 in 1,000."""
    for factor in FACTORS:
        one = torch.cat([found(name, first_ball(name), 1.0, 40, seed).broken for seed in range(2)])
        other = torch.cat([found(name, first_ball(name), factor, 40, seed).broken for seed in range(2)])
        assert p_value(one, other) >= 0.001, factor

"""An adversary between the world and an agent."""

import math

import pytest
import torch
from torch import nn

import brinell
from brinell.errors import UsageError
from brinell.evasion import FGSM, PGD, Noise
from brinell.evasion.policy import Adversary, Always, Environment, Played, Strategic, play
from brinell.threat import Linf, Threat


class Walk:
    """A point on a line drifts; action 1 pushes it right, 0 left. One point of reward for each step within [-1, 1]."""

    def reset(self, *, seed=None):
        self.at = float(torch.rand(1, generator=torch.Generator().manual_seed(seed))) - 0.5
        self.steps = 0
        return [self.at], {}

    def step(self, action):
        self.at += 0.2 if action else -0.2
        self.steps += 1
        return [self.at], 1.0, abs(self.at) > 1, self.steps == 100, {}


def agent(offset=0.0, sharpness=4.0):
    """Pushes toward `offset`."""
    net = nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[sharpness], [-sharpness]]))
        net.bias.copy_(torch.tensor([-sharpness * offset, sharpness * offset]))
    return brinell.target(net, box=(-10.0, 10.0))


def test_without_an_adversary_the_agent_keeps_its_place():
    assert isinstance(Walk(), Environment)
    played = play(agent(), Walk, 10)
    assert played.returns.eq(100).all()
    assert played.steps.eq(100).all()
    assert played.changed.eq(0).all()


def test_an_adversary_who_reaches_across_the_boundary_drives_it_out():
    """At radius 2 every observation can be shown on the other side, so each step goes outward: 5 steps at most."""
    played = play(agent(), Walk, 10, Adversary(FGSM(), Threat(Linf(2.0))))
    assert (played.returns <= 6).all()
    assert torch.equal(played.turned, played.steps)
    assert torch.equal(played.changed, played.steps)


def test_one_who_does_not_reach_changes_nothing():
    played = play(agent(), Walk, 10, Adversary(PGD(steps=5), Threat(Linf(0.0))))
    assert played.returns.eq(100).all()
    assert played.changed.eq(0).all()


def test_noise_turns_fewer_actions_than_gradients():
    gradient, noise = (play(agent(), Walk, 20, Adversary(a, Threat(Linf(0.15)))) for a in (FGSM(), Noise(draws=1)))
    assert noise.turned.sum() / noise.steps.sum() < gradient.turned.sum() / gradient.steps.sum()


def test_what_fools_another_policy_is_shown_to_the_agent():
    other = agent(sharpness=0.5)
    transferred = play(agent(), Walk, 10, Adversary(FGSM(), Threat(Linf(2.0)), model=other))
    assert (transferred.returns <= 6).all()
    opposite = agent(offset=5.0)
    assert play(agent(), Walk, 10, Adversary(FGSM(), Threat(Linf(2.0)), model=opposite)).changed.eq(0).all()


def test_strategic_timing_waits_until_the_agent_is_sure():
    scores = torch.tensor([[0.0, 0.1], [0.0, 9.0]])
    assert Strategic(0.5)(scores).tolist() == [False, True]
    assert Strategic(0.5, temperature=100.0)(scores).tolist() == [False, False]
    assert Always()(scores).all()
    assert Strategic(1 - 1e-9)(torch.tensor([[3.0, 3.0, 3.0]])).tolist() == [False]
    always, timed = (
        play(agent(sharpness=2.0), Walk, 10, Adversary(FGSM(), Threat(Linf(0.3)), when))
        for when in (Always(), Strategic(0.4))
    )
    assert 0 < timed.changed.sum() / timed.steps.sum() < always.changed.sum() / always.steps.sum()


@pytest.mark.slow
def test_the_seed_decides_the_worlds():
    one, two, three = (play(agent(), Walk, 5, Adversary(Noise(draws=2), Threat(Linf(0.3))), seed=s) for s in (0, 0, 1))
    assert torch.equal(one.returns, two.returns)
    assert torch.equal(one.changed, two.changed)
    assert not torch.equal(one.changed, three.changed)


def test_the_interval_is_students():
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    nothing = torch.zeros(4, dtype=torch.int64)
    low, high = Played(returns, nothing, nothing, nothing).interval()
    assert (low + high) / 2 == pytest.approx(2.5)
    assert (high - low) / 2 == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-5)
    assert Played(returns[:1], nothing[:1], nothing[:1], nothing[:1]).interval() == (-math.inf, math.inf)


def test_what_cannot_be_played_is_refused():
    with pytest.raises(UsageError, match="episodes is 0"):
        play(agent(), Walk, 0)
    with pytest.raises(UsageError, match="threshold is 2"):
        Strategic(2.0)


def test_a_gymnasium_environment_is_played_as_it_is():
    gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install 'brinell[rl]'")
    net = nn.Linear(4, 2)
    with torch.no_grad():  # leans against the pole: enough to balance it
        net.weight.copy_(torch.tensor([[-0.1, -0.3, -1.0, -1.0], [0.1, 0.3, 1.0, 1.0]]))
        net.bias.zero_()
    policy = brinell.target(net, box=(-math.inf, math.inf))
    clean = play(policy, lambda: gymnasium.make("CartPole-v1"), 5)
    attacked = play(policy, lambda: gymnasium.make("CartPole-v1"), 5, Adversary(FGSM(), Threat(Linf(0.5))))
    assert clean.mean > 300
    assert attacked.mean < clean.mean / 3

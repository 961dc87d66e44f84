"""Policies: an adversary between the world and an agent, who changes what the agent sees.

Sources: Huang et al. 2017 (arXiv:1702.02284, section 3): an observation is perturbed so that the policy takes another
action, white-box or by way of another policy; Lin et al. 2017 (arXiv:1703.06748, section 3.1): only when it matters.
A policy is a target whose classes are actions, and any attack works. Whether it hurts is for the environment to say.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.stats import t as student
from torch import Tensor

from brinell.arguments import Checked, Positive, Probability
from brinell.errors import UsageError
from brinell.evasion.attack import Attack, attack
from brinell.targets import Target
from brinell.threat import Threat
from brinell.types import Inputs, Logits, Mask


@runtime_checkable
class Environment(Protocol):
    """What is asked of a world: two methods of a Gymnasium environment with actions 0 to n - 1."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """(the first observation, what else there is to know)."""
        ...

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """(observation, reward, whether it ended, whether it was cut short, what else there is to know)."""
        ...


class Timing(Checked, ABC):
    """When the adversary acts."""

    @abstractmethod
    def __call__(self, scores: Logits) -> Mask:
        """Whether to act, given the policy's scores of what it would see."""


@final
@dataclass(frozen=True)
class Always(Timing):
    """At every step."""

    def __call__(self, scores: Logits) -> Mask:
        return torch.ones(len(scores), dtype=torch.bool, device=scores.device)


@final
@dataclass(frozen=True)
class Strategic(Timing):
    """When the policy prefers one action to another by more than `threshold` (Lin et al. 2017, eq. 4).

    The preference is the largest probability of an action less the smallest, of the softmax of the scores.
    temperature: the scores are divided by it first; for values (Q) instead of logits the paper's softmax has one.
    """

    threshold: Probability
    temperature: Positive = 1.0

    def __call__(self, scores: Logits) -> Mask:
        low, high = (scores / self.temperature).softmax(1).aminmax(dim=1)
        return high - low > self.threshold


@final
@dataclass(frozen=True)
class Adversary:
    """Who changes observations: by which attack, under which threat, when.

    model: the policy that the attack works on, another than the agent's where it is to be transferred; None for the
    agent's own. The observation is left alone where the attack on it fails.
    """

    attack: Attack
    threat: Threat
    when: Timing = Always()
    model: Target | None = None


@final
@dataclass(frozen=True)
class Played:
    """What came of some episodes. returns: the sum of rewards of each; steps: its length; changed: the steps at which
    the agent saw something else than there was; turned: those at which it therefore took another action."""

    returns: Float[Tensor, " episodes"]
    steps: Int64[Tensor, " episodes"]
    changed: Int64[Tensor, " episodes"]
    turned: Int64[Tensor, " episodes"]

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Student's interval for the mean return; it assumes that the mean of so many is about normal."""
        n = len(self.returns)
        if n < 2:
            return -float("inf"), float("inf")
        spread = float(self.returns.std()) / n**0.5 * float(student.ppf((1 + confidence) / 2, n - 1))
        return self.mean - spread, self.mean + spread


def play(
    policy: Target,
    make: Callable[[], Environment],
    episodes: int = 20,
    adversary: Adversary | None = None,
    *,
    steps: int = 10_000,
    seed: int = 0,
) -> Played:
    """Let a policy play, all episodes side by side, with an adversary who changes what it sees or without.

    make: a new environment; those of different episodes must not be one. The first of them starts from `seed`, the next
    from seed + 1, so that agents with and without an adversary meet the same worlds. steps: the longest an episode may
    take. The agent takes the action that scores highest.
    """
    if episodes < 1 or steps < 1:
        raise UsageError(f"episodes is {episodes} and steps {steps}; both must be at least 1")
    worlds = [make() for _ in range(episodes)]
    seen = [world.reset(seed=seed + number)[0] for number, world in enumerate(worlds)]
    returns = torch.zeros(episodes, dtype=torch.float64)
    lengths, changed, turned = (torch.zeros(episodes, dtype=torch.int64) for _ in range(3))
    going = list(range(episodes))

    for step in range(steps):
        x = torch.from_numpy(np.stack([np.asarray(seen[number], np.float32) for number in going]))
        own = policy.labels(x)
        shown = x if adversary is None else _shown(adversary, policy, x, seed + episodes + step)
        actions = own if shown is x else policy.labels(shown)
        lengths[going] += 1
        changed[going] += (shown != x).flatten(1).any(1).long()
        turned[going] += (actions != own).long()
        for number, action in zip(list(going), actions.tolist(), strict=True):
            seen[number], reward, ended, cut, _ = worlds[number].step(action)
            returns[number] += float(reward)
            if ended or cut:
                going.remove(number)
        if not going:
            break

    return Played(returns, lengths, changed, turned)


def _shown(adversary: Adversary, policy: Target, x: Inputs, seed: int) -> Inputs:
    """What the adversary makes of the observations."""
    model = policy if adversary.model is None else adversary.model
    act = adversary.when(model.scores(x))
    shown = x.clone()
    if act.any():
        found = attack(adversary.attack, model, x[act], model.labels(x[act]), adversary.threat, seed)
        shown[act] = found.x
    return shown

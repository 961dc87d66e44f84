"""What attacks maximise: one number an example, larger for the adversary, whether it leaves the label or has an aim."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Protocol, final, runtime_checkable

import torch
from torch.nn import functional

from brinell.arguments import Checked
from brinell.types import Labels, Logits, Scores

SURE = -30.0
"""The lead of all rivals over the label, in nats, below which cross-entropy is continued linearly."""


@runtime_checkable
class Objective(Protocol):
    """What an attack maximises: one number an example, from its scores, its label, and the class aimed at (or None).

    Larger is better for the adversary, with or without an aim, so no caller ever turns a sign.
    """

    def __call__(self, scores: Logits, y: Labels, aim: Labels | None) -> Scores: ...


class Relative(ABC):
    """An objective that compares the scores with those of the clean input."""

    @abstractmethod
    def to(self, clean: Logits) -> Objective:
        """The objective, for the examples whose clean scores these are."""


class Absolute(Checked, ABC):
    """An objective that holds a number in the user's own units of the scores, such as a confidence."""

    @abstractmethod
    def within(self, unit: Scores) -> Objective:
        """The objective, for examples whose scores have been divided by these."""


AnyObjective = Objective | Relative | Absolute


def of_rows(
    objective: AnyObjective,
    y: Labels,
    aim: Labels | None,
    clean: Logits | None = None,
    unit: Scores | None = None,
) -> Callable[[Logits, slice], Scores]:
    """The objective as `Target.gradient` asks for it: of the scores of a chunk, and the rows they belong to.

    clean: the clean scores, for an objective that is relative to them. unit: what the scores have been divided by, for
    one that holds a number in the user's units.
    """

    def value(scores: Logits, rows: slice) -> Scores:
        chosen = objective
        if isinstance(chosen, Relative):
            assert clean is not None  # scores are seen, and so were those of the clean input
            chosen = chosen.to(clean[rows])
        elif isinstance(chosen, Absolute):
            assert unit is not None
            chosen = chosen.within(unit[rows])
        return chosen(scores, y[rows], None if aim is None else aim[rows])

    return value


def cross_entropy(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """Cross-entropy away from the label, or toward the aim, in nats. Scores are taken as logits.

    Written as log(1 + sum of exp(rival - label)): where the model is confident, 1 less a probability rounds to zero,
    and the usual form would lose the value and half of the gradient. Below e^-30, where even the exponential comes to
    be lost, it goes on as its tangent: a slope is there however sure the model is.
    """
    return _surprise(scores, y) if aim is None else -_surprise(scores, aim)


def margin(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """The best rival's lead over the label, or the aim's lead over its best rival.

    It is >= 0 exactly where the goal is met (Carlini and Wagner 2017, arXiv:1608.04644, f_6, with its sign turned and
    without its floor).
    """
    if aim is None:
        return _best_but(scores, y) - _of(scores, y)
    return _of(scores, aim) - _best_but(scores, aim)


def dlr(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
    """Difference of logits ratio: the margin, free of shift and scale (Croce and Hein 2020, arXiv:2003.01690).

    Without an aim, eq. 6: divided by the 1st less the 3rd score. With one, eq. 7: divided by the 1st less the mean of
    the 3rd and 4th. Eq. 7 measures the aim against the label; the margin measures it against the class on top, which
    is the label until an untargeted goal is met, and under a targeted one is the class in the way. With fewer classes
    than the ratio names it can be constant, with no gradient, so the margin itself is returned.
    """
    if scores.shape[1] < (3 if aim is None else 4):
        return margin(scores, y, aim)
    ordered = scores.topk(3 if aim is None else 4, dim=1).values
    far = ordered[:, 2] if aim is None else (ordered[:, 2] + ordered[:, 3]) / 2
    return margin(scores, y, aim) / (ordered[:, 0] - far).clamp(min=1e-12)


@final
@dataclass(frozen=True)
class Divergence(Relative):
    """How far the probabilities have come from those of the clean input: KL(clean || now), in nats.

    It is the inner maximisation of TRADES (Zhang et al. 2019, arXiv:1901.08573, eq. 5). Its gradient is zero at the
    clean input, so a search has to start elsewhere. With an aim it is the cross-entropy toward it: the divergence from
    certainty of that class, lowered.
    """

    def to(self, clean: Logits) -> Objective:
        expected = clean.log_softmax(1)

        def divergence(scores: Logits, y: Labels, aim: Labels | None) -> Scores:
            if aim is not None:
                return cross_entropy(scores, y, aim)
            return (expected.exp() * (expected - scores.log_softmax(1))).sum(1)

        return divergence


def _surprise(scores: Logits, classes: Labels) -> Scores:
    rivals = scores.scatter(1, classes.unsqueeze(1), -torch.inf).logsumexp(1)
    lead = rivals - _of(scores, classes)
    tangent = exp(SURE) * (1 + lead - SURE)
    return torch.where(lead > SURE, functional.softplus(lead, threshold=40), tangent)


def _of(scores: Logits, classes: Labels) -> Scores:
    return scores.gather(1, classes.unsqueeze(1)).squeeze(1)


def _best_but(scores: Logits, y: Labels) -> Scores:
    return scores.scatter(1, y.unsqueeze(1), -torch.inf).amax(1)

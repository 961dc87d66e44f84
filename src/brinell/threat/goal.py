"""What the adversary wants of the decision: that it leaves the label, or that it reaches a class.

The one place that knows what success is, and so the one place that decides what a tie means: a class that scores no
less than every other counts as chosen, so a tie with the label is a success of the adversary.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.types import Labels, Logits, Mask


class Goal(Checked, ABC):
    """Sets each example's aim: the class to be reached, or None where any but the label will do."""

    instead: ClassVar[str] = "give a goal, such as brinell.Targeted(3) or brinell.LEAST_LIKELY"

    @property
    @abstractmethod
    def label(self) -> str:
        """What tells it from other goals, in a few words."""

    @abstractmethod
    def aims(self, y: Labels, scores: Logits | None) -> Labels | None:
        """The class to be reached for each example, given the scores of the clean input where they can be seen."""

    def open(self, y: Labels) -> Mask:
        """The examples that it can be asked of: all but those that are where it would have them."""
        return torch.ones_like(y, dtype=torch.bool)


@final
@dataclass(frozen=True)
class Untargeted(Goal):
    """Any decision but the label."""

    @property
    def label(self) -> str:
        return "untargeted"

    def aims(self, y: Labels, scores: Logits | None) -> Labels | None:
        return None


@final
@dataclass(frozen=True)
class Targeted(Goal):
    """One given class. Examples that carry it as their label cannot be asked and are refused."""

    target: int

    def __post_init__(self) -> None:
        if self.target < 0:
            raise UsageError(f"target class is {self.target}; classes count from 0")

    @property
    def label(self) -> str:
        return f"targeted at {self.target}"

    def aims(self, y: Labels, scores: Logits | None) -> Labels | None:
        if scores is not None and not 0 <= self.target < scores.shape[1]:
            raise UsageError(f"target class is {self.target}; the model has classes 0 to {scores.shape[1] - 1}")
        if (y == self.target).any():
            raise UsageError(
                f"{int((y == self.target).sum())} examples are labelled {self.target}, the class to be reached; "
                "leave them out"
            )
        return torch.full_like(y, self.target)

    def open(self, y: Labels) -> Mask:
        return y != self.target


@final
@dataclass(frozen=True)
class LeastLikely(Goal):
    """The class with the least score on the clean input (Kurakin et al. 2017, arXiv:1607.02533, section 2.3)."""

    @property
    def label(self) -> str:
        return "least likely class"

    def aims(self, y: Labels, scores: Logits | None) -> Labels | None:
        if scores is None:
            raise UsageError("the least likely class is not known: the target shows labels only")
        return scores.scatter(1, y.unsqueeze(1), torch.inf).argmin(1)


@final
@dataclass(frozen=True, eq=False)
class GivenAims(Goal):
    """Aims taken before: the class to be reached for each example that it will be asked of, or None."""

    given: Labels | None

    @property
    def label(self) -> str:
        return "given"

    def aims(self, y: Labels, scores: Logits | None) -> Labels | None:
        return self.given


UNTARGETED = Untargeted()
LEAST_LIKELY = LeastLikely()


def met(scores: Logits, y: Labels, aims: Labels | None, lead: float = 0.0) -> Mask:
    """Whether each row of scores is a success of the adversary. A tie is one; a row that is not finite is not.

    lead: by how much at least, in units of the scores.
    """
    wanted = y if aims is None else aims
    own = scores.gather(1, wanted.unsqueeze(1)).squeeze(1)
    rival = scores.scatter(1, wanted.unsqueeze(1), -torch.inf).amax(1)
    won = rival >= own + lead if aims is None else own >= rival + lead
    return won & scores.isfinite().all(1)


def met_by_label(labels: Labels, y: Labels, aims: Labels | None) -> Mask:
    """The same where only the decision is seen."""
    return labels != y if aims is None else labels == aims

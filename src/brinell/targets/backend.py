"""What one framework answers: the least a target needs of it."""

from abc import ABC, abstractmethod

import torch
from torch import nn

from brinell.errors import UsageError
from brinell.threat import Access
from brinell.types import Inputs, Labels, Logits


class Backend(ABC):
    """A model as its framework runs it: batches in, one row of scores (or one label) an example out.

    access: the most it can show. classes: the model's own names of its classes, in the order of its scores, or None.
    features: its own names of its inputs, in their order, or None.
    dtype: the precision that it computes in, or None where it takes inputs of any. Inputs arrive in that precision,
    normalised, and may be written into; no method counts, chunks, or looks at a perturbation.
    """

    access: Access
    classes: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    dtype: torch.dtype | None = None

    @abstractmethod
    def scores(self, x: Inputs) -> Logits:
        """One score a class; differentiable by x where the access is GRADIENTS or more."""

    def labels(self, x: Inputs) -> Labels:
        """The decisions: the class of the largest score, unless the framework decides otherwise."""
        return self.scores(x).argmax(1)

    @abstractmethod
    def digest(self) -> str:
        """A hash of all that its answers depend on."""

    @abstractmethod
    def describe(self) -> str:
        """A few words for a person: what it is and how large."""

    @abstractmethod
    def copy(self) -> "Backend":
        """One that a second thread can run beside this one."""

    def module(self) -> nn.Module:
        """The network itself, for verifiers."""
        raise UsageError(f"{self.describe()} shows no weights; a proof needs a torch module")


def as_logits(scores: object, rows: int) -> Logits:
    """Refuse an answer that is not one row of scores an example."""
    if not isinstance(scores, torch.Tensor):
        raise UsageError(f"the model returned {type(scores).__name__}; it must return one tensor of scores")
    if scores.dim() != 2 or len(scores) != rows or scores.shape[1] < 2:
        raise UsageError(
            f"the model returned shape {tuple(scores.shape)} for {rows} examples; "
            "it must be (examples, classes) with at least 2 classes"
        )
    return scores

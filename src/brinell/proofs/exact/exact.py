"""The interface of exact engines: the nearest adversarial input is a witness, and a certificate up to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, final

from jaxtyping import Float64, Int64
from torch import Tensor

from brinell.arguments import Checked
from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs.query.verifier import Checkpoint, nothing
from brinell.threat import PerturbationSet
from brinell.types import Inputs, Labels, Logits

Model = TypeVar("Model")


@final
@dataclass(frozen=True, eq=False)
class Nearest:
    """The result for each example, in float64.

    x: the nearest adversarial input found; x0 where there is none. distance: of x; inf where there is none. certified:
    no input within this radius is adversarial; -inf where x0 itself is not known to be correct. margin: a lower bound,
    within that radius, on the label's lead over every class, or on some class's lead over the aim. asked: queries of
    the target itself. soundness: the arithmetic in which each certificate holds.
    """

    x: Inputs
    distance: Float64[Tensor, " batch"]
    certified: Float64[Tensor, " batch"]
    margin: Float64[Tensor, " batch"]
    asked: Int64[Tensor, " batch"]
    soundness: tuple[Soundness, ...]


class Exact(Checked, ABC, Generic[Model]):
    """An exact search. reads: the type of model it reads. sets: the names of the perturbation sets it supports."""

    reads: ClassVar[type]
    sets: ClassVar[tuple[str, ...]]

    @abstractmethod
    def __call__(
        self,
        model: Model,
        x0: Inputs,
        y: Labels,
        perturbation: PerturbationSet,
        aims: Labels | None = None,
        ask: Callable[[Inputs], Logits] | None = None,
        checkpoint: Checkpoint = nothing,
    ) -> Nearest:
        """The nearest adversarial input of each example, within the radius of the perturbation set and its box.

        aims: the class to be reached, or None where any but the label y is adversarial. A tie is adversarial. ask: the
        target's own scores of a batch of one, which decide about candidates; None asks the model. Raises UsageError
        where the set is not among `sets`, or x0 does not fit the model.
        """

    def unfit(self, model: Model) -> str | None:
        """Why this engine does not support the model; None where it does."""
        return None

    def demanding(self, soundness: Soundness) -> "Exact[Model]":
        """The same engine for certificates of at least this soundness."""
        return self

    def check(self, perturbation: PerturbationSet) -> None:
        """Raise UsageError for a perturbation set that is not supported."""
        if perturbation.name not in self.sets:
            raise UsageError(
                f"{type(self).__name__} does not answer for the set {perturbation.name!r}; "
                f"it knows {', '.join(self.sets)}"
            )


def alternatives(classes: int, y: int, aim: int | None) -> list[list[tuple[int, int]]]:
    """What is adversarial, as alternatives: lists of (ahead, behind), all pairs of one of which must hold.

    Some rival leads the label, or the aim leads every other class.
    """
    if aim is None:
        return [[(rival, y)] for rival in range(classes) if rival != y]
    return [[(aim, other) for other in range(classes) if other != aim]]

"""Engines that find the nearest adversarial input there is: a witness, and a certificate up to it, at once."""

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
    """What was shown of each example, float64. x: the nearest input known to serve the adversary, x0 if there is none.

    distance: its distance; inf where there is none. certified: no input that is this near serves the adversary; -inf
    where that is not known of x0 itself. margin: a lower bound, there, on the lead of the label over every class, or
    of some class over the aim. asked: points that the target itself was asked about. soundness: what each certificate
    assumes of arithmetic.
    """

    x: Inputs
    distance: Float64[Tensor, " batch"]
    certified: Float64[Tensor, " batch"]
    margin: Float64[Tensor, " batch"]
    asked: Int64[Tensor, " batch"]
    soundness: tuple[Soundness, ...]


class Exact(Checked, ABC, Generic[Model]):
    """A search that settles both ways. reads: the type of what it reads of a target. sets: those it answers for."""

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
        """The nearest adversarial input of each example, within the radius of the set and its box.

        aims: the class to be reached, or None where any but the label y will do. A tie serves the adversary. ask: the
        target's own scores, of a batch of one, for those points alone that are to serve; None asks the model. Raises
        UsageError where the set is not among `sets`, or x0 does not fit the model.
        """

    def unfit(self, model: Model) -> str | None:
        """Why it cannot answer for this model, if so."""
        return None

    def demanding(self, soundness: Soundness) -> "Exact[Model]":
        """The same, for a run whose certificates count from this level on."""
        return self

    def check(self, perturbation: PerturbationSet) -> None:
        """Refuse a set that it does not answer for."""
        if perturbation.name not in self.sets:
            raise UsageError(
                f"{type(self).__name__} does not answer for the set {perturbation.name!r}; "
                f"it knows {', '.join(self.sets)}"
            )


def alternatives(classes: int, y: int, aim: int | None) -> list[list[tuple[int, int]]]:
    """What serves the adversary: one of these lists of (ahead, behind), of which every pair of classes must hold.

    A rival leads the label, or the aim leads every other class.
    """
    if aim is None:
        return [[(rival, y)] for rival in range(classes) if rival != y]
    return [[(aim, other) for other in range(classes) if other != aim]]

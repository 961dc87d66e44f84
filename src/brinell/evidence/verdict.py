"""The state of one example under one threat, and the evidence that put it there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import final


class State(StrEnum):
    """Exactly three verdicts; `error` says that the target could not be asked."""

    BROKEN = "broken"
    CERTIFIED = "certified"
    OPEN = "open"
    ERROR = "error"


class Soundness(StrEnum):
    """What a certificate assumes about arithmetic. An estimate has no place here: it is not a certificate."""

    REAL = "real"
    """The bound was computed in float64 and holds for the network in exact arithmetic, up to float64 rounding."""

    FLOAT = "float"
    """It holds for the model as it is computed, and any input of the type of the examples: rounding is allowed for."""


@final
@dataclass(frozen=True)
class Witness:
    """A judged input that breaks an example, at every radius from its distance on.

    distance: float64, in the set's units. predicted, confidence: what the target says of it. row, artifact: where its
    values are stored.
    """

    item: int
    engine: str
    distance: float
    row: int = 0
    predicted: int | None = None
    confidence: float | None = None
    artifact: str | None = None


@final
@dataclass(frozen=True)
class Certificate:
    """A proof that no input within `radius` breaks an example; `bound` is its lower bound on the margin there."""

    item: int
    engine: str
    radius: float
    bound: float
    soundness: Soundness = Soundness.REAL


@final
@dataclass(frozen=True)
class Failure:
    """The target raised, or gave no finite scores, on the example itself."""

    item: int
    engine: str
    message: str


Evidence = Witness | Certificate | Failure


@final
@dataclass(frozen=True)
class Verdict:
    """One example at one radius, with the engine that settled it."""

    item: int
    radius: float
    state: State
    engine: str | None = None
    distance: float | None = None

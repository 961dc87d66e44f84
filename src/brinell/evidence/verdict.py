"""The state of one example under one threat, and the evidence that put it there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, final

from jaxtyping import Float
from torch import Tensor

from brinell.errors import UsageError


class State(StrEnum):
    """Exactly three verdicts; `error` says that the target could not be asked."""

    BROKEN = "broken"
    CERTIFIED = "certified"
    OPEN = "open"
    ERROR = "error"


class Soundness(StrEnum):
    """What a certificate assumes about arithmetic, the most first. An estimate has no place here: it is none.

    `real`, `float64` and `float32` name the levels too.
    """

    REAL = "real"
    """The bound was computed in float64 and holds for the network in exact arithmetic, up to float64 rounding."""

    FLOAT64 = "float64-any-order"
    """It holds for the model as float64 computes it, in whatever order it sums: all rounding is allowed for."""

    FLOAT32 = "float32-any-order"
    """It holds for the model as float32, or anything finer, computes it, in whatever order it sums."""

    @classmethod
    def _missing_(cls, value: object) -> "Soundness | None":
        return next((level for level in cls if level.name.lower() == value), None)

    @classmethod
    def of(cls, name: "str | Soundness") -> "Soundness":
        """The level of this name. Raises UsageError naming the levels."""
        try:
            return cls(name)
        except ValueError:
            raise UsageError(f"soundness is {str(name)!r}; it must be real, float64 or float32") from None

    def covers(self, other: "Soundness") -> bool:
        """Whether what holds at this level holds at the other."""
        return _STRENGTH[self] >= _STRENGTH[other]


_STRENGTH = {level: strength for strength, level in enumerate(Soundness)}


class Evidence(ABC):
    """One thing that was shown of one item, by one engine; a frozen dataclass that a ledger keeps as a row.

    kind: its name in the ledger. stored: whether it has tensors beside the row.
    """

    kind: ClassVar[str]
    stored: ClassVar[bool] = False
    item: int
    engine: str

    @abstractmethod
    def columns(self) -> tuple[float | None, dict[str, Any]]:
        """(the number that counts, all else as JSON knows it)."""

    @classmethod
    @abstractmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Evidence":
        """The same again, from a row."""


@final
@dataclass(frozen=True)
class Witness(Evidence):
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
    kind: ClassVar[str] = "witness"
    stored: ClassVar[bool] = True

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return self.distance, {"row": self.row, "predicted": self.predicted, "confidence": self.confidence}

    @classmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Witness":
        return cls(item, engine, value, detail["row"], detail["predicted"], detail["confidence"], artifact)


@final
@dataclass(frozen=True)
class Certificate(Evidence):
    """A proof that no input within `radius` breaks an example; `bound` is its lower bound on the margin there."""

    item: int
    engine: str
    radius: float
    bound: float
    soundness: Soundness = Soundness.REAL
    kind: ClassVar[str] = "certificate"

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return self.radius, {"bound": self.bound, "soundness": self.soundness}

    @classmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Certificate":
        return cls(item, engine, value, detail["bound"], Soundness(detail["soundness"]))


@final
@dataclass(frozen=True)
class ProbabilisticCertificate(Evidence):
    """A statement that no input within `radius` breaks an example, which the draws it rests on have made by a method
    that is wrong with probability at most `alpha`.

    It is about this example alone. Of n examples asked, all such statements are right at once with probability at least
    1 - n alpha, whether or not a statement was made of each.
    """

    item: int
    engine: str
    radius: float
    alpha: float
    draws: int
    kind: ClassVar[str] = "probabilistic"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha is {self.alpha}; a probabilistic certificate fails with a probability from 0 to 1")

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return self.radius, {"alpha": self.alpha, "draws": self.draws}

    @classmethod
    def read(
        cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]
    ) -> "ProbabilisticCertificate":
        return cls(item, engine, value, detail["alpha"], detail["draws"])


@final
@dataclass(frozen=True, eq=False)
class Estimate:
    """What bounds seem to be: no evidence. Nothing that takes certificates or bounds takes it.

    values: estimated lower bounds on margins, which may well lie above them. method: what they were estimated by.
    """

    values: Float[Tensor, "batch rows"]
    method: str


@final
@dataclass(frozen=True)
class Failure(Evidence):
    """The target raised, or gave no finite scores, on the example itself."""

    item: int
    engine: str
    message: str
    kind: ClassVar[str] = "failure"

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return None, {"message": self.message}

    @classmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Failure":
        return cls(item, engine, detail["message"])


@final
@dataclass(frozen=True)
class Look(Evidence):
    """What the target says of an example as it is. confidence: in the class it predicts, 0 to 1."""

    item: int
    engine: str
    predicted: int | None
    confidence: float | None
    kind: ClassVar[str] = "look"

    def columns(self) -> tuple[float | None, dict[str, Any]]:
        return self.confidence, {"predicted": self.predicted}

    @classmethod
    def read(cls, item: int, engine: str, value: float, artifact: str | None, detail: dict[str, Any]) -> "Look":
        return cls(item, engine, detail["predicted"], value)


def check_evidence(evidence: object) -> None:
    """Refuse what is no evidence, above all an estimate: where verdicts are made, types alone are not trusted."""
    if not isinstance(evidence, Evidence):
        what = f"an estimate ({evidence.method})" if isinstance(evidence, Estimate) else type(evidence).__name__
        raise UsageError(f"{what} is no evidence; a verdict rests on witnesses and certificates")


def check_bounds(bounds: object) -> None:
    """Refuse an estimate where bounds are asked for."""
    if isinstance(bounds, Estimate):
        raise UsageError(f"{bounds.method} is an estimate, and certifies nothing; give bounds of a verifier")


@final
@dataclass(frozen=True)
class Verdict:
    """One example at one radius, with the engine that settled it.

    distance: of a witness. alpha: of a probabilistic certificate, where it is all there is.
    """

    item: int
    radius: float
    state: State
    engine: str | None = None
    distance: float | None = None
    alpha: float | None = None

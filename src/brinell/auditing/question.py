"""What an audit can be asked: a question, put to a subject, answered from what the ledger holds.

A question is one package. It brings its kinds of evidence, its plans, the engines of its stages, a board that adds the
evidence up, and the summary, the table and the section of the page that show it. The driver, the ledger, gates and
comparisons know it through this page alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from brinell.auditing.clock import Clock
from brinell.auditing.finding import Finding, ordered
from brinell.auditing.ledger import Ledger, Work
from brinell.auditing.plan import Plan, load_plan
from brinell.auditing.subject import Subject
from brinell.auditing.work import Engine, Shard
from brinell.catalog import QUESTIONS, asked
from brinell.errors import UsageError
from brinell.evidence import Evidence, Figure

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import RenderableType

    from brinell.auditing.result import Result

Items = NDArray[np.int64]
"""Numbers of items: of examples, of training rows, of models."""


@final
@dataclass(frozen=True)
class Phase:
    """One stage under one condition: its shards do not depend on one another.

    stage: its number in the plan. key: the condition, such as a radius; empty where there is none.
    """

    stage: int
    key: str = ""


@final
@dataclass(frozen=True)
class LeftOut:
    """Why a stage has no engine here."""

    reason: str


class Board(Protocol):
    """What the evidence so far adds up to."""

    def add(self, evidence: Evidence) -> None:
        """Take one piece of evidence into account. Raises Contradiction where it speaks against another."""


@final
class Journal:
    """What a run has noted about one question: entries of the manifest that are the question's own."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self.ledger = ledger
        self.key = key
        self._entries = noted(ledger.manifest(_entry(key)), key)

    def get(self, name: str, default: Any = None) -> Any:
        """What was noted under a name."""
        return self._entries.get(name, default)

    def update(self, **entries: Any) -> None:
        """Note something, or replace what was noted."""
        self._entries |= entries
        self.ledger.describe(self._rows(entries))

    def note(self, text: str) -> None:
        """Tell the reader something, once."""
        notes = self.get("notes", [])
        if text not in notes:
            self.update(notes=[*notes, text])

    def leave_out(self, stage: str, reason: str) -> None:
        """Say that a stage of the plan has no engine here, once."""
        left_out = self.get("left_out", {})
        if stage not in left_out:
            self.update(left_out=left_out | {stage: reason})

    def add(
        self, shard: str, evidence: Sequence[Evidence], tensors: Mapping[str, Any], entries: Mapping[str, Any]
    ) -> None:
        """Evidence that no stage of the plan is charged for, and entries: all or nothing."""
        self._entries |= entries
        self.ledger.add(self.key, shard, evidence, tensors, self._rows(entries))

    def _rows(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        """Entries as the manifest has them: a row each, so that a note does not write all others again."""
        return {_entry(self.key, name): value for name, value in entries.items()}


def noted(manifest: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The entries of a question in a manifest."""
    prefix = _entry(key)
    return {name.removeprefix(prefix): value for name, value in manifest.items() if name.startswith(prefix)}


def _entry(key: str, name: str = "") -> str:
    """What the manifest calls an entry of a question; without a name, how all of them begin."""
    return f"question {key}: {name}"


class Inquiry(ABC):
    """A question put to a subject: what the driver takes through a plan.

    key: the question's name in the ledger. kinds: of its evidence. plan: the stages that are meant for this subject.
    n: items it is about. board: what the evidence so far adds up to.
    """

    key: str
    kinds: Mapping[str, type[Evidence]]
    plan: Plan
    n: int
    board: Board

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What makes the question this question, as JSON: a run is taken up again only where all of it is the same."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What it is about, as JSON, for those who read the run later."""

    def preflight(self, clock: Clock, accepted: Collection[str], known: Mapping[str, Any] | None) -> list[Finding]:
        """What would make the figures worthless. known: entries of a run that is taken up again.

        Raises Inconclusive where a severe finding was not accepted, UsageError where the subject does not fit.
        """
        return []

    def diagnose(self, clock: Clock, accepted: Collection[str], journal: Journal) -> None:  # noqa: B027 - few need it
        """Put the engines to the test before the first stage, once a run; what comes of it goes into the journal."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The stages of the plan under each of their conditions, in order."""

    def due(self, phase: Phase, work: Sequence[Work]) -> bool:
        """Whether the turn of a phase has come, by what is on record."""
        return True

    @abstractmethod
    def chosen(self, phase: Phase) -> Items:
        """The items that a phase is about, ascending: what is still to be settled."""

    def size(self, phase: Phase) -> int:
        """Items a shard, at most."""
        return self.plan.size(self.plan.stages[phase.stage])

    @abstractmethod
    def shard(self, items: Items, seed: int) -> Shard:
        """These items as an engine takes them."""

    @abstractmethod
    def engine(self, phase: Phase) -> Engine | LeftOut:
        """What is asked about each shard of a phase."""

    @abstractmethod
    def settles(self, evidence: Evidence, phase: Phase) -> bool:
        """Whether this evidence settles its item under the condition of a phase."""

    def open(self, phase: Phase) -> int:
        """Items that are still open, for who watches."""
        return 0

    def told(self, phase: Phase) -> str:
        """The condition of a phase, as a reader knows it."""
        return phase.key

    def finish(self, journal: Journal, clock: Clock) -> None:  # noqa: B027 - few need it
        """Once a run, when all stages have ended. What it raises as Stopped leaves it to the next call."""


@final
@dataclass(frozen=True)
class Record:
    """What a run holds of one question, read from its ledger.

    path: the run's folder. entries: the question's own. accepted: codes of findings set aside. dropped: seconds of
    worker time by stage, on work that was cut short.
    """

    path: Path
    key: str
    identity: Mapping[str, Any]
    entries: Mapping[str, Any]
    work: Sequence[Work]
    status: str
    accepted: tuple[str, ...]
    evidence: Callable[[Mapping[str, type[Evidence]]], Iterator[Evidence]]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of the preflight."""
        return tuple(Finding.model_validate(finding) for finding in self.entries.get("findings", ()))

    @property
    def plan(self) -> Plan:
        """The plan that the question was asked by."""
        return Plan.model_validate(self.identity["plan"])


@final
@dataclass(frozen=True)
class Comparable:
    """A figure of which two runs can be compared item by item.

    at: the condition, as it is written. asked: whether an engine worked on it. larger: whether larger is better. gated:
    whether a run must not be worse than its baseline in it.
    """

    figure: str
    at: str | None = None
    asked: bool = True
    larger: bool = True
    gated: bool = True


class EngineResult(BaseModel):
    """What one stage did, over all its phases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    kind: str
    family: str
    paper: str
    atlas: tuple[str, ...]
    nist: tuple[str, ...]
    asked: int = Field(description="items it was asked about, summed over phases")
    settled: int = Field(description="items it settled, summed over phases")
    failed: int = Field(default=0, description="items near which the target raised, so that nothing was shown")
    forwards: int = Field(description="rows sent forward")
    gradients: int = Field(description="rows whose input gradient was taken")
    seconds: float = Field(description="of worker time, on work that is recorded")
    state: str = Field(default="complete", description="complete, unfinished or not begun")
    dropped: float = Field(default=0.0, description="of worker time, on work that was cut short and is not recorded")


class StageLeftOut(BaseModel):
    """A stage of the plan that this audit had no use for, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    reason: str


class Summary(BaseModel, ABC):
    """All figures of one question, computed once: its part of `result.json`. Each question adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(description="its name")
    key: str = Field(description="its name in the ledger")
    n: int = Field(description="items in the sample")
    plan: Plan
    engines: tuple[EngineResult, ...]
    findings: tuple[Finding, ...] = Field(description="of the preflight")
    accepted: tuple[str, ...] = Field(default=(), description="codes of what was to be set aside")
    left_out: tuple[StageLeftOut, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="what a reader has to know besides")

    @property
    def found(self) -> tuple[Finding, ...]:
        """All that was seen, each once, severe ones first."""
        return tuple(ordered({finding.code: finding for finding in self.findings}.values()))

    @abstractmethod
    def figure(self, name: str, at: str | None = None) -> Figure | None:
        """A figure by its name, and the condition it is asked for under; None where this run has none such.

        Raises UsageError for a condition that is not understood.
        """

    @property
    def names(self) -> Mapping[str, str | None]:
        """Every figure it has, and what its condition is called; None for a figure without one."""
        return question_of(self.question).figures

    def comparable(self) -> Sequence[Comparable]:
        """The figures of which two runs can be compared."""
        return ()


class Answer(ABC):
    """What a run has come to about one question."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the preflight and the diagnosis saw, severe ones first; those that were accepted are marked."""
        return self.summary.found

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know besides."""
        return self.summary.notes

    def figure(self, name: str, at: str | float | None = None) -> Figure:
        """A figure with its 95 % interval, such as `figure("unbroken", at="8/255")` or `figure("ece")`.

        Raises UsageError for a figure that the question does not have, or that this run did not ask for.
        """
        known = self.summary.figure(name, None if at is None else str(at))
        if known is None:
            has = ", ".join(figure if at is None else f"{figure}@{at}" for figure, at in self.summary.names.items())
            what = name if at is None else f"{name}@{at}"
            raise UsageError(f"{self.summary.question} has no figure {what!r} in this run; it has {has}")
        return known

    def paired(self, figure: str, at: str | None) -> Mapping[str, float]:
        """A figure's value for each item that could be asked, by the item's own name."""
        return {}

    def condition(self, at: str | None) -> object:
        """A condition as it is compared: two that are written in different ways may be the same."""
        return at

    def check_comparable(self, other: "Answer") -> None:  # noqa: B027 - few need it
        """Raises CannotRun where two answers are to different questions."""

    @abstractmethod
    def table(self) -> "RenderableType":
        """The figures for a terminal."""

    @abstractmethod
    def cells(self) -> tuple[str, Sequence[str], Sequence[Sequence[object]]]:
        """The figures as a plain table: its caption, its heads, its rows."""

    @abstractmethod
    def lines(self) -> list[str]:
        """The figures in a few lines of text."""

    @abstractmethod
    def lead(self, result: "Result") -> "Markup":
        """What stands in front of all else on the page: the answer in one sentence, and what speaks against it."""

    @abstractmethod
    def section(self, result: "Result") -> "Markup":
        """The question's part of the page. result: of the whole run."""

    def details(self) -> list[tuple[str, str]]:
        """What the page's provenance says of the question: names and texts."""
        return []


class Question(ABC):
    """What is asked of a subject: a frozen dataclass of settings.

    name: in gates, on the command line, in `result.json`. kinds: its evidence, by kind. summary: of its figures.
    figures: each by its name, with what its condition is called; None without one. plans: its presets, by name,
    `standard` among them.
    """

    name: ClassVar[str]
    kinds: ClassVar[Mapping[str, type[Evidence]]]
    summary: ClassVar[type[Summary]]
    figures: ClassVar[Mapping[str, str | None]]
    plans: ClassVar[Mapping[str, Plan]]

    @property
    def key(self) -> str:
        """Its name in the ledger: two questions of one run have two."""
        return self.name

    def lacks(self, subject: Subject) -> str | None:
        """What the subject would need to have besides, and how to give it; None where it has all."""
        return None

    def planned(self, plan: str | Path | Plan) -> Plan:
        """Its part of a plan: the preset of this name, or the stages that are its own; else its own `standard`."""
        standard = self.plans["standard"]
        if isinstance(plan, str) and plan not in self.plans and any(plan in row.plans for row in QUESTIONS):
            return standard
        loaded = load_plan(plan, self.plans)
        own = tuple(stage for stage in loaded.stages if stage.row.question == self.name)
        return loaded.model_copy(update={"stages": own}) if own else standard

    @classmethod
    def problem(cls, figure: str, at: str | None, value: float) -> str | None:
        """Why no run could meet a requirement on this figure, under this condition; None where one could."""
        if figure not in cls.figures:
            return f"{figure!r} is no figure of {cls.name}; there are {', '.join(cls.figures)}"
        named = cls.figures[figure]
        if (at is None) != (named is None):
            return f"{figure} takes no condition" if named is None else f"{figure} takes a {named}: {figure}@..."
        return None

    @abstractmethod
    def inquiry(self, subject: Subject, plan: Plan, seed: int) -> Inquiry:
        """The question put to a subject. Raises UsageError where the two do not fit."""

    @classmethod
    @abstractmethod
    def answer(cls, record: Record) -> Answer:
        """What a run has come to."""


def question_of(name: str) -> type[Question]:
    """The question of this name. Raises UsageError naming those there are."""
    found: type[Question] = asked(name, QUESTIONS).resolve()
    return found

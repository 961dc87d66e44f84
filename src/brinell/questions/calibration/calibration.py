"""Calibration: is the model right as often as it is sure? One forward pass over the held-out examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from brinell.access import Access
from brinell.arguments import Checked
from brinell.auditing.build import build
from brinell.auditing.plan import Plan, Stage
from brinell.auditing.question import Answer, Inquiry, Items, LeftOut, Phase, Question, Record
from brinell.auditing.result import Result
from brinell.auditing.subject import Subject
from brinell.auditing.work import Engine, Shard, seed_of
from brinell.evidence import Evidence, Failure
from brinell.questions.calibration.measure import Scored
from brinell.questions.calibration.summary import FIGURES, CalibrationSummary, summarise

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import RenderableType


@final
@dataclass(frozen=True)
class Calibration(Checked, Question):
    """Is the model right as often as it is sure: is it right in 80 % of the cases of which it is 80 % sure?

    Any audit of a target that shows scores asks it. Figures: ece (expected calibration error, 15 bins), ece_null (the
    same of a perfectly calibrated model, by chance), p_value, mce, brier, nll, accuracy, confidence.

        brinell.audit(brinell.Subject(target, (x, y)), [brinell.Calibration()]).answers["calibration"].figure("ece")
    """

    name: ClassVar[str] = "calibration"
    summary: ClassVar[type[CalibrationSummary]] = CalibrationSummary
    figures: ClassVar[Mapping[str, str | None]] = FIGURES
    kinds: ClassVar[Mapping[str, type[Evidence]]] = MappingProxyType({one.kind: one for one in (Scored, Failure)})
    plans: ClassVar[Mapping[str, Plan]] = MappingProxyType(
        {"standard": Plan(name="standard", stages=(Stage(engine="Probabilities"),))}
    )

    def lacks(self, subject: Subject) -> str | None:
        if subject.target.access >= Access.SCORES:
            return None
        return "the target shows labels alone; give one that shows scores or probabilities"

    def inquiry(self, subject: Subject, plan: Plan, seed: int) -> "CalibrationInquiry":
        return CalibrationInquiry(self, subject, plan, seed)

    @classmethod
    def answer(cls, record: Record) -> "CalibrationAnswer":
        board = CalibrationBoard()
        for evidence in record.evidence(cls.kinds):
            board.add(evidence)
        return CalibrationAnswer(record, board)


@final
@dataclass
class CalibrationBoard:
    """What was read of each example, and which could not be asked."""

    scored: dict[int, Scored] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)

    def add(self, evidence: Evidence) -> None:
        """Take one piece of evidence into account."""
        if isinstance(evidence, Scored):
            self.scored[evidence.item] = evidence
        else:
            self.failed.add(evidence.item)


@final
class CalibrationInquiry(Inquiry):
    """Calibration asked of one target, on all held-out examples."""

    board: CalibrationBoard

    def __init__(self, question: Calibration, subject: Subject, plan: Plan, seed: int) -> None:
        self.key = question.key
        self.kinds = question.kinds
        self.plan = plan
        self.data = subject.examples
        self.n = len(self.data)
        self.board = CalibrationBoard()
        self.seed = seed

    def identity(self) -> dict[str, Any]:
        return {"plan": self.plan.model_dump(mode="json")}

    def about(self) -> dict[str, Any]:
        return {"n": self.n, "examples": self.data.names, "seed": seed_of(self.seed, self.key)}

    def phases(self) -> list[Phase]:
        return [Phase(stage) for stage in range(len(self.plan.stages))]

    def chosen(self, phase: Phase) -> Items:
        return np.array(sorted(set(range(self.n)) - self.board.scored.keys() - self.board.failed), dtype=np.int64)

    def shard(self, items: Items, seed: int) -> Shard:
        return Shard(items.tolist(), self.data.x[items], self.data.y[items], seed)

    def engine(self, phase: Phase) -> Engine | LeftOut:
        engine: Engine = build(self.plan.stages[phase.stage])
        return engine

    def settles(self, evidence: Evidence, phase: Phase) -> bool:
        return isinstance(evidence, Scored)


@final
class CalibrationAnswer(Answer):
    """What was measured."""

    summary: CalibrationSummary

    def __init__(self, record: Record, board: CalibrationBoard) -> None:
        super().__init__(summarise(record, board.scored, len(board.failed)))
        self.board = board
        self._names: Sequence[str] = record.entries["examples"]

    def paired(self, figure: str, at: str | None) -> Mapping[str, float]:
        return {self._names[item]: getattr(scored, figure) for item, scored in self.board.scored.items()}

    def cells(self) -> tuple[str, Sequence[str], Sequence[Sequence[object]]]:
        rows = [(name, f"{f.value:.4f}", f"{f.low:.4f} to {f.high:.4f}") for name, f in self.summary.figures.items()]
        return f"calibration of {self.summary.n} examples", ("figure", "value", "95 % interval"), rows

    def lines(self) -> list[str]:
        return [f"{self.summary.n} examples: {self.summary.reading}"]

    def table(self) -> "RenderableType":
        from rich.text import Text

        return Text(f"calibration: {self.summary.reading}")

    def lead(self, result: Result) -> "Markup":
        from brinell.questions.calibration.section import lead

        return lead(self.summary)

    def section(self, result: Result) -> "Markup":
        from brinell.questions.calibration.section import section

        return section(self.summary)

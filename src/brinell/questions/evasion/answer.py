"""The answer of evasion: the bracket at any radius, verdicts and witnesses, read off the board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from brinell.auditing.question import Answer, Record
from brinell.auditing.result import Result
from brinell.errors import CannotRun
from brinell.evidence import Bracket, Evidence, State, Verdict, Witness
from brinell.questions.evasion.board import EvasionBoard
from brinell.questions.evasion.summary import EvasionSummary, summarise
from brinell.threat.radius import parse_radius

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import RenderableType

NOT_ASKED = "not asked"
"""What stands in place of an edge that no engine worked on."""


@final
@dataclass(frozen=True)
class Reach:
    """One example: the largest radius certified by a proof, the distance of the nearest witness; None for neither."""

    label: int | None
    certified: float | None
    broken: float | None


@final
class EvasionAnswer(Answer):
    """What was shown of every example.

    summary: every figure, as in `result.json`. ids: the examples' row numbers in their source. examples: each example's
    own name, made of its row number, label and values.
    """

    summary: EvasionSummary

    def __init__(self, record: Record, board: EvasionBoard) -> None:
        super().__init__(summarise(record, board))
        self.record = record
        self.board = board
        self.ids: tuple[int, ...] = tuple(record.entries["ids"])
        self.examples: tuple[str, ...] = tuple(record.entries["examples"])

    @classmethod
    def of(cls, record: Record, kinds: Mapping[str, type[Evidence]]) -> "EvasionAnswer":
        """By the evidence on record."""
        return cls(record, EvasionBoard.of(record.entries["n"], record.plan.soundness, record.evidence(kinds)))

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii asked about, ascending."""
        return tuple(r.radius for r in self.summary.radii)

    @property
    def bracket(self) -> Bracket:
        """The bracket at the largest radius asked about."""
        return self.at(self.radii[-1])

    @property
    def verdicts(self) -> list[Verdict]:
        """One verdict an example, at the largest radius asked about."""
        return self.board.verdicts(self.radii[-1])

    @property
    def witnesses(self) -> list[Witness]:
        """The nearest witness of each broken example."""
        return list(self.board.witnesses.values())

    @property
    def reaches(self) -> list[Reach]:
        """What was shown of each example at any radius: up to where it is certified, and from where it is broken."""
        asked = set(self.board.asked)
        labels = [y if item in asked else None for item, y in enumerate(self.record.entries["y"])]
        return [
            Reach(label, None if certified < 0 else float(certified), None if np.isinf(broken) else float(broken))
            for label, certified, broken in zip(labels, self.board.certified, self.board.distance, strict=True)
        ]

    def at(self, radius: float) -> Bracket:
        """The bracket at any radius: what was shown at others is carried over."""
        return self.board.bracket(radius)

    def verdicts_at(self, radius: float) -> list[Verdict]:
        """One verdict an example, at any radius."""
        return self.board.verdicts(radius)

    def paired(self, figure: str, at: str | None) -> Mapping[str, float]:
        """1 where an example is certified, or unbroken, else 0."""
        holds = _certified if figure == "certified" else _unbroken
        verdicts = self.verdicts_at(parse_radius(at or ""))
        return {
            name: float(holds(verdict.state))
            for name, verdict in zip(self.examples, verdicts, strict=True)
            if verdict.state is not State.ERROR
        }

    def condition(self, at: str | None) -> object:
        return parse_radius(at or "")

    def check_comparable(self, other: Answer) -> None:
        threats = [answer.summary.threat for answer in (other, self) if isinstance(answer, EvasionAnswer)]
        if len(set(threats)) != 1:
            raise CannotRun(f"the runs ask about different threats: {'; '.join(threats)}")

    def cells(self) -> tuple[str, Sequence[str], Sequence[Sequence[object]]]:
        rows = [
            (
                r.set,
                r.label,
                _percent(r.certified) if r.certified_asked else NOT_ASKED,
                _percent(r.unbroken) if r.unbroken_asked else NOT_ASKED,
                r.counts["open"],
                r.errors,
            )
            for r in self.summary.radii
        ]
        heads = ("set", "radius", "certified", "unbroken", "open", "errors")
        return f"{self.summary.n} examples, clean {_percent(self.summary.clean)}", heads, rows

    def lines(self) -> list[str]:
        summary = self.summary
        lines = [f"{summary.n} examples, clean {_percent(summary.clean)}"]
        for r in summary.radii:
            word = "certified" if r.probable else "proved"
            lower = f"{_percent(r.certified)} {word}" if r.certified_asked else f"{NOT_ASKED} ({word})"
            upper = f"{_percent(r.unbroken)} not yet broken" if r.unbroken_asked else f"{NOT_ASKED} (not yet broken)"
            votes = f", {r.probable} certified by vote" if r.probable else ""
            lines.append(f"  {r.set} {r.label}: [{lower} … {upper}]  {r.counts['open']} open{votes}")
        return lines if summary.reading is None else [*lines, f"  {summary.reading}"]

    def table(self) -> "RenderableType":
        from brinell.questions.evasion.page.terminal import table

        return table(self.summary)

    def lead(self, result: Result) -> "Markup":
        from brinell.questions.evasion.page.section import lead

        return lead(self, result)

    def section(self, result: Result) -> "Markup":
        from brinell.questions.evasion.page.section import section

        return section(self, result)

    def details(self) -> list[tuple[str, str]]:
        return [("Threat", self.summary.threat), ("Shard", f"{self.summary.plan.shard} examples")]


def _certified(state: State) -> bool:
    return state is State.CERTIFIED


def _unbroken(state: State) -> bool:
    return state is not State.BROKEN


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"

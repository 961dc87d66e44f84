"""Gates: whether a run is good enough to go on, decided on the bound of an interval and never on a point."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from brinell.auditing.compare import Difference, compare
from brinell.auditing.question import Answer, question_of
from brinell.auditing.run import Run
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Figure

_PATTERN = re.compile(
    r"\s*(?:(?P<question>[a-z_]+)\.)?(?P<figure>[a-z_]+)\s*(?:@\s*(?P<at>[^<>\s]+?))?\s*(?P<op>>=|<=)\s*"
    r"(?P<value>[0-9.eE+-]+)\s*"
)
_SIGNIFICANT = 0.05
_RUNS = ("in the baseline", "in this run")


class Outcome(StrEnum):
    """What a gate says. The exit codes of `brinell gate` follow the worst: 0, 4, 1."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"


@final
@dataclass(frozen=True)
class Ruling:
    """One requirement, what was seen, and what follows."""

    requirement: str
    outcome: Outcome
    seen: str


@final
@dataclass(frozen=True)
class Requirement:
    """`[question.]figure[@condition] >= value`, such as `certified@8/255>=0.4`, `calibration.ece<=0.05`.

    question: evasion where none is written. figure: one that the question has. at: the condition as it was written.
    """

    question: str
    figure: str
    at: str | None
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Raises UsageError that shows how a requirement is written."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise UsageError(
                f"requirement {text!r} is not understood; write e.g. 'certified@0.1>=0.4', 'clean>=0.9' or "
                "'calibration.ece<=0.05'"
            )
        try:
            value = float(match["value"])
        except ValueError:
            raise UsageError(f"requirement {text!r}: {match['value']!r} is not a number; write e.g. 0.4") from None
        requirement = cls(match["question"] or "evasion", match["figure"], match["at"], match["op"] == ">=", value)
        requirement._check(text)
        return requirement

    def _check(self, text: str) -> None:
        """Refuse what no run could answer: a question or a figure that there is not, a condition that is not one."""
        try:
            problem = question_of(self.question).problem(self.figure, self.at, self.value)
        except UsageError as error:
            raise UsageError(f"requirement {text!r}: {error}") from None
        if problem is not None:
            raise UsageError(f"requirement {text!r}: {problem}")

    def __str__(self) -> str:
        question = "" if self.question == "evasion" else f"{self.question}."
        at = "" if self.at is None else f"@{self.at}"
        return f"{question}{self.figure}{at}{'>=' if self.at_least else '<='}{self.value:g}"

    def decide(self, run: Run) -> Ruling:
        """Pass or fail where the whole 95 % interval says so, else inconclusive; no figure fails.

        Neither where it rests on what is not known: a figure that no engine worked on, or one that a severe finding,
        not accepted, speaks against. What such a change could only make worse, or only better, still stands.
        """
        answer = run.answers.get(self.question)
        if answer is None:
            lacking = run.result.not_asked.get(self.question)
            seen = f"{self.question} was not asked" + (f": {lacking}" if lacking else "")
            return Ruling(str(self), Outcome.INCONCLUSIVE, seen)
        figure = answer.summary.figure(self.figure, self.at)
        if figure is None:
            return Ruling(str(self), Outcome.FAIL, "no such figure in this run")
        if figure.value is None:
            return Ruling(str(self), Outcome.FAIL, "no example could be asked")
        return self._ruled(figure)

    def _ruled(self, figure: Figure) -> Ruling:
        good, bad = (figure.low, figure.high) if self.at_least else (figure.high, figure.low)
        reaches = operator.ge if self.at_least else operator.le
        outcome = (
            Outcome.PASS
            if reaches(good, self.value)
            else Outcome.INCONCLUSIVE
            if reaches(bad, self.value)
            else Outcome.FAIL
        )
        of = "" if figure.n is None else f" of {figure.n}"
        seen = f"{figure.value:.4f}{of}, 95 % interval [{figure.low:.4f}, {figure.high:.4f}]"
        reasons = self._shaken(figure, outcome)
        if reasons:
            return Ruling(str(self), Outcome.INCONCLUSIVE, "; ".join([*reasons, seen]))
        return Ruling(str(self), outcome, f"{seen}; {figure.note}" if figure.note else seen)

    def _shaken(self, figure: Figure, outcome: Outcome) -> list[str]:
        """Why this outcome would not stand if the figure were what it may be; nothing where it would."""
        undecided = outcome is Outcome.INCONCLUSIVE
        passed = outcome is Outcome.PASS
        less = undecided or self.at_least == passed  # a lower figure would overturn it
        more = undecided or self.at_least != passed  # a higher one would
        return [*(figure.lower if less else ()), *(figure.higher if more else ())]


def gate(run: Run, requirements: Sequence[Requirement], baseline: Run | None = None) -> list[Ruling]:
    """One ruling a requirement; with a baseline, also one a figure: it must not be significantly worse."""
    rulings = [requirement.decide(run) for requirement in requirements]
    if baseline is not None:
        rulings += _against(baseline, run)
    if not rulings:
        raise UsageError("nothing is required; give --require or --baseline")
    return rulings


def worst(rulings: Sequence[Ruling]) -> Outcome:
    """The outcome of all of them together."""
    order = list(Outcome)
    return max((ruling.outcome for ruling in rulings), key=order.index)


def _against(baseline: Run, run: Run) -> list[Ruling]:
    try:
        differences = [difference for difference in compare(baseline, run) if difference.gated]
    except CannotRun as error:
        return [Ruling("not worse than the baseline", Outcome.INCONCLUSIVE, str(error))]
    if not differences:
        return [Ruling("not worse than the baseline", Outcome.INCONCLUSIVE, "no figure was asked about in both runs")]
    return [_not_worse(difference, run.answers[difference.question]) for difference in differences]


def _not_worse(difference: Difference, answer: Answer) -> Ruling:
    """Whether one figure is not significantly worse; inconclusive where it may be far worse than it looks."""
    d = difference
    seen = f"{d.before:.4f} before, {d.after:.4f} now; {d.lost} lost, {d.gained} gained, p = {d.worse_p_value:.3g}"
    outcome = Outcome.FAIL if d.n == 0 or d.worse_p_value < _SIGNIFICANT else Outcome.PASS
    reasons = [f"not asked {run}" for run, asked in zip(_RUNS, d.asked, strict=True) if not asked]
    figure = answer.summary.figure(d.figure, d.at)
    if figure is not None and outcome is Outcome.PASS and d.asked[1]:
        reasons += figure.lower
    if reasons:
        outcome = Outcome.INCONCLUSIVE
    return Ruling(f"{d.name} not worse than the baseline", outcome, "; ".join([*reasons, seen]))

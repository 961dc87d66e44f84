"""Gates: whether a run is good enough to go on, decided on the bound of an interval and never on a point."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isclose
from typing import final

from brinell.auditing.audit import Audit
from brinell.auditing.compare import compare
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Bracket, clopper_pearson

_FIGURES = ("certified", "unbroken", "open", "broken", "clean")
_PATTERN = re.compile(
    r"\s*(?P<figure>[a-z]+)\s*(?:@\s*(?P<radius>[^<>=\s]+))?\s*(?P<op>>=|<=)\s*(?P<value>[0-9.eE+-]+)\s*"
)
_SIGNIFICANT = 0.05


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
    """`figure@radius >= value`: figure is certified, unbroken, open, broken or clean (which takes no radius)."""

    figure: str
    radius: float | None
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Raises UsageError that shows how a requirement is written."""
        match = _PATTERN.fullmatch(text)
        if match is None or match["figure"] not in _FIGURES:
            raise UsageError(
                f"requirement {text!r} is not understood; write e.g. 'certified@0.1>=0.4' or 'clean>=0.9' "
                f"(figures: {', '.join(_FIGURES)})"
            )
        radius = None if match["radius"] is None else parse_radius(match["radius"])
        if (radius is None) != (match["figure"] == "clean"):
            raise UsageError(f"requirement {text!r}: clean takes no radius, every other figure takes @radius")
        try:
            value = float(match["value"])
        except ValueError:
            raise UsageError(f"requirement {text!r}: {match['value']!r} is not a number; write e.g. 0.4") from None
        if not 0 <= value <= 1:
            raise UsageError(f"requirement {text!r}: {value:g} is not a fraction; write 40 % as 0.4")
        return cls(match["figure"], radius, match["op"] == ">=", value)

    def __str__(self) -> str:
        at = "" if self.radius is None else f"@{self.radius:g}"
        return f"{self.figure}{at}{'>=' if self.at_least else '<='}{self.value:g}"

    def decide(self, audit: Audit) -> Ruling:
        """Pass or fail where the whole 95 % Clopper-Pearson interval says so, else inconclusive; no figure fails."""
        counted = self._count(audit)
        if counted is None:
            return Ruling(str(self), Outcome.FAIL, "no such figure in this run")
        count, n = counted
        if n == 0:
            return Ruling(str(self), Outcome.FAIL, "no example could be asked")
        low, high = clopper_pearson(count, n)
        good, bad = (low, high) if self.at_least else (high, low)
        reaches = operator.ge if self.at_least else operator.le
        outcome = (
            Outcome.PASS
            if reaches(good, self.value)
            else Outcome.INCONCLUSIVE
            if reaches(bad, self.value)
            else Outcome.FAIL
        )
        seen = f"{count / n:.4f} of {n}, 95 % interval [{low:.4f}, {high:.4f}]"
        return Ruling(str(self), outcome, seen + self._votes(audit))

    def _votes(self, audit: Audit) -> str:
        """What the figure rests on, where that is not proofs alone."""
        count = 0 if self.radius is None else audit.at(self.radius).probable_count
        if self.figure not in ("certified", "open") or not count or audit.result.failure is None:
            return ""
        return f"; {count} by votes, of which some are wrong with probability at most {audit.result.failure:.3g}"

    def _count(self, audit: Audit) -> tuple[int, int] | None:
        if self.radius is None:
            return audit.result.clean_count
        known = next((r for r in audit.radii if isclose(r, self.radius, rel_tol=1e-6)), None)
        if known is None:
            return None
        bracket: Bracket = audit.at(known)
        counts = {
            "certified": bracket.certified_count,
            "unbroken": bracket.n - bracket.broken_count,
            "open": bracket.open_count,
            "broken": bracket.broken_count,
        }
        return counts[self.figure], bracket.n


def gate(audit: Audit, requirements: Sequence[Requirement], baseline: Audit | None = None) -> list[Ruling]:
    """One ruling a requirement; with a baseline, also one an edge and radius: it must not be significantly worse."""
    rulings = [r.decide(audit) for r in requirements]
    if baseline is not None:
        rulings += _against(baseline, audit)
    if not rulings:
        raise UsageError("nothing is required; give --require or --baseline")
    return rulings


def worst(rulings: Sequence[Ruling]) -> Outcome:
    """The outcome of all of them together."""
    order = list(Outcome)
    return max((r.outcome for r in rulings), key=order.index)


def parse_radius(text: str) -> float:
    """A number >= 0 or a quotient: 0.1, 8/255. Raises UsageError."""
    above, slash, below = text.partition("/")
    try:
        radius = float(above) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        radius = float("nan")
    if not 0 <= radius < float("inf"):
        raise UsageError(f"radius {text!r} is not a number >= 0; write 0.1 or 8/255")
    return radius


def _against(baseline: Audit, audit: Audit) -> list[Ruling]:
    try:
        differences = compare(baseline, audit)
    except CannotRun as error:
        return [Ruling("not worse than the baseline", Outcome.INCONCLUSIVE, str(error))]
    rulings = []
    for d in differences:
        seen = f"{d.before:.4f} before, {d.after:.4f} now; {d.lost} lost, {d.gained} gained, p = {d.worse_p_value:.3g}"
        outcome = Outcome.FAIL if d.n == 0 or d.worse_p_value < _SIGNIFICANT else Outcome.PASS
        rulings.append(Ruling(f"{d.edge}@{d.radius:g} not worse than the baseline", outcome, seen))
    return rulings

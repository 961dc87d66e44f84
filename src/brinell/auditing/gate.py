"""Gates: whether a run is good enough to go on, decided on the bound of an interval and never on a point."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isclose
from typing import final

from brinell.auditing.audit import Audit
from brinell.auditing.compare import compare
from brinell.auditing.result import RadiusResult, spelled
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Bracket, clopper_pearson

_FIGURES = ("certified", "unbroken", "open", "broken", "clean")
_PATTERN = re.compile(
    r"\s*(?P<figure>[a-z]+)\s*(?:@\s*(?P<radius>[^<>=\s]+))?\s*(?P<op>>=|<=)\s*(?P<value>[0-9.eE+-]+)\s*"
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
    """`figure@radius >= value`: figure is certified, unbroken, open, broken or clean (which takes no radius).

    label: the radius as it was written.
    """

    figure: str
    radius: float | None
    at_least: bool
    value: float
    label: str = field(default="", compare=False)

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
        return cls(match["figure"], radius, match["op"] == ">=", value, match["radius"] or "")

    def __str__(self) -> str:
        at = "" if self.radius is None else f"@{self.label or spelled(self.radius)}"
        return f"{self.figure}{at}{'>=' if self.at_least else '<='}{self.value:g}"

    def decide(self, audit: Audit) -> Ruling:
        """Pass or fail where the whole 95 % Clopper-Pearson interval says so, else inconclusive; no figure fails.

        Neither where it rests on what is not known: an edge that no engine worked on, or an upper edge that a severe
        finding, not accepted, speaks against. What such an edge could only make worse, or only better, still stands.
        """
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
        reasons = self._shaken(audit, outcome)
        if reasons:
            return Ruling(str(self), Outcome.INCONCLUSIVE, "; ".join([*reasons, seen]))
        return Ruling(str(self), outcome, seen + self._votes(audit))

    def _shaken(self, audit: Audit, outcome: Outcome) -> list[str]:
        """Why this outcome would not stand if the edges it rests on were what they may be; nothing where it would."""
        known = self._known(audit)
        if known is None:
            return []
        undecided, passed = outcome is Outcome.INCONCLUSIVE, outcome is Outcome.PASS
        less = undecided or self.at_least == passed  # a lower figure would overturn it
        more = undecided or self.at_least != passed  # a higher one would
        reasons = []
        if (self.figure in ("unbroken", "open") and less) or (self.figure == "broken" and more):
            reasons += _about_upper(audit, known)
        if (self.figure == "certified" and more) or (self.figure == "open" and less):
            reasons += [] if known.certified_asked else [f"not asked: no proof worked at {known.set} {known.label}"]
        return reasons

    def _known(self, audit: Audit) -> RadiusResult | None:
        """What the run says of this radius."""
        radius = self.radius
        if radius is None:
            return None
        return next((r for r in audit.result.radii if isclose(r.radius, radius, rel_tol=1e-6)), None)

    def _votes(self, audit: Audit) -> str:
        """What the figure rests on, where that is not proofs alone."""
        count = 0 if self.radius is None else audit.at(self.radius).probable_count
        if self.figure not in ("certified", "open") or not count or audit.result.failure is None:
            return ""
        return f"; {count} by votes, of which some are wrong with probability at most {audit.result.failure:.3g}"

    def _count(self, audit: Audit) -> tuple[int, int] | None:
        if self.radius is None:
            return audit.result.clean_count
        known = self._known(audit)
        if known is None:
            return None
        bracket: Bracket = audit.at(known.radius)
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
    if not differences:
        return [Ruling("not worse than the baseline", Outcome.INCONCLUSIVE, "no edge was asked about in either run")]
    rulings = []
    for d in differences:
        seen = f"{d.before:.4f} before, {d.after:.4f} now; {d.lost} lost, {d.gained} gained, p = {d.worse_p_value:.3g}"
        outcome = Outcome.FAIL if d.n == 0 or d.worse_p_value < _SIGNIFICANT else Outcome.PASS
        known = next(r for r in audit.result.radii if r.radius == d.radius)
        reasons = [f"not asked {run}" for run, asked in zip(_RUNS, d.asked, strict=True) if not asked]
        if d.edge == "unbroken" and outcome is Outcome.PASS and d.asked[1]:
            reasons += _about_upper(audit, known)
        if reasons:
            outcome = Outcome.INCONCLUSIVE
        rulings.append(Ruling(f"{d.edge}@{d.label} not worse than the baseline", outcome, "; ".join([*reasons, seen])))
    return rulings


def _about_upper(audit: Audit, known: RadiusResult) -> list[str]:
    """Why the upper edge at a radius may be far lower than it looks."""
    asked = [] if known.unbroken_asked else [f"not asked: no attack worked at {known.set} {known.label}"]
    return asked + [f"{f.code}: {f.message}" for f in audit.result.doubts]

"""The summary of evasion: every figure of the bracket, computed once from what the ledger holds."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from types import MappingProxyType
from typing import Any, final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from brinell.auditing.finding import Finding, ordered
from brinell.auditing.ledger import Work
from brinell.auditing.plan import LOOK, Plan
from brinell.auditing.question import Comparable, Record, Summary
from brinell.auditing.result import engine_results, stages_left_out
from brinell.errors import UsageError
from brinell.evidence import Figure, State, wilson
from brinell.questions.evasion.adaptive import Gradients, Reaction, gradients, reactions
from brinell.questions.evasion.board import EvasionBoard
from brinell.threat.radius import parse_radius, spelled

Fraction = float | None
"""0 to 1; None where no example could be asked."""

Interval = tuple[float, float]
"""A 95 % Wilson interval."""


HIDDEN = "misleading"
"""The code by which it is accepted that only black-box attacks see what gradients hide."""

_HIDDEN_REMEDY = "attack the differentiable part, or let black-box attacks search longer with the plan full"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Diagnosis(_Record):
    """Whether an evaluation is to be believed: the tests that were executed, and what they found."""

    examples: int = Field(description="correctly classified examples that were tried")
    radius: float = Field(description="of the evaluation that was put to the test")
    checks: tuple[str, ...] = Field(description="codes of the tests that could be executed")
    left: tuple[str, ...] = Field(default=(), description="codes of the tests for which there was no time")
    findings: tuple[Finding, ...] = ()

    @property
    def believed(self) -> bool:
        """Whether nothing severe was found."""
        return not any(f.severity == "severe" for f in self.findings)


class AccuracyCurve(_Record):
    """Accuracy against radius, everywhere: of `asked` examples, one more is broken at each of the distances."""

    asked: int = Field(description="examples that could be asked")
    distances: tuple[float, ...] = Field(description="of the nearest witnesses, ascending, 0 where misclassified as is")

    def at(self, radius: float) -> Fraction:
        """The fraction not broken at this radius."""
        return _fraction(self.asked - bisect_right(self.distances, radius), self.asked)

    def quantile(self, share: float) -> float | None:
        """The least radius at which this share of the examples is broken; None where it never is."""
        row = max(math.ceil(share * self.asked), 1) - 1
        return self.distances[row] if row < len(self.distances) else None


class RadiusResult(_Record):
    """The bracket at one radius. Fractions are of the examples that could be asked; `errors` counts the others."""

    set: str = Field(description="the perturbation set: linf, l2")
    radius: float = Field(description="in the units of the input")
    certified: Fraction = Field(description="lower edge: fraction proved")
    unbroken: Fraction = Field(description="upper edge: fraction not yet broken")
    open: Fraction = Field(description="unbroken - certified")
    errors: int = Field(description="examples the target could not be asked about")
    counts: dict[str, int] = Field(description="examples by state")
    certified_interval: Interval
    unbroken_interval: Interval
    probable: int = Field(default=0, description="certified examples that rest on probabilistic certificates alone")
    label: str = Field(default="", description="the radius as its user spells it, else its shortest repr")
    certified_asked: bool = Field(
        default=True, description="whether a proof worked at this radius, or nothing is open: else 0 is no figure"
    )
    unbroken_asked: bool = Field(
        default=True,
        description="whether an attack worked at this radius, or nothing is open: else it is no figure",
    )
    soundness: dict[str, int] = Field(
        default={},
        description="examples with a proof, by what it assumes; those below the plan's level are not counted",
    )


class ClassResult(_Record):
    """The brackets of the examples with one label, at each radius in order."""

    label: int
    name: str
    n: int
    clean: Fraction
    radii: tuple[RadiusResult, ...]


class EvasionSummary(Summary):
    """The bracket of one run at each radius, and all that stands beside it."""

    clean: Fraction = Field(description="accuracy on the clean examples that could be asked")
    clean_count: tuple[int, int] = Field(description="(correct, asked) behind `clean`")
    clean_interval: Interval
    goal: str
    threat: str
    radii: tuple[RadiusResult, ...]
    curve: AccuracyCurve | None = Field(default=None, description="where a stage sought the smallest perturbations")
    classes: tuple[ClassResult, ...]
    diagnosis: Diagnosis | None = None
    gradients: Gradients | None = Field(default=None, description="whether they tell the truth; None if not probed")
    reactions: tuple[Reaction, ...] = Field(default=(), description="the stages that wait for something")
    failure: Fraction = Field(
        default=None, description="probability that any probabilistic certificate is wrong, at most; None without any"
    )
    reading: str | None = Field(
        default=None, description="one line: whether gradients were found honest or misleading, and what followed"
    )

    @property
    def found(self) -> tuple[Finding, ...]:
        """What the preflight and the diagnosis saw, each once, severe ones first."""
        seen = {finding.code: finding for finding in self.findings}
        for finding in () if self.diagnosis is None else self.diagnosis.findings:
            mark = finding.accepted or (finding.code in seen and seen[finding.code].accepted)
            seen[finding.code] = finding.model_copy(update={"accepted": mark})
        return tuple(ordered(seen.values()))

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """Severe findings that nobody accepted, and hidden gradients: reasons not to believe the upper edge."""
        severe = tuple(f for f in self.found if f.severity == "severe" and not f.accepted)
        if self.gradients is None or not self.gradients.hidden or HIDDEN in self.accepted:
            return severe
        hidden = Finding(code=HIDDEN, severity="severe", message=self.gradients.sentence, remedy=_HIDDEN_REMEDY)
        return (*severe, hidden)

    def figure(self, name: str, at: str | None = None) -> Figure | None:
        if name not in FIGURES:
            return None
        if (at is None) != (name == "clean"):
            raise UsageError("clean takes no radius, every other figure takes @radius")
        if at is None:
            looked = self.clean_count[1] + self.radii[0].errors
            rest = () if looked >= self.n else (f"only {looked} of {self.n} examples were looked at",)
            return Figure.fraction(*self.clean_count, lower=rest, higher=rest)
        known = self.at(at)
        return None if known is None else self._figure(name, known)

    def at(self, text: str) -> RadiusResult | None:
        """What is known at a radius, as it is written; None where the run was not asked about it."""
        radius = parse_radius(text)
        return next((r for r in self.radii if isclose(r.radius, radius, rel_tol=1e-6)), None)

    def _figure(self, name: str, known: RadiusResult) -> Figure:
        counts = known.counts
        n = sum(count for state, count in counts.items() if state != State.ERROR)
        above = self._about_upper(known)
        below = () if known.certified_asked else (f"not asked: no proof worked at {known.set} {known.label}",)
        match name:
            case "certified":
                return Figure.fraction(counts[State.CERTIFIED], n, higher=below, note=self._votes(known))
            case "unbroken":
                return Figure.fraction(n - counts[State.BROKEN], n, lower=above)
            case "broken":
                return Figure.fraction(counts[State.BROKEN], n, higher=above)
            case _:
                return Figure.fraction(counts[State.OPEN], n, lower=(*above, *below), note=self._votes(known))

    def _about_upper(self, known: RadiusResult) -> tuple[str, ...]:
        """Why the upper edge at a radius may be far lower than it looks."""
        asked = [] if known.unbroken_asked else [f"not asked: no attack worked at {known.set} {known.label}"]
        return (*asked, *(f"{finding.code}: {finding.message}" for finding in self.doubts))

    def _votes(self, known: RadiusResult) -> str:
        """What a figure rests on, where that is not proofs alone."""
        if not known.probable or self.failure is None:
            return ""
        return f"{known.probable} by votes, of which some are wrong with probability at most {self.failure:.3g}"

    def comparable(self) -> Sequence[Comparable]:
        return [
            Comparable(edge, r.label, asked)
            for r in self.radii
            for edge, asked in (("certified", r.certified_asked), ("unbroken", r.unbroken_asked))
        ]


FIGURES: Mapping[str, str | None] = MappingProxyType(
    {"certified": "radius", "unbroken": "radius", "open": "radius", "broken": "radius", "clean": None}
)
"""Every figure, and what its condition is called."""


def summarise(record: Record, board: EvasionBoard) -> EvasionSummary:
    """All figures of a run, as far as it has come."""
    about, identity, work, plan = record.entries, record.identity, record.work, record.plan
    diagnosis = Diagnosis.model_validate(about["diagnosis"]) if about.get("diagnosis") else None
    codes = [f.code for f in (*record.findings, *(diagnosis.findings if diagnosis else ()))]
    probed = gradients(plan, work, codes)
    asked = [item for item in board.asked if _answered(board, item)]
    correct = sum(board.looks[item].predicted == about["y"][item] for item in asked)
    radii = tuple(_radius(board, identity["set"], _Asked.of(r, about, plan, work)) for r in identity["radii"])
    left_out = stages_left_out(about)
    return EvasionSummary(
        question="evasion",
        key=record.key,
        n=board.n,
        plan=plan,
        clean=_fraction(correct, len(asked)),
        clean_count=(correct, len(asked)),
        clean_interval=wilson(correct, len(asked)),
        goal=about["goal"],
        threat=identity["threat"],
        radii=radii,
        curve=_curve(board, len(asked)) if any(w.phase == "inf" for w in work) else None,
        classes=tuple(_classes(board, about["y"], identity["set"], radii, about["classes"])),
        engines=engine_results(record),
        findings=record.findings,
        diagnosis=diagnosis,
        accepted=record.accepted,
        gradients=probed,
        reactions=tuple(reactions(plan, work)),
        failure=_failure(board, work),
        reading=None if probed is None else probed.sentence,
        left_out=left_out,
        notes=(
            *(f"{stage.stage} left out: {stage.reason}" for stage in left_out),
            *about.get("notes", ()),
            *_raised(work),
            *_contested(board),
        ),
    )


def _answered(board: EvasionBoard, item: int) -> bool:
    return item in board.looks and board.looks[item].predicted is not None


def _curve(board: EvasionBoard, asked: int) -> AccuracyCurve:
    found = board.distance[np.isfinite(board.distance)]
    return AccuracyCurve(asked=asked, distances=tuple(np.sort(found).tolist()))


@final
@dataclass(frozen=True)
class _Asked:
    """A radius, how it is written, and which edges of its bracket an engine worked on."""

    radius: float
    label: str
    proved: bool
    attacked: bool

    @classmethod
    def of(cls, radius: float, about: Mapping[str, Any], plan: Plan, work: Sequence[Work]) -> "_Asked":
        """By the work on record: what seeks the smallest perturbation works at every radius, a first look at 0."""
        at = {w.engine for w in work if float(w.phase) in (radius, math.inf) and w.asked > w.failed}
        stages = [stage for stage in plan.stages if stage.label in at and stage.sample is None]
        kinds = {stage.row.kind for stage in stages if stage.label != LOOK or not radius}
        label = about.get("labels", {}).get(repr(radius), spelled(radius))
        return cls(radius, label, not kinds.isdisjoint(_PROVERS), not kinds.isdisjoint(_ATTACKERS))


_PROVERS = ("proof", "exact", "vote")
_ATTACKERS = ("attack", "exact")


def _radius(board: EvasionBoard, name: str, asked: _Asked, items: Sequence[int] | None = None) -> RadiusResult:
    radius = asked.radius
    bracket = board.bracket(radius, items)
    settled = bracket.open_count == 0
    return RadiusResult(
        set=name,
        radius=radius,
        label=asked.label,
        certified_asked=asked.proved or settled or bracket.certified_count > 0,
        unbroken_asked=asked.attacked or settled or bool((board.distance[board.distance > 0] <= radius).any()),
        certified=_number(bracket.certified),
        unbroken=_number(bracket.unbroken),
        open=_number(bracket.open),
        errors=bracket.errors,
        counts={
            State.BROKEN: bracket.broken_count,
            State.CERTIFIED: bracket.certified_count,
            State.OPEN: bracket.open_count,
            State.ERROR: bracket.errors,
        },
        certified_interval=bracket.certified_interval(),
        unbroken_interval=bracket.unbroken_interval(),
        probable=bracket.probable_count,
        soundness={level.value: count for level, count in board.soundness(radius, items).items()},
    )


def _classes(
    board: EvasionBoard, y: Sequence[int], name: str, radii: Sequence[RadiusResult], names: Sequence[str] | None
) -> list[ClassResult]:
    members: dict[int, list[int]] = defaultdict(list)
    for item in board.asked:
        members[y[item]].append(item)

    results = []
    for label, own in sorted(members.items()):
        asked = [item for item in own if _answered(board, item)]
        results.append(
            ClassResult(
                label=label,
                name=names[label] if names and label < len(names) else str(label),
                n=len(own),
                clean=_fraction(sum(board.looks[item].predicted == label for item in asked), len(asked)),
                radii=tuple(
                    _radius(board, name, _Asked(r.radius, r.label, r.certified_asked, r.unbroken_asked), own)
                    for r in radii
                ),
            )
        )
    return results


def _raised(work: Sequence[Work]) -> Iterator[str]:
    """One note a stage that the target raised in, the first look apart: its errors are counted as such."""
    for engine in dict.fromkeys(w.engine for w in work if w.failed and w.engine != LOOK):
        failed = sum(w.failed for w in work if w.engine == engine)
        yield f"{engine}: the model raised on inputs near {failed} examples, which stay as they were"


def _failure(board: EvasionBoard, work: Sequence[Work]) -> Fraction:
    """The union bound over every example that was asked, each time that it was."""
    if not board.alphas:
        return None
    return min(1.0, sum(board.alphas.get(w.engine, 0.0) * w.asked for w in work))


def _contested(board: EvasionBoard) -> Iterator[str]:
    """A witness within a probabilistic certificate is no contradiction, but worth a note."""
    if count := board.contested():
        yield (
            f"{count} examples have a witness where a probabilistic certificate said there was none, and count as "
            "broken: it was one of those that fail, or the target's vote of few draws is not the vote of all"
        )


def _fraction(count: int, n: int) -> Fraction:
    return count / n if n else None


def _number(value: float) -> Fraction:
    return None if math.isnan(value) else value

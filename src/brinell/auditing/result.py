"""The result of a run as data: what `result.json` holds, what reports render and gates decide on.

Every figure is computed here, once, from the ledger; a face only shows it.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from brinell.auditing.adaptive import Gradients, Reaction, gradients, reactions
from brinell.auditing.board import Board
from brinell.auditing.ledger import Item, Ledger, Work
from brinell.auditing.plan import LOOK, Plan
from brinell.catalog import CATALOG
from brinell.evidence import State, wilson

Fraction = float | None
"""0 to 1; None where no example could be asked."""

Interval = tuple[float, float]
"""A 95 % Wilson interval."""


HIDDEN = "misleading"
"""The code by which it is accepted that only black-box attacks see what gradients hide."""

_HIDDEN_REMEDY = "attack the differentiable part, or let black-box attacks search longer with the plan full"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Record):
    """Something that a preflight or a diagnosis saw. severe: it stops an audit unless accepted by its code."""

    code: str
    severity: Literal["severe", "warning", "note"]
    message: str
    remedy: str
    accepted: bool = False
    examples: tuple[int, ...] = Field(default=(), description="row numbers of the examples it was seen on, at most 20")


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


class Curve(_Record):
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


class EngineResult(_Record):
    """What one stage did, over all radii."""

    engine: str
    kind: Literal["attack", "proof", "exact", "vote"]
    family: str
    paper: str
    atlas: tuple[str, ...]
    nist: tuple[str, ...]
    asked: int = Field(description="examples it was asked about, summed over radii")
    settled: int = Field(description="examples it broke or certified, summed over radii")
    failed: int = Field(default=0, description="examples near which the target raised, so that nothing was shown")
    forwards: int = Field(description="rows sent forward")
    gradients: int = Field(description="rows whose input gradient was taken")
    seconds: float = Field(description="of worker time, on work that is recorded")
    state: Literal["complete", "unfinished", "not begun"] = "complete"
    dropped: float = Field(default=0.0, description="of worker time, on work that was cut short and is not recorded")


class LeftOut(_Record):
    """A stage of the plan that this audit had no use for, and why."""

    stage: str
    reason: str


class Provenance(_Record):
    """Where the figures come from."""

    brinell: str
    torch: str
    python: str
    platform: str
    command: str
    started: str
    target: str
    target_digest: str
    data: str
    data_digest: str
    threat: str
    seed: int
    shard: int
    workers: int
    plan: Plan


class Result(_Record):
    """One run. The schema number rises when a field changes its meaning or goes."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    status: Literal["complete", "budget", "interrupted", "running"]
    n: int = Field(description="examples in the sample")
    clean: Fraction = Field(description="accuracy on the clean examples that could be asked")
    clean_count: tuple[int, int] = Field(description="(correct, asked) behind `clean`")
    clean_interval: Interval
    goal: str
    radii: tuple[RadiusResult, ...]
    curve: Curve | None = Field(default=None, description="where a stage sought the smallest perturbations")
    classes: tuple[ClassResult, ...]
    engines: tuple[EngineResult, ...]
    findings: tuple[Finding, ...]
    diagnosis: Diagnosis | None = None
    accepted: tuple[str, ...] = Field(default=(), description="codes of what was to be set aside")
    gradients: Gradients | None = Field(default=None, description="whether they tell the truth; None if not probed")
    reactions: tuple[Reaction, ...] = Field(default=(), description="the stages that wait for something")
    failure: Fraction = Field(
        default=None, description="probability that any probabilistic certificate is wrong, at most; None without any"
    )
    reading: str | None = Field(
        default=None, description="one line: whether gradients were found honest or misleading, and what followed"
    )
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = Field(description="what a reader has to know besides, the stages left out among it")
    seconds: float = Field(description="wall time, summed over resumptions")
    scrutiny: float = Field(default=0.0, description="of it, on preflight and diagnosis")
    provenance: Provenance

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def found(self) -> tuple[Finding, ...]:
        """What the preflight and the diagnosis saw, each once, severe ones first."""
        seen = {f.code: f for f in self.findings}
        for f in () if self.diagnosis is None else self.diagnosis.findings:
            mark = f.accepted or (f.code in seen and seen[f.code].accepted)
            seen[f.code] = f.model_copy(update={"accepted": mark})
        order = ("severe", "warning", "note")
        return tuple(sorted(seen.values(), key=lambda f: order.index(f.severity)))

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """Severe findings that nobody accepted, and hidden gradients: reasons not to believe the upper edge."""
        severe = tuple(f for f in self.found if f.severity == "severe" and not f.accepted)
        if self.gradients is None or not self.gradients.hidden or HIDDEN in self.accepted:
            return severe
        hidden = Finding(code=HIDDEN, severity="severe", message=self.gradients.sentence, remedy=_HIDDEN_REMEDY)
        return (*severe, hidden)

    def to_json(self) -> str:
        """The contents of `result.json`."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def summarise(ledger: Ledger, board: Board, items: Sequence[Item]) -> Result:
    """All figures of a run, as far as it has come. items: the examples asked so far, as the ledger holds them."""
    about, work = ledger.manifest(), ledger.work()
    identity = about["identity"]
    plan = Plan.model_validate(identity["plan"])
    findings = tuple(Finding.model_validate(f) for f in about["findings"])
    diagnosis = Diagnosis.model_validate(about["diagnosis"]) if about.get("diagnosis") else None
    codes = [f.code for f in (*findings, *(diagnosis.findings if diagnosis else ()))]
    probed = gradients(plan, work, codes)
    asked = [i for i in items if i.predicted is not None]
    correct = sum(i.predicted == i.label for i in asked)
    status = about.get("status", "running")
    radii = tuple(_radius(board, identity["set"], _Asked.of(r, about, plan, work)) for r in identity["radii"])
    left_out = tuple(LeftOut(stage=stage, reason=reason) for stage, reason in about.get("left_out", {}).items())
    return Result(
        status=status,
        n=board.n,
        clean=_fraction(correct, len(asked)),
        clean_count=(correct, len(asked)),
        clean_interval=wilson(correct, len(asked)),
        goal=about["goal"],
        radii=radii,
        curve=_curve(board, len(asked)) if any(w.radius == math.inf for w in work) else None,
        classes=tuple(_classes(board, items, identity["set"], radii, about["classes"])),
        engines=tuple(_engines(plan, work, about.get("dropped", {}), status, {stage.stage for stage in left_out})),
        findings=findings,
        diagnosis=diagnosis,
        accepted=tuple(about.get("accepted", ())),
        gradients=probed,
        reactions=tuple(reactions(plan, work)),
        failure=_failure(board, work),
        reading=None if probed is None else probed.sentence,
        left_out=left_out,
        notes=(
            *(f"{stage.stage} left out: {stage.reason}" for stage in left_out),
            *about["notes"],
            *_raised(work),
            *_contested(board),
        ),
        seconds=round(about.get("seconds", 0.0), 3),
        scrutiny=round(about.get("scrutiny", 0.0), 3),
        provenance=Provenance(
            **about["environment"],
            target_digest=identity["target"],
            data_digest=identity["data"],
            seed=identity["seed"],
            shard=plan.shard,
            threat=identity["threat"],
            plan=plan,
        ),
    )


def _curve(board: Board, asked: int) -> Curve:
    found = board.distance[np.isfinite(board.distance)]
    return Curve(asked=asked, distances=tuple(np.sort(found).tolist()))


def spelled(radius: float) -> str:
    """The shortest decimal that is this radius."""
    short = f"{radius:.12g}"
    return short if float(short) == radius else repr(radius)


@final
@dataclass(frozen=True)
class _Asked:
    """A radius, how it is written, and which edges of its bracket an engine worked on."""

    radius: float
    label: str
    proved: bool
    attacked: bool

    @classmethod
    def of(cls, radius: float, about: dict[str, Any], plan: Plan, work: Sequence[Work]) -> "_Asked":
        """By the work on record: what seeks the smallest perturbation works at every radius, a first look at 0."""
        at = {w.engine for w in work if w.radius in (radius, math.inf) and w.asked > w.failed}
        stages = [stage for stage in plan.stages if stage.label in at and stage.sample is None]
        kinds = {stage.row.kind for stage in stages if stage.label != LOOK or not radius}
        label = about.get("labels", {}).get(repr(radius), spelled(radius))
        return cls(radius, label, not kinds.isdisjoint(_PROVERS), not kinds.isdisjoint(_ATTACKERS))


_PROVERS = ("proof", "exact", "vote")
_ATTACKERS = ("attack", "exact")


def _radius(board: Board, set: str, asked: _Asked, items: Sequence[int] | None = None) -> RadiusResult:
    radius = asked.radius
    bracket = board.bracket(radius, items)
    settled = bracket.open_count == 0
    return RadiusResult(
        set=set,
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
    board: Board, items: Sequence[Item], set: str, radii: Sequence[RadiusResult], names: Sequence[str] | None
) -> list[ClassResult]:
    members: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        members[item.label].append(item)
    results = []
    for label, own in sorted(members.items()):
        numbers = [i.item for i in own]
        asked = [i for i in own if i.predicted is not None]
        results.append(
            ClassResult(
                label=label,
                name=names[label] if names and label < len(names) else str(label),
                n=len(own),
                clean=_fraction(sum(i.predicted == i.label for i in asked), len(asked)),
                radii=tuple(
                    _radius(board, set, _Asked(r.radius, r.label, r.certified_asked, r.unbroken_asked), numbers)
                    for r in radii
                ),
            )
        )
    return results


def _engines(
    plan: Plan, work: Sequence[Work], dropped: dict[str, float], status: str, left_out: Collection[str]
) -> list[EngineResult]:
    """The stages that worked; of a run that has not ended also those it did not come to."""
    rows = {row.name: row for row in CATALOG}
    worked = {w.engine for w in work}
    begun = [i for i, stage in enumerate(plan.stages) if stage.label in worked or stage.label in dropped]
    last = -1 if not begun else begun[-1]
    results = []
    for index, stage in enumerate(plan.stages):
        own = [w for w in work if w.engine == stage.label]
        ahead = status != "complete" and index >= last and stage.label not in left_out
        if not own and not ahead:
            continue
        row = rows[stage.engine]
        assert row.kind != "learner" and row.kind != "transformation" and row.kind != "estimate"  # noqa: PT018 - no stage is one
        results.append(
            EngineResult(
                engine=stage.label,
                kind=row.kind,
                family=row.family,
                paper=row.paper,
                atlas=row.atlas,
                nist=row.nist,
                asked=sum(w.asked for w in own),
                settled=sum(w.settled for w in own),
                failed=sum(w.failed for w in own),
                forwards=sum(w.forwards for w in own),
                gradients=sum(w.gradients for w in own),
                seconds=round(sum(w.seconds for w in own), 3),
                state="complete" if not ahead else "unfinished" if index == last else "not begun",
                dropped=round(dropped.get(stage.label, 0.0), 3),
            )
        )
    return results


def _raised(work: Sequence[Work]) -> Iterator[str]:
    """One note a stage that the target raised in, the first look apart: its errors are counted as such."""
    for engine in dict.fromkeys(w.engine for w in work if w.failed and w.engine != LOOK):
        failed = sum(w.failed for w in work if w.engine == engine)
        yield f"{engine}: the model raised on inputs near {failed} examples, which stay as they were"


def _failure(board: Board, work: Sequence[Work]) -> Fraction:
    """The union bound over every example that was asked, each time that it was."""
    if not board.alphas:
        return None
    return min(1.0, sum(board.alphas.get(w.engine, 0.0) * w.asked for w in work))


def _contested(board: Board) -> Iterator[str]:
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

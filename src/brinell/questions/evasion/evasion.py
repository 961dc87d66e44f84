"""Evasion: does a small change of an input flip the answer? The bracket [proved, not yet broken] at each radius."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np
import torch

from brinell.arguments import Checked
from brinell.auditing.clock import Clock
from brinell.auditing.drive import one_thread
from brinell.auditing.finding import Finding
from brinell.auditing.ledger import Work
from brinell.auditing.plan import Plan, Stage
from brinell.auditing.question import Inquiry, Items, Journal, LeftOut, Phase, Question, Record
from brinell.auditing.subject import Subject
from brinell.auditing.work import Engine, Shard, ShardResult
from brinell.data import Dataset
from brinell.errors import UsageError
from brinell.evidence import (
    Certificate,
    Evidence,
    Failure,
    Look,
    ProbabilisticCertificate,
    Soundness,
    Witness,
)
from brinell.proofs import Forest, Graph
from brinell.questions.evasion import scrutiny
from brinell.questions.evasion import sharpen as sharpening
from brinell.questions.evasion.adaptive import ALIGNED, due, needs_no_gradients
from brinell.questions.evasion.answer import EvasionAnswer
from brinell.questions.evasion.board import EvasionBoard
from brinell.questions.evasion.diagnose import trust
from brinell.questions.evasion.engines import Ranking, attacking, first_look, probing, proving
from brinell.questions.evasion.models import NO_VOTE, build, forest_or_reason, graph_of
from brinell.questions.evasion.plans import PRESETS
from brinell.questions.evasion.preflight import accept as accept_findings
from brinell.questions.evasion.preflight import answers
from brinell.questions.evasion.settle import settling
from brinell.questions.evasion.summary import FIGURES, Diagnosis, EvasionSummary
from brinell.questions.evasion.voting import voting
from brinell.targets import Smoothed, Target
from brinell.targets.examples import check_examples
from brinell.threat import Access, Targeted, Threat
from brinell.threat.radius import parse_radius, spelled

TOO_WEAK = "what is said of votes holds in exact arithmetic"
"""Why smoothing cannot serve a plan that asks for more."""


@final
@dataclass(frozen=True)
class Evasion(Checked, Question):
    """How often can the target be broken under a threat?

    threat: what the adversary may do. radii: several in one run, in place of the threat's own. labels: how radii are
    written, where not by their shortest repr. diagnose: whether the attacks are put to the test; where not, a note says
    so, and only probes of the plan can tell that gradients mislead.

        brinell.audit(subject, [brinell.Evasion(brinell.Threat(brinell.Linf(8 / 255)))])
    """

    threat: Threat
    radii: Sequence[float] | None = None
    labels: Mapping[float, str] | None = field(default=None, compare=False)
    diagnose: bool = field(default=True, compare=False)
    name: ClassVar[str] = "evasion"
    summary: ClassVar[type[EvasionSummary]] = EvasionSummary
    figures: ClassVar[Mapping[str, str | None]] = FIGURES
    plans: ClassVar[Mapping[str, Plan]] = MappingProxyType(PRESETS)
    kinds: ClassVar[Mapping[str, type[Evidence]]] = MappingProxyType(
        {kind.kind: kind for kind in (Witness, Certificate, ProbabilisticCertificate, Failure, Look)}
    )

    @property
    def key(self) -> str:
        return f"evasion/{self.threat.set.name}/{self.threat.goal.label}"

    @classmethod
    def problem(cls, figure: str, at: str | None, value: float) -> str | None:
        problem = super().problem(figure, at, value)
        if problem is not None:
            return problem
        if at is not None:
            parse_radius(at)
        return None if 0 <= value <= 1 else f"{value:g} is not a fraction; write 40 % as 0.4"

    def inquiry(self, subject: Subject, plan: Plan, seed: int) -> "EvasionInquiry":
        return EvasionInquiry(self, subject, plan, seed)

    @classmethod
    def answer(cls, record: Record) -> EvasionAnswer:
        return EvasionAnswer.of(record, cls.kinds)


@final
class EvasionInquiry(Inquiry):
    """Evasion asked of one target, on the examples that the goal leaves to be broken."""

    board: EvasionBoard

    def __init__(self, question: Evasion, subject: Subject, plan: Plan, seed: int) -> None:
        self.target = subject.target
        self.question = question
        self.threat, self.radii = _asked(self.target, question)
        self.key = question.key
        self.kinds = question.kinds
        self.data = _askable(subject.examples, self.threat)
        self.n = len(self.data)
        self.seed = seed
        access = min(self.target.access, self.threat.access)
        max_access = min(self.target.max_access, self.threat.access)
        name = self.threat.set.name
        meant = [stage for stage in plan.stages if not stage.sets or name in stage.sets]
        self._beyond = {
            stage.label: f"only {access.name} are seen" for stage in meant if stage.beyond(access, max_access)
        }
        self.plan = plan.for_access(access, max_access, name)
        for stage in self.plan.stages:
            build(stage)  # what cannot be built is refused before anything is asked
        self.board = EvasionBoard(self.n, self.plan.soundness)
        self._ranking = Ranking()
        self._codes: Sequence[str] = ()

    def identity(self) -> dict[str, Any]:
        threat = self.threat
        return {
            "data": self.data.digest,
            "threat": f"{self.key}, box [{self.target.box.low}, {self.target.box.high}], {threat.access.name}, "
            f"queries {threat.queries or 'unlimited'}",
            "set": threat.set.name + threat.set.about,
            "radii": list(self.radii),
            "plan": self.plan.model_dump(mode="json"),
        }

    def about(self) -> dict[str, Any]:
        return {
            "goal": self.threat.goal.label,
            "classes": self.target.classes or self.data.classes,
            "features": self.data.features,
            "box": [self.target.box.low, self.target.box.high],
            "n": self.n,
            "ids": self.data.ids.tolist(),
            "y": self.data.y.tolist(),
            "examples": self.data.names,
            "labels": {repr(radius): text for radius, text in (self.question.labels or {}).items()},
            "left_out": self._beyond,
        }

    def preflight(self, clock: Clock, accepted: Collection[str], known: Mapping[str, Any] | None) -> list[Finding]:
        """The findings on record, where a run has all of them; else those of a preflight."""
        recorded = [] if known is None else [Finding.model_validate(finding) for finding in known.get("findings", ())]
        if known is not None and scrutiny.complete(recorded):
            return accept_findings(recorded, accepted)
        fit = partial(_check, data=self.data, threat=self.threat)
        return scrutiny.preflight(self.target, self.data, self.threat, clock, accepted, fit)

    def diagnose(self, clock: Clock, accepted: Collection[str], journal: Journal) -> None:
        findings = [Finding.model_validate(finding) for finding in journal.get("findings", ())]
        recorded = Diagnosis.model_validate(journal.get("diagnosis")) if journal.get("diagnosis") else None
        reason = scrutiny.undiagnosed(self.plan, self.threat) if self.question.diagnose else scrutiny.NOT_WANTED
        diagnosis: Diagnosis | None = None
        if reason is not None:
            journal.note(reason)
            diagnosis = None if recorded is None else scrutiny.marked(recorded, accepted)
        elif recorded is not None and not recorded.left:
            diagnosis = scrutiny.marked(recorded, accepted)
        else:
            diagnosis = scrutiny.diagnosis(
                self.target, self.data, self.threat, clock, findings, accepted, self.seed, self._probes_blindly
            )
            if diagnosis is None or (recorded is not None and len(recorded.checks) > len(diagnosis.checks)):
                diagnosis = recorded
        codes = journal.get("codes", _codes(findings, diagnosis))  # what stages have waited for stays as it was
        journal.update(codes=codes, diagnosis=None if diagnosis is None else diagnosis.model_dump(mode="json"))
        self._codes = codes

    @property
    def _probes_blindly(self) -> bool:
        """Whether a probe of the plan needs no gradients."""
        probes = (stage for stage in self.plan.stages if stage.probes and stage.answers_for(self.threat.set.name))
        return any(map(needs_no_gradients, probes))

    def phases(self) -> list[Phase]:
        return list(_phases(self.plan, self.radii))

    def due(self, phase: Phase, work: Sequence[Work]) -> bool:
        return due(self.plan, phase.stage, phase.key, work, self._codes)

    def chosen(self, phase: Phase) -> Items:
        stage = self.plan.stages[phase.stage]
        radius = float(phase.key)
        smallest = radius == float("inf")
        if stage.on == "certified":
            return self.board.proved(min(self.radii) if smallest else radius)
        if stage.on == "unbroken":
            return self.board.unbroken()
        chosen = self.board.standing() if smallest else self.board.open(radius)
        if stage.sample is None or stage.row.kind == "attack":  # which finds the most fragile ones by itself
            return chosen
        return self._surest(chosen, stage.sample)

    def _surest(self, chosen: Items, most: int) -> Items:
        """Some of these examples: those the target is surest of as they are."""
        sureness = np.zeros(self.n)
        for item, look in self.board.looks.items():
            sureness[item] = look.confidence or 0.0
        return np.sort(chosen[np.argsort(-sureness[chosen], kind="stable")[:most]])

    def size(self, phase: Phase) -> int:
        return self.plan.size(self.plan.stages[phase.stage], self._neurons)

    def shard(self, items: Items, seed: int) -> Shard:
        return Shard(items.tolist(), self.data.x[items], self.data.y[items], seed)

    def engine(self, phase: Phase) -> Engine | LeftOut:
        stage = self.plan.stages[phase.stage]
        if not stage.answers_for(self.threat.set.name):
            return LeftOut(f"it answers for {' and '.join(stage.row.sets)} only")
        threat = self.threat.at(float(phase.key))
        match stage.row.kind:
            case "attack":
                return self._attack(stage, threat)
            case "exact":
                return self._exact(stage, threat)
            case "vote":
                return self._vote(stage, threat)
            case _:
                graph = self._graph
                return proving(build(stage), graph, stage.label, threat) if isinstance(graph, Graph) else LeftOut(graph)

    def _attack(self, stage: Stage, threat: Threat) -> Engine:
        if stage.engine == "Clean":
            return first_look(stage.label, threat)
        if stage.sample is None:
            return attacking(build(stage), stage.label, threat)
        return probing(build(stage), stage.label, threat, stage.sample, self._ranking, pays=stage is self._first_ranked)

    def _exact(self, stage: Stage, threat: Threat) -> Engine | LeftOut:
        exact = build(stage)
        model = self._forest if exact.reads is Forest else self._graph
        reason = model if isinstance(model, str) else exact.unfit(model)
        if reason is not None:
            return LeftOut(reason)
        return settling(exact.demanding(self.plan.soundness), model, stage.label, threat)

    def _vote(self, stage: Stage, threat: Threat) -> Engine | LeftOut:
        if not isinstance(self.target.backend, Smoothed):
            return LeftOut(NO_VOTE)
        if self.plan.soundness is not Soundness.REAL:
            return LeftOut(f"{TOO_WEAK}, and this run counts from {self.plan.soundness} on")
        return voting(build(stage), stage.label, threat)

    @cached_property
    def _first_ranked(self) -> Stage | None:
        """The first attack that is asked about a sample, which pays for their ranking."""
        sampled = (stage for stage in self.plan.stages if stage.sample is not None and stage.row.kind == "attack")
        return next((stage for stage in sampled if stage.answers_for(self.threat.set.name)), None)

    @cached_property
    def _graph(self) -> Graph | str:
        """What verifiers read, or why there is none; made once."""
        return graph_of(self.target, self.data.x)

    def _neurons(self) -> int | None:
        return self._graph.neurons if isinstance(self._graph, Graph) else None

    @cached_property
    def _forest(self) -> Forest | str:
        """The trees that exact engines read, or why there are none; read once."""
        return forest_or_reason(self.target)

    def settles(self, evidence: Evidence, phase: Phase) -> bool:
        """A certificate may fall short of the radius, or be too weak to count."""
        radius = float(phase.key)
        if isinstance(evidence, Certificate):
            return evidence.radius >= radius and evidence.soundness.covers(self.plan.soundness)
        if isinstance(evidence, ProbabilisticCertificate):
            return evidence.radius >= radius
        return isinstance(evidence, Witness)

    def open(self, phase: Phase) -> int:
        """Of an infinite radius, those at the largest that was asked about."""
        return len(self.board.open(min(float(phase.key), max(self.radii))))

    def told(self, phase: Phase) -> str:
        radius = float(phase.key)
        if radius == float("inf"):
            return "any radius"
        return (self.question.labels or {}).get(radius, spelled(radius))

    def finish(self, journal: Journal, clock: Clock) -> None:
        """Nearer witnesses of the most fragile examples."""
        if journal.get(sharpening.SHARD):
            return
        ledger = journal.ledger
        recorded = EvasionBoard.of(self.n, self.plan.soundness, ledger.evidence(self.key, self.question.kinds))
        witnesses = sharpening.chosen(list(recorded.witnesses.values()))
        held = {name: ledger.tensors(name)["x"] for name in {str(w.artifact) for w in witnesses}}
        points = torch.stack([held[str(w.artifact)][w.row] for w in witnesses]) if witnesses else self.data.x[:0]
        watched = self.target.watched(clock.checkpoint)

        def work() -> ShardResult:
            with one_thread():
                return sharpening.sharpen(
                    watched, self.data, self.threat, witnesses, points, self.seed, clock.checkpoint
                )

        found = clock.watch(work)
        journal.add(sharpening.SHARD, found.evidence, found.tensors, {sharpening.SHARD: True})


def _codes(findings: Sequence[Finding], diagnosis: Diagnosis | None) -> tuple[str, ...]:
    """What preflight and diagnosis found, by code, and whether gradients are aligned."""
    if diagnosis is None:
        return tuple(finding.code for finding in findings)
    codes = tuple(finding.code for finding in (*findings, *diagnosis.findings))
    return (*codes, ALIGNED) if not diagnosis.left and trust(diagnosis.checks, codes) else codes


def _asked(target: Target, question: Evasion) -> tuple[Threat, tuple[float, ...]]:
    """(the threat at the largest radius, within the target's box; the radii, ascending)."""
    radii, threat = question.radii, question.threat
    chosen = tuple(sorted({float(radius) for radius in radii})) if radii is not None else (threat.set.radius,)
    if not chosen:
        raise UsageError("radii is empty; give at least one")
    if not all(0 <= radius < float("inf") for radius in chosen):
        raise UsageError(f"radii are {chosen}; an audit needs finite radii >= 0")
    return threat.at(chosen[-1]).within(target.box), chosen


def _phases(plan: Plan, radii: tuple[float, ...]) -> Iterator[Phase]:
    """Every stage at every radius. A witness serves larger radii, so attacks go up; a certificate smaller ones, so
    proofs go down; the first look is taken once, at the smallest; what seeks the smallest perturbation goes once,
    at an infinite radius, and answers for them all."""
    for index, stage in enumerate(plan.stages):
        ascending = sorted(radii)
        if stage.engine == "Clean":
            ascending = ascending[:1]
        elif stage.infinite:
            ascending = [float("inf")]
        for radius in ascending if stage.row.kind == "attack" else reversed(ascending):
            yield Phase(index, repr(radius))


def _askable(data: Dataset, threat: Threat) -> Dataset:
    """Without the examples that carry the very class an adversary is to reach."""
    if not isinstance(threat.goal, Targeted):
        return data
    keep = data.y != threat.goal.target
    if not keep.any():
        raise UsageError(f"every example is labelled {threat.goal.target}, the class to be reached; give others")
    return replace(data, x=data.x[keep], y=data.y[keep], ids=data.ids[keep])


def _check(target: Target, data: Dataset, threat: Threat) -> None:
    """Refuse unfit examples, and a goal that does not fit them, in front of the first example that the target answers.

    Where it answers for none, they are asked all the same: each becomes an error.
    """
    first = next((row for row in range(len(data)) if answers(target, data.x[row : row + 1])), None)
    if first is None:
        return
    x, y = (data.x, data.y) if first == 0 else (data.x.roll(-first, 0), data.y.roll(-first))
    check_examples(target, x, y, threat)
    seen = min(target.access, threat.access) >= Access.SCORES
    threat.goal.aims(y[:1], target.scores(x[:1]) if seen else None)

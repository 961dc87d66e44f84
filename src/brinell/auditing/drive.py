"""The driver: takes a plan through its stages, shard by shard, and writes down what came of each.

Workers are threads, each with a copy of the target and one torch thread: torch lets go of the interpreter lock while it
computes, nothing has to be pickled, and a shard's numbers do not depend on how many workers there are.
"""

import inspect
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, final

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from brinell.auditing.board import Board
from brinell.auditing.clock import Clock, Stopped
from brinell.auditing.ledger import Ledger, Work
from brinell.auditing.plan import Plan, Stage, find
from brinell.auditing.settle import settling
from brinell.auditing.voting import voting
from brinell.auditing.work import Engine, Outcome, Shard, attacking, first_look, perform, proving, seed_of
from brinell.data import Dataset
from brinell.errors import CannotRun, Contradiction, UsageError
from brinell.evasion import Objective, cross_entropy, dlr, margin
from brinell.evidence import Certificate, Evidence, Failure, ProbabilisticCertificate, Soundness, Witness
from brinell.proofs import Exact, Forest, Graph, Verifier, forest_of, trace
from brinell.targets import Smoothed, Target
from brinell.threat import Threat
from brinell.types import Inputs

NO_VOTE = "it speaks of votes over noise, and the target takes none; make one with brinell.targets.smoothed"
"""Why smoothing has nothing to say of a plain target: its certificates would be another classifier's."""

TOO_WEAK = "what is said of votes holds in exact arithmetic"
"""Why smoothing cannot serve a plan that asks for more."""


@final
@dataclass(frozen=True)
class Question:
    """What a run answers: one threat, at one or more radii."""

    threat: Threat
    radii: tuple[float, ...]

    @property
    def key(self) -> str:
        """Its name in the ledger."""
        return f"evasion/{self.threat.set.name}/{self.threat.goal.label}"


@final
@dataclass(frozen=True)
class Progress:
    """Where a run stands, after each shard. done, total: shards of all stages; settled ones need no more asking.

    radius: infinite where the smallest perturbation is sought; `open` is then said of the largest radius asked about.
    """

    stage: Stage
    radius: float
    done: int
    total: int
    open: int
    elapsed: float


@final
@dataclass(frozen=True)
class _Phase:
    """One stage at one radius, infinite where it seeks the smallest: its shards do not depend on one another."""

    stage: int
    radius: float


@final
class Driver:
    """One run: a target, examples, a question, a plan; and the ledger they are written to."""

    def __init__(
        self,
        target: Target,
        data: Dataset,
        question: Question,
        plan: Plan,
        ledger: Ledger,
        *,
        seed: int,
        workers: int,
        clock: Clock,
        on_progress: Callable[[Progress], None],
        on_note: Callable[[str], None],
    ) -> None:
        self.target = target
        self.data = data
        self.question = question
        self.plan = plan
        self.ledger = ledger
        self.seed = seed
        self.workers = workers
        self.clock = clock
        self.board = Board(len(data.y), plan.soundness)
        self._on_progress = on_progress
        self._on_note = on_note
        self._done = ledger.done(question.key)
        for stage in plan.stages:
            build(stage)  # what cannot be built is refused before anything is asked
        for evidence in ledger.evidence(question.key):
            self._believe(evidence)

    def run(self) -> str:
        """Go through the plan; returns how it ended: complete, budget, or interrupted."""
        phases = list(_phases(self.plan, self.question.radii))
        ends = list(accumulate((-(-len(self.data.y) // self._size(phase)) for phase in phases), initial=0))
        try:
            with _Workers(self.target, self.workers, self.clock) as workers:
                for index in range(self._reached(phases), len(phases)):
                    self._run_phase(phases[index], workers, ends[index], ends[-1])
        except KeyboardInterrupt:
            return "interrupted"
        except Stopped as stopped:
            return stopped.reason
        return "complete"

    def _reached(self, phases: list[_Phase]) -> int:
        """The last phase with work on record: those before it are complete, and what they would ask now is settled
        or, for a stage that challenges what is proved, was not yet proved when their turn came."""
        begun = {_Phase(work.stage, work.radius) for work in self.ledger.work()}
        return max((index for index, phase in enumerate(phases) if phase in begun), default=0)

    def _run_phase(self, phase: _Phase, workers: "_Workers", done: int, total: int) -> None:
        stage = self.plan.stages[phase.stage]
        threat = self.question.threat.at(phase.radius)
        todo = list(self._shards(stage, phase))
        engine = self._engine(stage) if todo else None
        if engine is None:
            return
        futures = {workers.submit(engine, shard, threat): (name, shard) for name, shard in todo}
        for count, future in enumerate(as_completed(futures), 1):
            name, shard = futures[future]
            self._record(stage, phase, name, shard, future.result())
            self._on_progress(
                Progress(
                    stage,
                    phase.radius,
                    done + count,
                    total,
                    len(self.board.open(min(phase.radius, max(self.question.radii)))),
                    self.clock.elapsed,
                )
            )

    def _shards(self, stage: Stage, phase: _Phase) -> Iterator[tuple[str, Shard]]:
        """The shards of this phase that have work left to do, by name."""
        chosen = self._chosen(stage, phase)
        block = chosen // self._size(phase)
        for number in sorted(set(block.tolist())):
            name = f"{phase.radius!r}/{number:05d}"
            if (stage.label, name) not in self._done:
                items = chosen[block == number]
                seed = seed_of(self.seed, self.question.key, stage.label, name)
                yield name, Shard(items.tolist(), self.data.x[items], self.data.y[items], seed)

    def _size(self, phase: _Phase) -> int:
        """How many examples a shard of this phase is about, at most."""
        return self.plan.size(self.plan.stages[phase.stage])

    def _chosen(self, stage: Stage, phase: _Phase) -> np.ndarray:
        """The examples this phase is about. Which those of a smallest perturbation are, only the first look decides."""
        smallest = phase.radius == float("inf")
        if stage.on == "certified":
            return self.board.proved(min(self.question.radii) if smallest else phase.radius)
        return self.board.standing() if smallest else self.board.open(phase.radius)

    def _record(self, stage: Stage, phase: _Phase, name: str, shard: Shard, outcome: Outcome) -> None:
        evidence = [replace(e, engine=stage.label) for e in outcome.evidence]
        work = Work(
            self.question.key,
            stage.label,
            name,
            phase.stage,
            phase.radius,
            len(shard.items),
            len({e.item for e in evidence if _settles(e, phase.radius, self.plan.soundness)}),
            sum(isinstance(e, Failure) for e in evidence),
            outcome.forwards,
            outcome.gradients,
            outcome.seconds,
        )
        self.ledger.record(work, evidence, outcome.items, outcome.tensors)
        for e in evidence:
            self._believe(e)

    def _believe(self, evidence: Evidence) -> None:
        try:
            self.board.add(evidence)
        except Contradiction as error:
            raise Contradiction(f"{error}; both are kept in {self.ledger.path} to reproduce it") from None

    def _engine(self, stage: Stage) -> Engine | None:
        """The engine of a stage; None, with a note, where this target or set is beyond it."""
        row = stage.row
        if row.sets and self.question.threat.set.name not in row.sets:
            self._on_note(f"{stage.label} left out: it answers for {' and '.join(row.sets)} only")
            return None
        built = build(stage)
        if row.kind == "attack":
            return first_look(stage.label) if stage.engine == "Clean" else attacking(built, stage.label)
        if row.kind == "exact":
            model = self._forest if built.reads is Forest else self._graph
            reason = model if isinstance(model, str) else built.unfit(model)
            if reason is not None:
                self._on_note(f"{stage.label} left out: {reason}")
                return None
            return settling(built.demanding(self.plan.soundness), model, stage.label)
        if row.kind == "vote":
            if not isinstance(self.target.backend, Smoothed):
                self._on_note(f"{stage.label} left out: {NO_VOTE}")
                return None
            if self.plan.soundness is not Soundness.REAL:
                self._on_note(f"{stage.label} left out: {TOO_WEAK}, and this run counts from {self.plan.soundness} on")
                return None
            return voting(built, stage.label)
        if not isinstance(self._graph, Graph):
            self._on_note(f"{stage.label} left out: {self._graph}")
            return None
        return proving(built, self._graph, stage.label)

    @cached_property
    def _graph(self) -> Graph | str:
        """What verifiers read, or why there is none; made once."""
        return graph_of(self.target, self.data.x)

    @cached_property
    def _forest(self) -> Forest | str:
        """The trees that exact engines read, or why there are none; read once."""
        return forest_or_reason(self.target)


@final
class _Workers:
    """Threads with a copy of the target each. Leaving ends them at their next checkpoint."""

    def __init__(self, target: Target, count: int, clock: Clock) -> None:
        self._clock = clock
        self._threads = torch.get_num_threads()
        self._targets: queue.SimpleQueue[Target] = queue.SimpleQueue()
        for copy in [target, *(target.copy() for _ in range(count - 1))]:
            self._targets.put(copy)
        self._pool = ThreadPoolExecutor(count, "brinell", lambda: torch.set_num_threads(1))

    def __enter__(self) -> "_Workers":
        torch.set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._clock.interrupt()
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._threads)

    def submit(self, engine: Engine, shard: Shard, threat: Threat) -> Future[Outcome]:
        """Have an engine run on a shard by whoever is free."""
        return self._pool.submit(self._perform, engine, shard, threat)

    def _perform(self, engine: Engine, shard: Shard, threat: Threat) -> Outcome:
        self._clock.checkpoint()
        target = self._targets.get()
        try:
            return perform(engine, target, shard, threat, self._clock.checkpoint)
        finally:
            self._targets.put(target)


def graph_of(target: Target, x: Inputs) -> Graph | str:
    """What verifiers read of a target, or why there is nothing to read."""
    try:
        return trace(target.module(), target.seen(x[:1]))
    except (CannotRun, UsageError) as error:
        return str(error)


def model_for(exact: Exact[Any], target: Target, x: Inputs) -> Any:
    """What an exact engine reads of a target; raises CannotRun where there is nothing for it to read."""
    model = forest_or_reason(target) if exact.reads is Forest else graph_of(target, x)
    reason = model if isinstance(model, str) else exact.unfit(model)
    if reason is not None:
        raise CannotRun(reason)
    return model


def forest_or_reason(target: Target) -> Forest | str:
    """The trees of a target, or why there are none to read."""
    try:
        return forest_of(target)
    except CannotRun as error:
        return str(error)


def build(stage: Stage) -> Any:
    """The engine a stage names, with its settings. Raises UsageError naming the setting that does not fit."""
    engine = stage.row.resolve()
    takes = inspect.signature(engine).parameters
    settings = {}
    for name, value in stage.settings.items():
        if name not in takes:
            raise UsageError(f"{stage.engine} has no setting {name!r}; it takes {', '.join(takes) or 'none'}")
        kind = TypeAdapter(takes[name].annotation, config=ConfigDict(arbitrary_types_allowed=True))
        try:
            settings[name] = kind.validate_python(_NAMED[name](value) if name in _NAMED else value)
        except ValidationError as error:
            raise UsageError(f"{stage.engine} cannot have {name}={value!r}: {error.errors()[0]['msg']}") from None
    return engine(**settings)


def _settles(evidence: Evidence, radius: float, least: Soundness) -> bool:
    """Whether it decides its example at this radius: a certificate may fall short of it, or be too weak to count."""
    if isinstance(evidence, Certificate):
        return evidence.radius >= radius and evidence.soundness.covers(least)
    if isinstance(evidence, ProbabilisticCertificate):
        return evidence.radius >= radius
    return isinstance(evidence, Witness)


def _verifier(name: object) -> Verifier:
    row = find(name) if isinstance(name, str) else None
    if row is None or row.kind != "proof":
        raise UsageError(f"verifier {name!r} is no proof of the catalogue")
    verifier: Verifier = row.resolve()()
    return verifier


def _objective(name: object) -> Objective:
    known = {"cross_entropy": cross_entropy, "dlr": dlr, "margin": margin}
    if not isinstance(name, str) or name not in known:
        raise UsageError(f"objective {name!r} is not known; there are {', '.join(known)}")
    return known[name]


def _phases(plan: Plan, radii: tuple[float, ...]) -> Iterator[_Phase]:
    """Every stage at every radius. A witness serves larger radii, so attacks go up; a certificate smaller ones, so
    proofs go down; the first look is taken once, at the smallest; what seeks the smallest perturbation goes once,
    at an infinite radius, and answers for them all."""
    for index, stage in enumerate(plan.stages):
        ascending = sorted(radii)
        if stage.engine == "Clean":
            ascending = ascending[:1]
        elif stage.row.smallest:
            ascending = [float("inf")]
        for radius in ascending if stage.row.kind == "attack" else reversed(ascending):
            yield _Phase(index, radius)


_NAMED = {"objective": _objective, "verifier": _verifier}
"""Settings that plans give by name."""

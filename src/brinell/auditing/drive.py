"""The driver: takes a plan through its stages, shard by shard, and writes down what came of each.

Workers are threads, each with a copy of the target and one torch thread: torch lets go of the interpreter lock while it
computes, nothing has to be pickled, and a shard's numbers do not depend on how many workers there are.
"""

import contextlib
import inspect
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, final

import numpy as np
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError

from brinell.auditing.adaptive import due
from brinell.auditing.board import Board
from brinell.auditing.clock import PATIENCE, Allowance, Clock, Stopped
from brinell.auditing.ledger import Ledger, Work
from brinell.auditing.plan import Plan, Stage, find
from brinell.auditing.settle import settling
from brinell.auditing.voting import voting
from brinell.auditing.work import (
    Engine,
    Outcome,
    Ranking,
    Shard,
    attacking,
    first_look,
    perform,
    probing,
    proving,
    seed_of,
)
from brinell.data import Dataset
from brinell.errors import CannotRun, Contradiction, UsageError
from brinell.evasion import Objective, cross_entropy, dlr, margin
from brinell.evasion.gradient.start import StartingPoint, Vertices
from brinell.evidence import Certificate, Evidence, Failure, ProbabilisticCertificate, Soundness, Witness
from brinell.proofs import Exact, Forest, Graph, Verifier, forest_of, trace
from brinell.targets import Smoothed, Target
from brinell.targets.generators import generators_kept
from brinell.threat import Threat
from brinell.types import Inputs

NO_VOTE = "it speaks of votes over noise, and the target takes none; make one with brinell.targets.smoothed"
"""Why smoothing has nothing to say of a plain target: its certificates would be another classifier's."""

TOO_WEAK = "what is said of votes holds in exact arithmetic"
"""Why smoothing cannot serve a plan that asks for more."""

_SHORT = 5.0
"""Seconds that the stages before one are taken to have taken, at least: a multiple of less allows nothing."""


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
        findings: Sequence[str] = (),
        on_progress: Callable[[Progress], None],
        on_note: Callable[[str], None],
        on_left_out: Callable[[str, str], None],
    ) -> None:
        self.target = target
        self.data = data
        self.question = question
        self.plan = plan
        self.ledger = ledger
        self.seed = seed
        self.workers = workers
        self.clock = clock
        self.findings = findings
        self.board = Board(len(data.y), plan.soundness)
        self._on_progress = on_progress
        self._on_note = on_note
        self._on_left_out = on_left_out
        self._ranking = Ranking()
        self.dropped: dict[str, float] = {}  # by stage: seconds of worker time on work that was cut short
        self._work = ledger.work()
        self._done = {(work.engine, work.shard) for work in self._work}
        self._cut: list[str] = ledger.manifest().get("cut", [])
        for stage in plan.stages:
            build(stage)  # what cannot be built is refused before anything is asked
        for evidence in ledger.evidence(question.key):
            self._believe(evidence)

    def run(self) -> str:
        """Go through the plan; returns how it ended: complete, budget, or interrupted."""
        phases = list(_phases(self.plan, self.question.radii))
        ends = list(accumulate((self._most(phase) for phase in phases), initial=0))
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
        begun = {_Phase(work.stage, work.radius) for work in self._work}
        return max((index for index, phase in enumerate(phases) if phase in begun), default=0)

    def _run_phase(self, phase: _Phase, workers: "_Workers", done: int, total: int) -> None:
        stage = self.plan.stages[phase.stage]
        threat = self.question.threat.at(phase.radius)
        todo = list(self._shards(stage, phase)) if self._due(phase) else []
        engine = self._engine(stage) if todo else None
        if engine is None:
            return

        allowance = self._allowance(phase, min(self.workers, len(todo)))
        self.dropped.setdefault(stage.label, 0.0)
        tasks = {workers.submit(engine, shard, threat, allowance): (name, shard) for name, shard in todo}
        try:
            for count, task in enumerate(workers.ended(tasks), 1):
                name, shard = tasks[task]
                try:
                    outcome = task.outcome()
                except Stopped as stopped:
                    if stopped.reason != "price":
                        raise
                    self._cut_short(stage)
                    continue
                self._record(stage, phase, name, shard, outcome)
                task.recorded = True
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
        finally:
            self.dropped[stage.label] += sum(task.seconds for task in tasks if not task.recorded)

    def _due(self, phase: _Phase) -> bool:
        """Whether the turn of this phase has come, and its stage was not cut short before."""
        label = self.plan.stages[phase.stage].label
        return label not in self._cut and due(self.plan, phase.stage, phase.radius, self._work, self.findings)

    def _allowance(self, phase: _Phase, workers: int) -> Allowance:
        """What is left of the seconds that this stage may take: a multiple of what those in front of it took.

        workers: those that will be at work on it, who share it.
        """
        within = self.plan.stages[phase.stage].within
        if within is None:
            return Allowance(self.clock)
        before = sum(w.seconds for w in self._work if w.stage < phase.stage)
        spent = sum(w.seconds for w in self._work if w.stage == phase.stage)
        return Allowance(self.clock, max(0.0, within * max(before, _SHORT) - spent) / workers)

    def _cut_short(self, stage: Stage) -> None:
        """Let a stage end that has become too expensive; what it has not settled stays open."""
        if stage.label in self._cut:
            return
        self._cut.append(stage.label)
        self.ledger.describe({"cut": self._cut})
        self._on_note(
            f"{stage.label} was ended when it had taken {stage.within:g} times the seconds of all stages before it; "
            "what it had not reached stays open"
        )

    def _shards(self, stage: Stage, phase: _Phase) -> Iterator[tuple[str, Shard]]:
        """The shards of this phase that have work left to do, by name."""
        chosen = self._chosen(stage, phase)
        block = np.zeros_like(chosen) if stage.sample else chosen // self._size(phase)  # a sample is never taken twice
        for number in sorted(set(block.tolist())):
            name = f"{phase.radius!r}/{number:05d}"
            if (stage.label, name) not in self._done:
                items = chosen[block == number]
                seed = seed_of(self.seed, self.question.key, stage.label, name)
                yield name, Shard(items.tolist(), self.data.x[items], self.data.y[items], seed)

    def _size(self, phase: _Phase) -> int:
        """How many examples a shard of this phase is about, at most."""
        return self.plan.size(self.plan.stages[phase.stage], self._neurons)

    def _most(self, phase: _Phase) -> int:
        """Shards of this phase, at most."""
        return 1 if self.plan.stages[phase.stage].sample else -(-len(self.data.y) // self._size(phase))

    def _chosen(self, stage: Stage, phase: _Phase) -> np.ndarray:
        """The examples this phase is about. Which those of a smallest perturbation are, only the first look decides."""
        smallest = phase.radius == float("inf")
        if stage.on == "certified":
            return self.board.proved(min(self.question.radii) if smallest else phase.radius)
        if stage.on == "unbroken":
            return self.board.unbroken()
        chosen = self.board.standing() if smallest else self.board.open(phase.radius)
        if stage.sample is None or stage.row.kind == "attack":  # which finds the most fragile ones by itself
            return chosen
        return self._surest(chosen, stage.sample)

    def _surest(self, chosen: np.ndarray, most: int) -> np.ndarray:
        """Some of these examples: those the target is surest of as they are."""
        sureness = np.zeros(len(self.data.y))
        for item in self.ledger.items():
            sureness[item.item] = item.confidence or 0.0
        return np.sort(chosen[np.argsort(-sureness[chosen], kind="stable")[:most]])

    def _record(self, stage: Stage, phase: _Phase, name: str, shard: Shard, outcome: Outcome) -> None:
        evidence = [replace(e, engine=stage.label) for e in outcome.evidence]
        work = Work(
            self.question.key,
            stage.label,
            name,
            phase.stage,
            phase.radius,
            len(shard.items) if outcome.asked is None else outcome.asked,
            len({e.item for e in evidence if _settles(e, phase.radius, self.plan.soundness)}),
            sum(isinstance(e, Failure) for e in evidence),
            outcome.forwards,
            outcome.gradients,
            outcome.seconds,
        )
        self.ledger.record(work, evidence, outcome.items, outcome.tensors)
        self._work.append(work)
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
            self._on_left_out(stage.label, f"it answers for {' and '.join(row.sets)} only")
            return None
        built = build(stage)
        if row.kind == "attack":
            if stage.engine == "Clean":
                return first_look(stage.label)
            if stage.sample is None:
                return attacking(built, stage.label)
            return probing(built, stage.label, stage.sample, self._ranking, pays=stage is self._first_ranked)
        if row.kind == "exact":
            model = self._forest if built.reads is Forest else self._graph
            reason = model if isinstance(model, str) else built.unfit(model)
            if reason is not None:
                self._on_left_out(stage.label, reason)
                return None
            return settling(built.demanding(self.plan.soundness), model, stage.label)
        if row.kind == "vote":
            if not isinstance(self.target.backend, Smoothed):
                self._on_left_out(stage.label, NO_VOTE)
                return None
            if self.plan.soundness is not Soundness.REAL:
                self._on_left_out(stage.label, f"{TOO_WEAK}, and this run counts from {self.plan.soundness} on")
                return None
            return voting(built, stage.label)
        if not isinstance(self._graph, Graph):
            self._on_left_out(stage.label, self._graph)
            return None
        return proving(built, self._graph, stage.label)

    @cached_property
    def _first_ranked(self) -> Stage | None:
        """The first attack that is asked about a sample, which pays for their ranking."""
        name = self.question.threat.set.name
        sampled = (s for s in self.plan.stages if s.sample is not None and s.row.kind == "attack")
        return next((stage for stage in sampled if stage.answers_for(name)), None)

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


@final
class _Task:
    """An engine on a shard, for whichever worker is free. recorded: whether what it came to was written down."""

    def __init__(self, engine: Engine, shard: Shard, threat: Threat, allowance: Allowance) -> None:
        self.engine = engine
        self.shard = shard
        self.threat = threat
        self.allowance = allowance
        self.recorded = False
        self._begun: float | None = None
        self._ended: float | None = None
        self._outcome: Outcome | BaseException | None = None

    def perform(self, target: Target) -> None:
        """Do it, and keep what came of it, or what it raised."""
        self._begun = time.monotonic()
        try:
            self.allowance.checkpoint()
            self._outcome = perform(self.engine, target, self.shard, self.threat, self.allowance.checkpoint)
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
            self._outcome = error
        self._ended = time.monotonic()

    def outcome(self) -> Outcome:
        """What came of it, once it has ended."""
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    @property
    def seconds(self) -> float:
        """Seconds it has taken, so far or to its end."""
        if self._begun is None:
            return 0.0
        return (self._ended or time.monotonic()) - self._begun


@final
class _Workers:
    """Threads with a copy of the target each. Leaving early ends them at their next checkpoint.

    A call of the model that does not return cannot be ended: the thread is a daemon, is waited for no longer than the
    clock's patience, and is left behind. It writes nothing: what is recorded is recorded by the driver.
    """

    def __init__(self, target: Target, count: int, clock: Clock) -> None:
        self._clock = clock
        self._threads = torch.get_num_threads()
        self._todo: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        copies = [target, *(target.copy() for _ in range(count - 1))]
        self._workers = [
            threading.Thread(target=self._work, args=(copy,), name="brinell", daemon=True) for copy in copies
        ]

    def __enter__(self) -> "_Workers":
        torch.set_num_threads(1)
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._clock.interrupt()
        for _worker in self._workers:
            self._todo.put(None)
        until = None if kind is None else time.monotonic() + PATIENCE
        for worker in self._workers:
            worker.join(None if until is None else max(0.0, until - time.monotonic()))
            if worker.is_alive():
                generators_kept.abandon(worker)
        torch.set_num_threads(self._threads)

    def submit(self, engine: Engine, shard: Shard, threat: Threat, allowance: Allowance) -> _Task:
        """Have an engine run on a shard by whoever is free."""
        task = _Task(engine, shard, threat, allowance)
        self._todo.put(task)
        return task

    def ended(self, tasks: Collection[_Task]) -> Iterator[_Task]:
        """These tasks as they end. Raises Stopped where one has not ended a little after the deadline."""
        for _ in tasks:
            try:
                yield self._done.get(timeout=self._clock.patience)
            except queue.Empty:
                raise Stopped("budget") from None

    def _work(self, target: Target) -> None:
        torch.set_num_threads(1)
        while (task := self._todo.get()) is not None:
            task.perform(target)
            self._done.put(task)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Here torch keeps to one thread: sums are not reordered by how many share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def graph_of(target: Target, x: Inputs) -> Graph | str:
    """What verifiers read of a target, or why there is nothing to read: whatever its reader raised."""
    try:
        return trace(target.module(), target.seen(x[:1]), target.box)
    except (CannotRun, UsageError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 of the user's module, or of PyTorch about it: no proofs, and the audit goes on
        said = str(error).strip().partition("\n")[0]
        return f"the network cannot be read ({type(error).__name__}: {said})"


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


def _start(name: object) -> StartingPoint:
    if name != "vertices":
        raise UsageError(f"start {name!r} is not known; there is vertices")
    return Vertices()


def _phases(plan: Plan, radii: tuple[float, ...]) -> Iterator[_Phase]:
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
            yield _Phase(index, radius)


_NAMED = {"objective": _objective, "verifier": _verifier, "start": _start}
"""Settings that plans give by name."""

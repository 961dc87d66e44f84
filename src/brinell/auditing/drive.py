"""The driver: takes a plan through its stages, shard by shard, and writes down what came of each.

Workers are threads, each with a copy of the target and one torch thread: torch lets go of the interpreter lock while it
computes, nothing has to be pickled, and a shard's numbers do not depend on how many workers there are.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import final

import numpy as np
import torch

from brinell.auditing.clock import PATIENCE, Allowance, Clock, Stopped
from brinell.auditing.ledger import Work
from brinell.auditing.plan import Stage
from brinell.auditing.question import Inquiry, Journal, LeftOut, Phase
from brinell.auditing.work import Engine, Shard, ShardResult, perform, seed_of
from brinell.errors import Contradiction
from brinell.evidence import Evidence, Failure
from brinell.targets import Target
from brinell.targets.generators import generators_kept

_SHORT = 5.0
"""Seconds that the stages before one are taken to have taken, at least: a multiple of less allows nothing."""


@final
@dataclass(frozen=True)
class Progress:
    """Where a question stands, after each shard. done, total: shards of all stages; settled ones need no more asking.

    at: the condition that the stage is asked under, as its reader knows it; empty without one. open: items still open.
    """

    stage: Stage
    at: str
    done: int
    total: int
    open: int
    elapsed: float


@final
class Driver:
    """One question of a run, taken through its plan; and the ledger that what comes of it is written to."""

    def __init__(
        self,
        inquiry: Inquiry,
        journal: Journal,
        *,
        seed: int,
        clock: Clock,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.inquiry = inquiry
        self.plan = inquiry.plan
        self.journal = journal
        self.seed = seed
        self.clock = clock
        self._on_progress = on_progress
        self._workers = 1
        self.dropped: dict[str, float] = {}  # by stage: seconds of worker time on work that was cut short
        self._work = journal.ledger.work(inquiry.key)
        self._done = {(work.engine, work.shard) for work in self._work}
        self._cut: list[str] = journal.get("cut", [])

    def recall(self) -> None:
        """Take what is on record into account. Raises Contradiction."""
        self.believe(self.journal.ledger.evidence(self.inquiry.key, self.inquiry.kinds))

    def believe(self, evidence: Iterable[Evidence]) -> None:
        """Take evidence into account. Raises Contradiction."""
        for one in evidence:
            self._believe(one)

    def run(self, workers: "Workers") -> None:
        """Go through the plan. Raises Stopped, or KeyboardInterrupt, where it does not come to its end."""
        self._workers = workers.count
        phases = self.inquiry.phases()
        ends = list(accumulate((self._most(phase) for phase in phases), initial=0))
        for index in range(self._reached(phases), len(phases)):
            self._run_phase(phases[index], workers, ends[index], ends[-1])

    def _reached(self, phases: list[Phase]) -> int:
        """The last phase with work on record: those before it are complete, and what they would ask now is settled
        or, for a stage that challenges what is proved, was not yet proved when their turn came."""
        begun = {Phase(work.stage, work.phase) for work in self._work}
        return max((index for index, phase in enumerate(phases) if phase in begun), default=0)

    def _run_phase(self, phase: Phase, workers: "Workers", done: int, total: int) -> None:
        stage = self.plan.stages[phase.stage]
        todo = list(self._shards(stage, phase)) if self._due(phase) else []
        engine = self._engine(phase) if todo else None
        if engine is None:
            return

        allowance = self._allowance(phase, min(workers.count, len(todo)))
        self.dropped.setdefault(stage.label, 0.0)
        tasks = {workers.submit(engine, shard, allowance): (name, shard) for name, shard in todo}
        try:
            for count, task in enumerate(workers.ended(tasks), 1):
                name, shard = tasks[task]
                try:
                    outcome = task.outcome()
                except Stopped as stopped:
                    if stopped.reason != "allowance":
                        raise
                    self._cut_short(stage)
                    continue
                self._record(stage, phase, name, shard, outcome)
                task.recorded = True
                open_count = self.inquiry.open(phase)
                self._on_progress(
                    Progress(stage, self.inquiry.told(phase), done + count, total, open_count, self.clock.elapsed)
                )
        finally:
            self.dropped[stage.label] += sum(task.seconds for task in tasks if not task.recorded)

    def _due(self, phase: Phase) -> bool:
        """Whether the turn of this phase has come, and its stage was not cut short before."""
        return self.plan.stages[phase.stage].label not in self._cut and self.inquiry.due(phase, self._work)

    def _engine(self, phase: Phase) -> Engine | None:
        """The engine of a phase; None, with a note, where there is none."""
        engine = self.inquiry.engine(phase)
        if isinstance(engine, LeftOut):
            self.journal.leave_out(self.plan.stages[phase.stage].label, engine.reason)
            return None
        return engine

    def _allowance(self, phase: Phase, workers: int) -> Allowance:
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
        self.journal.update(cut=self._cut)
        self.journal.note(
            f"{stage.label} was ended when it had taken {stage.within:g} times the seconds of all stages before it; "
            "what it had not reached stays open"
        )

    def _shards(self, stage: Stage, phase: Phase) -> Iterator[tuple[str, Shard]]:
        """The shards of this phase that have work left to do, by name."""
        chosen = self.inquiry.chosen(phase)
        size = self.inquiry.size(phase)
        block = np.zeros_like(chosen) if stage.sample else chosen // size  # a sample is never taken twice
        for number in sorted(set(block.tolist())):
            name = f"{phase.key}/{number:05d}" if phase.key else f"{number:05d}"
            if (stage.label, name) not in self._done:
                seed = seed_of(self.seed, self.inquiry.key, stage.label, name)
                yield name, self.inquiry.shard(chosen[block == number], seed)

    def _most(self, phase: Phase) -> int:
        """Shards of this phase, at most."""
        return 1 if self.plan.stages[phase.stage].sample else -(-self.inquiry.n // self.inquiry.size(phase))

    def _record(self, stage: Stage, phase: Phase, name: str, shard: Shard, outcome: ShardResult) -> None:
        evidence = [replace(e, engine=stage.label) for e in outcome.evidence]  # type: ignore[type-var]
        work = Work(
            self.inquiry.key,
            stage.label,
            name,
            phase.stage,
            phase.key,
            len(shard.items) if outcome.asked is None else outcome.asked,
            len({e.item for e in evidence if self.inquiry.settles(e, phase)}),
            sum(isinstance(e, Failure) for e in evidence),
            outcome.forwards,
            outcome.gradients,
            outcome.seconds,
        )
        self.journal.ledger.record(work, evidence, outcome.tensors)
        self._work.append(work)
        self.believe(evidence)

    def _believe(self, evidence: Evidence) -> None:
        try:
            self.inquiry.board.add(evidence)
        except Contradiction as error:
            raise Contradiction(f"{error}; both are kept in {self.journal.ledger.path} to reproduce it") from None


@final
class _Task:
    """An engine on a shard, for whichever worker is free. recorded: whether what it came to was written down."""

    def __init__(self, engine: Engine, shard: Shard, allowance: Allowance) -> None:
        self.engine = engine
        self.shard = shard
        self.allowance = allowance
        self.recorded = False
        self._begun: float | None = None
        self._ended: float | None = None
        self._outcome: ShardResult | BaseException | None = None

    def perform(self, target: Target) -> None:
        """Do it, and keep what came of it, or what it raised."""
        self._begun = time.monotonic()
        try:
            self.allowance.checkpoint()
            self._outcome = perform(self.engine, target, self.shard, self.allowance.checkpoint)
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is asked for
            self._outcome = error
        self._ended = time.monotonic()

    def outcome(self) -> ShardResult:
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
class Workers:
    """Threads with a copy of the target each. Leaving early ends them at their next checkpoint.

    A call of the model that does not return cannot be ended: the thread is a daemon, is waited for no longer than the
    clock's patience, and is left behind. It writes nothing: what is recorded is recorded by the driver.
    """

    def __init__(self, target: Target, count: int, clock: Clock) -> None:
        self.count = count
        self._clock = clock
        self._threads = torch.get_num_threads()
        self._todo: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        copies = [target, *(target.copy() for _ in range(count - 1))]
        self._workers = [
            threading.Thread(target=self._work, args=(copy,), name="brinell", daemon=True) for copy in copies
        ]

    def __enter__(self) -> "Workers":
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

    def submit(self, engine: Engine, shard: Shard, allowance: Allowance) -> _Task:
        """Have an engine run on a shard by whoever is free."""
        task = _Task(engine, shard, allowance)
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

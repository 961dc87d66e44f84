"""A property of a network, decided: a witness, or a proof, or neither in the time there was."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, final

import torch
from torch import Tensor

from brinell.errors import CannotRun, UsageError, out_of_memory
from brinell.evidence import Soundness
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import Graph, graph
from brinell.proofs.network.operators import Linear
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.property.input_splits import InputSplit
from brinell.proofs.property.property import Case, Property
from brinell.proofs.property.witness import Run, Search, Witness
from brinell.proofs.query.deadline import Deadline, OutOfTime
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import Progress
from brinell.proofs.query.verifier import Checkpoint
from brinell.proofs.relaxation.arithmetic import rounding_error_over
from brinell.proofs.relaxation.optimised import Optimisation
from brinell.proofs.verifiers.beta_crown import BranchAndBound
from brinell.targets.agreement import agreement
from brinell.threat import Linf

Verdict = Literal["sat", "unsat", "unknown", "timeout"]
"""sat: there is a witness. unsat: there is none. As VNN-COMP's tools say it."""

FEW_INPUTS = 20
"""Up to so many inputs that may vary, boxes of inputs are cut; beyond, the cases of neurons."""


AGREEMENT = 1e-4
"""How far an output of the graph may be from that of the model that runs, as a share of its largest value."""

_UNIFORM = 256
"""Points of the boxes at random that the model is shown before a proof, at least one of each case."""


@final
@dataclass(frozen=True, eq=False)
class Answer:
    """witness: of a sat. seconds: what the decision took. bound: how far the proof had come, where there is neither: no
    margin of the property is below it. soundness: the arithmetic in which an unsat holds.
    """

    verdict: Verdict
    witness: Witness | None
    seconds: float
    bound: float = -torch.inf
    soundness: Soundness = Soundness.REAL


def decide(
    network: Graph,
    goal: Property,
    run: Run,
    *,
    timeout: float,
    precision: torch.dtype = torch.float32,
    seed: int = 0,
    progress: Progress | None = None,
    soundness: str | Soundness = Soundness.REAL,
) -> Answer:
    """Search for a witness, then for a proof, for `timeout` seconds in all. Where memory runs out it is unknown.

    run: the model as it is deployed, which alone makes a point a witness. precision: of its inputs. watch: its bound is
    kept up to date, for who may interrupt. soundness: the arithmetic of the network in which a proof has to hold. In
    exact arithmetic (real) bounds of few inputs allow for their own rounding; with many, some 1e-12 of the outputs is
    left in. In float64 or float32, summed in any order, every margin is to exceed what rounding may take from it.
    Before a proof the model is shown all points that the search has, so that what rounding makes of many is seen.
    """
    if not timeout > 0:
        raise UsageError(f"timeout is {timeout}; it must be a positive number of seconds")
    deadline, level = Deadline(timeout), Soundness.of(soundness)

    search = Search(goal, *goal.margins(network), run, precision)
    _agree(network, search, run)
    verdict: Verdict
    progress = progress or Progress()
    with torch.no_grad():
        try:
            verdict, witness = _decided(network, search, level, torch.Generator().manual_seed(seed), deadline, progress)
        except OutOfTime:
            verdict, witness = "timeout", None
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            verdict, witness = "unknown", None
    return Answer(verdict, witness, deadline.spent, progress.bound, level)


def _agree(network: Graph, search: Search, run: Run) -> None:
    """Refuse a graph that is not the model, on points of the boxes that the property speaks of, and on their edges."""
    rng, seen = torch.Generator().manual_seed(0), torch.zeros(network.classes, dtype=torch.bool)
    for edges in (False, True):
        points = search.scatter(4, rng, edges)[0][:64].to(search.precision).double()
        x, theirs = points.reshape(len(points), *network.nodes[0].shape), run(points)
        ours, rough = network(x).flatten(1), network.rough(x).flatten(1)
        same = ours.shape == theirs.shape
        found = agreement(ours, rough, theirs, search.precision, AGREEMENT) if same else None
        if found is None or found.gap > 0:
            raise CannotRun("the graph gives other outputs than the model that runs; nothing is decided of it")
        seen |= found.seen
    if not seen.all():
        raise CannotRun("an output of the model is never a finite number; nothing is decided of it")


def _decided(
    network: Graph,
    search: Search,
    level: Soundness,
    rng: torch.Generator,
    deadline: Deadline,
    progress: Progress,
) -> tuple[Verdict, Witness | None]:
    cases = search.property.cases
    low, high = (torch.stack(ends) for ends in zip(*((case.low, case.high) for case in cases), strict=True))
    few = int((low < high).sum(1).max()) <= FEW_INPUTS
    start = time.monotonic()
    found = _attacked(search, rng, few, deadline) or _met_at_random(search, rng, deadline)
    if found is not None:
        return "sat", found
    rounds = _Rounds(search, rng, deadline, _sampled if few else _diversified, time.monotonic() - start)
    proving = search if level is Soundness.REAL else _allowing(network, search, level, deadline)
    if proving is None:
        return "unknown", None
    try:
        if few:
            proved, found = InputSplit()(proving, Regions.boxes(low, high), rounds, progress)
            return ("sat", found) if found is not None else ("unsat" if proved else "unknown", None)
        return "unsat" if _by_neurons(proving, low, high, rounds, progress) else "unknown", None
    except _Found as success:
        return "sat", success.witness


def _allowing(network: Graph, search: Search, level: Soundness, checkpoint: Checkpoint) -> Search | None:
    """The search for a proof that leaves the network's rounding its room; None where that has no bound in some case.

    What float64 takes from the margins, and from the highest of a case, as they are bounded, is added.
    """
    goal, highest = search.property, _highest(search.graph, search.rows)
    cases = []
    for place, case in enumerate(goal.cases):
        checkpoint()
        box = tuple(end.reshape(1, *network.nodes[0].shape) for end in (case.low, case.high))
        lost = rounding_error_over(network, (box[0], box[1]), case.weights.unsqueeze(0), level, checkpoint=checkpoint)[
            0
        ]
        one = torch.eye(highest.classes, dtype=torch.float64)[place].reshape(1, 1, -1)
        lost = lost + rounding_error_over(highest, (box[0], box[1]), one, Soundness.FLOAT64, checkpoint=checkpoint)[0]
        kept = lost.isfinite()
        if not kept.any():
            return None
        cases.append(Case(case.low, case.high, case.weights[kept], (case.offsets - lost)[kept]))
    return search.proving(*Property(tuple(cases)).margins(network))


def _attacked(search: Search, rng: torch.Generator, few: bool, checkpoint: Checkpoint) -> Witness | None:
    """Descents from each centre, for few inputs from the best of many random points, and from starts far apart."""
    found = _descended(search, *search.scatter(1, rng))
    for seek in (_sampled, _diversified) if few else (_diversified,):
        if found is not None:
            break
        checkpoint()
        found = seek(search, rng)
    return found


def _sampled(search: Search, rng: torch.Generator) -> Witness | None:
    """From the best of many points within, and of as many at edges, where margins are often least."""
    for edges in (False, True):
        points, case = search.scatter(1000, rng, edges)
        best = search.worst(points, case).argsort()[:64]
        solved, its = search.solve(points[best], case[best], 15), case[best]
        found = search.query(solved, its) or search.show(torch.cat((points, solved)), torch.cat((case, its)))
        if found is not None:
            return found
    return None


def _diversified(search: Search, rng: torch.Generator) -> Witness | None:
    points, case = search.scatter(16, rng)
    return _descended(search, search.diversify(points, case, 10, rng), case)


def _descended(search: Search, start: Tensor, case: Tensor) -> Witness | None:
    """A witness where a descent ends, or anywhere that it began."""
    ends = search.descend(start, case, 50)
    return search.query(ends, case) or search.show(torch.cat((ends, start)), case.repeat(2))


def _met_at_random(search: Search, rng: torch.Generator, deadline: Deadline) -> Witness | None:
    """A witness among points of the boxes as they come, in a twentieth of the time: of each case one, and then more."""
    until = deadline.spent + deadline.seconds / 20
    points, case = search.scatter(1 + _UNIFORM // len(search.low), rng)
    order = torch.randperm(len(points), generator=rng)
    for part in order.split(16):
        found = search.show(points[part], case[part])
        if found is not None or deadline.spent > until:
            return found
    return None


class _Found(Exception):
    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness


@final
class _Rounds:
    """A prover's checkpoint that goes on searching for a witness, for a share of the time; one it finds is raised.

    seek: one round. spent: seconds of search there were before the proof.
    """

    share = 0.2

    def __init__(
        self,
        search: Search,
        rng: torch.Generator,
        checkpoint: Checkpoint,
        seek: Callable[[Search, torch.Generator], Witness | None],
        spent: float,
    ) -> None:
        self._search, self._rng, self._checkpoint, self._seek = search, rng, checkpoint, seek
        self._began, self._spent = time.monotonic(), spent

    def __call__(self) -> None:
        self._checkpoint()
        now = time.monotonic()
        if self._spent < self.share * (now - self._began):
            found = self._seek(self._search, self._rng)
            self._spent += time.monotonic() - now
            if found is not None:
                raise _Found(found)

    def show(self, points: Tensor, cases: Tensor) -> None:
        """Look for a witness of one of the cases at and near points."""
        x, case = points.repeat_interleave(len(cases), 0), cases.repeat(len(points))
        found = self._search.query(x, case) or self._search.query(self._search.descend(x, case, 10, 0.05), case)
        if found is not None:
            raise _Found(found)


def _by_neurons(search: Search, low: Tensor, high: Tensor, rounds: _Rounds, progress: Progress) -> bool:
    """Whether all is proved. Cases of equal boxes at once."""
    network = _highest(search.graph, search.rows)
    identity = torch.eye(network.classes, dtype=torch.float64)
    inside = Optimisation(steps=20, precision="float32")
    prover = BranchAndBound(
        nodes=10**9, neuron_nodes=10**9, intermediate=inside, root=Optimisation(steps=20), leaf_intermediate=inside
    )
    shape = network.nodes[0].shape
    boxes, which = torch.cat((low, high), 1).unique(dim=0, return_inverse=True)
    for place in range(len(boxes)):
        members = (which == place).nonzero().squeeze(1)
        part = low[members[:1]].reshape(1, *shape), high[members[:1]].reshape(1, *shape)
        spec = identity[members].unsqueeze(0)
        problem = Problem(network, (part[0] + part[1]) / 2, Linf(1.0), spec, prover.memory, rounds, part)
        own = Progress(partial(rounds.show, cases=members))
        try:
            bounds = prover.bound(problem, own)
        finally:
            progress.bound = own.bound if len(boxes) == 1 else -torch.inf
        if not (bounds > 0).all():
            return False
    return True


def _highest(margins: Graph, rows: Tensor) -> Graph:
    """The network followed by the highest margin of each case, which is positive where the case is excluded."""
    build, identity = Builder(list(margins.nodes)), torch.eye(margins.classes, dtype=torch.float64)
    outputs, none = Value(margins.output, (margins.classes,)), torch.zeros(len(rows), dtype=torch.float64)
    first, *others = (build.add(Linear(identity[turn], none), outputs) for turn in rows.T)
    for other in others:
        first = build.maximum(first, other)
    return graph(build.nodes)

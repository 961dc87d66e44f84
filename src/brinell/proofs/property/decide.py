"""A property of a network, decided: a witness, a proof, or neither within the time limit."""

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
from brinell.proofs.property.attacks import at_random, attacked, diversified, sampled
from brinell.proofs.property.input_splits import InputSplit
from brinell.proofs.property.property import Case, Property
from brinell.proofs.property.witness import Counterexample, Run, Search
from brinell.proofs.query.deadline import Deadline, OutOfTime
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.progress import SearchProgress
from brinell.proofs.query.verifier import Checkpoint
from brinell.proofs.relaxation.arithmetic import rounding_error_over
from brinell.proofs.relaxation.optimised import Optimisation
from brinell.proofs.verifiers.beta_crown import BranchAndBound
from brinell.targets.agreement import agreement
from brinell.threat import Linf

Verdict = Literal["sat", "unsat", "unknown", "timeout"]
"""VNN-COMP's: sat where there is a witness (an unsafe input), unsat where there is none."""

FEW_INPUTS = 20
"""Up to so many varying inputs a proof splits inputs; beyond, neurons."""

AGREEMENT = 1e-4
"""Tolerated difference between the graph's outputs and the model's, as a share of the largest value."""


@final
@dataclass(frozen=True, eq=False)
class Decision:
    """witness: of a sat. seconds: what the decision took. bound: a lower bound on all margins of the property, where
    there is neither witness nor proof. soundness: the arithmetic in which an unsat holds.
    """

    verdict: Verdict
    witness: Counterexample | None
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
    progress: SearchProgress | None = None,
    soundness: str | Soundness = Soundness.REAL,
) -> Decision:
    """Search for a witness, then for a proof, for `timeout` seconds in all; "unknown" where memory runs out.

    run: the model as deployed; a point is a witness only if this model violates the property there. precision: of its
    inputs. progress: its bound is kept up to date, for callers that may interrupt. soundness: the arithmetic of the
    network in which a proof has to hold. In exact arithmetic ("real") proofs over few inputs allow for their own
    rounding; over many, some 1e-12 of the outputs is not accounted for. In "float64" or "float32", summed in any order,
    every margin has to exceed what rounding may take from it. The model is run on all points of the search before a
    proof, so that violations by rounding alone have a chance to be seen.

    Raises UsageError for a timeout that is not positive, or a property of another network; CannotRun where the graph
    and the model disagree.
    """
    if not timeout > 0:
        raise UsageError(f"timeout is {timeout}; it must be a positive number of seconds")
    deadline = Deadline(timeout)
    level = Soundness.of(soundness)
    progress = progress or SearchProgress()
    search = Search(goal, *goal.margins(network), run, precision)
    _check_agreement(network, search, run)

    verdict: Verdict
    with torch.no_grad():
        try:
            verdict, witness = _decided(network, search, level, torch.Generator().manual_seed(seed), deadline, progress)
        except OutOfTime:
            verdict = "timeout"
            witness = None
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            verdict = "unknown"
            witness = None
    return Decision(verdict, witness, deadline.spent, progress.bound, level)


def _check_agreement(network: Graph, search: Search, run: Run) -> None:
    """Raise CannotRun where graph and model differ on points of the property's boxes, or on their edges."""
    rng = torch.Generator().manual_seed(0)
    seen = torch.zeros(network.classes, dtype=torch.bool)
    for edges in (False, True):
        points = search.scatter(4, rng, edges)[0][:64].to(search.precision).double()
        x = points.reshape(len(points), *network.nodes[0].shape)
        theirs = run(points)
        ours = network(x).flatten(1)
        in_float32 = network.rough(x).flatten(1)
        same = ours.shape == theirs.shape
        found = agreement(ours, in_float32, theirs, search.precision, AGREEMENT) if same else None
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
    progress: SearchProgress,
) -> tuple[Verdict, Counterexample | None]:
    cases = search.property.cases
    low = torch.stack([case.low for case in cases])
    high = torch.stack([case.high for case in cases])
    few = int((low < high).sum(1).max()) <= FEW_INPUTS

    start = time.monotonic()
    found = attacked(search, rng, few, deadline) or at_random(search, rng, deadline)
    if found is not None:
        return "sat", found

    rounds = _Rounds(search, rng, deadline, sampled if few else diversified, time.monotonic() - start)
    proving = search if level is Soundness.REAL else _with_rounding(network, search, level, deadline)
    if proving is None:
        return "unknown", None
    try:
        if few:
            proved, found = InputSplit()(proving, Regions.boxes(low, high), rounds, progress)
            if found is not None:
                return "sat", found
            return "unsat" if proved else "unknown", None
        return "unsat" if _by_neurons(proving, low, high, rounds, progress) else "unknown", None
    except _Found as success:
        return "sat", success.witness


def _with_rounding(network: Graph, search: Search, level: Soundness, checkpoint: Checkpoint) -> Search | None:
    """The search for a proof whose margins exceed the network's rounding; None where that is unbounded in some case.

    Each offset is lowered by what a level's arithmetic may take from the row, and by what float64 may take from the
    case's largest row, as verifiers compute it.
    """
    highest = _highest(search.graph, search.rows)
    cases = []
    for place, case in enumerate(search.property.cases):
        checkpoint()
        shape = (1, *network.nodes[0].shape)
        box = (case.low.reshape(shape), case.high.reshape(shape))
        rows = case.weights.unsqueeze(0)
        error = rounding_error_over(network, box, rows, level, checkpoint=checkpoint)[0]

        largest = torch.eye(highest.classes, dtype=torch.float64)[place].reshape(1, 1, -1)
        error = error + rounding_error_over(highest, box, largest, Soundness.FLOAT64, checkpoint=checkpoint)[0]

        kept = error.isfinite()
        if not kept.any():
            return None
        cases.append(Case(case.low, case.high, case.weights[kept], (case.offsets - error)[kept]))
    return search.proving(*Property(tuple(cases)).margins(network))


class _Found(Exception):
    def __init__(self, witness: Counterexample) -> None:
        super().__init__()
        self.witness = witness


@final
class _Rounds:
    """A checkpoint for a prover that continues the search for a witness; one it finds is raised as _Found.

    share: of the time. seek: one round of the search. spent: seconds of search before the proof.
    """

    share = 0.2

    def __init__(
        self,
        search: Search,
        rng: torch.Generator,
        checkpoint: Checkpoint,
        seek: Callable[[Search, torch.Generator], Counterexample | None],
        spent: float,
    ) -> None:
        self._search = search
        self._rng = rng
        self._checkpoint = checkpoint
        self._seek = seek
        self._began = time.monotonic()
        self._spent = spent

    def __call__(self) -> None:
        self._checkpoint()
        now = time.monotonic()
        if self._spent < self.share * (now - self._began):
            found = self._seek(self._search, self._rng)
            self._spent += time.monotonic() - now
            if found is not None:
                raise _Found(found)

    def show(self, points: Tensor, cases: Tensor) -> None:
        """Search for a witness of one of the cases at and near points."""
        x = points.repeat_interleave(len(cases), 0)
        case = cases.repeat(len(points))
        found = self._search.query(x, case) or self._search.query(self._search.descend(x, case, 10, 0.05), case)
        if found is not None:
            raise _Found(found)


def _by_neurons(search: Search, low: Tensor, high: Tensor, rounds: _Rounds, progress: SearchProgress) -> bool:
    """Whether branch and bound over ReLUs proves every case; cases of one box together."""
    network = _highest(search.graph, search.rows)
    identity = torch.eye(network.classes, dtype=torch.float64)
    intermediate = Optimisation(steps=20, precision="float32")
    prover = BranchAndBound(
        nodes=10**9,
        intermediate=intermediate,
        neuron_nodes=10**9,
        root=Optimisation(steps=20),
        leaf_intermediate=intermediate,
    )

    shape = (1, *network.nodes[0].shape)
    boxes, which = torch.cat((low, high), 1).unique(dim=0, return_inverse=True)
    for place in range(len(boxes)):
        members = (which == place).nonzero().squeeze(1)
        box = (low[members[:1]].reshape(shape), high[members[:1]].reshape(shape))
        spec = identity[members].unsqueeze(0)
        problem = Problem(network, (box[0] + box[1]) / 2, Linf(1.0), spec, prover.memory, rounds, box)
        own = SearchProgress(partial(rounds.show, cases=members))
        try:
            bounds = prover.bound(problem, own)
        finally:
            progress.bound = own.bound if len(boxes) == 1 else -torch.inf
        if not (bounds > 0).all():
            return False
    return True


def _highest(margins: Graph, rows: Tensor) -> Graph:
    """The network followed by the largest margin of each case, which is positive where the case is excluded."""
    build = Builder(list(margins.nodes))
    identity = torch.eye(margins.classes, dtype=torch.float64)
    outputs = Value(margins.output, (margins.classes,))
    no_bias = torch.zeros(len(rows), dtype=torch.float64)

    largest, *others = (build.add(Linear(identity[turn], no_bias), outputs) for turn in rows.T)
    for other in others:
        largest = build.maximum(largest, other)
    return graph(build.nodes)

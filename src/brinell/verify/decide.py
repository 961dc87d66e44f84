"""A property of a network, decided: a witness, or a proof, or neither in the time there was."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Literal, final

import torch
from torch import Tensor

from brinell.errors import CannotRun, UsageError
from brinell.threat import Linf
from brinell.verify.branch import BranchAndBound
from brinell.verify.freedom import Climb
from brinell.verify.graph import Graph
from brinell.verify.inputs import InputSplit, Regions
from brinell.verify.problem import Problem
from brinell.verify.property import Property
from brinell.verify.verifier import Checkpoint
from brinell.verify.witness import Run, Search, Witness

Verdict = Literal["sat", "unsat", "unknown", "timeout"]
"""sat: there is a witness. unsat: there is none. As VNN-COMP's tools say it."""

FEW_INPUTS = 20
"""Up to so many inputs that may vary, boxes of inputs are cut; beyond, the cases of neurons."""


AGREEMENT = 1e-4
"""How far the graph may be from the model that runs, as a share of the largest output."""


@final
@dataclass(frozen=True, eq=False)
class Answer:
    """witness: of a sat. seconds: what the decision took."""

    verdict: Verdict
    witness: Witness | None
    seconds: float


class _OutOfTime(Exception):
    pass


def decide(
    network: Graph,
    goal: Property,
    run: Run,
    *,
    timeout: float,
    precision: torch.dtype = torch.float32,
    seed: int = 0,
) -> Answer:
    """Search for a witness, then for a proof, for `timeout` seconds in all.

    run: the model as it is deployed, which alone makes a point a witness. precision: of its inputs. A proof holds for
    the network in exact arithmetic; rounding in the bounds, some 1e-12 of the outputs, is not accounted for.
    """
    if not timeout > 0:
        raise UsageError(f"timeout is {timeout}; it must be a positive number of seconds")
    start = time.monotonic()

    def checkpoint() -> None:
        if time.monotonic() - start > timeout:
            raise _OutOfTime

    margins, places = goal.margins(network)
    search = Search(goal, margins, places, run, precision)
    _agree(network, search, run)
    verdict: Verdict
    with torch.no_grad():
        try:
            verdict, witness = _decided(search, torch.Generator().manual_seed(seed), checkpoint)
        except _OutOfTime:
            verdict, witness = "timeout", None
    return Answer(verdict, witness, time.monotonic() - start)


def _agree(network: Graph, search: Search, run: Run) -> None:
    """Refuse a graph that is not the model, on points of the boxes that the property speaks of."""
    points, _ = search.scatter(4, torch.Generator().manual_seed(0))
    points = points[:64].to(search.precision).double()
    ours, theirs = network(points.reshape(len(points), *network.nodes[0].shape)).flatten(1), run(points)
    slack = AGREEMENT * float(theirs.abs().nan_to_num().amax())
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs, rtol=0.0, atol=slack):
        raise CannotRun("the graph gives other outputs than the model that runs; nothing is decided of it")


def _decided(search: Search, rng: torch.Generator, checkpoint: Checkpoint) -> tuple[Verdict, Witness | None]:
    cases = search.property.cases
    low, high = (torch.stack(ends) for ends in zip(*((case.low, case.high) for case in cases), strict=True))
    few = int((low < high).sum(1).max()) <= FEW_INPUTS
    found = _attacked(search, rng, few)
    if found is not None:
        return "sat", found
    if few:
        regions = Regions(low, high, torch.arange(len(cases)), torch.full((len(cases),), -torch.inf, dtype=low.dtype))
        proved, found = InputSplit()(search, regions, checkpoint)
        return ("sat", found) if found is not None else ("unsat" if proved else "unknown", None)
    try:
        return ("unsat" if _by_neurons(search, low, high, _Rounds(search, rng, checkpoint)) else "unknown"), None
    except _Found as success:
        return "sat", success.witness


def _attacked(search: Search, rng: torch.Generator, few: bool) -> Witness | None:
    """Descents from each centre, for few inputs from the best of many random points, and from starts far apart."""
    return (
        search.look(*_descended(search, search.scatter(1, rng)))
        or (_sampled(search, rng) if few else None)
        or _diversified(search, rng)
    )


def _sampled(search: Search, rng: torch.Generator) -> Witness | None:
    points, case = search.scatter(1000, rng)
    best = search.worst(points, case).argsort()[:64]
    return search.look(*_descended(search, (points[best], case[best])))


def _diversified(search: Search, rng: torch.Generator) -> Witness | None:
    points, case = search.scatter(16, rng)
    return search.look(*_descended(search, (search.diversify(points, case, 10, rng), case)))


def _descended(search: Search, start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return search.descend(*start, 50), start[1]


class _Found(Exception):
    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness


@final
class _Rounds:
    """A prover's checkpoint that goes on searching for a witness, for a share of the time; one it finds is raised."""

    share = 0.2

    def __init__(self, search: Search, rng: torch.Generator, checkpoint: Checkpoint) -> None:
        self._search, self._rng, self._checkpoint = search, rng, checkpoint
        self._began, self._spent = time.monotonic(), 0.0

    def __call__(self) -> None:
        self._checkpoint()
        now = time.monotonic()
        if self._spent < self.share * (now - self._began):
            found = _diversified(self._search, self._rng)
            self._spent += time.monotonic() - now
            if found is not None:
                raise _Found(found)

    def show(self, points: Tensor, cases: Tensor) -> None:
        """Look for a witness of one of the cases at and near points."""
        x, case = points.repeat_interleave(len(cases), 0), cases.repeat(len(points))
        found = self._search.look(x, case) or self._search.look(self._search.descend(x, case, 10, 0.05), case)
        if found is not None:
            raise _Found(found)


def _by_neurons(search: Search, low: Tensor, high: Tensor, rounds: _Rounds) -> bool:
    """Whether all is proved. Cases of equal boxes at once; one is excluded where a row of it is positive throughout."""
    identity = torch.eye(search.graph.classes, dtype=torch.float64)
    prover = BranchAndBound(nodes=10**9, inner=Climb(steps=20), root=Climb(steps=20))
    shape = search.graph.nodes[0].shape
    boxes, which = torch.cat((low, high), 1).unique(dim=0, return_inverse=True)
    for place in range(len(boxes)):
        members = (which == place).nonzero().squeeze(1)
        part = tuple(end[members[:1]].reshape(1, *shape) for end in (low, high))
        rows = search.rows[members]
        spec = identity[rows.flatten()].unsqueeze(0)
        problem = Problem(
            search.graph, (part[0] + part[1]) / 2, Linf(1.0), spec, prover.memory, rounds, (part[0], part[1])
        )
        bounds = prover.bound(problem, partial(rounds.show, cases=members)).reshape(rows.shape)
        if not (bounds > 0).any(1).all():
            return False
    return True

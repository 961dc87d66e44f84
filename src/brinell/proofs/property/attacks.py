"""The attacks that search for a witness of a property before a proof, and between its steps."""

import torch
from torch import Tensor

from brinell.proofs.property.witness import Counterexample, Search
from brinell.proofs.query.deadline import Deadline
from brinell.proofs.query.verifier import Checkpoint

_UNIFORM = 256
"""Random points of the boxes that the model is run on before a proof, at least one of each case."""


def attacked(search: Search, rng: torch.Generator, few: bool, checkpoint: Checkpoint) -> Counterexample | None:
    """Descents from the centres; for few inputs from the best of many random points; and from diversified starts."""
    found = _descended(search, *search.scatter(1, rng))
    for seek in (sampled, diversified) if few else (diversified,):
        if found is not None:
            break
        checkpoint()
        found = seek(search, rng)
    return found


def sampled(search: Search, rng: torch.Generator) -> Counterexample | None:
    """Descents from the best of many random points, and of as many at edges, where margins are often lowest."""
    for edges in (False, True):
        points, case = search.scatter(1000, rng, edges)
        best = search.worst(points, case).argsort()[:64]
        own = case[best]
        solved = search.solve(points[best], own, 15)
        found = search.query(solved, own) or search.show(torch.cat((points, solved)), torch.cat((case, own)))
        if found is not None:
            return found
    return None


def diversified(search: Search, rng: torch.Generator) -> Counterexample | None:
    """Descents from starts whose outputs lie far apart."""
    points, case = search.scatter(16, rng)
    return _descended(search, search.diversify(points, case, 10, rng), case)


def _descended(search: Search, start: Tensor, case: Tensor) -> Counterexample | None:
    """A witness at the ends of descents, or at their starts."""
    ends = search.descend(start, case, 50)
    return search.query(ends, case) or search.show(torch.cat((ends, start)), case.repeat(2))


def at_random(search: Search, rng: torch.Generator, deadline: Deadline) -> Counterexample | None:
    """A witness among random points of the boxes, for a twentieth of the time: one of each case, and then more."""
    until = deadline.spent + deadline.seconds / 20
    points, case = search.scatter(1 + _UNIFORM // len(search.low), rng)
    order = torch.randperm(len(points), generator=rng)
    for some in order.split(16):
        found = search.show(points[some], case[some])
        if found is not None or deadline.spent > until:
            return found
    return None

"""The priority queue of branch and bound: batches of subproblems, those of the lowest bounds first."""

import heapq
import itertools
from typing import Generic, Protocol, TypeVar, final, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Batch(Protocol):
    """Some subproblems. bound: a lower bound of each."""

    @property
    def bound(self) -> Tensor: ...

    def only(self: "B", chosen: Tensor, /) -> "B": ...

    def plus(self: "B", other: "B", /) -> "B": ...


B = TypeVar("B", bound=Batch)


@final
class Queue(Generic[B]):
    """Batches of up to `size` subproblems, about in the order of their bounds."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, B]] = []
        self._order = itertools.count()
        self._count = 0

    def __len__(self) -> int:
        """How many subproblems wait."""
        return self._count

    @property
    def least(self) -> float:
        """The lowest bound of those that wait; infinite where none does."""
        return self._heap[0][0] if self._heap else torch.inf

    def put(self, subproblems: B) -> None:
        """Add some."""
        for places in subproblems.bound.argsort().split(self._size):
            if len(places):
                lowest = float(subproblems.bound[places[0]])
                heapq.heappush(self._heap, (lowest, next(self._order), subproblems.only(places)))
                self._count += len(places)

    def take(self) -> B | None:
        """A full batch, if as many wait; None where none does."""
        if not self._heap:
            return None
        taken = heapq.heappop(self._heap)[2]
        while self._heap and len(taken.bound) < self._size:
            taken = taken.plus(heapq.heappop(self._heap)[2])
        self._count -= len(taken.bound)

        places = torch.arange(len(taken.bound))
        self.put(taken.only(places[self._size :]))
        return taken.only(places[: self._size])

    def rest(self) -> B:
        """All that wait, at least one, in one batch."""
        first, *others = (batch for _, _, batch in self._heap)
        for other in others:
            first = first.plus(other)
        return first

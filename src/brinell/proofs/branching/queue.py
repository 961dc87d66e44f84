"""What is still to be proved, in pieces, the least bounds first."""

import heapq
import itertools
from typing import Generic, Protocol, TypeVar, final, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Piece(Protocol):
    """Parts of a problem. bound: a lower bound of each."""

    @property
    def bound(self) -> Tensor: ...

    def only(self: "P", chosen: Tensor, /) -> "P": ...

    def plus(self: "P", other: "P", /) -> "P": ...


P = TypeVar("P", bound=Piece)


@final
class Queue(Generic[P]):
    """Pieces of up to `size` parts, those of the least bounds first, about."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, P]] = []
        self._put = itertools.count()
        self._held = 0

    def __len__(self) -> int:
        """How many parts there are."""
        return self._held

    @property
    def least(self) -> float:
        """The least bound of those that wait; infinite where none does."""
        return self._heap[0][0] if self._heap else torch.inf

    def put(self, parts: P) -> None:
        """Add some."""
        for piece in parts.bound.argsort().split(self._size):
            if len(piece):
                worst = float(parts.bound[piece[0]])
                heapq.heappush(self._heap, (worst, next(self._put), parts.only(piece)))
                self._held += len(piece)

    def take(self) -> P | None:
        """A full piece, if there are as many; None where there is nothing left."""
        if not self._heap:
            return None
        taken = heapq.heappop(self._heap)[2]
        while self._heap and len(taken.bound) < self._size:
            taken = taken.plus(heapq.heappop(self._heap)[2])
        self._held -= len(taken.bound)
        place = torch.arange(len(taken.bound))
        self.put(taken.only(place[self._size :]))
        return taken.only(place[: self._size])

    def rest(self) -> P:
        """All that is left, of which there is some, at once."""
        first, *others = (piece for _, _, piece in self._heap)
        for other in others:
            first = first.plus(other)
        return first

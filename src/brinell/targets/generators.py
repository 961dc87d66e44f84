"""The global generators of torch, NumPy and Python, which no call may leave changed, whatever a model does to them."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any, ClassVar, final

import numpy as np
import torch


def _numpy_state() -> Any:
    return np.random.get_state(legacy=False)  # noqa: NPY002 - it is about that one


_GENERATORS: tuple[tuple[Callable[[], Any], Callable[[Any], None]], ...] = (
    (random.getstate, random.setstate),
    (_numpy_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
)
"""How the state of each is read and put back."""


def states() -> list[Any]:
    """Of all of them, as they stand. CUDA's are among them once it is in use."""
    cuda = [torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else []
    return [read() for read, _ in _GENERATORS] + cuda


def restore(before: list[Any]) -> None:
    """Put these states back."""
    for (_, put_back), state in zip(_GENERATORS, before, strict=False):
        put_back(state)
    for state in before[len(_GENERATORS) :]:
        torch.cuda.set_rng_state_all(state)


@final
class generators_kept(ContextDecorator):
    """As a context or a decorator: the global generators are afterwards as they were before.

    They belong to the process, so the first to enter, of whatever thread, takes the snapshot, and the last to leave
    puts it back. Between the two they run on: a model that draws gives other answers each time it is asked.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _inside: ClassVar[Counter[threading.Thread]] = Counter()
    _before: ClassVar[list[Any] | None] = None

    def __enter__(self) -> None:
        with self._lock:
            if not generators_kept._inside:
                generators_kept._before = states()
            generators_kept._inside[threading.current_thread()] += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            thread = threading.current_thread()
            if thread in generators_kept._inside:  # else it has been abandoned
                generators_kept._leave(thread, 1)

    @classmethod
    def abandon(cls, thread: threading.Thread) -> None:
        """Wait no longer for a thread that hangs in a call of a model: if it returns, it restores nothing."""
        with cls._lock:
            if thread in cls._inside:
                cls._leave(thread, cls._inside[thread])

    @classmethod
    def _leave(cls, thread: threading.Thread, times: int) -> None:
        cls._inside[thread] -= times
        if cls._inside[thread] == 0:
            del cls._inside[thread]
        if not cls._inside and cls._before is not None:
            restore(cls._before)
            cls._before = None

"""The global generators of torch, NumPy and Python, which no call may leave changed, whatever a model does to them."""

import random
import threading
from contextlib import ContextDecorator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor


@final
@dataclass(frozen=True, eq=False)
class Generators:
    """A snapshot of them. CUDA's are among them once it is in use."""

    python: tuple[Any, ...]
    numpy: Any
    torch: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> "Generators":
        """As they stand."""
        return cls(
            random.getstate(),
            np.random.get_state(legacy=False),  # noqa: NPY002 - it is about that one
            torch.get_rng_state(),
            tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_initialized() else (),
        )

    def restore(self) -> None:
        """Put them back."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))


@final
class generators_kept(ContextDecorator):
    """As a context or a decorator: the global generators are afterwards as they were before.

    They belong to the process, so the first to enter, of whatever thread, takes the snapshot, and the last to leave
    puts it back. Between the two they run on: a model that draws gives other answers each time it is asked.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _inside: ClassVar[int] = 0
    _before: ClassVar[Generators | None] = None

    def __enter__(self) -> None:
        with self._lock:
            if generators_kept._inside == 0:
                generators_kept._before = Generators.now()
            generators_kept._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            generators_kept._inside -= 1
            if generators_kept._inside == 0 and generators_kept._before is not None:
                generators_kept._before.restore()
                generators_kept._before = None

"""When to stop: a budget that ran out, or a person who asked."""

import threading
import time
from typing import final


class Stopped(Exception):
    """Raised by a checkpoint: the work in flight is dropped, and what was recorded stands."""


@final
class Clock:
    """A deadline and a switch, shared by all workers. budget: seconds from now, None for no limit."""

    def __init__(self, budget: float | None = None) -> None:
        self.start = time.monotonic()
        self._deadline = None if budget is None else self.start + budget
        self._switch = threading.Event()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def out_of_time(self) -> bool:
        """Whether the budget is spent."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def interrupted(self) -> bool:
        """Whether someone asked to stop."""
        return self._switch.is_set()

    def interrupt(self) -> None:
        """Ask every worker to stop at its next checkpoint."""
        self._switch.set()

    def checkpoint(self) -> None:
        """Raise Stopped if it is time to."""
        if self.interrupted or self.out_of_time:
            raise Stopped

"""A question's time: how much is spent, and the end of it."""

import time
from typing import final


class OutOfTime(Exception):
    """The time that was given is over."""


@final
class Deadline:
    """A checkpoint that raises OutOfTime once `timeout` seconds have gone by since it was made."""

    def __init__(self, timeout: float) -> None:
        self.seconds, self._start = timeout, time.monotonic()

    def __call__(self) -> None:
        if self.spent > self.seconds:
            raise OutOfTime

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

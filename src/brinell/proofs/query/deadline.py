"""The time limit of a search, as a checkpoint."""

import time
from typing import final


class OutOfTime(Exception):
    """The timeout has passed."""


@final
class Deadline:
    """A checkpoint that raises OutOfTime once `timeout` seconds have passed since it was made."""

    def __init__(self, timeout: float) -> None:
        self.seconds = timeout
        self._start = time.monotonic()

    def __call__(self) -> None:
        if self.spent > self.seconds:
            raise OutOfTime

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

"""When to stop: a budget that ran out, or a person who asked."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Literal, TypeVar, final

from brinell.targets.generators import generators_kept

Reason = Literal["budget", "interrupted", "allowance"]
T = TypeVar("T")

PATIENCE = 1.0
"""Seconds after a deadline in which work that is under way may still reach its next checkpoint."""


@final
class Stopped(Exception):
    """Raised by a checkpoint: the work in flight is dropped, and what was recorded stands."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


@final
class Clock:
    """A deadline and a switch, shared by all workers. budget: seconds from now, None for no limit.

    above: a clock whose switch is shared, so that who interrupts it interrupts this one too.
    """

    def __init__(self, budget: float | None = None, above: "Clock | None" = None) -> None:
        self.start = time.monotonic()
        self._deadline = None if budget is None else self.start + budget
        self._switch: threading.Event = threading.Event() if above is None else above._switch

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    @property
    def left(self) -> float | None:
        """Seconds to the deadline, at least 0; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    @property
    def patience(self) -> float | None:
        """Seconds for which it is worth waiting for work under way; None for as long as it takes."""
        return None if self.left is None else self.left + PATIENCE

    def watch(self, work: Callable[[], T]) -> T:
        """What `work` returns. Raises Stopped where it has not returned a little after the deadline.

        A thread cannot be ended from outside: it is left behind, and ends at its next checkpoint, or with the process.
        """
        if self._deadline is None:
            return work()
        done: Future[T] = Future()
        thread = threading.Thread(target=_fulfil, args=(done, work), daemon=True, name="brinell-watched")
        thread.start()
        try:
            return done.result(self.patience)
        except TimeoutError:
            if done.done():  # it is the work that raised it
                raise
            generators_kept.abandon(thread)
            raise Stopped("budget") from None

    def interrupt(self) -> None:
        """Ask every worker to stop at its next checkpoint."""
        self._switch.set()

    def checkpoint(self) -> None:
        """Raise Stopped if it is time to."""
        if self._switch.is_set():
            raise Stopped("interrupted")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise Stopped("budget")

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Here Ctrl-C throws the switch, so that nothing is torn while it is written; a second one is raised as ever.

        Without effect outside the main thread, where no signal arrives, and where Ctrl-C is ignored already.
        """
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield
            return

        def ask(_number: int, _frame: object) -> None:
            self.interrupt()
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@final
class Allowance:
    """What one stage may take of the time that a clock leaves. seconds: from now, None for all of it."""

    def __init__(self, clock: Clock, seconds: float | None = None) -> None:
        self._clock = clock
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def checkpoint(self) -> None:
        """Raise Stopped if it is time to: for the whole run, or for this stage alone."""
        self._clock.checkpoint()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise Stopped("allowance")


def _fulfil(done: "Future[T]", work: Callable[[], T]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        done.set_exception(error)

"""The global generators belong to the caller: whatever a model draws from them, they are left as they were."""

import random
import threading

import numpy as np
import pytest
import torch

from brinell.targets.generators import generators_kept


def drawn() -> tuple[float, float, float]:
    """One number of each of the three."""
    return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002


def seed() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def expected() -> tuple[float, float, float]:
    """What comes next, and the generators as they are before it."""
    seed()
    first = drawn()
    seed()
    return first


def test_what_is_drawn_inside_is_not_missed_outside():
    first = expected()
    with generators_kept():
        drawn()
        with generators_kept():
            drawn()
    assert drawn() == first


def test_an_error_restores_them_too():
    first = expected()

    @generators_kept()
    def call() -> None:
        drawn()
        raise ValueError("within")

    with pytest.raises(ValueError, match="within"):
        call()
    assert drawn() == first


def hanging() -> tuple[threading.Thread, threading.Event]:
    """A thread that draws inside, and leaves only once the event is set."""
    entered, leave = threading.Event(), threading.Event()

    def call() -> None:
        with generators_kept(), generators_kept():
            drawn()
            entered.set()
            leave.wait()

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    entered.wait()
    return thread, leave


def test_of_several_threads_the_last_to_leave_restores():
    first = expected()
    with generators_kept():
        thread, leave = hanging()
        leave.set()
        thread.join()
        assert drawn() != first
    assert drawn() == first


def test_a_thread_that_was_left_behind_restores_nothing_when_it_returns_at_last():
    thread, leave = hanging()
    generators_kept.abandon(thread)
    seed()
    first = drawn()  # the caller goes on, and draws
    second = drawn()
    seed()
    assert drawn() == first
    leave.set()
    thread.join()
    assert drawn() == second
    with generators_kept():
        drawn()
    seed()
    with generators_kept():
        drawn()
    assert drawn() == first


def test_nobody_is_abandoned_twice_or_for_nothing():
    generators_kept.abandon(threading.current_thread())
    thread, leave = hanging()
    generators_kept.abandon(thread)
    generators_kept.abandon(thread)
    leave.set()
    thread.join()
    first = expected()
    with generators_kept():
        drawn()
    assert drawn() == first

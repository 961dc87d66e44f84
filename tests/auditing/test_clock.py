import signal
import threading

import pytest

from brinell.auditing.clock import Clock, Stopped


def reason(clock: Clock) -> str | None:
    try:
        clock.checkpoint()
    except Stopped as stopped:
        return stopped.reason
    return None


def test_a_budget_runs_out():
    assert reason(Clock()) is None
    assert reason(Clock(100)) is None
    assert reason(Clock(0)) == "budget"


def test_who_asked_to_stop_comes_before_a_budget_that_ran_out():
    clock = Clock(0)
    clock.interrupt()
    assert reason(clock) == "interrupted"


def test_the_first_ctrl_c_throws_the_switch_and_the_second_is_raised():
    clock, before = Clock(), signal.getsignal(signal.SIGINT)
    with clock.listening():
        signal.raise_signal(signal.SIGINT)
        assert reason(clock) == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_are_left_alone_elsewhere():
    clock, before = Clock(), signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with clock.listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with clock.listening():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brinell.evidence import Bracket, State, wilson

COUNTS = st.integers(0, 500)


def test_states_are_counted() -> None:
    states = [State.BROKEN, State.OPEN, State.OPEN, State.CERTIFIED, State.ERROR, State.CERTIFIED, State.CERTIFIED]
    assert Bracket.of(states) == Bracket(broken_count=1, certified_count=3, open_count=2, errors=1)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_the_parts_add_up(broken, certified, open, errors) -> None:
    bracket = Bracket(broken, certified, open, errors)
    assert bracket.n == broken + certified + open
    if bracket.n:
        assert 0 <= bracket.certified <= bracket.unbroken <= 1
        assert bracket.unbroken - bracket.certified == pytest.approx(bracket.open)
        assert bracket.certified * bracket.n == pytest.approx(certified)
        assert (1 - bracket.unbroken) * bracket.n == pytest.approx(broken)


def test_errors_are_in_no_fraction() -> None:
    assert Bracket(1, 1, 2, errors=96).unbroken == 0.75


def test_nothing_asked_compares_with_nothing() -> None:
    bracket = Bracket.of([State.ERROR] * 3)
    for edge in (bracket.certified, bracket.unbroken, bracket.open):
        assert isnan(edge)
        assert not edge >= 0
        assert not edge <= 1
    assert bracket.certified_interval() == (0.0, 1.0)
    assert bracket.unbroken_interval() == (0.0, 1.0)


def test_sampling_error_is_a_second_interval() -> None:
    bracket = Bracket(broken_count=45, certified_count=41, open_count=14)
    assert bracket.certified_interval(0.9) == wilson(41, 100, 0.9)
    assert bracket.unbroken_interval() == wilson(55, 100)

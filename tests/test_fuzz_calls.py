"""No call ends in a traceback: a few hundred of those that `benchmarks/fuzz_calls.py` makes by the thousand."""

from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.sweep(4)
@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_asked_is_answered_in_a_line(seed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    tally = import_module("benchmarks.fuzz_calls").fuzz(60, seed)
    assert not tally.faults
    assert len(tally.ends) > 3

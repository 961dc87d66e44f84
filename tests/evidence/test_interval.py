import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from brinell.errors import UsageError
from brinell.evidence import clopper_pearson, wilson

METHODS = {wilson: "wilson", clopper_pearson: "exact"}


@pytest.mark.parametrize(
    ("method", "successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I: methods 3 (score) and 5 (exact).
        (wilson, 81, 263, 0.2553, 0.3662),
        (wilson, 15, 148, 0.0624, 0.1605),
        (wilson, 0, 20, 0.0, 0.1611),
        (wilson, 1, 29, 0.0061, 0.1718),
        (clopper_pearson, 81, 263, 0.2527, 0.3676),
        (clopper_pearson, 15, 148, 0.0578, 0.1617),
        (clopper_pearson, 0, 20, 0.0, 0.1684),
        (clopper_pearson, 1, 29, 0.0009, 0.1776),
    ],
)
def test_published_values(method, successes, n, low, high) -> None:
    assert method(successes, n) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_scipy_agrees(method, counts, confidence) -> None:
    successes, n = counts
    theirs = binomtest(successes, n).proportion_ci(confidence, METHODS[method])
    assert method(successes, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_the_fraction_and_mirrors(method, counts) -> None:
    successes, n = counts
    low, high = method(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert method(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize("n", [5, 20, 100])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_exact_interval_covers_every_truth_as_often_as_asked(n, confidence) -> None:
    intervals = [clopper_pearson(k, n, confidence) for k in range(n + 1)]
    for p in (i / 200 for i in range(1, 200)):
        covered = sum(binom.pmf(k, n, p) for k, (low, high) in enumerate(intervals) if low <= p <= high)
        assert covered >= confidence


@pytest.mark.parametrize("n", [20, 100])
def test_wilson_covers_on_average(n) -> None:
    intervals = [wilson(k, n) for k in range(n + 1)]
    truths = [i / 200 for i in range(1, 200)]
    covered = [sum(binom.pmf(k, n, p) for k, (a, b) in enumerate(intervals) if a <= p <= b) for p in truths]
    assert sum(covered) / len(covered) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_sample_says_nothing(method) -> None:
    assert method(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0)])
def test_counts_that_cannot_be_are_refused(method, successes, n) -> None:
    with pytest.raises(UsageError, match=f"successes is {successes} of {n}"):
        method(successes, n)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, math.nan])
def test_a_confidence_that_cannot_be_is_refused(method, confidence) -> None:
    with pytest.raises(UsageError, match="confidence is"):
        method(1, 2, confidence)

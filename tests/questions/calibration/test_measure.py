"""Measures of calibration against closed forms and plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brinell.questions.calibration.measure import BINS, binned, bootstrap, ece, gaps, null

SAMPLES = st.lists(st.tuples(st.floats(1 / 64, 1, exclude_min=True), st.booleans()), min_size=1, max_size=60)


def plainly(confidence: list[float], right: list[bool]) -> float:
    """Naeini et al. 2015, as it is written down."""
    total = 0.0
    for b in range(BINS):
        own = [i for i, c in enumerate(confidence) if b / BINS < c <= (b + 1) / BINS]
        if own:
            gap = sum(right[i] for i in own) / len(own) - sum(confidence[i] for i in own) / len(own)
            total += len(own) / len(confidence) * abs(gap)
    return total


@given(SAMPLES)
def test_the_error_is_that_of_a_plain_loop(sample):
    confidence, right = (list(column) for column in zip(*sample, strict=True))
    found = float(ece(np.array(confidence), np.array(right, dtype=float)))
    assert found == pytest.approx(plainly(confidence, right), abs=1e-9)


def test_edges_belong_to_the_bin_below():
    edges = np.arange(1, BINS + 1) / BINS
    assert binned(edges).tolist() == list(range(BINS))
    assert binned(np.nextafter(edges[:-1], 1)).tolist() == list(range(1, BINS))


def test_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([1.0, 0.0, 1.0, 1.0])
    gap = gaps(confidence, right)
    assert sorted(gap[gap > 0]) == pytest.approx([0.45, 0.45])
    assert float(ece(confidence, right)) == pytest.approx(0.45)


@given(SAMPLES, st.integers(0, 100))
def test_the_interval_holds_the_value(sample, seed):
    confidence, right = (np.array(column, dtype=float) for column in zip(*sample, strict=True))
    low, high = bootstrap(confidence, right, seed)
    assert 0 <= low <= float(ece(confidence, right)) + 1e-12
    assert float(ece(confidence, right)) - 1e-12 <= high <= 1


def test_true_probabilities_are_seldom_called_wrong():
    """A test at 5 % rejects what is true in about 5 % of the samples: 400 of them, within four standard errors."""
    rng = np.random.default_rng(0)
    rejected = 0
    for seed in range(400):
        confidence = rng.uniform(0.3, 1, 200)
        right = (rng.random(200) < confidence).astype(float)
        chance = null(confidence, seed)
        rejected += (1 + (chance >= ece(confidence, right)).sum()) / (1 + len(chance)) < 0.05
    assert abs(rejected / 400 - 0.05) < 4 * (0.05 * 0.95 / 400) ** 0.5


def test_the_null_is_what_a_finite_sample_shows():
    confidence = np.random.default_rng(1).uniform(0.3, 1, 200)
    rng = np.random.default_rng(2)
    drawn = [ece(confidence, (rng.random(200) < confidence).astype(float)) for _ in range(2000)]
    assert null(confidence, 0).mean() == pytest.approx(np.mean(drawn), rel=0.05)

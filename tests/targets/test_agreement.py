"""Two computations agree by each output's own scale, by what rounding does there, and by numbers alone."""

import pytest
import torch

from brinell.targets.agreement import agreement, as_approximated


def rows(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize("large", [1.0, 1e4, 1e20, torch.inf, torch.nan])
def test_what_another_output_is_excuses_nothing(large):
    theirs = rows((1.0, large), (2.0, 3.0))
    ours = rows((1.1, large), (2.0, 3.0))
    found = agreement(ours, ours, theirs, torch.float32, 1e-4)
    assert found.gap == pytest.approx(0.1)
    assert agreement(theirs, theirs, theirs, torch.float32, 1e-4).gap == 0


def test_what_rounding_does_to_our_own_reading_is_allowed_to_the_model():
    ours, rough = rows((1.0, 1.0), (2.0, 2.0)), rows((1.01, 1.0), (2.0, 2.0))
    theirs = rows((1.1, 1.0), (2.3, 2.0))
    assert agreement(ours, rough, theirs, torch.float32, 1e-4).gap == 0
    assert agreement(ours, rough, theirs.flip(1), torch.float32, 1e-4).gap == pytest.approx(0.3)
    assert agreement(ours, rough, theirs, torch.float64, 1e-4).gap == pytest.approx(0.3)


def test_an_output_that_overflows_in_float32_agrees_where_ours_would_too():
    ours, theirs = rows((1e60,), (1.0,)), rows((torch.inf,), (1.0,))
    assert agreement(ours, ours.float().double(), theirs, torch.float32, 1e-4).gap == 0
    assert agreement(rows((1e3,), (1.0,)), rows((1e3,), (1.0,)), theirs, torch.float32, 1e-4).gap == torch.inf
    assert agreement(theirs, theirs, ours, torch.float32, 1e-4).gap == torch.inf


def test_an_output_that_is_never_a_number_was_not_seen():
    theirs = rows((torch.nan, 1.0), (torch.inf, 2.0))
    assert agreement(theirs, theirs, theirs, torch.float32, 1e-4).seen.tolist() == [False, True]


def test_a_bounded_curve_may_be_missed_by_a_part_of_its_range_and_no_more():
    ours, floor = rows((1e-12,), (1e-13,)), rows((1.5e-8,), (1.5e-8,))  # where onnxruntime ends a sigmoid
    rough = as_approximated(ours)
    assert agreement(ours, rough, floor, torch.float32, 1e-4).gap == 0
    assert agreement(ours, ours, floor, torch.float32, 1e-4).gap > 0
    assert agreement(ours, rough, floor + 1e-6, torch.float32, 1e-4).gap > 0
    assert agreement(ours, rough, floor, torch.float64, 1e-4).gap > 0

import math

import pytest
import torch

from brinell.errors import UsageError
from brinell.threat import REALS, Box


def test_a_limit_is_the_nearest_number_an_input_can_hold() -> None:
    box = Box(0.1, 0.9)
    x = box.clamp(torch.tensor([[0.0, 1.0]]))
    assert torch.equal(x, torch.tensor([[0.1, 0.9]]))
    assert box.contains(x).all()


def test_limits_of_each_feature_are_in_flat_order() -> None:
    box = Box((0.0, 1.0, 2.0, 3.0), (10.0, 11.0, 12.0, 13.0))
    x = box.clamp(torch.full((1, 2, 2), -1.0))
    assert torch.equal(x, torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]))
    assert box.contains(x).all()
    assert box.width == 10.0


@pytest.mark.parametrize(
    ("given", "box"),
    [
        ((0, 1), Box(0.0, 1.0)),
        (([0, 1], [2, 3]), Box((0.0, 1.0), (2.0, 3.0))),
        (([0, 1], 2), Box((0.0, 1.0), 2.0)),
        (Box(0.0, 1.0), Box(0.0, 1.0)),
    ],
)
def test_a_pair_makes_a_box(given, box) -> None:
    assert Box.of(given) == box


@pytest.mark.parametrize(
    "given", [(1, 0), (0, 0), (math.nan, 1), 3, "ab", (0, 1, 2), ([0, 1], [2, 3, 4]), ([0, 5], [1, 2])]
)
def test_a_box_that_cannot_be_is_refused(given) -> None:
    with pytest.raises(UsageError, match="box"):
        Box.of(given)


def test_a_box_of_another_shape_is_refused_with_both_numbers() -> None:
    with pytest.raises(UsageError, match="box has 3 values a side; one example has 4 features"):
        Box((0.0, 0.0, 0.0), 1.0).clamp(torch.zeros(1, 4))


def test_nan_is_outside_even_where_nothing_is() -> None:
    assert REALS.contains(torch.tensor([[1e30], [math.nan]])).tolist() == [True, False]
    assert not REALS.bounded
    assert not Box(0.0, math.inf).bounded

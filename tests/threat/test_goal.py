import math

import pytest
import torch

from brinell.errors import UsageError
from brinell.threat import LEAST_LIKELY, UNTARGETED, GivenAims, Targeted
from brinell.threat.goal import met, met_by_label

SCORES = torch.tensor(
    [
        [3.0, 1.0, 2.0],  # the label 0 leads
        [1.0, 3.0, 2.0],  # class 1 leads
        [3.0, 3.0, 2.0],  # a tie with the label
        [math.nan, 3.0, 2.0],
        [1.0, math.inf, 2.0],
        [1.0, math.nan, 9.0],
    ]
)
Y = torch.zeros(6, dtype=torch.int64)


def test_a_tie_with_the_label_is_lost_and_what_is_not_finite_is_not() -> None:
    assert met(SCORES, Y, None).tolist() == [False, True, True, False, False, False]


def test_an_aim_is_reached_where_nothing_scores_more() -> None:
    assert met(SCORES, Y, Y + 1).tolist() == [False, True, True, False, False, False]
    assert not met(SCORES, Y, Y + 2).any()


def test_decisions_alone() -> None:
    labels = torch.tensor([0, 1, 2])
    y = torch.zeros(3, dtype=torch.int64)
    assert met_by_label(labels, y, None).tolist() == [False, True, True]
    assert met_by_label(labels, y, y + 2).tolist() == [False, False, True]


def test_untargeted_has_no_aim() -> None:
    assert UNTARGETED.aims(Y, SCORES) is None


def test_one_class_for_all() -> None:
    assert Targeted(2).aims(Y, SCORES).tolist() == [2] * 6
    assert Targeted(2).aims(Y, None).tolist() == [2] * 6
    with pytest.raises(UsageError, match="target class is 3; the model has classes 0 to 2"):
        Targeted(3).aims(Y, SCORES)
    with pytest.raises(UsageError, match="6 examples are labelled 0"):
        Targeted(0).aims(Y, SCORES)


def test_the_least_likely_class_is_never_the_label() -> None:
    assert LEAST_LIKELY.aims(Y[:2], SCORES[:2]).tolist() == [1, 2]
    with pytest.raises(UsageError, match="labels only"):
        LEAST_LIKELY.aims(Y, None)


def test_goals_have_names_of_their_own() -> None:
    labels = [goal.label for goal in (UNTARGETED, LEAST_LIKELY, Targeted(1), Targeted(2))]
    assert len(set(labels)) == 4


def test_a_goal_is_open_where_it_is_not_reached_yet() -> None:
    y = torch.tensor([0, 2, 1, 2])
    assert Targeted(2).open(y).tolist() == [True, False, True, False]
    assert Targeted(2).aims(y[Targeted(2).open(y)], None).tolist() == [2, 2]
    assert UNTARGETED.open(y).all()


def test_given_aims_are_what_was_given() -> None:
    y, aims = torch.tensor([0, 1]), torch.tensor([2, 0])
    assert GivenAims(aims).aims(y, None) is aims
    assert GivenAims(None).aims(y, None) is None

import math

import pytest
import torch
from torch import Tensor

from brinell.evidence import judge
from brinell.evidence.judge import finite
from brinell.threat import L2, Access, Box, Linf
from models import UNIT, Affine, Of, Recorder, constant, noisy, target

Y = torch.zeros(1, dtype=torch.int64)
SETS = [Linf(0.25, UNIT), L2(0.25, UNIT)]
EVERYTHING = constant(0.0, 1.0)  # no label 0 stands


def one(set, x0: Tensor, x: Tensor, model=EVERYTHING, aims=None) -> bool:
    broken, _ = judge(target(model), set, x0, x, Y[: len(x)].expand(len(x)), aims)
    return bool(broken.all())


def point(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("set", SETS, ids=lambda s: s.name)
def test_one_step_of_float64_outside_never_counts(set) -> None:
    x0 = point(0.5, 0.5)
    assert one(set, x0, point(0.75, 0.5))
    assert not one(set, x0, point(math.nextafter(0.75, 1), 0.5))


@pytest.mark.parametrize("set", [Linf(0.25, UNIT), L2(0.25, UNIT)], ids=lambda s: s.name)
def test_outside_the_box_never_counts(set) -> None:
    assert one(set, point(0.0, 0.5), point(0.0, 0.5))
    assert not one(set, point(0.0, 0.5), point(-5e-324, 0.5))
    assert not one(set, point(1.0, 0.5), point(math.nextafter(1.0, 2), 0.5))


def test_a_float32_candidate_is_measured_in_float64() -> None:
    """x0 + 0.1 in float32 is 0.6 there, and 2e-8 too far in fact."""
    x0 = torch.tensor([[0.5]])
    x = x0 + 0.1
    assert (x.double() - x0.double()).item() > 0.1
    assert not one(Linf(0.1, UNIT), x0, x)


@pytest.mark.parametrize("set", SETS, ids=lambda s: s.name)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_input_that_is_not_a_number_never_counts(set, value) -> None:
    assert not one(set, point(0.5, 0.5), point(value, 0.5))
    assert not one(set.within(Box(-math.inf, math.inf)), point(0.5, 0.5), point(value, 0.5))


@pytest.mark.parametrize("scores", [(math.nan, 1.0), (0.0, math.inf), (0.0, math.nan, 1.0), (-math.inf, 1.0)])
def test_scores_that_are_not_finite_never_count(scores) -> None:
    model = Of(lambda x: torch.tensor(scores).repeat(len(x), 1))
    assert not one(SETS[0], point(0.5), point(0.5), model)
    assert not finite(target(model), torch.zeros(2, 1)).any()


def test_a_tie_counts() -> None:
    assert one(SETS[0], point(0.5), point(0.5), constant(1.0, 1.0))
    assert not one(SETS[0], point(0.5), point(0.5), constant(1.0, 0.9999999))


def test_an_aim_must_be_reached_not_merely_the_label_left() -> None:
    model = constant(0.0, 1.0, 2.0)
    assert one(SETS[0], point(0.5), point(0.5), model, aims=Y + 2)
    assert not one(SETS[0], point(0.5), point(0.5), model, aims=Y + 1)


def test_a_fresh_pass_of_one_row_decides() -> None:
    """A model that gives way only in company is not broken, and one that gives way only alone is."""
    company = Of(lambda x: torch.tensor([0.0, float(len(x) > 1)]).repeat(len(x), 1) - torch.tensor([1e-3, 0.0]))
    alone = Of(lambda x: torch.tensor([float(len(x) > 1), 0.5]).repeat(len(x), 1))
    x = torch.full((3, 1), 0.5)
    y = torch.zeros(3, dtype=torch.int64)
    shy, _ = judge(target(Of(lambda x: -company(x))), SETS[0], x, x, y)
    assert not shy.any()
    bold, _ = judge(target(alone), SETS[0], x, x, y)
    assert bold.all()


def test_each_candidate_in_the_set_is_asked_once_and_the_others_never() -> None:
    model = Recorder(lambda x: torch.tensor([[0.0, 1.0]]).repeat(len(x), 1))
    x0 = Recorder.examples(torch.zeros(4, 2))
    x = x0.clone()
    x[2, 1] = 0.3
    broken, distance = judge(model.target(), Linf(0.25), x0, x, torch.zeros(4, dtype=torch.int64))
    assert broken.tolist() == [True, True, False, True]
    assert [names.tolist() for names, _, _ in model.asked] == [[0], [1], [3]]
    assert distance.tolist() == pytest.approx([0, 0, 0.3, 0], abs=1e-7)


def test_rows_keep_their_place() -> None:
    weight = torch.tensor([[0.0], [1.0]])
    model = Affine(weight, torch.tensor([0.5, 0.0]))  # class 1 from 0.5 up
    x0 = torch.tensor([[0.45], [0.55], [0.45], [0.1]])
    x = torch.tensor([[0.52], [0.48], [0.40], [0.52]])
    y = torch.tensor([0, 1, 0, 0])
    broken, distance = judge(target(model), Linf(0.1, UNIT), x0, x, y)
    assert broken.tolist() == [True, True, False, False]
    assert distance.dtype == torch.float64
    torch.testing.assert_close(distance, torch.tensor([0.07, 0.07, 0.05, 0.42], dtype=torch.float64), atol=1e-6, rtol=0)


def test_where_labels_are_shown_labels_decide() -> None:
    class Stubborn(Recorder):
        """Decides for class 0, whatever its scores."""

        def labels(self, x: Tensor) -> Tensor:
            self.asked.append((torch.zeros(len(x)), torch.zeros(len(x), 2), False))
            return torch.zeros(len(x), dtype=torch.int64)

    model = Stubborn(lambda x: torch.tensor([[0.0, 1.0]]).repeat(len(x), 1))
    x = Recorder.examples(torch.zeros(1, 1))
    by_scores, _ = judge(model.target(), Linf(0.1), x, x, Y)
    by_label, _ = judge(model.target().restrict(Access.LABELS), Linf(0.1), x, x, Y)
    assert by_scores.all()
    assert not by_label.any()
    assert finite(model.target().restrict(Access.LABELS), x).all()


def test_a_randomised_model_is_asked_again() -> None:
    """A lucky draw of the attack is no witness: the judge's own draw counts, about half of the time on the edge."""
    x = torch.full((200, 1), 0.5)
    broken, _ = judge(target(noisy(constant(0.0, 0.0), 1.0)), SETS[0], x, x, torch.zeros(200, dtype=torch.int64))
    assert 60 < int(broken.sum()) < 140


def test_no_candidates_no_question() -> None:
    model = Recorder(lambda x: x)
    none = torch.zeros(0, 3)
    broken, distance = judge(model.target(), Linf(0.1), none, none, Y[:0])
    assert broken.shape == distance.shape == (0,)
    assert not model.asked

import pytest
import torch
from torch import nn

from brinell.errors import UsageError
from brinell.evasion.reprogramming import Reprogramming
from models import UNIT, generator, target


class Blend(nn.Module):
    """Class 0 by the brightness of the middle, class 1 by how far the border is from black; class 2 never."""

    def forward(self, x):
        middle = x[:, :, 3:5, 3:5].mean((1, 2, 3))
        border = (x.sum((1, 2, 3)) - 12 * middle) / (3 * 60)
        return torch.stack([4 * middle, 4 * border, -torch.ones_like(middle)], 1)


def task(n=60):
    x = torch.rand(n, 1, 2, 2, generator=generator(1))
    return x, (x.mean((1, 2, 3)) < 0.5).long()  # label 0 is bright


def test_a_frame_turns_a_threshold_into_the_one_of_the_new_task():
    x, y = task(200)
    asked = target(Blend())
    program = Reprogramming(steps=300, batch=50, rate=0.03).learn(asked, (3, 8, 8), x[:100], y[:100])
    assert (program.labels(asked, x[100:]) == y[100:]).float().mean() >= 0.95
    black = torch.zeros(100, 3, 8, 8)
    black[:, :, 3:5, 3:5] = x[100:]
    assert (asked.scores(black)[:, :2].argmax(1) == y[100:]).float().mean() <= 0.7


def test_the_input_is_shown_whole_and_the_frame_stays_in_the_box():
    x, y = task()
    program = Reprogramming(steps=3).learn(target(Blend()), (3, 8, 8), x, y, classes=torch.tensor([1, 0]))
    shown = program.place(x)
    assert shown.shape == (60, 3, 8, 8)
    assert torch.equal(shown[:, :, 3:5, 3:5], x.expand(-1, 3, -1, -1))
    assert UNIT.contains(shown).all()
    outside = shown.clone()
    outside[:, :, 3:5, 3:5] = 0
    assert (outside == outside[:1]).all()


def test_an_input_larger_than_the_networks_is_refused():
    with pytest.raises(UsageError, match="shrink"):
        Reprogramming().learn(target(Blend()), (3, 8, 8), torch.zeros(2, 1, 9, 9), torch.zeros(2, dtype=torch.int64))

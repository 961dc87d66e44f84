import math

import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import brinell
from brinell.auditing import Plan
from brinell.data import Dataset
from brinell.errors import CannotRun
from brinell.questions.evasion import PRESETS
from brinell.questions.evasion.estimate import estimate
from brinell.threat import L2, REALS, Access, Box, Linf
from models import Of
from questions.runs import QUICK, examples, network

NET = network()
X, Y = examples(NET)
DATA = Dataset.of(X, Y)
SLOW = pytest.mark.slow


def costs(plan: Plan = QUICK, model: object = NET, set=Linf(0.1), radii: int = 2, **options):
    threads = torch.get_num_threads()
    found = estimate(plan, brinell.target(model, **options), DATA, set, radii)
    assert torch.get_num_threads() == threads
    return {c.stage.label: c for c in found}


def test_rows_are_those_of_examples_that_never_yield():
    found = costs()
    assert found["Clean()"].rows == 150  # once, at no radius
    assert found["Noise(draws=3)"].rows == 150 * 2 * 4
    assert found["PGD(steps=4)"].rows == 150 * 2 * 6
    assert found["Square(queries=10)"].rows == 150 * 2 * 11
    assert all(c.left_out is None and 0 < c.seconds < math.inf for c in found.values())


def test_twice_the_radii_cost_twice_as_much():
    one, two = costs(radii=1), costs(radii=2)
    assert two["PGD(steps=4)"].rows == 2 * one["PGD(steps=4)"].rows
    assert two["Clean()"].rows == one["Clean()"].rows


@pytest.mark.parametrize("name", ["quick", pytest.param("standard", marks=SLOW), pytest.param("full", marks=SLOW)])
@pytest.mark.parametrize("set", [Linf(0.1), L2(0.5, Box(0.0, 1.0))])
def test_every_preset_has_a_cost(name, set):
    found = costs(PRESETS[name], set=set)
    assert list(found) == [stage.label for stage in PRESETS[name].for_access(Access.WEIGHTS).stages]
    assert all(c.left_out is None for c in found.values())


def test_what_will_not_run_says_why():
    tree = DecisionTreeClassifier(random_state=0).fit(X.numpy(), Y.numpy())
    found = costs(model=tree)
    assert {label for label, c in found.items() if c.left_out} == {"IBP()", "PGD(steps=4)", "CROWN()"}
    assert "only SCORES are seen" in found["IBP()"].left_out
    labels = estimate(QUICK, brinell.target(tree).restrict(Access.LABELS), DATA, Linf(0.1), 1)
    assert sum(c.left_out is None for c in labels) == 2
    strange = nn.Sequential(network(), Of(torch.sin))
    assert "no rule for" in costs(model=strange)["IBP()"].left_out


def test_examples_outside_the_box_have_a_cost_too():
    assert costs(box=(0, 0.5))["PGD(steps=4)"].rows > 0
    assert costs(box=REALS)["PGD(steps=4)"].rows > 0


class Raising(nn.Module):
    def __init__(self, edge):
        super().__init__()
        self.inner, self.edge = network(), edge

    def forward(self, x):
        if (x[:, 0] > self.edge).any():
            raise ValueError("no")
        return self.inner(x)


def test_a_model_that_raises_on_some_examples_is_timed_on_the_others():
    assert costs(model=Raising(0.95))["PGD(steps=4)"].seconds > 0
    with pytest.raises(CannotRun, match="raises on every example"):
        costs(model=Raising(-1))

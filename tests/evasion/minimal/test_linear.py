"""On a linear model the smallest perturbation is known: lead / dual norm, where the box is far."""

import pytest
import torch

from brinell.evasion import attack, margin
from brinell.evasion.minimal.ddn import DDN
from brinell.evasion.minimal.deepfool import DeepFool
from brinell.evasion.minimal.fmn import FMN
from brinell.threat import L2, Box, Linf, Targeted, Threat
from models import affine, generator, target

ASKED = [
    (DeepFool(), Linf(float("inf")), 1.0205),
    (DeepFool(), L2(float("inf")), 1.0205),
    (DDN(objective=margin), L2(float("inf")), 1.005),
    (FMN(), Linf(float("inf")), 1.005),
    (FMN(), L2(float("inf")), 1.005),
]
by_case = [f"{type(made).__name__}-{set.name}" for made, set, _ in ASKED]


@pytest.mark.parametrize(("made", "set", "most"), ASKED, ids=by_case)
@pytest.mark.parametrize("classes", [2, 5])
def test_the_distance_is_the_smallest(made, set, most, classes) -> None:
    model = affine(8, classes)
    x = 0.5 + 0.3 * (torch.rand(100, 8, generator=generator(7)) - 0.5)
    y = model(x).argmax(1)
    found = attack(made, target(model, Box(-9.0, 9.0)), x, y, Threat(set))
    ratio = found.distance / model.distances(x, y, set.name)
    assert found.broken.all()
    assert ratio.min() > 1 - 1e-4
    assert ratio.median() <= most


@pytest.mark.parametrize(("made", "set", "most"), ASKED, ids=by_case)
def test_an_aim_is_reached(made, set, most) -> None:
    model = affine(8, 5)
    x = torch.rand(60, 8, generator=generator(7))
    y = model(x).argmax(1)
    x, y = x[y != 2], y[y != 2]
    found = attack(made, target(model, Box(-9.0, 9.0)), x, y, Threat(set, Targeted(2)))
    assert found.broken.all()


def test_ddn_on_cross_entropy_is_exact_where_there_is_one_rival() -> None:
    """Among several near rivals cross-entropy weighs them all, and does not end at the nearest."""
    model = affine(8)
    x = 0.5 + 0.3 * (torch.rand(100, 8, generator=generator(7)) - 0.5)
    y = model(x).argmax(1)
    found = attack(DDN(), target(model, Box(-9.0, 9.0)), x, y, Threat(L2(float("inf"))))
    assert (found.distance / model.distances(x, y, "l2")).median() <= 1.005


def test_values_on_the_edge_of_the_box_do_not_stop_fmn() -> None:
    model = affine(20)
    x = torch.rand(100, 20, generator=generator(3)).round()
    y = model(x).argmax(1)
    assert attack(FMN(), target(model), x, y, Threat(L2(float("inf")))).broken.all()

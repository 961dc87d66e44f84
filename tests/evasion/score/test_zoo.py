import pytest
import torch

from brinell.evasion import ZOO, attack
from brinell.threat import L2, REALS, Threat
from models import affine, constant, generator, target


@pytest.mark.slow
def test_a_linear_model_is_broken_close_to_its_exact_distance() -> None:
    model = affine(8)
    x = torch.randn(6, 8, generator=generator())
    y = target(model, REALS).labels(x)
    found = attack(ZOO(searches=6, steps=150, coordinates=8), target(model, REALS), x, y, Threat(L2(float("inf"))))
    exact = model.distances(x, y, "l2").double()
    assert found.broken.all()
    assert (found.distance >= exact * (1 - 1e-4)).all()
    assert (found.distance / exact).median() < 1.05


def test_a_step_costs_two_rows_a_coordinate_and_a_look() -> None:
    x = torch.rand(2, 9, generator=generator())
    y = torch.zeros(2, dtype=torch.int64)
    model = target(constant(1.0, 0.0))
    found = attack(ZOO(searches=2, steps=3, coordinates=4), model, x, y, Threat(L2(1.0)))
    assert found.queries.tolist() == [1 + 2 * 3 * 9] * 2
    few = attack(ZOO(searches=1, steps=1, coordinates=100), model, x, y, Threat(L2(1.0)))
    assert few.queries.tolist() == [1 + 18 + 1] * 2

"""How far a set reaches: no point of it lies farther, and some lies as far."""

import pytest
import torch
from hypothesis import given, settings

from brinell.threat import L1, L2, Box, Linf
from threat.strategies import Case, cases


@settings(max_examples=20)
@given(cases())
def test_no_point_lies_farther_than_the_extent(case: Case) -> None:
    z = case.set.project(case.x0, case.x)
    inside = case.set.contains(case.x0, z)
    for norm in (1, 2, torch.inf):
        length = torch.linalg.vector_norm((z.double() - case.x0.double()).flatten(1), norm, dim=1)
        assert (length <= case.set.extent(case.x0, norm))[inside].all()


@pytest.mark.parametrize(
    ("kind", "lengths"), [(Linf, (4, 2, 1)), (L2, (2, 1, 1)), (L1, (1, 1, 1))], ids=["linf", "l2", "l1"]
)
def test_balls_of_four_values(kind, lengths) -> None:
    x0 = torch.full((2, 4), 0.5, dtype=torch.float64)
    for norm, length in zip((1, 2, torch.inf), lengths, strict=True):
        assert kind(0.1).extent(x0, norm).tolist() == pytest.approx([0.1 * length] * 2)
        # In a box that leaves every value but little room, its corner is nearer.
        if kind is not Linf:
            held = kind(0.1, Box(0.48, 0.52)).extent(x0, norm).tolist()
            assert held == pytest.approx([min(0.1 * length, 0.02 * 4 ** (1 / norm))] * 2)

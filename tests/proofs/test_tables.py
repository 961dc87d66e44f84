"""Proofs within the rules of a table: what holds for intervals holds for whole numbers and categories."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs import CROWN, IBP, BranchAndBound, certified, margins
from brinell.threat import Box, Features
from brinell.threat.rules import Rules
from proofs.networks import perceptron

RULES = Rules.of(
    6,
    scale=[5.0, 1.0, 2.0, 1.0, 1.0, 1.0],
    low=[18.0, 0.0, -9.0, 0.0, 0.0, 0.0],
    up=[True, False, True, True, True, True],
    down=[False, False, True, True, True, True],
    whole=[True, False, False, False, False, False],
    groups=[[3, 4, 5]],
)
BOX = Box((18.0, 0.0, -9.0, 0.0, 0.0, 0.0), (90.0, 1.0, 9.0, 1.0, 1.0, 1.0))


def people(count: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    age = torch.randint(18, 90, (count, 1), generator=rng).double()
    rest = torch.rand(count, 2, generator=rng, dtype=torch.float64)
    work = torch.eye(3, dtype=torch.float64)[torch.randint(0, 3, (count,), generator=rng)]
    return torch.cat((age, rest, work), 1)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), radius=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0]))
def test_no_allowed_change_is_below_a_bound(norm, seed, radius) -> None:
    network, x0 = perceptron((6, 8, 6, 3), seed), people(4, seed)
    set = Features(radius, RULES, norm).within(BOX)
    y = network(x0).argmax(1)
    spec = margins(y, 3)
    rng = torch.Generator().manual_seed(seed)
    points = torch.stack([set.sample(x0, rng) for _ in range(40)])
    assert all(bool(set.contains(x0, point).all()) for point in points)
    reached = torch.einsum("nrc,knc->knr", spec, torch.stack([network(point) for point in points])).amin(0)
    for verifier in (IBP(), CROWN(), BranchAndBound(nodes=20)):
        bounds = verifier(network, x0, set, spec)
        assert (bounds <= reached + 1e-9).all()
        if radius == 0:
            assert certified(bounds).all()

"""A finite radius is never weaker than an infinite one: it may end a search sooner, and nothing else."""

import math

import pytest
import torch

from brinell.evasion import attack
from brinell.threat import L0, L1, L2, Linf, Threat
from evasion.cases import CASES, MINIMAL, answers_for
from models import generator, relu_net, target

SETS = [Linf(math.inf), L2(math.inf), L1(math.inf), L0(math.inf)]
PAIRS = [(name, set) for name in sorted(MINIMAL) for set in SETS if answers_for(name, set.name)]


@pytest.mark.sweep(16)
@pytest.mark.parametrize(("name", "set"), PAIRS, ids=[f"{name}-{set.name}" for name, set in PAIRS])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_finite_radius_breaks_all_that_an_infinite_one_breaks_within_it(name, set, seed) -> None:
    """One example at a time, so that what ends early leaves the draws of the others alone."""
    model = relu_net((8,), classes=4, seed=seed).double()
    asked = target(model)
    x = torch.rand(8, 8, generator=generator(seed), dtype=torch.float64)
    y = asked.labels(x)
    free = [attack(CASES[name], asked, x[i : i + 1], y[i : i + 1], Threat(set), seed=seed) for i in range(len(x))]
    distance = torch.cat([found.distance for found in free])
    if not distance.isfinite().any():
        return
    radius = math.nextafter(distance[distance.isfinite()].median().item() * (1 + 1e-9), math.inf)
    for i in range(len(x)):
        found = attack(CASES[name], asked, x[i : i + 1], y[i : i + 1], Threat(set.resized(radius)), seed=seed)
        assert found.broken.item() or distance[i] > radius, (i, distance[i], radius)

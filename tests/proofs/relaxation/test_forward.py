"""Forms carried forward hold as they stand: what float64 rounds on the way is allowed for, to the last bit."""

from fractions import Fraction
from itertools import product

import pytest
import torch

from brinell.proofs import IBP, ForwardCROWN, GloRo, Zonotope, margins, rounding_error
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import Graph, graph
from brinell.proofs.network.operators import Linear
from brinell.proofs.query.verifier import Verifier
from brinell.proofs.relaxation.forward import rounding_of
from brinell.threat import Box, Linf
from proofs.networks import normal
from proofs.relaxation.test_arithmetic import VERIFIERS

HALF = 2.0**-4
FAR = Box(-1e3, 1e3)


def cancelling(seed: int) -> Graph:
    """All neurons are on, and what a large offset adds is taken off again: what rounding took of it stays."""
    rng, build = torch.Generator().manual_seed(seed), Builder()
    first, second = normal(5, 3, rng=rng), normal(2, 5, rng=rng)
    large = 1e7 * (1 + torch.rand(5, generator=rng).double())
    build.add(Linear(second, -second @ large), build.relu(build.add(Linear(first, large), build.input((3,)))))
    return graph(build.nodes)


def exact(net: Graph, x0: torch.Tensor) -> Fraction:
    """The least margin over the cube, at one of its corners: an affine function, in rational arithmetic."""
    corners = product(*((_of(v) - Fraction(HALF), _of(v) + Fraction(HALF)) for v in x0[0]))
    margins_ = []
    for corner in corners:
        x = list(corner)
        for place in (1, 3):
            operator = net.nodes[place].operator
            rows = zip(operator.weight, operator.bias, strict=True)
            x = [sum((_of(w) * v for w, v in zip(row, x, strict=True)), _of(bias)) for row, bias in rows]
        margins_.append(x[0] - x[1])
    return min(margins_)


def _of(value: torch.Tensor) -> Fraction:
    return Fraction(float(value))


@pytest.mark.parametrize("verifier", [Zonotope(), Zonotope(symbols=0), ForwardCROWN(finish="forward")])
def test_a_bound_lies_below_the_exact_minimum_where_large_numbers_cancel(verifier: Verifier) -> None:
    for seed in range(40):
        net, x0 = cancelling(seed), torch.rand(1, 3, generator=torch.Generator().manual_seed(seed)).double()
        truth = exact(net, x0)
        bound = verifier(net, x0, Linf(HALF, FAR), margins(torch.tensor([0]), 2)).item()
        assert Fraction(bound) <= truth
        assert float(truth - Fraction(bound)) < 1e-4, "of use"


@pytest.mark.parametrize("verifier", VERIFIERS, ids=str)
def test_what_is_left_of_any_bound_in_float64_lies_below_it_too(verifier: Verifier) -> None:
    spec, set = margins(torch.tensor([0]), 2), Linf(HALF, FAR)
    for seed in range(15):
        net, x0 = cancelling(seed), torch.rand(1, 3, generator=torch.Generator().manual_seed(seed)).double()
        left = verifier(net, x0, set, spec) - rounding_error(net, x0, set, spec, "float64")
        truth = exact(net, x0)
        assert Fraction(left.item()) <= truth
        if not isinstance(verifier, IBP | GloRo):  # which bound more than a chain of two affine layers
            assert float(truth - Fraction(left.item())) < 1e-4, "of use"


def test_without_that_allowance_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "brinell.proofs.verifiers.zonotope.rounding_of", lambda a, size, terms: 0.0 * rounding_of(a, size, terms)
    )
    monkeypatch.setattr("brinell.proofs.verifiers.zonotope.Zone.loosened", lambda zone, by: zone)
    above = 0
    for seed in range(40):
        net, x0 = cancelling(seed), torch.rand(1, 3, generator=torch.Generator().manual_seed(seed)).double()
        bound = Zonotope()(net, x0, Linf(HALF, FAR), margins(torch.tensor([0]), 2)).item()
        above += Fraction(bound) > exact(net, x0)
    assert above > 5

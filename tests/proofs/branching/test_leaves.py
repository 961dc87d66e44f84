"""Programmes for HiGHS against enumeration, and bounds that do not rest on it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.proofs import MILP, Unsupported, margins
from brinell.proofs.branching.encoding import LinearExpressions, encode
from brinell.proofs.branching.leaves import least, safe
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import relax
from brinell.proofs.verifiers.milp import minimum
from brinell.threat import Linf
from proofs.networks import UNIT, examples, perceptron, residual
from proofs.verifiers.test_beta_crown import exact


def encoded(net, x0, set):
    problem = Problem(net, x0, set, torch.zeros(1, 1, net.classes), 2**24, nothing)
    intervals = relax(problem, "adaptive", substituted=True).intervals
    return encode(net, intervals[0], {i: intervals[net.nodes[i].inputs[0]] for i in net.nonlinearities}), intervals


@pytest.mark.parametrize("seed", range(3))
def test_the_integers_find_the_exact_minimum(seed):
    net, set = perceptron((2, 4, 3, 2), seed), Linf(0.4, UNIT)
    x0, row = examples(net, 1, seed), torch.tensor([1.0, -1.0]).double()
    encoding, _ = encoded(net, x0, set)
    low, high = set.hull(x0)
    true = exact(net, low[0], high[0], row)
    found = minimum(encoding, row, 10.0)
    assert found.bound <= true <= found.bound + 1e-4
    assert float(net(found.x.unsqueeze(0))[0] @ row) == pytest.approx(true, abs=1e-6)
    assert MILP()(net, x0, set, row.reshape(1, 1, 2)).item() <= true


@pytest.mark.parametrize("network", [perceptron((3, 6, 6, 3), 1), residual(3)])
def test_an_encoding_holds_the_network(network):
    """At a point, with unstable neurons' outputs those of the network, expressions have their values and signs."""
    set, x0 = Linf(0.2, UNIT), examples(network, 1, 0)
    encoding, intervals = encoded(network, x0, set)
    low, high = intervals[0]
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        x = low + torch.rand(low.shape, generator=rng, dtype=torch.float64) * (high - low)
        values = [x]
        for i in range(1, len(network.nodes)):
            values.append(network.operator(i).forward(*(values[j] for j in network.nodes[i].inputs)))
        unstable = []
        for i in network.nonlinearities:
            before = intervals[network.nodes[i].inputs[0]]
            unstable.append(values[i][(before[0] < 0) & (before[1] > 0)])
        v = torch.cat((x.flatten(), *unstable))
        torch.testing.assert_close(encoding.outputs.weights @ v + encoding.outputs.offset, values[-1][0])
        assert ((encoding.low - 1e-9 <= v) & (v <= encoding.high + 1e-9)).all()
        constraints = encoding.triangles()
        assert (constraints.weights @ v + constraints.offset <= 1e-9).all()
    row = torch.tensor([1.0, -1.0, 0.0]).double()
    assert least(encoding, row).bound <= minimum(encoding, row, 20.0).bound + 1e-4


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_a_bound_is_safe_at_any_multipliers(seed):
    rng = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)  # noqa: E731
    cost, constraints, multipliers = normal(4), LinearExpressions(normal(3, 4), normal(3)), normal(3).abs()
    low = normal(4)
    high = low + normal(4).abs()
    bound = safe(cost, 0.5, constraints, multipliers, low, high)
    v = low + torch.rand(500, 4, generator=rng, dtype=torch.float64) * (high - low)
    kept = (v @ constraints.weights.T + constraints.offset <= 0).all(1)
    assert ((v @ cost + 0.5)[kept] >= bound).all()


def test_what_cannot_be_is_seen_to_be_empty():
    """A neuron split to a phase that it cannot have: the programme is infeasible, and multipliers prove it."""
    net, set = perceptron((2, 1, 2), 0), Linf(0.1, UNIT)
    x0 = examples(net, 1, 0)
    value = float(net.operator(1).forward(x0))
    away = -1.0 if value > 0 else 1.0
    problem = Problem(net, x0, set, torch.zeros(1, 1, 2), 2**24, nothing)
    low, high = relax(problem, "adaptive", substituted=True).intervals[1]
    assert (low > 0).all() or (high < 0).all()
    infeasible = encode(net, set.hull(x0), {2: (low, high)}, {2: torch.full_like(low, away)})
    row = torch.tensor([1.0, -1.0]).double()
    assert least(infeasible, row).bound == torch.inf
    there = encode(net, set.hull(x0), {2: (low, high)}, {2: torch.full_like(low, -away)})
    assert abs(least(there, row).bound) < torch.inf


def test_only_relus_are_written_for_a_solver():
    net = residual(0, maximum=True)
    with pytest.raises(Unsupported, match="MaxPool cannot be written for a solver"):
        MILP()(net, examples(net, 1, 0), Linf(0.1, UNIT), margins(torch.tensor([0]), 3))
    with pytest.raises(UsageError, match="seconds is 0"):
        MILP(seconds=0)

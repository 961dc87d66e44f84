"""Monotonicity against what is known: slopes at many points, the regions of small networks, networks made to rise."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from brinell.errors import UsageError
from brinell.proofs import Unsupported, linear_regions, monotone, trace
from brinell.proofs.monotonicity.derivatives import derivative_relaxations, least_derivative
from brinell.proofs.network.builder import Builder, Value
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import ELU, GELU, Linear, Sigmoid, SiLU, Tanh
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import relax
from brinell.threat import Box, Linf
from proofs.networks import dense, perceptron

ROW = torch.tensor([[1.0, -1.0]]).double()
CURVES = (Tanh(), Sigmoid(), GELU(), SiLU(), ELU(), ELU(0.3))


def smooth(widths, seed):
    rng, build = torch.Generator().manual_seed(seed), Builder()
    x = build.input(widths[:1])
    for i, width in enumerate(widths[1:-1]):
        h = dense(build, x, width, rng)
        x = build.relu(h) if (seed + i) % 4 == 0 else build.add(CURVES[(seed + i) % len(CURVES)], h)
    dense(build, x, widths[-1], rng)
    return graph(build.nodes)


def tilted(network, by):
    """The network, and `by` times the first input added to its first score."""
    build, inputs = Builder(list(network.nodes)), network.nodes[0].shape[0]
    weight = torch.zeros(network.classes, inputs, dtype=torch.float64)
    weight[0, 0] = by
    line = build.add(Linear(weight, torch.zeros(network.classes, dtype=torch.float64)), Value(0, (inputs,)))
    build.total((1, Value(network.output, (network.classes,))), (1, line))
    return graph(build.nodes)


def gradients(network, x, row=ROW):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad((network(x) @ row.T).sum(), x)
    return slope


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 0.5, 2.0]), st.integers(0, 2))
def test_no_pair_of_a_region_changes_by_less_than_the_bound_on_its_derivative(seed, radius, feature):
    network = smooth((3, 6, 5, 2), seed) if seed % 2 else perceptron((3, 6, 5, 2), seed)
    rng = torch.Generator().manual_seed(seed)
    centre = torch.randn(1, 3, generator=rng, dtype=torch.float64)
    box = centre - radius, centre + radius
    direction = torch.eye(3, dtype=torch.float64)[feature : feature + 1]
    problem = Problem(network, centre, Linf(1.0), ROW.unsqueeze(0), 2**20, nothing, box)
    relaxations = derivative_relaxations(problem, relax(problem, "adaptive", substituted=True), direction)
    bound = float(least_derivative(network, network.output, ROW.unsqueeze(0), relaxations, direction))
    before = box[0] + 2 * radius * torch.rand(500, 3, generator=rng, dtype=torch.float64)
    after = before.clone()
    after[:, feature] += (box[1][0, feature] - after[:, feature]) * torch.rand(500, generator=rng, dtype=torch.float64)
    length = (after - before)[:, feature]
    rise = ((network(after) - network(before)) @ ROW.T)[:, 0]
    assert (rise >= bound * length - 1e-12).all()
    assert (gradients(network, before)[:, feature] >= bound - 1e-9).all()


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 30))])
def test_the_answer_is_that_of_the_regions_of_the_network(seed):
    """Rising or not is read off the slopes of all its linear pieces."""
    network = perceptron((2, 6, 4, 2), seed)
    regions = linear_regions(network, Box((0.0, 0.0), (1.0, 1.0)))
    least_slope = min(float((ROW.numpy() @ region.weights)[0, 0]) for region in regions)
    low, high = torch.zeros(2), torch.ones(2)
    for by, verdict in ((0.01, "proved"), (-0.01, "refuted")):
        found = monotone(tilted(network, by - least_slope), low, high, 0, ROW, timeout=30, precision=torch.float64)
        # A piece may be too small to be met in the time there is; it is never proved away.
        assert found.verdict == verdict or (verdict == "refuted" and found.verdict in ("unknown", "timeout"))
        if verdict == "proved":
            assert 0 <= found.slope <= 0.01 + 1e-9


def rising(*widths):
    """Weights that are not negative between functions that rise: it rises in everything."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh() if len(layers) == 2 else nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in network[::2]:
            layer.weight.copy_(torch.rand(layer.weight.shape, generator=rng))
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=rng))
    return network


def test_a_network_made_to_rise_is_proved_at_once_in_many_features():
    network = trace(rising(30, 24, 24, 3), torch.zeros(1, 30))
    for feature in (0, 17):
        found = monotone(network, -torch.ones(30), torch.ones(30), feature, torch.eye(3).double(), timeout=20)
        assert (found.verdict, found.pair) == ("proved", None)
        assert found.slope >= 0
        down = monotone(network, -torch.ones(30), torch.ones(30), feature, -torch.eye(3).double(), timeout=20)
        assert down.verdict == "refuted"


def test_a_counterexample_differs_in_the_feature_alone_and_the_model_as_it_runs_agrees():
    network = perceptron((4, 8, 2), 1)
    low, high = -torch.ones(4), torch.ones(4)
    high[3] = -1.0  # stays
    asked = []

    def run(x):
        asked.append(x)
        return network(x)

    found = monotone(network, low, high, 0, ROW, run=run, timeout=20)
    assert found.verdict == "refuted"
    before, after = found.pair.x
    assert (before != after).tolist() == [True, False, False, False]
    assert before[0] < after[0]
    assert ((low <= found.pair.x) & (found.pair.x <= high)).all()
    assert torch.equal(found.pair.x.float().double(), found.pair.x), "as float32 inputs hold them"
    assert (ROW @ found.pair.y[1] < ROW @ found.pair.y[0]).all()
    assert torch.equal(asked[-1], found.pair.x)
    honest = monotone(network, low, high, 0, ROW, run=lambda x: network(x) * 0, timeout=0.3)
    assert honest.verdict != "refuted", "a model that does not fall is not refuted"


def test_a_feature_that_does_not_matter_or_does_not_vary_never_lowers_anything():
    network = perceptron((3, 5, 2), 0)
    low, high = torch.zeros(3), torch.ones(3)
    high[1] = 0.0
    assert monotone(network, low, high, 1, ROW, timeout=10).verdict == "proved"
    silent = Builder()
    x = silent.input((2,))
    silent.add(Linear(torch.tensor([[0.0, 1.0], [0.0, -1.0]]).double(), torch.zeros(2).double()), x)
    found = monotone(graph(silent.nodes), torch.zeros(2), torch.ones(2), 0, ROW, timeout=10)
    assert (found.verdict, found.slope) == ("proved", 0.0)


def test_without_time_the_slope_so_far_is_kept():
    network = tilted(perceptron((10, 16, 16, 2), 0), 0.5)
    found = monotone(network, torch.zeros(10), torch.ones(10), 0, ROW, timeout=0.5)
    assert found.verdict == "timeout"
    assert -torch.inf < found.slope < 0
    assert found.pair is None


def test_what_cannot_be_asked_is_named():
    network, low, high = perceptron((3, 5, 2), 0), torch.zeros(3), torch.ones(3)
    with pytest.raises(UsageError, match="features 0 to 2"):
        monotone(network, low, high, 3, ROW, timeout=1)
    with pytest.raises(UsageError, match="model has 3 inputs"):
        monotone(network, low[:2], high, 0, ROW, timeout=1)
    with pytest.raises(UsageError, match="empty or has no end"):
        monotone(network, high, low, 0, ROW, timeout=1)
    with pytest.raises(UsageError, match=r"rows has shape \(2,\)"):
        monotone(network, low, high, 0, ROW[0], timeout=1)
    with pytest.raises(UsageError, match="timeout is 0"):
        monotone(network, low, high, 0, ROW, timeout=0)
    build = Builder()
    x = build.input((2,))
    build.product(x, build.relu(x))
    with pytest.raises(Unsupported, match="Product"):
        monotone(graph(build.nodes), torch.zeros(2), torch.ones(2), 0, torch.eye(2).double(), timeout=5)

"""What arithmetic may cost a margin, against networks run in floats in orders of their own, and against fractions."""

from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np
import pytest
import torch
from torch import nn

from brinell.errors import UsageError
from brinell.evidence import Soundness
from brinell.proofs import (
    CROWN,
    IBP,
    MILP,
    AlphaCROWN,
    BranchAndBound,
    ForwardCROWN,
    GloRo,
    LocalLipschitz,
    Optimisation,
    Zonotope,
    certified,
    margins,
    rounding_error,
    trace,
    with_soundness,
)
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import Graph, Node, graph
from brinell.proofs.network.operators import Linear, Nonlinearity, ReLU
from brinell.threat import L2, Box, Linf
from proofs.networks import UNIT, examples, inside, normal, perceptron, residual

FLOATS = {Soundness.FLOAT32: np.float32, Soundness.FLOAT64: np.float64}
VERIFIERS = (
    IBP(),
    CROWN(),
    AlphaCROWN(),
    Zonotope(),
    Zonotope(symbols=0),
    ForwardCROWN(),
    ForwardCROWN(finish="forward"),
    GloRo(),
    LocalLipschitz(),
    LocalLipschitz(intermediate="crown"),
    BranchAndBound(nodes=8, root=Optimisation(steps=3), leaf=Optimisation(steps=3)),
)
LEVELS = pytest.mark.parametrize("level", FLOATS)


def summed(terms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sum over the last axis in a random order, by a random tree; all in the precision of the terms."""
    parts = list(np.moveaxis(terms[..., rng.permutation(terms.shape[-1])], -1, 0))
    while len(parts) > 1:
        first = parts.pop(int(rng.integers(len(parts))))
        place = int(rng.integers(len(parts)))
        parts[place] = parts[place] + first
    return parts[0]


def run(net: Graph, x: torch.Tensor, kind: type, rng: np.random.Generator) -> torch.Tensor:
    """A perceptron in floats, every sum with its bias in an order of its own."""
    h = x.numpy().astype(kind)
    for i in range(1, len(net.nodes)):
        operator = net.operator(i)
        if isinstance(operator, Linear):
            weight, bias = operator.weight.numpy().astype(kind), operator.bias.numpy().astype(kind)
            products = np.concatenate([h[:, None] * weight, np.broadcast_to(bias, (len(h), len(bias)))[..., None]], -1)
            h = summed(products, rng)
        else:
            h = np.maximum(h, kind(0))
    assert h.dtype == kind
    return torch.from_numpy(h).double()


@pytest.mark.sweep(5)
@LEVELS
@pytest.mark.parametrize("kind", [Linf, L2])
@pytest.mark.parametrize("widths", [(3, 5, 2), (6, 40, 30, 3)])
def test_no_order_of_summation_goes_below_what_is_left_of_a_bound(level, kind, widths) -> None:
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    nearest = torch.inf
    for seed in range(4):
        net, set = perceptron(widths, seed), kind(0.05, UNIT)
        x0, spec = examples(net, 4, seed), margins(torch.arange(4) % widths[-1], widths[-1])
        lost = rounding_error(net, x0, set, spec, level)
        points = inside(set, x0, 6, generator)
        exact = torch.einsum("nrc,knc->knr", spec, net(points.flatten(0, 1)).reshape(len(points), 4, -1))
        for _ in range(4):
            scores = run(net, points.flatten(0, 1), FLOATS[level], rng).reshape(len(points), 4, -1)
            off = (torch.einsum("nrc,knc->knr", spec, scores) - exact).abs()
            assert (off <= lost).all()
            nearest = min(nearest, float((lost / off.clamp(min=1e-300)).min()))
        for verifier in VERIFIERS:
            left = verifier(net, x0, set, spec) - lost
            assert (left <= torch.einsum("nrc,knc->knr", spec, scores).amin(0)).all()
    assert nearest < (500 if level is Soundness.FLOAT32 else 1e5), "of use"


@LEVELS
@pytest.mark.parametrize("maximum", [True, False])
def test_convolutions_pools_and_shortcuts_in_floats_stay_within_it(level, maximum) -> None:
    generator, dtype = torch.Generator().manual_seed(0), getattr(torch, FLOATS[level].__name__)
    for seed in range(5):
        net, set = residual(seed, maximum), Linf(0.05, UNIT)
        x0, spec = examples(net, 3, seed), margins(torch.arange(3), 3)
        lost = rounding_error(net, x0, set, spec, level)
        points = inside(set, x0, 10, generator).flatten(0, 1)
        values = [points.to(dtype)]
        for i in range(1, len(net.nodes)):
            values.append(net.cast(dtype).operator(i).forward(*(values[j] for j in net.nodes[i].inputs)))
        off = torch.einsum("nrc,knc->knr", spec, (values[-1].double() - net(points)).reshape(20, 3, 3)).abs()
        assert (off <= lost).all()
        assert off.max() > 0 or level is Soundness.FLOAT64
        assert lost.max() < (1e-2 if level is Soundness.FLOAT32 else 1e-9)


def test_intervals_in_float64_less_their_rounding_error_lie_below_intervals_in_fractions() -> None:
    """A 2-2-2 network and a square, in exact rational arithmetic."""
    for seed in range(50):
        net = perceptron((2, 2, 2), seed)
        x0 = examples(net, 1, seed)
        spec, radius = torch.tensor([[[1.0, -1.0]]]), 0.07
        set = Linf(radius, Box(-9.0, 9.0))
        low = [Fraction(float(v)) - Fraction(radius) for v in x0[0]]
        high = [Fraction(float(v)) + Fraction(radius) for v in x0[0]]
        first, last = net.nodes[1].operator, net.nodes[3].operator
        weight, bias = (
            [[Fraction(float(w)) for w in row] for row in first.weight],
            [Fraction(float(b)) for b in first.bias],
        )
        hidden = [
            (
                sum((w * (a if w > 0 else b) for w, a, b in zip(row, low, high, strict=True)), offset),
                sum((w * (b if w > 0 else a) for w, a, b in zip(row, low, high, strict=True)), offset),
            )
            for row, offset in zip(weight, bias, strict=True)
        ]
        ends = [(max(a, Fraction(0)), max(b, Fraction(0))) for a, b in hidden]
        row = [Fraction(float(a)) - Fraction(float(b)) for a, b in last.weight.T]
        constant = Fraction(float(last.bias[0])) - Fraction(float(last.bias[1]))
        exact = sum((w * (a if w > 0 else b) for w, (a, b) in zip(row, ends, strict=True)), constant)
        bound = IBP()(net, x0, set, spec).item()
        left = bound - rounding_error(net, x0, set, spec, Soundness.FLOAT64).item()
        assert Fraction(left) <= exact
        assert float(exact - Fraction(left)) < 1e-12


def cancelling() -> nn.Module:
    """x in exact arithmetic, and 0 in float32: what is added is so large that nothing of x is left."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    for layer, weight, bias in ((net[0], [[1.0]], [1e8]), (net[2], [[1.0], [0.0]], [-1e8, 0.25])):
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    return net


def test_a_certificate_that_float32_contradicts_is_refused_for_float32() -> None:
    net, x0, set = cancelling(), torch.tensor([[0.75]]), Linf(0.125, UNIT)
    spec = margins(torch.tensor([0]), 2)
    found = trace(net.double(), x0.double())
    for verifier in (v for v in VERIFIERS if not isinstance(v, GloRo)):
        bounds = verifier(found, x0, set, spec)
        assert certified(bounds).all(), "in exact arithmetic it holds"
        assert with_soundness(verifier, found, x0, set, spec, bounds)[0][1] is Soundness.FLOAT64
        assert not certified(bounds - rounding_error(found, x0, set, spec, Soundness.FLOAT32)).any()
    assert net.float()(x0).argmax() == 1, "in float32 it does not"


def test_a_batch_normalisation_whose_parts_cancel_is_seen_through() -> None:
    """x - 4096, divided by a small deviation: what float32 loses of x is magnified."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(2), nn.Linear(2, 2)).eval()
    net[1].running_mean, net[1].running_var = torch.full((2,), 4096.0), torch.full((2,), 1e-6)
    torch.manual_seed(0)
    x0 = 4096 + torch.rand(50, 2, 1)
    found, spec = trace(net, x0), margins(torch.zeros(50, dtype=torch.int64), 2)
    lost = rounding_error(found, x0, Linf(0.001), spec, Soundness.FLOAT32)
    scale = net[1].weight / (net[1].running_var + net[1].eps).sqrt()
    folded = x0.flatten(1) * scale + (net[1].bias - net[1].running_mean * scale)
    for scores in (net(x0), net[2](folded)):
        off = torch.einsum("nrc,nc->nr", spec, scores.double() - found(x0)).abs()
        assert (off <= lost).all()
    assert off.max() > 0.01


@LEVELS
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e200])
@pytest.mark.parametrize("layer", [1, 3, 5])
def test_of_weights_that_are_no_numbers_or_overflow_nothing_is_known(level, value, layer) -> None:
    net = perceptron((4, 6, 6, 3), 0)
    sick = net.nodes[layer].operator
    weight = sick.weight.clone()
    weight[:, 0] = value
    nodes = list(net.nodes)
    nodes[layer] = Node(Linear(weight, sick.bias), nodes[layer].inputs, nodes[layer].shape)
    found, x0, spec = Graph(tuple(nodes)), examples(net, 2, 0), margins(torch.tensor([0, 1]), 3)
    if value == 1e200 and level is Soundness.FLOAT64:
        assert (rounding_error(found, x0, Linf(0.1, UNIT), spec, level) > 1e180).all()
        return
    for intermediate in ("interval", "crown"):
        assert (rounding_error(found, x0, Linf(0.1, UNIT), spec, level, intermediate) == torch.inf).all()


def test_an_input_that_is_no_number_leaves_its_neighbours_alone() -> None:
    net = perceptron((4, 6, 3), 0)
    x0, spec, set = examples(net, 3, 0), margins(torch.tensor([0, 1, 2]), 3), Linf(0.02, UNIT)
    well = rounding_error(net, x0, set, spec, Soundness.FLOAT32)
    x0[1, 2] = torch.nan
    lost = rounding_error(net, x0, set, spec, Soundness.FLOAT32)
    assert (lost[1] == torch.inf).all()
    assert torch.equal(lost[[0, 2]], well[[0, 2]])


@final
@dataclass(frozen=True)
class Unruled(Nonlinearity):
    """A ReLU of which nobody said what rounding does to it."""

    inner = ReLU()

    def forward(self, *inputs):
        return self.inner.forward(*inputs)

    def interval(self, *inputs):
        return self.inner.interval(*inputs)

    def unknown(self, low, high):
        return self.inner.unknown(low, high)

    def choices(self, low, high, slope):
        return self.inner.choices(low, high, slope)

    def relax(self, low, high, choices):
        return self.inner.relax(low, high, choices)

    def carried(self, low, high, error, step, constant):
        return self.inner.carried(low, high, error, step, constant)


def test_an_operator_without_a_rule_for_rounding_gives_certificates_in_exact_arithmetic_alone() -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    hidden = build.add(Linear(normal(3, 2, rng=rng), normal(3, rng=rng)), build.input((2,)))
    build.add(Linear(normal(2, 3, rng=rng), torch.tensor([9.0, 0.0]).double()), build.add(Unruled(), hidden))
    net, x0, spec, set = graph(build.nodes), torch.rand(3, 2), margins(torch.zeros(3).long(), 2), Linf(0.01)
    bounds = CROWN()(net, x0, set, spec)
    assert certified(bounds).all()
    assert (rounding_error(net, x0, set, spec, Soundness.FLOAT64) == torch.inf).all()
    assert {level for _, level in with_soundness(CROWN(), net, x0, set, spec, bounds)} == {Soundness.REAL}


def test_a_grade_is_no_stronger_than_its_verifier_and_leaves_what_is_left_of_the_bound() -> None:
    net, set = perceptron((4, 8, 3), 3), Linf(0.01, UNIT)
    x0 = examples(net, 20, 0)
    spec = margins(net(x0).argmax(1), 3)
    bounds = CROWN()(net, x0, set, spec)
    grades = with_soundness(CROWN(), net, x0, set, spec, bounds)
    lost = rounding_error(net, x0, set, spec, Soundness.FLOAT32, "interval")
    for (bound, level), row, cost in zip(grades, bounds, lost, strict=True):
        assert bound == ((row - cost).min() if level is Soundness.FLOAT32 else row.min())
        assert (level is Soundness.FLOAT32) == bool((row > cost).all())
    assert Soundness.FLOAT32 in {level for _, level in grades}
    assert {level for _, level in with_soundness(MILP(), net, x0, set, spec, bounds)} == {Soundness.REAL}


def test_in_exact_arithmetic_nothing_is_lost_and_another_level_is_refused() -> None:
    net = perceptron((4, 6, 3), 0)
    x0, spec = examples(net, 2, 0), margins(torch.tensor([0, 1]), 3)
    assert (rounding_error(net, x0, Linf(0.1), spec, Soundness.REAL) == 0).all()
    with pytest.raises(UsageError, match="soundness is 'float16'"):
        rounding_error(net, x0, Linf(0.1), spec, "float16")

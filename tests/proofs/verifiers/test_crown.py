"""CROWN against a network solved by hand, the dual of Wong and Kolter, and intervals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from brinell.proofs import CROWN, IBP, Graph, margins
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Linear
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import relax
from brinell.threat import L2, Box, Linf
from proofs.networks import convolve, examples, perceptron, residual, sets


def two_neurons() -> Graph:
    """scores (relu(x1 + x2) + relu(x1 - x2), 0)."""
    build = Builder()
    x = build.add(Linear(torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double(), torch.zeros(2).double()), build.input((2,)))
    h = build.relu(x)
    build.add(Linear(torch.tensor([[1.0, 1.0], [0.0, 0.0]]).double(), torch.zeros(2).double()), h)
    return graph(build.nodes)


def test_two_neurons_by_hand() -> None:
    """Around (1, 0) by 3/4, each neuron lies in [-1/2, 5/2]: its lower line has slope 1, its chord slope 5/6.

    Lower bound of the first score: (x1 + x2) + (x1 - x2) = 2 x1 >= 1/2. Of its negative, by the chords:
    -5/6 (2 x1) - 2 * 5/12 >= -35/12 - 5/6 = -15/4. Intervals give 0 and -5.
    """
    net, x0, set = two_neurons(), torch.tensor([[1.0, 0.0]]).double(), Linf(0.75, Box(-9.0, 9.0))
    spec = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]).double()
    for verifier, expected in ((CROWN(), [0.5, -3.75]), (IBP(), [0.0, -5.0])):
        torch.testing.assert_close(verifier(net, x0, set, spec), torch.tensor([expected]).double(), rtol=0, atol=1e-12)
    # With the chord's slope below as well, 5/6 * 2 x1 >= 5/12.
    same = CROWN(slope="same")(net, x0, set, spec)
    torch.testing.assert_close(same, torch.tensor([[5 / 12, -3.75]], dtype=torch.float64), rtol=0, atol=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans())
def test_limits_inside_are_never_wider_than_intervals(seed: int, set, image: bool) -> None:
    net = residual(seed) if image else perceptron((4, 8, 8, 3), seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    problem = Problem(net, x0, set, spec, 2**20, nothing)
    for inner, outer in zip(
        relax(problem, "adaptive", True).intervals, relax(problem, None, False).intervals, strict=True
    ):
        assert (inner[0] >= outer[0] - 1e-9).all()
        assert (inner[1] <= outer[1] + 1e-9).all()


@pytest.mark.parametrize("kind", [Linf, L2])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_slope_is_the_dual_of_wong_and_kolter(kind, seed: int) -> None:
    net = perceptron((5, 9, 8, 7, 4), seed)
    x0, radius = examples(net, 3, seed), 0.08
    spec = margins(torch.tensor([0, 1, 3]), 4)
    far = Box(-9.0, 9.0)  # the dual knows no box
    found = CROWN(slope="same")(net, x0, kind(radius, far), spec)
    layers = [node.operator for node in net.nodes if isinstance(node.operator, Linear)]
    norm = 1 if kind is Linf else 2
    expected = [wong_kolter(layers, x, radius, rows, norm) for x, rows in zip(x0, spec, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)


def wong_kolter(layers: list[Linear], x: Tensor, radius: float, spec: Tensor, dual_norm: int) -> Tensor:
    """min <spec row, scores> by the dual network (Wong and Kolter 2018, arXiv:1711.00851, theorem 1, algorithm 1).

    Written with their signs: c = spec, nu_k = -c, and the bound is J(x, nu). Met with intervals, as ours is.
    """
    limits: list[tuple[Tensor, Tensor]] = []
    for depth in range(1, len(layers) + 1):
        width = len(layers[depth - 1].bias)
        c = spec if depth == len(layers) else torch.eye(width, dtype=torch.float64)
        by_dual = [sign * dual(layers[:depth], limits, x, radius, sign * c, dual_norm) for sign in (1, -1)]
        if depth == 1:
            low, high = by_dual
        else:
            weight, offset = c @ layers[depth - 1].weight, c @ layers[depth - 1].bias
            below, above = (end.clamp(min=0) for end in limits[-1])
            up, down = weight.clamp(min=0), weight.clamp(max=0)
            ends = [up @ below + down @ above + offset, up @ above + down @ below + offset]
            unknown = (ends[0] < 0) & (ends[1] > 0) | (depth == len(layers))
            low = torch.where(unknown, torch.maximum(by_dual[0], ends[0]), ends[0])
            high = torch.where(unknown, torch.minimum(by_dual[1], ends[1]), ends[1])
        limits.append((low, high))
    return limits[-1][0]


def dual(
    layers: list[Linear], limits: list[tuple[Tensor, Tensor]], x: Tensor, radius: float, c: Tensor, dual_norm: int
) -> Tensor:
    nu = -c
    value = torch.zeros(len(c), dtype=torch.float64)
    for depth in range(len(layers) - 1, -1, -1):
        value = value - nu @ layers[depth].bias
        hat = nu @ layers[depth].weight
        if depth == 0:
            return value - hat @ x - radius * hat.norm(p=dual_norm, dim=1)
        low, high = limits[depth - 1]
        chord = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / (high - low)))
        nu = chord * hat
        crossing = ((low < 0) & (high > 0)).double()
        value = value + (crossing * low * nu.clamp(min=0)).sum(1)
    raise AssertionError


def test_a_convolution_of_one_weight_a_channel_costs_an_interval_nothing() -> None:
    """Normalisation written as a convolution: what comes next is still exact over a box, so nothing is substituted."""
    rng, build = torch.Generator().manual_seed(0), Builder()
    x = build.input((2, 6, 6))
    first = convolve(build, x, 2, 1, rng, groups=2)
    second = convolve(build, first, 4, 3, rng)
    third = convolve(build, second, 4, 1, rng)
    net = graph(build.nodes)
    assert {first.place, second.place} <= net.exact_interval_nodes
    assert third.place not in net.exact_interval_nodes

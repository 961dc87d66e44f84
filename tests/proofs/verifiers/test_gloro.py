"""GloRo: linear models, whose radius is known, and what other implementations get wrong."""

from dataclasses import replace
from math import pi

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs import GloRo, Unsupported, certified, certified_radius, constants, margins, with_bottom
from brinell.proofs.lipschitz import norms
from brinell.proofs.lipschitz.rules import l2_constant
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import Graph, Node, graph
from brinell.proofs.network.operators import (
    ELU,
    GELU,
    Erf,
    Exp,
    Expand,
    Linear,
    MaxPool,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    TransposedConvolution,
)
from brinell.threat import L1, L2, Box, Linf, Masked
from proofs.lipschitz.mystery import Mystery
from proofs.networks import UNIT, convolve, dense, examples, inside, normal, perceptron, residual

FAR = Box(-9.0, 9.0)


def test_a_linear_model_has_the_distance_to_its_boundary() -> None:
    net = perceptron((5, 4), 0)
    x0 = examples(net, 6, 1)
    scores, weight = net(x0), net.nodes[1].operator.weight
    leader = scores.argmax(1)
    gaps = scores.gather(1, leader[:, None]) - scores
    distances = gaps / (weight[leader][:, None] - weight).norm(dim=2)
    expected = distances.scatter(1, leader[:, None], torch.inf).amin(1)
    found = certified_radius(scores, constants(net).pairs[2])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert (found <= expected * (1 + 1e-12)).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 999), image=st.booleans())
def test_the_decision_keeps_within_the_radius_and_the_bottom_class_says_the_same(seed: int, image: bool) -> None:
    net = residual(seed, maximum=seed % 2 == 0) if image else perceptron((4, 6, 6, 3), seed)
    x0, pairs = examples(net, 3, seed), constants(net).pairs[2]
    scores = net(x0)
    radii = certified_radius(scores, pairs)
    for row, radius in enumerate(radii.tolist()):
        one = slice(row, row + 1)
        points = inside(L2(0.999 * radius, Box(-99.0, 99.0)), x0[one], 10, torch.Generator().manual_seed(seed))
        assert (net(points.flatten(0, 1)).argmax(1) == scores[row].argmax()).all()
        assert int(with_bottom(scores[one], pairs, 0.999 * radius).argmax()) == int(scores[row].argmax())
        assert int(with_bottom(scores[one], pairs, 1.001 * radius).argmax()) == 3


@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_a_verifier_certifies_what_the_radius_says(kind) -> None:
    net = perceptron((4, 9, 3), 1)
    x0 = examples(net, 20, 0)
    labels, radius = net(x0).argmax(1), 0.05
    bounds = GloRo()(net, x0, kind(radius, FAR), margins(labels, 3))
    lengths = {Linf: 2 * radius, L2: radius, L1: radius}
    in_l2 = certified_radius(net(x0), constants(net).pairs[2]) > lengths[kind]
    assert (certified(bounds) >= in_l2).all()
    if kind is not Linf:  # whose own constants may show more
        assert (certified(bounds) == in_l2).all()


def test_any_set_serves_and_a_mask_helps() -> None:
    net = perceptron((4, 9, 3), 1)
    x0, spec = examples(net, 5, 0), margins(torch.tensor([0, 1, 2, 0, 1]), 3)
    free = torch.tensor([True, False, False, False])
    whole = GloRo()(net, x0, Linf(0.1, UNIT), spec)
    assert (GloRo()(net, x0, Masked(free, Linf(0.1, UNIT)), spec) > whole).all()


def test_two_leading_classes_have_no_radius() -> None:
    scores, pairs = torch.tensor([[0.3, 0.3, -5.0]]), torch.ones(3, 3, dtype=torch.float64)
    assert certified_radius(scores, pairs).tolist() == [0.0]
    assert float(with_bottom(scores, pairs, 0.1)[0, 3]) > 0.3


def test_a_class_that_cannot_move_is_no_threat_unless_it_ties() -> None:
    still = torch.zeros(2, 2, dtype=torch.float64)
    assert certified_radius(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), still).tolist() == [torch.inf, 0.0]


def test_a_value_in_nine_windows_moves_all_their_maxima() -> None:
    build = Builder()
    build.reshape(build.add(MaxPool((3, 3), (1, 1)), build.input((1, 5, 5))), (9,))
    net = graph(build.nodes)
    assert constants(net).l2_nodes[1] == pytest.approx(3.0)
    flat, spike = torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)
    spike[0, 0, 2, 2] = 1.0
    assert (net(spike) - net(flat)).norm() == pytest.approx(3.0)


def test_a_factor_is_not_taken_for_one() -> None:
    build = Builder()
    build.scale(build.relu(build.scale(build.input((2,)), 100.0)), -1.35)
    assert constants(graph(build.nodes)).pairs[2][0, 1] == pytest.approx(135 * 2**0.5)


def test_branches_that_meet_add_up() -> None:
    build = Builder()
    x = build.relu(build.input((3,)))
    build.total((1, build.relu(x)), (-2, x))
    net = graph(build.nodes)
    assert constants(net).l2_nodes[net.output] == pytest.approx(3.0)
    joined = Builder()
    x = joined.input((2, 4, 4))
    h = joined.total((1, x), (1, convolve(joined, x, 2, 3, torch.Generator().manual_seed(0), padding=(1, 1))))
    joined.reshape(joined.relu(h), (32,))
    net = graph(joined.nodes)
    point = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    written = torch.func.jacrev(lambda x: Graph(net.nodes[:3])(x)[0])(point).reshape(32, 32)
    truth = float(torch.linalg.matrix_norm(written, 2))
    assert truth <= constants(net).l2_nodes[2] <= 1.002 * truth  # taken at once, not as 1 and the kernel's norm


def test_an_operator_without_a_rule_is_named() -> None:
    build = Builder()
    dense(build, build.add(Mystery(), build.input((3,))), 2, torch.Generator().manual_seed(0))
    with pytest.raises(Unsupported, match="Mystery has no Lipschitz rule"):
        constants(graph(build.nodes))


def test_a_classifier_far_from_its_training_says_nothing_rather_than_too_much() -> None:
    net = residual(0)
    sick = net.nodes[2].operator
    nodes = list(net.nodes)
    nodes[2] = Node(
        type(sick)(sick.weight * torch.nan, sick.bias, sick.size, sick.stride, sick.padding), (1,), nodes[2].shape
    )
    found = certified_radius(net(examples(net, 3, 0)), constants(Graph(tuple(nodes))).pairs[2])
    assert (found == 0).all()


def test_constants_are_found_once() -> None:
    net = perceptron((4, 6, 3), 0)
    assert constants(net) is constants(net)
    assert (constants(net, 3).pairs[2] >= constants(net, 12).pairs[2]).all()


def test_pairs_are_symmetric_and_bound_every_step() -> None:
    net = residual(3)
    pairs = constants(net).pairs
    rng = torch.Generator().manual_seed(0)
    x, y = (normal(40, 2, 6, 6, rng=rng) for _ in range(2))
    moved = net(x) - net(y)
    change = (moved[:, :, None] - moved[:, None]).abs()
    for norm, found in pairs.items():
        torch.testing.assert_close(found, found.T, rtol=1e-12, atol=0)
        distance = torch.linalg.vector_norm((x - y).flatten(1), norm, dim=1)
        assert (change <= found * distance[:, None, None]).all()
    assert isinstance(net.nodes[-1].operator, Linear)


@pytest.mark.parametrize(
    ("curve", "steepest"),
    [
        (Sigmoid(), 0.25),
        (Tanh(), 1.0),
        (Erf(), 2 / pi**0.5),
        (ELU(), 1.0),
        (ELU(scale=2.5), 2.5),
        (SiLU(), 1.0998393194),
        (GELU(), 1.1289035370),
    ],
    ids=lambda case: type(case).__name__,
)
def test_smooth_functions_have_their_greatest_slope(curve, steepest: float) -> None:
    build = Builder()
    build.add(curve, build.input((2,)))
    found = constants(graph(build.nodes))
    assert found.l2_nodes[1] == pytest.approx(steepest, rel=1e-6)
    assert found.linf_values[1].flatten().tolist() == pytest.approx([steepest] * 2, rel=1e-6)
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    steps = curve.forward(x[None]).diff().abs().max() / (x[1] - x[0])
    assert steps <= found.l2_nodes[1] * (1 + 1e-9)


@pytest.mark.parametrize("curve", [Exp(), Softplus()], ids=["steeper-and-steeper", "with-a-jump"])
def test_a_function_without_a_greatest_slope_is_named(curve) -> None:
    build = Builder()
    build.add(curve, build.input((2,)))
    with pytest.raises(Unsupported, match=f"{type(curve).__name__} has no Lipschitz rule"):
        constants(graph(build.nodes))


@settings(max_examples=20)
@given(seed=st.integers(0, 999), stride=st.integers(1, 2), padding=st.integers(0, 1), groups=st.sampled_from([1, 2]))
def test_a_transposed_convolution_has_the_norm_of_its_matrix(seed: int, stride: int, padding: int, groups: int) -> None:
    weight = normal(4, 3, 3, 3, rng=torch.Generator().manual_seed(seed))
    bias = torch.ones(3 * groups, dtype=torch.float64)
    operator = TransposedConvolution(weight, bias, (stride, stride), (padding, padding), (stride - 1, 0), groups)
    units = torch.eye(4 * 9, dtype=torch.float64).reshape(-1, 4, 3, 3)
    written = operator.forward(units) - operator.forward(torch.zeros_like(units))
    truth = float(torch.linalg.matrix_norm(written.flatten(1), 2))
    assert truth <= l2_constant(operator, [1.0], (4, 3, 3), tuple(written.shape[1:]), 10) <= 2 * truth


def test_values_repeated_are_longer_by_the_root_of_how_often() -> None:
    assert l2_constant(Expand((1, 3), (4, 3)), [1.5], (1, 3), (4, 3), 5) == pytest.approx(3.0)


def test_batch_normalisation_is_folded_into_its_convolution() -> None:
    """Channels whose large weights meet small factors: the product of the two norms would be ten times too much."""
    rng, build = torch.Generator().manual_seed(0), Builder()
    h = convolve(build, build.input((3, 24, 24)), 4, 3, rng, padding=(1, 1))
    sizes = torch.tensor([10.0, 1.0, 1.0, 1.0], dtype=torch.float64).reshape(4, 1, 1)
    conv = build.nodes[h.place].operator
    build.nodes[h.place] = Node(replace(conv, weight=conv.weight * sizes.unsqueeze(1)), (0,), (4, 24, 24))
    h = build.scale(build.scale(h, shift=normal(4, 1, 1, rng=rng)), 1 / sizes)
    build.reshape(build.relu(h), (4 * 24 * 24,))
    found = constants(graph(build.nodes)).l2_nodes
    alone = norms.convolution(conv, (24, 24), 10)
    assert found[3] == pytest.approx(alone)
    assert found[1] > 5 * alone

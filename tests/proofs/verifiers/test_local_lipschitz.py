"""Local constants: within the global ones, and exact where no neuron switches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs import (
    CROWN,
    IBP,
    AlphaCROWN,
    BranchAndBound,
    GloRo,
    Graph,
    LocalLipschitz,
    Optimisation,
    constants,
    margins,
)
from brinell.proofs.lipschitz.secants import _alike, _each, secants
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import ELU, GELU, Exp, Linear, MaxPool, Reciprocal, ReLU, Sigmoid, SiLU, Tanh
from brinell.threat import L1, L2, Box, Linf
from brinell.threat.sets import over_features
from proofs.lipschitz.mystery import Mystery
from proofs.networks import UNIT, dense, examples, inside, normal, perceptron, residual, sets

FAR = Box(-9.0, 9.0)


@pytest.mark.slow
@settings(max_examples=30)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans(), pooled=st.booleans())
def test_no_input_of_the_set_goes_below_it(seed: int, set, image: bool, pooled: bool) -> None:
    net = residual(seed, pooled) if image else perceptron((4, 8, 6, 3), seed)
    x0, spec = examples(net, 2, seed), margins(torch.tensor([seed % 3, 0]), 3)
    points = inside(set, x0, 30, torch.Generator().manual_seed(seed))
    seen = torch.einsum("nrc,knc->knr", spec, net(points.flatten(0, 1)).reshape(len(points), 2, 3)).amin(0)
    for verifier in (LocalLipschitz(), LocalLipschitz(intermediate="crown")):
        assert (verifier(net, x0, set, spec) <= seen + 1e-9).all()


CURVES = (Sigmoid(), Tanh(), SiLU(), GELU(), ELU(scale=2.0), Exp())


@settings(max_examples=60)
@given(seed=st.integers(0, 9999), operator=st.sampled_from((ReLU(), *CURVES, MaxPool((2, 2), (1, 1)), Mystery())))
def test_a_change_keeps_to_its_secants(seed: int, operator) -> None:
    """<a, f(z) - f(v)> is <back, z - v>, but for what is paid for; whichever slope is carried on."""
    rng = torch.Generator().manual_seed(seed)
    value, width = normal(2, 3, 4, 4, rng=rng), 10 ** float(torch.rand(1, generator=rng) * 3 - 2)
    low, high = (
        value - width * torch.rand(value.shape, generator=rng),
        value + width * torch.rand(value.shape, generator=rng),
    )
    after = operator.forward(value)
    a = normal(2, 5, *after.shape[1:], rng=rng)
    for middle in (_each, _alike):
        back, before, beyond = secants(operator, a, middle, value, low, high)
        assert back.shape == (*a.shape[:2], *value.shape[1:]), "it may be added to what another way carries on"
        for _ in range(5):
            z = low + (high - low) * torch.rand(value.shape, generator=rng).double().round(decimals=1)
            move, change = (z - value).unsqueeze(1), (operator.forward(z) - after).unsqueeze(1)
            off = (a * change).flatten(2).sum(2) - (back * move).flatten(2).sum(2)
            paid = (before.abs() * move.abs()).flatten(2).sum(2) + (beyond.abs() * change.abs()).flatten(2).sum(2)
            assert (off.abs() <= paid + 1e-9).all()


def test_a_relu_that_cannot_switch_and_a_window_with_one_leader_cost_nothing() -> None:
    value = torch.tensor([[2.0, -1.0, 0.5]]).double()
    a = torch.tensor([[[1.0, -3.0, 2.0]]]).double()
    back, before, beyond = secants(ReLU(), a, _each, value, value - 0.1, value + 0.1)
    assert back.flatten().tolist() == [1.0, 0.0, 2.0]
    assert not before.any()
    assert not beyond.any()
    window = torch.tensor([[[[0.0, 5.0], [1.0, 2.0]]]]).double()
    back, before, beyond = secants(
        MaxPool((2, 2), (2, 2)), torch.ones(1, 1, 1, 1, 1).double(), _each, window, window - 1, window + 1
    )
    assert back.flatten().tolist() == [0.0, 1.0, 0.0, 0.0]
    assert not beyond.any()
    _, _, beyond = secants(
        MaxPool((2, 2), (2, 2)), torch.ones(1, 1, 1, 1, 1).double(), _each, window, window - 2, window + 2
    )
    assert beyond.all()


@pytest.mark.parametrize(("kind", "dual"), [(Linf, 1), (L2, 2), (L1, torch.inf)])
def test_where_no_neuron_switches_it_is_exact(kind, dual) -> None:
    net, radius = perceptron((4, 8, 3), 0), 1e-7
    x0, spec = examples(net, 5, 1), margins(torch.tensor([0, 1, 2, 0, 1]), 3)
    gradient = torch.func.vmap(torch.func.jacrev(lambda x, s: s @ net(x[None])[0]))(x0, spec)
    at_centre = torch.einsum("nrc,nc->nr", spec, net(x0))
    expected = at_centre - radius * torch.linalg.vector_norm(gradient, dual, dim=2)
    found = LocalLipschitz()(net, x0, kind(radius, FAR), spec)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_near_an_example_it_shows_more_than_the_whole_space_does() -> None:
    net = perceptron((6, 20, 20, 3), 4)
    x0, spec = examples(net, 30, 0), margins(torch.arange(30) % 3, 3)
    for set in (L2(0.05, FAR), Linf(0.02, FAR)):
        near, everywhere = LocalLipschitz()(net, x0, set, spec), GloRo()(net, x0, set, spec)
        assert (near > everywhere).double().mean() > 0.95
        assert (LocalLipschitz(intermediate="crown")(net, x0, set, spec) >= near - 1e-9).all()


def test_of_an_operator_without_a_rule_intervals_say_how_far_it_moves() -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    dense(build, build.add(Mystery(), build.input((3,))), 3, rng)
    net, set = graph(build.nodes), Linf(0.1)
    x0, spec = torch.full((1, 3), 0.5).double(), margins(torch.tensor([0]), 3)
    found = LocalLipschitz()(net, x0, set, spec)
    torch.testing.assert_close(found, IBP()(net, x0, set, spec), rtol=0, atol=0.1)
    points = inside(set, x0, 50, rng)[:, 0]
    assert (found <= (spec[0] @ net(points).unsqueeze(2)).squeeze(2).amin(0)).all()


@pytest.mark.parametrize("curve", CURVES, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("radius", [0.01, 1.0])
def test_through_smooth_functions_it_holds_and_is_of_use(curve, radius: float) -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    dense(build, build.add(curve, dense(build, build.input((3,)), 6, rng)), 3, rng)
    net = graph(build.nodes)
    x0, spec, set = examples(net, 1, 0), margins(torch.tensor([0]), 3), Linf(radius, FAR)
    points = inside(set, x0, 50, rng).flatten(0, 1)
    found = LocalLipschitz()(net, x0, set, spec)
    seen = (spec[0] @ net(points).unsqueeze(2)).squeeze(2)
    assert (found <= seen.amin(0) + 1e-9).all()
    if radius < 0.1:
        assert (found >= seen.amin(0) - 0.2 * (seen.amax(0) - seen.amin(0))).all()


def test_nothing_is_known_around_a_pole() -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    dense(build, build.add(Reciprocal(), build.input((2,))), 2, rng)
    net, x0 = graph(build.nodes), torch.full((1, 2), 0.05, dtype=torch.float64)
    spec = margins(torch.tensor([0]), 2)
    assert LocalLipschitz()(net, x0, Linf(0.1, FAR), spec).item() == -torch.inf
    assert LocalLipschitz()(net, x0, Linf(0.01, FAR), spec).isfinite().all()


@settings(max_examples=20)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans(), pooled=st.booleans())
def test_it_is_never_less_than_what_holds_everywhere(seed: int, set, image: bool, pooled: bool) -> None:
    net = residual(seed, pooled) if image else perceptron((4, 8, 6, 3), seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    assert (LocalLipschitz()(net, x0, set, spec) >= GloRo()(net, x0, set, spec) - 1e-9).all()
    found = constants(net)
    points = inside(set, x0, 10, torch.Generator().manual_seed(seed))
    moved, reach = Graph(net.nodes[:5]), found.l2_values[4]
    distance = (points - x0).flatten(2).norm(dim=2).flatten()
    change = (moved(points.flatten(0, 1)) - moved(x0).repeat(len(points), *[1] * (reach.dim() - 1))).abs()
    assert (change <= reach * over_features(distance, change) * (1 + 1e-9) + 1e-12).all()


def test_from_an_example_outside_the_box_no_gradient_inside_says_anything() -> None:
    """relu(-x): flat throughout the box, and steep on the way from an example below it."""
    build, row, none = Builder(), torch.tensor([[-1.0]]).double(), torch.zeros(1).double()
    h = build.relu(build.add(Linear(row, none), build.input((1,))))
    build.add(Linear(torch.tensor([[1.0], [0.0]]).double(), torch.zeros(2).double()), h)
    net, spec = graph(build.nodes), margins(torch.tensor([0]), 2)
    for x0, truth in ((-0.5, 0.0), (0.1, 0.0)):
        bound = LocalLipschitz()(net, torch.tensor([[x0]]).double(), Linf(0.6, UNIT), spec)
        assert bound.item() <= truth + 1e-12


@pytest.mark.slow
@settings(max_examples=15)
@given(seed=st.integers(0, 999), kind=st.sampled_from([L1, L2]), image=st.booleans())
def test_of_a_ball_crown_shows_all_that_constants_show(seed: int, kind, image: bool) -> None:
    net = residual(seed) if image else perceptron((6, 20, 20, 3), seed)
    x0, spec, set = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3), kind(0.1, UNIT)
    most = torch.maximum(GloRo()(net, x0, set, spec), LocalLipschitz()(net, x0, set, spec))
    branching = BranchAndBound(nodes=2, root=Optimisation(steps=2), leaf=Optimisation(steps=2))
    for verifier in (CROWN(), CROWN(precision="float32"), AlphaCROWN(), branching):
        shown = verifier(net, x0, set, spec)
        assert (shown >= GloRo()(net, x0, set, spec) - 1e-9).all()
        if kind is L1:
            assert (shown > most + 1e-6).double().mean() > 0.5

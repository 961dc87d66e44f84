"""Local constants: within the global ones, and exact where no neuron switches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.threat import L1, L2, Box, Linf
from brinell.threat.sets import over_features
from brinell.verify import GloRo, Graph, LocalLipschitz, Unsupported, constants, margins
from brinell.verify.builder import Builder
from brinell.verify.graph import graph
from brinell.verify.lipschitz.local import jacobian
from brinell.verify.operators import ELU, GELU, Exp, Linear, Reciprocal, Sigmoid, SiLU, Tanh
from brinell.verify.problem import Problem
from brinell.verify.relaxation import relax
from brinell.verify.verifier import nothing
from verify.lipschitz.mystery import Mystery
from verify.networks import UNIT, dense, examples, inside, perceptron, residual, sets

FAR = Box(-9.0, 9.0)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), set=sets(), image=st.booleans(), pooled=st.booleans())
def test_the_gradient_keeps_to_its_limits_everywhere_in_the_set(seed: int, set, image: bool, pooled: bool) -> None:
    net = residual(seed, pooled) if image else perceptron((4, 8, 6, 3), seed)
    x0, spec = examples(net, 1, seed), margins(torch.tensor([seed % 3]), 3)
    problem = Problem(net, x0, set, spec, 2**20, nothing)
    low, high = jacobian(problem, relax(problem, None, False).intervals)
    points = inside(set, x0, 10, torch.Generator().manual_seed(seed)).flatten(0, 1)
    seen = torch.func.vmap(torch.func.jacrev(lambda x: spec[0] @ net(x[None])[0]))(points)
    assert (seen >= low - 1e-12).all()
    assert (seen <= high + 1e-12).all()


@pytest.mark.parametrize(("kind", "dual"), [(Linf, 1), (L2, 2), (L1, torch.inf)])
def test_where_no_neuron_switches_it_is_exact(kind, dual) -> None:
    net, radius = perceptron((4, 8, 3), 0), 1e-7
    x0, spec = examples(net, 5, 1), margins(torch.tensor([0, 1, 2, 0, 1]), 3)
    gradient = torch.func.vmap(torch.func.jacrev(lambda x, s: s @ net(x[None])[0]))(x0, spec)
    held = torch.einsum("nrc,nc->nr", spec, net(x0))
    expected = held - radius * torch.linalg.vector_norm(gradient, dual, dim=2)
    found = LocalLipschitz()(net, x0, kind(radius, FAR), spec)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_near_an_example_it_shows_more_than_the_whole_space_does() -> None:
    net = perceptron((6, 20, 20, 3), 4)
    x0, spec = examples(net, 30, 0), margins(torch.arange(30) % 3, 3)
    for set in (L2(0.05, FAR), Linf(0.02, FAR)):
        near, everywhere = LocalLipschitz()(net, x0, set, spec), GloRo()(net, x0, set, spec)
        assert (near > everywhere).double().mean() > 0.95
        assert (LocalLipschitz(intermediate="crown")(net, x0, set, spec) >= near - 1e-9).all()


def test_an_operator_without_slopes_is_named() -> None:
    build = Builder()
    dense(build, build.add(Mystery(), build.input((3,))), 3, torch.Generator().manual_seed(0))
    with pytest.raises(Unsupported, match="Mystery has no Lipschitz rule"):
        LocalLipschitz()(graph(build.nodes), torch.zeros(1, 3), Linf(0.1), margins(torch.tensor([0]), 3))


@pytest.mark.parametrize(
    "curve", [Sigmoid(), Tanh(), SiLU(), GELU(), ELU(scale=2.0), Exp()], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize("radius", [0.01, 3.0])
def test_smooth_functions_keep_to_their_slopes(curve, radius: float) -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    dense(build, build.add(curve, dense(build, build.input((3,)), 6, rng)), 3, rng)
    net = graph(build.nodes)
    x0, spec = examples(net, 1, 0), margins(torch.tensor([0]), 3)
    problem = Problem(net, x0, Linf(radius, FAR), spec, 2**20, nothing)
    low, high = jacobian(problem, relax(problem, None, False).intervals)
    points = inside(problem.set, x0, 50, rng).flatten(0, 1)
    seen = torch.func.vmap(torch.func.jacrev(lambda x: spec[0] @ net(x[None])[0]))(points)
    assert (seen >= low - 1e-9).all()
    assert (seen <= high + 1e-9).all()


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
    moved, reach = Graph(net.nodes[:5]), found.reaches[4]
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

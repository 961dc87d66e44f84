"""Laws that hold for every verifier."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.proofs import (
    CROWN,
    IBP,
    AlphaCROWN,
    BranchAndBound,
    ForwardCROWN,
    GloRo,
    LocalLipschitz,
    Optimisation,
    Verifier,
    Zonotope,
    certified,
    margins,
)
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import Graph, Node, graph
from brinell.proofs.network.operators import Linear
from brinell.threat import L2, Box, Linf, PerturbationSet
from proofs.networks import UNIT, examples, inside, mixed, perceptron, residual, sets

CASES: dict[str, Verifier] = {
    "ibp": IBP(),
    "gloro": GloRo(),
    "local": LocalLipschitz(),
    "crown": CROWN(),
    "crown-ibp": CROWN(intermediate="interval"),
    "same": CROWN(slope="same"),
    "crown-float32": CROWN(precision="float32"),
    "forward": ForwardCROWN(finish="forward"),
    "forward-backward": ForwardCROWN(),
    "zonotope": Zonotope(),
    "hybrid": Zonotope(symbols=2),
    "alpha": AlphaCROWN(optimisation=Optimisation(steps=4)),
    "branch": BranchAndBound(nodes=8, root=Optimisation(steps=3), leaf=Optimisation(steps=3)),
}
VERIFIERS = pytest.mark.parametrize("verifier", CASES.values(), ids=CASES.keys())
SLACK = 1e-9


def any_network(name: str, seed: int) -> Graph:
    if name == "mlp":
        return perceptron((4, 7, 6, 3), seed)
    return mixed(seed) if name == "mixed" else residual(seed, name == "maximum")


@pytest.mark.sweep(3)
@VERIFIERS
@settings(max_examples=12)
@given(seed=st.integers(0, 999), set=sets(), network=st.sampled_from(["mlp", "residual", "maximum"]))
def test_no_point_of_the_set_goes_below_the_bound(verifier, seed, set, network) -> None:
    check(verifier, any_network(network, seed), set, seed)


@pytest.mark.sweep(12)
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("gloro", "local")])
@settings(max_examples=6)
@given(seed=st.integers(0, 999), set=sets())
def test_nor_where_its_operators_are_of_all_kinds(name, seed, set) -> None:
    check(CASES[name], mixed(seed), set, seed)


def check(verifier: Verifier, net: Graph, set: PerturbationSet, seed: int) -> None:
    x0 = examples(net, 2, seed)
    spec = margins(torch.tensor([seed % 3, 1]), 3)
    bounds = verifier(net, x0, set, spec)
    points = inside(set, x0, 20, torch.Generator().manual_seed(seed))
    reached = torch.einsum("nrc,knc->knr", spec, net(points.flatten(0, 1)).reshape(len(points), 2, 3)).amin(0)
    assert bounds.isfinite().all()
    assert (bounds <= reached + SLACK).all()


@VERIFIERS
@pytest.mark.parametrize("kind", [Linf, L2])
def test_a_linear_model_is_bounded_exactly(verifier, kind) -> None:
    net = perceptron((5, 3), 0)
    x0, spec = examples(net, 4, 1), margins(torch.tensor([0, 1, 2, 0]), 3)
    set = kind(0.01, Box(-9.0, 9.0))
    linear = net.nodes[1].operator
    functional = spec @ linear.weight
    norm = functional.abs().sum(2) if kind is Linf else functional.norm(dim=2)
    exact = torch.einsum("nrc,nc->nr", spec, net(x0)) - 0.01 * norm
    torch.testing.assert_close(verifier(net, x0, set, spec), exact, rtol=0, atol=1e-12)


@VERIFIERS
def test_a_radius_of_zero_gives_the_margin_itself(verifier) -> None:
    net = residual(3)
    x0, spec = examples(net, 3, 0), margins(torch.tensor([0, 1, 2]), 3)
    margin = torch.einsum("nrc,nc->nr", spec, net(x0))
    torch.testing.assert_close(verifier(net, x0, Linf(0.0, UNIT), spec), margin, rtol=0, atol=1e-9)


@VERIFIERS
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("layer", [1, 3, 5])
def test_a_weight_that_is_not_a_number_proves_nothing(verifier, value, layer) -> None:
    net = perceptron((4, 6, 6, 3), 0)
    sick = net.nodes[layer].operator
    weight = sick.weight.clone()
    weight[:, 0] = value
    nodes = list(net.nodes)
    nodes[layer] = Node(Linear(weight, sick.bias), nodes[layer].inputs, nodes[layer].shape)
    bounds = verifier(Graph(tuple(nodes)), examples(net, 2, 0), Linf(0.1, UNIT), margins(torch.tensor([0, 1]), 3))
    assert (bounds == -torch.inf).all()
    assert not certified(bounds).any()


@VERIFIERS
def test_an_input_that_is_not_a_number_proves_nothing_and_leaves_its_neighbours_alone(verifier) -> None:
    net = perceptron((4, 6, 3), 0)
    x0, spec = examples(net, 3, 0), margins(torch.tensor([0, 1, 2]), 3)
    sick = x0.clone()
    sick[1, 2] = torch.nan
    well, bounds = verifier(net, x0, Linf(0.02, UNIT), spec), verifier(net, sick, Linf(0.02, UNIT), spec)
    assert (bounds[1] == -torch.inf).all()
    torch.testing.assert_close(bounds[[0, 2]], well[[0, 2]], rtol=0, atol=1e-12)


@pytest.mark.sweep(8)
@pytest.mark.parametrize("name", ["ibp", "crown", "crown-ibp", "same", "alpha"])
@pytest.mark.parametrize("kind", [Linf, L2])
def test_chunks_change_nothing(name, kind) -> None:
    net, set = residual(5), kind(0.1, UNIT)
    x0, spec = examples(net, 5, 0), margins(torch.tensor([0, 1, 2, 0, 1]), 3)
    apart = replace(CASES[name], memory=1)(net, x0, set, spec)
    torch.testing.assert_close(apart, CASES[name](net, x0, set, spec), rtol=0, atol=1e-9)


@pytest.mark.slow
@settings(max_examples=25)
@given(seed=st.integers(0, 999), set=sets(), network=st.sampled_from(["mlp", "residual", "mixed"]))
def test_a_dearer_proof_is_never_worse(seed: int, set, network: str) -> None:
    net = any_network(network, seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    bounds = [CASES[name](net, x0, set, spec) for name in ("ibp", "crown", "alpha")]
    assert (bounds[0] <= bounds[1] + SLACK).all()
    assert (bounds[1] <= bounds[2] + SLACK).all()


@VERIFIERS
def test_a_checkpoint_may_stop_it(verifier) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    net = perceptron((4, 6, 3), 0)
    with pytest.raises(Stop):
        verifier(net, examples(net, 2, 0), Linf(0.1, UNIT), margins(torch.tensor([0, 1]), 3), stop)


@VERIFIERS
def test_no_examples_give_no_bounds(verifier) -> None:
    net = perceptron((4, 6, 3), 0)
    none = torch.zeros(0, 4, dtype=torch.float64)
    assert verifier(net, none, Linf(0.1, UNIT), torch.zeros(0, 2, 3)).shape == (0, 2)


@VERIFIERS
def test_limits_of_the_box_mean_what_float32_inputs_can_hold(verifier) -> None:
    """float32(0.1) is a little more than 0.1; an input may hold it, so a proof must allow for it."""
    build = Builder()
    build.add(Linear(torch.tensor([[-1e9], [0.0]]).double(), torch.zeros(2).double()), build.input((1,)))
    net = graph(build.nodes)
    x0 = torch.tensor([[0.05]])
    bounds = verifier(net, x0, Linf(0.06, Box(0.0, 0.1)), margins(torch.tensor([0]), 2))
    assert bounds.item() <= net(torch.tensor([[0.1]])).diff().neg().item()


def test_a_tie_is_not_certified() -> None:
    assert certified(torch.tensor([[0.0, 1.0], [1e-300, 1.0]], dtype=torch.float64)).tolist() == [False, True]
    build = Builder()
    build.add(Linear(torch.zeros(3, 2).double(), torch.tensor([0.3, 0.3, -5.0]).double()), build.input((2,)))
    tied = graph(build.nodes)
    for verifier in CASES.values():
        bounds = verifier(tied, torch.zeros(1, 2), Linf(0.1), margins(torch.tensor([0]), 3))
        assert not certified(bounds).any()


def test_margins_are_those_to_every_other_class() -> None:
    scores = torch.tensor([[1.0, 5.0, 2.0], [7.0, 3.0, 4.0]], dtype=torch.float64)
    spec = margins(torch.tensor([1, 0]), 3)
    assert torch.einsum("nrc,nc->nr", spec, scores).tolist() == [[4.0, 3.0], [4.0, 3.0]]
    with pytest.raises(UsageError, match="labels run from 0 to 3"):
        margins(torch.tensor([0, 3]), 3)


def test_shapes_that_cannot_be_right_are_named() -> None:
    net = perceptron((4, 6, 3), 0)
    with pytest.raises(UsageError, match=r"traced for \(4,\)"):
        IBP()(net, torch.zeros(2, 5), Linf(0.1), margins(torch.tensor([0, 1]), 3))
    with pytest.raises(UsageError, match="spec has shape"):
        IBP()(net, torch.zeros(2, 4), Linf(0.1), margins(torch.tensor([0, 1]), 4))

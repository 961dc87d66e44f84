"""Zonotopes: DeepZ is the same-slope CROWN propagated forward, and a box is its loosest version."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.proofs import CROWN, IBP, ForwardCROWN, Zonotope, margins
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Linear
from brinell.threat import L1, L2, Box, Linf
from proofs.networks import UNIT, examples, mixed, perceptron, residual, sets


@pytest.fixture
def without_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """CROWN as the papers have it: of balls, too, without what Lipschitz constants show."""
    monkeypatch.setattr("brinell.proofs.relaxation.network.lipschitz_bounds", lambda problem: {})
    monkeypatch.setattr(
        "brinell.proofs.relaxation.network.by_secants", lambda problem, _: torch.tensor(-torch.inf).double()
    )


@pytest.mark.usefixtures("without_constants")
@pytest.mark.parametrize("kind", [Linf, L2, L1])
@pytest.mark.parametrize("seed", range(3))
def test_with_all_symbols_it_is_the_same_slope_crown(kind, seed: int) -> None:
    """Both draw the same parallelogram around each ReLU; one adds them up forward, the other backward."""
    net = residual(seed)
    x0, spec = examples(net, 3, seed), margins(torch.tensor([0, 1, 2]), 3)
    found = Zonotope()(net, x0, kind(0.1, UNIT), spec)
    same = CROWN(slope="same")(net, x0, kind(0.1, UNIT), spec)
    torch.testing.assert_close(found, same, rtol=0, atol=1e-10)


@settings(max_examples=10)
@given(seed=st.integers(0, 999), set=sets(), network=st.sampled_from([residual, mixed]))
def test_more_symbols_are_better_and_none_are_better_than_intervals(seed: int, set, network) -> None:
    net = network(seed)
    x0, spec = examples(net, 2, seed), margins(torch.tensor([0, 1]), 3)
    interval, hybrid, whole = (v(net, x0, set, spec) for v in (IBP(), Zonotope(symbols=0), Zonotope()))
    assert (interval <= hybrid + 1e-9).all()
    assert (hybrid <= whole + 1e-9).all()


def test_two_paths_by_hand() -> None:
    """relu(x) - relu(x + 0), with x in [-1, 3]: each path draws its own parallelogram of half-height 3/8.

    One neuron read twice is one symbol, which cancels; two neurons are two symbols and -3/4; intervals say 0 - 3.
    """
    for shared, expected in ((True, 0.0), (False, -0.75)):
        build = Builder()
        x = build.input((1,))
        first = build.relu(x)
        second = first if shared else build.relu(build.scale(x))
        third = build.relu(build.scale(build.total((1, first), (-1, second)), shift=9.0))  # stable
        build.add(Linear(torch.tensor([[1.0], [0.0]]).double(), torch.tensor([-9.0, 0.0]).double()), third)
        net, spec = graph(build.nodes), torch.tensor([[[1.0, 0.0]]]).double()
        x0, set = torch.ones(1, 1).double(), Linf(2.0, Box(-9.0, 9.0))
        for verifier, bound in ((Zonotope(), expected), (Zonotope(symbols=0), -0.75), (IBP(), -3.0)):
            found = verifier(net, x0, set, spec).item()
            assert abs(found - bound) <= 1e-9, (shared, verifier, found)


@pytest.mark.usefixtures("without_constants")
@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_before_the_second_layer_of_relus_forward_bounds_are_those_of_substitution(kind) -> None:
    """With one layer of ReLUs there is nothing to lose on the way: both relax the same neurons by the same lines."""
    net = perceptron((5, 9, 3), 0)
    x0, spec, set = examples(net, 4, 0), margins(torch.tensor([0, 1, 2, 0]), 3), kind(0.2, UNIT)
    crown = CROWN()(net, x0, set, spec)
    for finish in ("forward", "backward"):
        torch.testing.assert_close(ForwardCROWN(finish=finish)(net, x0, set, spec), crown, rtol=0, atol=1e-10)


@settings(max_examples=10)
@given(seed=st.integers(0, 999), set=sets(), network=st.sampled_from([residual, mixed]))
def test_forward_bounds_are_better_than_intervals_and_substitution_at_the_end_is_better_still(seed, set, network):
    net = network(seed)
    x0, spec = examples(net, 2, seed), margins(torch.tensor([0, 1]), 3)
    interval, forward, backward = (
        v(net, x0, set, spec) for v in (IBP(), ForwardCROWN(finish="forward"), ForwardCROWN())
    )
    assert (interval <= forward + 1e-9).all()
    assert (forward <= backward + 1e-9).all()


@pytest.mark.parametrize("verifier", [Zonotope(memory=1), Zonotope(symbols=1, memory=1), ForwardCROWN(memory=1)])
def test_little_memory_changes_nothing(verifier) -> None:
    net = residual(5)
    x0, spec = examples(net, 4, 0), margins(torch.tensor([0, 1, 2, 0]), 3)
    ample = type(verifier)(**{**vars(verifier), "memory": 2**27})
    set = Linf(0.1, UNIT)
    torch.testing.assert_close(verifier(net, x0, set, spec), ample(net, x0, set, spec), rtol=0, atol=1e-9)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="symbols is -1"):
        Zonotope(symbols=-1)
    with pytest.raises(UsageError, match="finish is 'sideways'"):
        ForwardCROWN(finish="sideways")

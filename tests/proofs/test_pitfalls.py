"""What other verifiers got wrong, each as a claim about all of ours. The reports are cited where they are public."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import brinell
from brinell.auditing import Plan, Stage
from brinell.proofs import CROWN, IBP, MILP, RegionWalk, Verifier, certified, margins, trace
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import Graph, graph
from brinell.proofs.network.operators import Linear
from brinell.proofs.query.problem import solve
from brinell.proofs.query.verifier import nothing
from brinell.threat import Linf, Threat
from proofs.networks import UNIT
from proofs.query.test_verifier import CASES

VERIFIERS = pytest.mark.parametrize("verifier", [*CASES.values(), MILP()], ids=[*CASES, "milp"])
SPEC = margins(torch.tensor([0]), 2)


def layers(*weights: tuple[list, list]) -> Graph:
    build = Builder()
    x = build.input((len(weights[0][0][0]),))
    for i, (weight, bias) in enumerate(weights):
        x = build.relu(x) if i else x
        x = build.add(Linear(torch.tensor(weight).double(), torch.tensor(bias).double()), x)
    return graph(build.nodes)


def planted(at: tuple[float, float], width: float, height: float = 1.5) -> Graph:
    """Class 0 leads by 1 - height * relu(1 - |x - at|_1 / width): everywhere but near the top of a pyramid."""
    a, b = at
    spread = ([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [-a, a, -b, b])
    pyramid = ([[-1 / width] * 4], [1.0])
    return layers(spread, pyramid, ([[0.0], [height]], [1.0, 0.0]))


@VERIFIERS
@settings(max_examples=4)
@given(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)), st.sampled_from([0.2, 0.02, 1e-3]))
def test_a_counterexample_that_was_planted_is_never_proved_away(verifier: Verifier, at, width) -> None:
    """As in SoundnessBench (Zhou et al. 2024, arXiv:2412.03154), where three verifiers missed some."""
    net, x0 = planted(at, width), torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    there = float((torch.tensor([at]) - x0).abs().max())
    assert not certified(verifier(net, x0, Linf(there, UNIT), SPEC)).any()


@settings(max_examples=5)
@given(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)), st.sampled_from([0.2, 0.02]))
def test_a_counterexample_that_was_planted_is_found_where_it_is_nearest(at, width) -> None:
    """Class 1 has |x - at|_1 <= width / 3; the nearest in linf moves both coordinates alike, as far as it helps."""
    net, x0 = planted(at, width), torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    found = RegionWalk()(net, x0, torch.tensor([0]), Linf(math.inf, UNIT))
    small, large = sorted(abs(value - 0.5) for value in at)
    nearest = max(large - width / 3, (small + large - width / 3) / 2, 0.0)
    assert float(found.distance) == pytest.approx(nearest, rel=2e-3, abs=1e-6)
    assert found.certified <= nearest


@VERIFIERS
@pytest.mark.parametrize("radius", [1e-6, 1e-9, 1e-12])
def test_an_input_that_is_almost_fixed_is_not_taken_for_fixed(verifier: Verifier, radius) -> None:
    """Marabou rounded variables with nearly equal limits to constants (NeuralNetworkVerification/Marabou#568)."""
    net = layers(([[1 / radius]], [-0.5 / radius]), ([[-1.0], [0.0]], [0.5, 0.0]))
    x0 = torch.tensor([[0.5]], dtype=torch.float64)
    assert net(x0).argmax() == 0
    assert net(x0 + radius).argmax() == 1
    assert not certified(verifier(net, x0, Linf(radius, UNIT), SPEC)).any()
    if not isinstance(verifier, MILP):  # whose tolerances are wider than that
        assert certified(verifier(net, x0, Linf(radius / 4, UNIT), SPEC)).all(), "and what holds is still proved"


class Extreme(nn.Module):
    """Maximum, minimum and clamp of two sides."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = 2 * x, 1 - x
        return torch.cat((torch.maximum(a, b), torch.minimum(a, b), a.clamp(0.3, 0.9)), 1)


@pytest.mark.parametrize("verifier", [IBP(), CROWN()], ids=["ibp", "crown"])
def test_maximum_minimum_and_clamp_have_finite_bounds_that_hold(verifier) -> None:
    """auto_LiRPA gave NaN for such (Verified-Intelligence/auto_LiRPA#63)."""
    x0, set = torch.tensor([[0.2, 0.7]], dtype=torch.float64), Linf(0.15, UNIT)
    net, spec = trace(Extreme().double(), x0), torch.cat((torch.eye(6), -torch.eye(6))).double().unsqueeze(0)
    bounds = verifier(net, x0, set, spec)
    line = torch.linspace(-0.15, 0.15, 31, dtype=torch.float64)
    values = net(x0 + torch.cartesian_prod(line, line)) @ spec[0].T
    assert bounds.isfinite().all()
    assert (bounds <= values.amin(0) + 1e-9).all()


def test_an_error_inside_a_verifier_is_an_error_and_no_proof() -> None:
    """A wrapper that swallowed assertions made every instance unsat (Verified-Intelligence/alpha-beta-CROWN#83)."""

    def broken(problem):
        raise AssertionError("inside")

    net = layers(([[1.0], [0.0]], [1.0, 0.0]))
    with pytest.raises(AssertionError, match="inside"):
        solve(broken, net, torch.zeros(1, 1), Linf(0.1), SPEC, 2**20, nothing)


@VERIFIERS
def test_a_margin_of_exactly_zero_is_not_proved(verifier: Verifier) -> None:
    net, x0 = layers(([[1.0], [1.0]], [0.25, 0.25]), ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])), torch.full((1, 1), 0.5)
    assert not certified(verifier(net, x0, Linf(0.1, UNIT), SPEC)).any()


def test_weights_that_are_no_numbers_certify_nothing_in_an_audit() -> None:
    """A NaN became a proof in a verifier whose comparisons with it went the wrong way (verivital/nnv#446)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    net[0].weight.data[0, 0] = torch.nan
    plan = Plan(name="proofs", stages=tuple(Stage(engine=name) for name in ("Clean", "IBP", "CROWN", "RegionWalk")))
    data = torch.rand(10, 3), torch.zeros(10).long()
    found = ("non-finite", "low-accuracy", "random", "memory", "batch-dependence")
    target = brinell.target(net, box=UNIT)
    run = brinell.audit(target, data, Threat(Linf(0.01)), plan, workers=1, accept=found)
    assert run.bracket.certified_count == 0

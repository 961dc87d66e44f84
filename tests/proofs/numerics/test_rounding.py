"""Rounding stays within what running error analysis allows it."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.errors import UsageError
from brinell.proofs import CROWN, IBP, AlphaCROWN, margins
from brinell.proofs.numerics.rounding import at_input, at_node, is_kept, kept, outward, trusted
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import bound, relax
from brinell.proofs.relaxation.optimised import SplitRelaxation, Splits, first, multiplier_rounding, relaxations
from brinell.threat import L2, Linf
from proofs.networks import UNIT, examples, mixed, perceptron, residual, sets


def in_float64(relaxation):
    """The same linear bound, to be computed with exactly (next to float32)."""
    tensors = {f.name: getattr(relaxation, f.name) for f in fields(relaxation)}
    return replace(
        relaxation, **{n: t.double() for n, t in tensors.items() if torch.is_tensor(t) and t.is_floating_point()}
    )


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), set=sets(), network=st.sampled_from(["mlp", "residual", "maximum", "mixed"]))
def test_a_substitution_in_float32_errs_by_no_more_than_it_may(seed: int, set, network) -> None:
    net = {"mlp": lambda: perceptron((40, 60, 30, 3), seed), "mixed": lambda: mixed(seed)}.get(
        network, lambda: residual(seed, network == "maximum")
    )()
    problem = Problem(net, examples(net, 2, seed), set, margins(torch.tensor([0, 1]), 3), 2**24, nothing)
    intervals = relax(problem, "adaptive", True).intervals
    coarse = problem.cast(torch.float32)
    fine = replace(coarse.cast(torch.float64), graph=net)
    errors, relaxations, precise = [at_input(net, problem.hull, torch.float32)], {}, {}
    for i, node in enumerate(net.nodes[1:], 1):
        inputs = [intervals[j] for j in node.inputs]
        errors.append(at_node(net, i, inputs, [errors[j] for j in node.inputs], torch.float32))
        operator = coarse.graph.operator(i)
        if i in net.nonlinearities:
            low, high = outward(inputs[0], torch.float32)
            relaxations[i] = operator.relax(low, high, operator.choices(low, high, "adaptive").unsqueeze(1))
            precise[i] = in_float64(relaxations[i])
        else:
            relaxations[i], precise[i] = operator, net.operator(i)
    rng = torch.Generator().manual_seed(seed)
    for i in (net.nonlinearities[-1] - 1, net.output):
        a = torch.randn(2, 5, *net.nodes[i].shape, generator=rng)
        off = bound(coarse, i, a, relaxations).double() - bound(fine, i, a.double(), precise)
        may = (a.double().abs() * errors[i].unsqueeze(1)).flatten(2).sum(2)
        assert (off.abs() <= may).all()
        assert (may <= 0.05 * (1 + bound(fine, i, a.double(), precise).abs().max())).all(), "of use"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), set=sets(), network=st.sampled_from(["mlp", "residual"]))
def test_multipliers_of_split_neurons_err_by_no_more_than_they_may(seed: int, set, network) -> None:
    """In float32, beside the same relaxations and multipliers in float64."""
    net = perceptron((20, 30, 20, 3), seed) if network == "mlp" else residual(seed)
    rng = torch.Generator().manual_seed(seed)
    problem = Problem(net, examples(net, 2, seed), set, margins(torch.tensor([0, 1]), 3), 2**24, nothing)
    intervals = relax(problem, "adaptive", True).intervals
    errors = [at_input(net, problem.hull, torch.float32)]
    for i, node in enumerate(net.nodes[1:], 1):
        inputs, before = [intervals[j] for j in node.inputs], [errors[j] for j in node.inputs]
        errors.append(at_node(net, i, inputs, before, torch.float32))
    state = {}
    for i, layer in first(net, intervals, 2).items():
        low, high = outward((layer.low, layer.high), torch.float32)
        phase = torch.randint(-1, 2, low.shape, generator=rng).double() * (net.nonlinearities.index(i) < 2)
        multipliers = 1000 * torch.rand(layer.slopes.shape, generator=rng).float().double()
        state[i] = replace(layer, low=low.double(), high=high.double(), splits=Splits(phase, multipliers))
    coarse = problem.cast(torch.float32)
    lines = relaxations(coarse.graph, {i: layer.cast(torch.float32) for i, layer in state.items()})
    precise = {
        i: net.operator(i) if i not in state else SplitRelaxation(in_float64(line.relaxation), line.dual.double())
        for i, line in lines.items()
    }
    fine = replace(coarse.cast(torch.float64), graph=net)
    off = bound(coarse, net.output, coarse.spec, lines).double() - bound(fine, net.output, fine.spec, precise)
    own = (problem.spec.abs() * errors[-1].unsqueeze(1)).sum(2)
    owing = multiplier_rounding(net, state, dict(enumerate(errors)))
    assert (off.abs() <= own + owing).all()
    assert (owing < 0.05 * (1 + bound(fine, net.output, fine.spec, precise).abs().max())).all(), "of use"


@pytest.mark.parametrize("kind", [Linf, L2])
@pytest.mark.parametrize("image", [True, False])
def test_limits_found_in_float32_are_nearly_those_found_in_float64(kind, image) -> None:
    net = residual(1) if image else perceptron((30, 40, 20, 3), 1)
    problem = Problem(net, examples(net, 4, 0), kind(0.05, UNIT), margins(torch.arange(4) % 3, 3), 2**24, nothing)
    fine, coarse = (relax(problem, "adaptive", True, dtype).intervals for dtype in (torch.float64, torch.float32))
    for here, there in zip(fine, coarse, strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=2e-3)
    first = min(net.pre_activations - net.exact_interval_nodes)
    assert (coarse[first][0] <= fine[first][0] + 1e-12).all()
    assert (coarse[first][1] >= fine[first][1] - 1e-12).all()
    assert (coarse[first][0] < fine[first][0]).any()


def test_an_outward_interval_holds_the_interval_and_keeps_what_a_precision_has() -> None:
    x = torch.tensor([0.1, -0.1, 1.0, 0.0, 1e300], dtype=torch.float64)
    low, high = outward((x, x), torch.float32)
    assert low.dtype is torch.float32
    has = torch.tensor([False, False, True, True, False])
    assert torch.equal(low.double() == x, has)
    assert torch.equal(high.double() == x, has)
    assert (low.double() <= x).all()
    assert (x <= high.double()).all()
    assert outward((x, x), torch.float64) == (x, x)


def test_float32_is_not_trusted_where_it_may_be_something_coarser() -> None:
    assert trusted("float32") is torch.float32
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        assert trusted("float32") is torch.float64
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


@pytest.mark.parametrize("verifier", [CROWN, AlphaCROWN, IBP])
def test_another_precision_is_refused(verifier) -> None:
    with pytest.raises(UsageError, match="precision is 'float16'"):
        verifier(precision="float16")


def test_where_rounding_would_take_much_float64_takes_over(monkeypatch) -> None:
    net = perceptron((6, 64, 64, 64, 64, 64, 64, 3), 0)
    x, spec = examples(net, 4, 0), margins(torch.zeros(4, dtype=torch.int64), 3)
    fine, kept = (CROWN(precision=precision)(net, x, Linf(1e-4, UNIT), spec) for precision in ("float64", "float32"))
    monkeypatch.setattr("brinell.proofs.relaxation.network.MOST_ROUNDING", float("inf"))
    coarse = CROWN(precision="float32")(net, x, Linf(1e-4, UNIT), spec)
    assert (coarse < fine - 1e-4).all()
    torch.testing.assert_close(kept, fine, rtol=0, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999), network=st.sampled_from(["mlp", "residual", "maximum"]), offset=st.sampled_from([0, 1e4])
)
def test_intervals_that_are_kept_in_float32_hold_those_of_float64(seed: int, network: str, offset: float) -> None:
    """Next to float32 those of float64 are exact, also where the values are large and the intervals small."""
    net = perceptron((40, 60, 30, 3), seed) if network == "mlp" else residual(seed, network == "maximum")
    coarse = net.cast(torch.float32)
    for i, node in enumerate(coarse.nodes[1:], 1):
        operator, fine = coarse.operator(i), net.operator(i)
        assert is_kept(operator)
        rng = torch.Generator().manual_seed(seed + i)
        low = [offset + torch.randn(3, *net.nodes[j].shape, generator=rng) for j in node.inputs]
        ends = [(x, x + 1e-6 * x.abs() * torch.rand(x.shape, generator=rng)) for x in low]
        found = kept(operator, ends)
        exact = fine.interval(*((a.double(), b.double()) for a, b in ends))
        assert found[0].dtype is torch.float32
        assert (found[0].double() <= exact[0] + 1e-14 * exact[0].abs()).all()
        assert (found[1].double() >= exact[1] - 1e-14 * exact[1].abs()).all()
        size = sum(e[1].abs().amax() for e in ends) * 60
        assert ((found[1] - found[0]) <= (exact[1] - exact[0]) + 2e-5 * size).all(), "of use"


def test_intervals_of_float32_prove_no_more_than_those_of_float64_and_nearly_as_much() -> None:
    for net in (perceptron((30, 40, 20, 3), 1), residual(1), residual(2, True), mixed(0)):
        x, spec = examples(net, 5, 0).float(), margins(torch.arange(5) % 3, 3)
        fine, coarse = (IBP(precision=p)(net, x, Linf(0.01, UNIT), spec) for p in ("float64", "float32"))
        assert (coarse <= fine + 1e-12).all()
        torch.testing.assert_close(coarse, fine, rtol=1e-3, atol=1e-3)

"""Branch and bound against the exact minimum, found by enumerating activation patterns."""

import itertools
from dataclasses import replace

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from brinell.proofs import AlphaCROWN, BranchAndBound, Graph, Optimisation, certified, margins
from brinell.proofs.network.operators import Linear
from brinell.proofs.verifiers.beta_crown import _BARELY
from brinell.threat import Linf
from proofs.networks import UNIT, examples, perceptron, residual


def exact(net: Graph, low: Tensor, high: Tensor, row: Tensor) -> float:
    """min <row, scores> over the box: one linear programme for each pattern of active ReLUs."""
    layers = [node.operator for node in net.nodes if isinstance(node.operator, Linear)]
    widths = [len(layer.bias) for layer in layers[:-1]]
    best = float("inf")
    for pattern in itertools.product((0.0, 1.0), repeat=sum(widths)):
        weight, offset = torch.eye(len(low), dtype=torch.float64), torch.zeros(len(low), dtype=torch.float64)
        rows, limits = [], []
        for layer, active in zip(layers, (*torch.tensor(pattern).double().split(widths), None), strict=True):
            weight, offset = layer.weight @ weight, layer.weight @ offset + layer.bias
            if active is not None:
                sign = 1 - 2 * active
                rows.append(sign.unsqueeze(1) * weight)
                limits.append(-sign * offset)
                weight, offset = active.unsqueeze(1) * weight, active * offset
        box = torch.stack((low, high), 1).tolist()
        solved = linprog((row @ weight).numpy(), torch.cat(rows).numpy(), torch.cat(limits).numpy(), bounds=box)
        if solved.status == 0:
            best = min(best, solved.fun + float(row @ offset))
    return best


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", range(4))
def test_it_decides_as_enumeration_does(seed: int) -> None:
    """The bound is below the exact minimum; and shifted to lie just below zero or above, the sign is found."""
    net, set = perceptron((2, 4, 3, 2), seed), Linf(0.4, UNIT)
    x0 = examples(net, 1, seed)
    spec = margins(torch.tensor([0]), 2)
    low, high = set.hull(x0)
    least = exact(net, low[0], high[0], spec[0, 0])
    last = net.nodes[-1].operator
    searching = BranchAndBound(nodes=100, leaf=Optimisation(steps=20))
    assert searching(net, x0, set, spec).item() <= least + 1e-9
    for shift, expected in ((0.01 - least, True), (-0.01 - least, False)):
        moved = Linear(last.weight, last.bias + torch.tensor([shift, 0.0]))
        shifted = Graph((*net.nodes[:-1], type(net.nodes[-1])(moved, net.nodes[-1].inputs, (2,))))
        assert certified(searching(shifted, x0, set, spec)).item() is expected


def test_it_proves_what_one_relaxation_cannot() -> None:
    net, set = perceptron((4, 12, 12, 3), 2), Linf(0.3, UNIT)
    x0 = examples(net, 40, 0)
    spec = margins(net(x0).argmax(1), 3)
    before = certified(AlphaCROWN()(net, x0, set, spec))
    after = certified(BranchAndBound(nodes=100)(net, x0, set, spec))
    assert (after | ~before).all()
    assert after.sum() > before.sum()


def test_a_network_without_relus_is_bounded_at_the_root() -> None:
    net = perceptron((4, 3), 0)
    x0, spec = examples(net, 3, 0), margins(torch.tensor([0, 1, 2]), 3)
    assert BranchAndBound()(net, x0, Linf(0.5, UNIT), spec).isfinite().all()


def test_bounds_given_up_are_no_worse_than_those_of_the_root() -> None:
    net, set = residual(1, maximum=True), Linf(0.3, UNIT)
    x0, spec = examples(net, 4, 0), margins(torch.tensor([0, 1, 2, 0]), 3)
    root = BranchAndBound(nodes=0, root=Optimisation(steps=5))(net, x0, set, spec)
    assert (BranchAndBound(nodes=12, root=Optimisation(steps=5))(net, x0, set, spec) >= root - 1e-12).all()


def test_a_bound_climbs_also_where_no_gradients_are_recorded() -> None:
    net, set = perceptron((4, 12, 12, 3), 2), Linf(0.3, UNIT)
    x0 = examples(net, 4, 0)
    spec = margins(torch.tensor([0, 1, 2, 0]), 3)
    with_them = BranchAndBound(nodes=20)(net, x0, set, spec)
    with torch.no_grad():
        without = BranchAndBound(nodes=20)(net, x0, set, spec)
    torch.testing.assert_close(without, with_them)


@pytest.mark.slow
def test_branching_on_intermediate_layers_spares_the_rows_subproblems() -> None:
    """With two subproblems a row, open rows are far nearer to a proof once intermediate layers have had theirs."""
    net, set = perceptron((4, 16, 16, 16, 16, 16, 3), 1), Linf(0.2, UNIT)
    x0 = examples(net, 8, 0)
    spec = margins(net(x0).argmax(1), 3)
    few = BranchAndBound(nodes=2, intermediate=Optimisation(steps=5))
    before, after = (verifier(net, x0, set, spec).clamp(max=0) for verifier in (few, replace(few, neuron_nodes=32)))
    assert after.sum() > 0.6 * before.sum()


def square_with_least(least: float, seed: int) -> tuple[Graph, Tensor, Linf, Tensor]:
    """A question about the unit square whose margin has this least value, on a fine grid."""
    net, spec = perceptron((2, 12, 12, 12, 2), seed), margins(torch.tensor([0]), 2)
    ends = torch.linspace(0, 1, 101, dtype=torch.float64)
    now = float((net(torch.cartesian_prod(ends, ends)) @ spec[0, 0]).min())
    last, up = net.nodes[-1], torch.tensor([least - now, 0.0], dtype=torch.float64)
    moved = replace(last, operator=Linear(last.operator.weight, last.operator.bias + up))
    return Graph((*net.nodes[:-1], moved)), torch.full((1, 2), 0.5, dtype=torch.float64), Linf(0.5, UNIT), spec


@pytest.mark.sweep(3)
@pytest.mark.parametrize("leaf_intermediate", [None, Optimisation(steps=2)], ids=["inexpensive", "expensive"])
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_what_is_left_when_a_round_has_had_its_work_is_not_taken_for_proved(
    seed: int, leaf_intermediate: Optimisation | None
) -> None:
    """Rounds end with subproblems waiting: on a fine grid no margin is below its bound, whatever its sign."""
    few = Optimisation(steps=1)
    searching = BranchAndBound(
        nodes=3000, intermediate=few, neuron_nodes=32, root=few, leaf=few, leaf_intermediate=leaf_intermediate
    )
    for least in (0.05, -0.001):
        bound = searching(*square_with_least(least, seed)).item()
        assert bound <= least + 1e-12
        assert (bound > 0) == (least > 0)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_row_shown_over_unsafe_inputs_alone_is_positive_and_no_more(seed: int, monkeypatch) -> None:
    monkeypatch.setattr("brinell.proofs.verifiers.beta_crown._INEXPENSIVE", 0)
    few = Optimisation(steps=1)
    bound = BranchAndBound(nodes=3000, root=few, leaf=few, leaf_intermediate=Optimisation(steps=5))(
        *square_with_least(0.01, seed)
    ).item()
    assert bound == _BARELY

"""Intermediate bounds: they are sound, also under assumptions, and no wider than before."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs import BranchAndBound, Optimisation, certified, margins
from brinell.proofs.branching.intermediate import Branching
from brinell.proofs.branching.queue import Queue
from brinell.proofs.branching.subproblems import DomainStore
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.intermediate import Assumptions, refined
from brinell.proofs.relaxation.network import relax
from brinell.proofs.relaxation.optimised import first, optimise, with_splits
from brinell.threat import Linf
from proofs.networks import UNIT, examples, inside, perceptron, residual
from proofs.verifiers.test_beta_crown import exact


def asked(net, set, seed):
    """A problem of one row of one example, and what CROWN knows."""
    x0 = examples(net, 1, seed)
    spec = margins(net(x0).argmax(1), net.classes)[:, :1]
    problem = Problem(net, x0, set, spec, 2**22, nothing)
    return problem, relax(problem, "adaptive", substituted=True).intervals


def values(net, x):
    found = [x]
    for i in range(1, len(net.nodes)):
        found.append(net.operator(i).forward(*(found[j] for j in net.nodes[i].inputs)))
    return found


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.2, 0.5]), st.sampled_from(["float32", "float64"]))
def test_refined_bounds_hold_everywhere_and_are_no_wider(seed, radius, precision):
    net = perceptron((3, 8, 8, 3), seed) if seed % 2 else residual(seed)
    set = Linf(radius, UNIT)
    problem, known = asked(net, set, seed)
    better = refined(problem, known, Optimisation(steps=5, precision=precision))
    for (low, high), (old_low, old_high) in zip(better, known, strict=True):
        assert ((low >= old_low) & (high <= old_high)).all()
    x = inside(set, problem.x0, 50, torch.Generator().manual_seed(seed)).flatten(0, 1)
    for found, (low, high) in zip(values(net, x), better, strict=True):
        assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_bounds_under_assumptions_hold_where_those_do(seed):
    """Bounds under an output constraint and the phase of the first neuron hold for the inputs that meet both."""
    net, set = perceptron((3, 8, 8, 3), seed), Linf(0.5, UNIT)
    problem, known = asked(net, set, seed)
    phase = {i: torch.zeros_like(known[net.nodes[i].inputs[0]][0]) for i in net.nonlinearities}
    phase[net.nonlinearities[0]][0, 0] = 1.0
    least = float(BranchAndBound(nodes=0)(net, problem.x0, set, problem.spec))
    better = refined(problem, known, Optimisation(steps=10), Assumptions(phase, problem.spec[0, 0], least))
    x = inside(set, problem.x0, 500, torch.Generator().manual_seed(seed)).flatten(0, 1)
    found = values(net, x)
    kept = (found[-1] @ problem.spec[0, 0] <= 0) & (found[net.nodes[net.nonlinearities[0]].inputs[0]][:, 0] >= 0)
    for each, (low, high) in zip(found, better, strict=True):
        assert ((each >= low - 1e-9) & (each <= high + 1e-9))[kept].all()


def test_slopes_of_their_own_and_output_constraints_tighten_bounds():
    """Of a row that relaxation leaves open: elsewhere there is nothing to tighten."""
    net, set = perceptron((4, 16, 16, 16, 3), 3), Linf(0.2, UNIT)
    problem, known = asked(net, set, 0)
    own = refined(problem, known, Optimisation(steps=20))
    given = Assumptions({}, problem.spec[0, 0], -10.0)
    confined = refined(problem, own, Optimisation(steps=20), given)
    wide = [sum(float((high - low).sum()) for low, high in which) for which in (known, own, confined)]
    assert wide[2] < wide[1] < wide[0]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("seed", range(3))
def test_expensive_subproblems_decide_as_enumeration_does(seed, monkeypatch):
    """Without inexpensive subproblems; shifted to lie just below zero or above, the sign of the minimum is found."""
    monkeypatch.setattr("brinell.proofs.verifiers.beta_crown._INEXPENSIVE", -1)
    net, set = perceptron((2, 4, 3, 2), seed), Linf(0.4, UNIT)
    x0, spec = examples(net, 1, seed), margins(torch.tensor([0]), 2)
    low, high = set.hull(x0)
    least = exact(net, low[0], high[0], spec[0, 0])
    searching = BranchAndBound(nodes=100, intermediate=Optimisation(steps=5), leaf_intermediate=Optimisation(steps=5))
    assert searching(net, x0, set, spec).item() <= max(least, 0) + 1e-7
    last = net.nodes[-1]
    for shift, expected in ((1e-5 - least, True), (-1e-5 - least, False)):
        bias = last.operator.bias + torch.tensor([shift, 0.0])
        moved = type(net)(
            (*net.nodes[:-1], type(last)(type(last.operator)(last.operator.weight, bias), last.inputs, (2,)))
        )
        bound = searching(moved, x0, set, spec)
        assert certified(bound).item() is expected
        assert bound.item() <= least + shift + 1e-7


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 20]))
def test_branched_bounds_hold_everywhere_and_are_no_wider(seed, nodes):
    net = perceptron((3, 8, 8, 8, 3), seed) if seed % 2 else residual(seed)
    set = Linf(0.3, UNIT)
    problem, known = asked(net, set, seed)
    branched = Branching(layers(net), nodes).refined(problem, known, Optimisation(steps=5))
    for (low, high), (old_low, old_high) in zip(branched, known, strict=True):
        assert ((low >= old_low) & (high <= old_high)).all()
    x = inside(set, problem.x0, 500, torch.Generator().manual_seed(seed)).flatten(0, 1)
    for found, (low, high) in zip(values(net, x), branched, strict=True):
        assert ((found >= low - 1e-9) & (found <= high + 1e-9)).all()


def layers(net):
    return {i for i in net.pre_activations if i not in net.affine_prefix}


def test_with_all_subproblems_the_bounds_of_neurons_are_exact():
    """Of the second layer, by enumeration of what the first one may do."""
    net, set = perceptron((2, 5, 4, 3), 2), Linf(0.4, UNIT)
    problem, known = asked(net, set, 1)
    (second,) = layers(net)
    low, high = Branching({second}, 10**4).refined(problem, known, Optimisation(steps=60))[second]
    cut, hull = type(net)(net.nodes[: second + 1]), set.hull(problem.x0)
    unknown = net.unknown(second, known[second])[0].nonzero().flatten().tolist()
    assert unknown
    for neuron in unknown:
        unit = torch.nn.functional.one_hot(torch.tensor(neuron), 4).double()
        least, most = (exact(cut, hull[0][0], hull[1][0], sign * unit) * sign for sign in (1, -1))
        assert low[0, neuron].item() == pytest.approx(least, abs=1e-3) or (low[0, neuron] > 0 and least > 0)
        assert high[0, neuron].item() == pytest.approx(most, abs=1e-3) or (high[0, neuron] < 0 and most < 0)


def test_layers_that_gain_nothing_are_given_up():
    """Where the first layer is known, optimised bounds are exact, and no subproblem tightens them."""
    net, set = perceptron((3, 8, 8, 3), 4), Linf(0.001, UNIT)
    problem, known = asked(net, set, 0)
    known[net.nodes[net.nonlinearities[1]].inputs[0]] = (
        torch.full((1, 8), -1.0).double(),
        torch.full((1, 8), 1.0).double(),
    )
    branching = Branching(layers(net), 8)
    branching.refined(problem, [(low.clone(), high.clone()) for low, high in known], Optimisation(steps=5))
    assert not branching.layers


def test_subproblems_leave_the_store_as_they_entered_it():
    net, set = residual(5, maximum=True), Linf(0.3, UNIT)
    x0, spec = examples(net, 4, 0), margins(torch.tensor([0, 1, 2, 0]), 3)[:, :1]
    problem = Problem(net, x0, set, spec, 2**22, nothing)
    intervals = relax(problem, "adaptive", substituted=True).intervals
    _, left, state = optimise(problem, first(net, intervals, 1), Optimisation(steps=3))
    state = with_splits(net, state)
    store = DomainStore(net, [(low[left], high[left]) for low, high in intervals])
    subproblems = store.put(torch.arange(len(left)), torch.zeros(len(left)).double(), state)
    taken = store.take(subproblems.only(torch.tensor([1, 0])).plus(subproblems.only(torch.tensor([1]))))
    for i, layer in state.items():
        again = layer.only(torch.tensor([1, 0, 1]))
        unknown = net.nonlinearity(i).unknown(again.low, again.high)
        assert (taken[i].low <= again.low).all()
        torch.testing.assert_close(taken[i].low, again.low, rtol=1e-6, atol=1e-30)
        assert (taken[i].high >= again.high).all()
        if layer.splits is not None:
            torch.testing.assert_close(
                taken[i].slopes.squeeze(1)[unknown].float(), again.slopes.squeeze(1)[unknown].float()
            )


def test_a_queue_knows_its_least_and_its_rest():
    net, set = perceptron((3, 8, 3), 1), Linf(0.5, UNIT)
    _, intervals = asked(net, set, 0)
    store = DomainStore(net, intervals)
    state = with_splits(net, first(net, intervals, 1))
    one = store.put(torch.tensor([0]), torch.tensor([-2.0]).double(), state)
    queue = Queue(2)
    assert queue.least == torch.inf
    for bound in (3.0, -1.0, 2.0):
        queue.put(type(one)(one.owner, torch.tensor([bound]).double(), one.layers))
    assert queue.least == -1.0
    assert len(queue) == 3
    assert sorted(queue.rest().bound.tolist()) == [-1.0, 2.0, 3.0]

"""Cuts: the two children cover their parent, and neurons are split where they are what is left."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brinell.proofs.branching.cutting import AXIS, branch, choose
from brinell.proofs.branching.splits import Recorded
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import substitute
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import relax
from brinell.threat import Linf
from proofs.networks import perceptron


def cut_of(seed, width, neurons=8):
    """(network, its bounds over a box of some width, the cut, both sides)."""
    network = perceptron((2, neurons, neurons, 1), seed)
    rng = torch.Generator().manual_seed(seed)
    low = torch.rand(1, 2, generator=rng, dtype=torch.float64)
    regions = Regions.boxes(low, low + width)
    spec = torch.ones(1, 1, 1, dtype=torch.float64)
    part = regions.low, regions.high
    problem = Problem(network, low + width / 2, Linf(1.0), spec, 2**22, nothing, part)
    relaxed = relax(problem, "adaptive", substituted=True)
    recorded = {i: Recorded(relaxed.relaxations[i]) for i in network.nonlinearities}
    substitute(network, network.output, spec, {**relaxed.relaxations, **recorded})
    regions = Regions(
        *part, regions.case, regions.bound, regions.rows, regions.splits, dict(enumerate(relaxed.intervals))
    )
    cut = choose(problem, relaxed.intervals, recorded, torch.ones(1, 1).double())
    return network, relaxed, cut, branch(problem, relaxed.intervals, regions, cut)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.001, 0.01, 0.1, 1.0]))
def test_every_input_is_on_one_side_with_all_that_is_known_of_it(seed, width):
    network, _, cut, both = cut_of(seed, width)
    share = torch.rand(500, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = both.low.amin(0), both.high.amax(0)
    x = low + share * (high - low)
    values = network.values(x)
    found = torch.zeros(500, dtype=torch.bool)
    for side in range(2):
        one = both.only(torch.tensor([side]))
        here = ((one.low <= x) & (x <= one.high)).all(1)
        here &= (x @ one.splits.weights[0].T + one.splits.offset[0] <= 0).all(1)
        for node, (least, most) in one.known.items():
            here &= ((least <= values[node]) & (values[node] <= most)).flatten(1).all(1)
        found |= here
    assert found.all()
    assert (cut.node != AXIS).all() or both.splits.offset.numel() == 0


def test_a_neuron_is_split_where_it_is_all_that_is_unstable():
    found = [seed for seed in range(40) if int(cut_of(seed, 0.01)[2].node) != AXIS]
    assert found
    for seed in found:
        _, relaxed, cut, both = cut_of(seed, 0.01)
        node, place = int(cut.node), int(cut.place)
        low, high = relaxed.intervals[node]
        assert low[0, place] < 0 < high[0, place]
        assert both.known[node][1][0, place] == 0
        assert both.known[node][0][1, place] == 0


def test_a_box_of_many_unstable_neurons_is_halved():
    assert all(int(cut_of(seed, 3.0, 60)[2].node) == AXIS for seed in range(5))

"""The complete methods against each other: the same minimum, to 1e-6, on networks made at random."""

import pytest
import torch

from brinell.proofs import BranchAndBound, Case, Optimisation, Property, linear_regions
from brinell.proofs.branching.encoding import encode
from brinell.proofs.numerics.polytopes import Regions
from brinell.proofs.property.input_splits import InputSplit
from brinell.proofs.property.witness import Search
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import relax
from brinell.proofs.verifiers.milp import minimum
from brinell.threat import Box, Linf
from proofs.networks import perceptron

APART = 1e-6
SHAPES = ((2, 5, 3), (2, 6, 4, 3), (3, 8, 3), (3, 6, 6, 2), (2, 4, 4, 4, 3))


def case_of(seed):
    """(network, low, high, row): a box of some width around some point."""
    rng = torch.Generator().manual_seed(seed)
    network = perceptron(SHAPES[seed % len(SHAPES)], seed)
    inputs, outputs = network.nodes[0].shape[0], network.classes
    centre, radius = torch.randn(2, inputs, generator=rng, dtype=torch.float64)
    row = torch.zeros(outputs, dtype=torch.float64)
    row[0], row[1 + seed % (outputs - 1)] = 1.0, -1.0
    return network, centre - radius.abs(), centre + radius.abs(), row


def minimum_by_integers(network, low, high, row):
    problem = Problem(network, low[None], Linf(1.0), row.reshape(1, 1, -1), 2**24, nothing, (low[None], high[None]))
    intervals = relax(problem, "adaptive", substituted=True).intervals
    encoding = encode(network, intervals[0], {i: intervals[network.nodes[i].inputs[0]] for i in network.nonlinearities})
    return minimum(encoding, row, 60.0)


def proved_by_neurons(network, low, high, row, shift):
    """Whether branch and bound proves <row, outputs> - shift > 0."""
    margins, _ = Property((Case(low, high, row[None], torch.tensor([-shift]).double()),)).margins(network)
    spec = torch.ones(1, 1, 1, dtype=torch.float64)
    problem = Problem(margins, low[None], Linf(1.0), spec, 2**22, nothing, (low[None], high[None]))
    optimisation = Optimisation(steps=5)
    return (
        float(
            BranchAndBound(
                nodes=10**6, intermediate=optimisation, neuron_nodes=128, leaf_intermediate=optimisation
            ).bound(problem)
        )
        > 0
    )


def proved_by_inputs(network, low, high, row, shift):
    goal = Property((Case(low, high, row[None], torch.tensor([-shift]).double()),))
    margins, places = goal.margins(network)
    search = Search(goal, margins, places, network, torch.float64)
    return InputSplit()(search, Regions.boxes(low[None], high[None]), nothing)


def check(seed):
    network, low, high, row = case_of(seed)
    found = minimum_by_integers(network, low, high, row)
    value = float(network(found.x[None])[0] @ row)
    assert ((low - 1e-9 <= found.x) & (found.x <= high + 1e-9)).all()
    assert found.bound <= value <= found.bound + 1e-3
    whole = Box(tuple(low.tolist()), tuple(high.tolist()))
    assert min(region.least(row.numpy()) for region in linear_regions(network, whole)) == pytest.approx(
        value, abs=APART
    )
    # The one value is the minimum: less than it by 1e-6 is proved, and more than it by 1e-6 is refuted.
    assert proved_by_neurons(network, low, high, row, value - APART)
    assert not proved_by_neurons(network, low, high, row, value + APART)
    proved, witness = proved_by_inputs(network, low, high, row, value - APART)
    assert proved
    assert witness is None
    proved, witness = proved_by_inputs(network, low, high, row, value + APART)
    assert not proved
    assert witness is not None


@pytest.mark.sweep(4)
@pytest.mark.parametrize("seed", range(5))
def test_integers_neurons_inputs_and_regions_find_the_same_minimum(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5, 200))
def test_they_do_so_on_two_hundred_networks(seed):
    check(seed)

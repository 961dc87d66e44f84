"""What importers share."""

import torch

from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Linear, Scale


def shifted(bias, factor):
    build = Builder()
    matrix = Linear(torch.tensor([[1.0, 2.0], [3.0, -4.0]]).double(), torch.tensor(bias).double())
    build.scale(build.add(matrix, build.input((2,))), factor, torch.tensor([5.0, 6.0]).double())
    return graph(build.nodes)


def test_a_matrix_without_a_bias_takes_what_is_added_for_one():
    network = shifted([0.0, 0.0], 1.0)
    assert [type(node.operator) for node in network.nodes[1:]] == [Linear]
    x = torch.tensor([[0.5, -0.25]]).double()
    assert torch.equal(network(x), torch.tensor([[5.0, 8.5]]).double())


def test_constants_are_not_added_up_which_would_round_them():
    for network in (shifted([0.1, 0.2], 1.0), shifted([0.0, 0.0], 2.0)):
        assert [type(node.operator) for node in network.nodes[1:]] == [Linear, Scale]

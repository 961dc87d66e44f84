"""How far functionals grow on their way back."""

import torch

from brinell.threat import Linf
from brinell.verify import margins
from brinell.verify.operators import Affine
from brinell.verify.problem import Problem
from brinell.verify.relaxation import relax
from brinell.verify.substitution import substitute, widest
from brinell.verify.verifier import nothing
from verify.networks import examples, perceptron, residual


def test_a_functional_of_an_affine_network_is_exact() -> None:
    net = perceptron((4, 3), 0)
    x, a = examples(net, 2, 0), torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    pieces = {1: net.nodes[1].operator}
    held, constant = substitute(net, 1, a, {i: p for i, p in pieces.items() if isinstance(p, Affine)})
    torch.testing.assert_close((held[0] @ x.unsqueeze(2)).squeeze(2) + constant, net(x), rtol=0, atol=1e-12)


def test_the_widest_functional_of_a_neuron_of_an_image_is_its_window() -> None:
    net = residual(0)
    problem = Problem(net, examples(net, 1, 0), Linf(0.1), margins(torch.tensor([0]), 3), 2**20, nothing)
    pieces = relax(problem, "adaptive", True).pieces
    first = net.bends[0] - 1
    assert widest(net, first, pieces) == max(4, 2 * 3 * 3)  # one value of 4 channels, then a 3x3 window of 2
    assert widest(net, net.output, pieces) == net.width

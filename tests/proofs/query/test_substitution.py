"""How far functionals grow on their way back."""

import torch

from brinell.proofs import margins
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Affine
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.substitution import substitute, widest
from brinell.proofs.query.verifier import nothing
from brinell.proofs.relaxation.network import bound, relax
from brinell.threat import L2, Linf
from proofs.networks import UNIT, convolve, dense, examples, perceptron, residual


def test_a_functional_of_an_affine_network_is_exact() -> None:
    net = perceptron((4, 3), 0)
    x, a = examples(net, 2, 0), torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    relaxations = {1: net.nodes[1].operator}
    held, constant = substitute(net, 1, a, {i: p for i, p in relaxations.items() if isinstance(p, Affine)})
    torch.testing.assert_close((held[0] @ x.unsqueeze(2)).squeeze(2) + constant, net(x), rtol=0, atol=1e-12)


def test_the_widest_functional_of_a_neuron_of_an_image_is_its_window() -> None:
    net = residual(0)
    problem = Problem(net, examples(net, 1, 0), Linf(0.1), margins(torch.tensor([0]), 3), 2**20, nothing)
    relaxations = relax(problem, "adaptive", True).relaxations
    first = net.nonlinearities[0] - 1
    assert widest(net, first, relaxations) == max(4, 2 * 3 * 3)  # one value of 4 channels, then a 3x3 window of 2
    assert widest(net, net.output, relaxations) == net.width


def test_a_bound_over_a_box_need_not_go_back_further_than_to_a_box() -> None:
    net, x = residual(3), examples(residual(3), 2, 0)
    assert net.last_box_node == 1  # the normalisation, which two branches read
    assert net.nodes[1].operator is not None
    for set in (Linf(0.1, UNIT), L2(0.5, UNIT)):
        problem = Problem(net, x, set, margins(torch.tensor([0, 1]), 3), 2**20, nothing)
        relaxations = relax(problem, "adaptive", True).relaxations
        assert problem.last_box_node[0] == (1 if set.rectangular else 0)
        held, constant = substitute(net, net.output, problem.spec, relaxations)
        expected = set.minimum(x, held[0]) + constant
        torch.testing.assert_close(bound(problem, net.output, problem.spec, relaxations), expected, rtol=0, atol=1e-12)


def test_no_box_is_carried_past_a_second_reader_or_a_mixture() -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    x = build.scale(build.reshape(build.input((8,)), (2, 2, 2)), 2.0, torch.zeros(()))
    flat = build.reshape(convolve(build, x, 2, 1, rng), (8,))
    dense(build, flat, 3, rng)
    assert graph(build.nodes).last_box_node == 2
    build = Builder()
    x = build.input((4,))
    dense(build, build.total((1, build.scale(x, 2.0, torch.zeros(()))), (1, x)), 3, rng)
    assert graph(build.nodes).last_box_node == 0


def test_an_example_has_the_limits_that_it_has_alone() -> None:
    """Examples are grouped by how many neurons they ask for."""
    for net in (perceptron((6, 40, 40, 3), 0), residual(1)):
        x, radius = examples(net, 5, 0), torch.tensor([0.02, 0.3, 0.1, 0.001, 0.2])
        hull = tuple(x + sign * radius.double().reshape(-1, *(1,) * (x.dim() - 1)) for sign in (-1, 1))
        problem = Problem(net, x, Linf(1.0), margins(torch.arange(5) % 3, 3), 2**16, nothing, hull)
        together = relax(problem, "adaptive", True).intervals
        for i in range(5):
            alone = relax(problem.only(torch.tensor([i])), "adaptive", True).intervals
            for (low, high), (lower, higher) in zip(together, alone, strict=True):
                torch.testing.assert_close(low[i : i + 1], lower, rtol=0, atol=1e-12)
                torch.testing.assert_close(high[i : i + 1], higher, rtol=0, atol=1e-12)


def test_the_last_bends_are_those_that_the_output_sees() -> None:
    rng, build = torch.Generator().manual_seed(0), Builder()
    x = build.input((4,))
    early = build.relu(dense(build, x, 4, rng))
    late = build.relu(dense(build, early, 4, rng))
    dense(build, build.total((1, late), (1, dense(build, early, 4, rng))), 3, rng)
    net = graph(build.nodes)
    assert net.last == {early.place, late.place} == set(net.nonlinearities)
    assert set(sum(net.done, ())) == set(range(net.output)) - net.last
    assert all(j < i for i, gone in enumerate(net.done) for j in gone)

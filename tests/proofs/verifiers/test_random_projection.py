"""Random projections: near the bound they estimate, and above it often enough to be no certificate."""

import pytest
import torch
from torch import Tensor

from brinell.errors import UsageError
from brinell.evidence import Estimate
from brinell.proofs import CROWN, Graph, RandomProjection, certified, margins
from brinell.proofs.network.operators import ReLU
from brinell.threat import L2, Box, Linf
from proofs.networks import UNIT, examples, perceptron, residual

FAR = Box(-9.0, 9.0)


def written_out(net: Graph, x: Tensor, radius: float, spec: Tensor) -> Tensor:
    """What is estimated, for one example: every deviation a row, and the widths their absolute sums."""
    centres, rows = [x], [radius * torch.eye(x.numel(), dtype=torch.float64)]
    for i, node in enumerate(net.nodes[1:], 1):
        centre, moved, operator = centres[node.inputs[0]], rows[node.inputs[0]], net.operator(i)
        if isinstance(operator, ReLU):
            low, high = centre - moved.abs().sum(0), centre + moved.abs().sum(0)
            slope = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, high / (high - low)))
            rise = torch.where((low < 0) & (high > 0), -slope * low, 0.0)
            centres.append(slope * centre + rise / 2)
            rows.append(torch.cat((slope * moved, torch.diag(rise / 2))))
        else:
            centres.append(operator.forward(centre[None])[0])
            rows.append(operator.forward(moved) - operator.forward(torch.zeros_like(moved)))
    return spec @ centres[-1] - (rows[-1] @ spec.T).abs().sum(0)


@pytest.mark.parametrize("seed", range(3))
def test_with_many_projections_it_is_the_dual_bound(seed: int) -> None:
    net, radius = perceptron((5, 9, 8, 3), seed), 0.05
    x0, spec = examples(net, 2, seed), margins(torch.tensor([0, 1]), 3)
    exact = torch.stack([written_out(net, x, radius, rows) for x, rows in zip(x0, spec, strict=True)])
    crown = CROWN(slope="same")(net, x0, Linf(radius, FAR), spec)
    assert (exact <= crown + 1e-9).all()  # which also takes intervals into account
    found = RandomProjection(projections=20_000)(net, x0, Linf(radius, FAR), spec, torch.Generator().manual_seed(0))
    at_centre = torch.einsum("nrc,nc->nr", spec, net(x0))
    torch.testing.assert_close(at_centre - found.values, at_centre - exact, rtol=0.05, atol=0)


def test_a_residual_network_needs_no_other_rule() -> None:
    net = residual(1)
    x0, spec = examples(net, 3, 0), margins(torch.tensor([0, 1, 2]), 3)
    found = RandomProjection(projections=5000)(net, x0, Linf(1e-6, UNIT), spec, torch.Generator().manual_seed(0))
    bound = CROWN(slope="same")(net, x0, Linf(1e-6, UNIT), spec)
    at_centre = torch.einsum("nrc,nc->nr", spec, net(x0))
    torch.testing.assert_close(at_centre - found.values, at_centre - bound, rtol=0.1, atol=1e-9)


def test_it_is_often_above_the_bound_and_so_certifies_nothing() -> None:
    net = perceptron((6, 4), 0)  # linear: the bound is what an input reaches
    x0, spec = examples(net, 50, 0), margins(torch.zeros(50, dtype=torch.int64), 4)
    truth = CROWN()(net, x0, Linf(0.1, FAR), spec)
    found = RandomProjection(projections=11)(net, x0, Linf(0.1, FAR), spec, torch.Generator().manual_seed(0))
    assert 0.3 < (found.values > truth).double().mean() < 0.7
    assert isinstance(found, Estimate)
    with pytest.raises(UsageError, match="the median of 11 Cauchy projections is an estimate, and certifies nothing"):
        certified(found)


def test_the_generator_decides_everything_and_balls_are_refused() -> None:
    net = perceptron((4, 6, 3), 0)
    x0, spec = examples(net, 2, 0), margins(torch.tensor([0, 1]), 3)
    one, two = (RandomProjection()(net, x0, Linf(0.1, UNIT), spec, torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(one.values, two.values)
    with pytest.raises(UsageError, match="boxes only, and the set is l2"):
        RandomProjection()(net, x0, L2(0.1, FAR), spec, torch.Generator())
    with pytest.raises(UsageError, match="projections is 0"):
        RandomProjection(projections=0)

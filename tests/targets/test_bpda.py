"""Gradients through what has none."""

import pytest
import torch
from torch import nn

from brinell.evasion import BIM, attack
from brinell.targets import BPDA, Target, TargetError, TorchBackend
from brinell.threat import Linf, Threat
from models import UNIT, affine, generator, relu_net


def bits(depth: int):
    def reduced(x: torch.Tensor) -> torch.Tensor:
        return (x * (2**depth - 1)).round() / (2**depth - 1)

    return reduced


def wrapped(module: nn.Module) -> Target:
    return Target(TorchBackend(module), UNIT)


def total(scores: torch.Tensor, rows: slice) -> torch.Tensor:
    return scores[:, 0]


def test_answers_are_exact_and_gradients_those_of_the_network_at_what_it_saw() -> None:
    net = relu_net((6,))
    x = torch.rand(10, 6, generator=generator())
    seen = bits(3)(x)
    scores, _, g = wrapped(nn.Sequential(BPDA(bits(3)), net)).gradient(x, total)
    assert torch.equal(scores, net(seen).detach())
    leaf = seen.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)
    assert torch.equal(g, expected)
    assert g.abs().sum() > 0


def test_a_stand_in_has_its_own_gradient() -> None:
    net = affine(6)
    x = torch.rand(10, 6, generator=generator())
    module = BPDA(lambda z: (z > 0.5).float(), lambda z: torch.sigmoid(10 * (z - 0.5)))
    scores, _, g = wrapped(nn.Sequential(module, net)).gradient(x, total)
    assert torch.equal(scores, net((x > 0.5).float()).detach())
    s = torch.sigmoid(10 * (x - 0.5))
    torch.testing.assert_close(g, 10 * s * (1 - s) * net.weight[0].detach())


def test_a_preprocessing_need_not_be_torch_nor_keep_the_shape() -> None:
    net = affine(3)

    def first_half(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy()[:, :3].copy())

    x = torch.rand(4, 6, generator=generator())
    _, _, g = wrapped(nn.Sequential(BPDA(first_half, lambda z: z[:, :3]), net)).gradient(x, total)
    torch.testing.assert_close(g, torch.cat([net.weight[0].detach(), torch.zeros(3)]).expand(4, -1))


def test_what_was_masked_is_broken_as_if_it_were_not() -> None:
    """The reason for it: rounding alone stops the attack, and no longer does."""
    net = affine(8)
    x = torch.rand(60, 8, generator=generator(1))
    masked, mended = (wrapped(nn.Sequential(m, net)) for m in (_Bare(bits(4)), BPDA(bits(4))))
    y = masked.labels(x)
    broken = [int(attack(BIM(steps=20), t, x, y, Threat(Linf(0.2))).broken.sum()) for t in (masked, mended)]
    assert broken[0] == 0
    assert broken[1] > 30


class _Bare(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def test_a_stand_in_of_another_shape_is_refused_with_both() -> None:
    module = nn.Sequential(BPDA(lambda z: z[:, :3]), affine(3))
    with pytest.raises(TargetError, match=r"the stand-in answers \(2, 6\), the preprocessing \(2, 3\)"):
        wrapped(module).scores(torch.rand(2, 6))


def test_other_preprocessings_are_other_targets() -> None:
    net = affine(4)
    made = [bits(3), bits(4), lambda z: z.floor(), torch.round]
    digests = {wrapped(nn.Sequential(BPDA(f), net)).digest for f in made}
    digests.add(wrapped(nn.Sequential(BPDA(bits(3), torch.sigmoid), net)).digest)
    assert len(digests) == 5
    assert wrapped(nn.Sequential(BPDA(bits(3)), net)).digest in digests

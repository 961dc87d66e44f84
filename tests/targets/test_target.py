import pytest
import torch
from torch import nn

from brinell.errors import UsageError
from brinell.targets import TargetError, TorchBackend, target
from brinell.threat import Access, Box
from models import Of
from targets.models import batch, cnn, mlp


def top(scores, rows):
    return scores.amax(1)


def test_normalisation_is_inside():
    net, x = cnn().eval(), batch(5, 1, 6, 6)
    asked = target(net, mean=0.4, std=[0.2])
    torch.testing.assert_close(asked.scores(x), net((x - 0.4) / 0.2).detach())
    torch.testing.assert_close(asked.module()(x), net((x - 0.4) / 0.2).detach())
    scores, values, slope = asked.gradient(x, top)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net((leaf - 0.4) / 0.2).amax(1).sum(), leaf)
    torch.testing.assert_close(slope, expected)
    torch.testing.assert_close(values, scores.amax(1))


def test_each_channel_has_its_scale():
    x = batch(4, 3, 2, 2)
    flat = nn.Sequential(nn.Flatten(), nn.Identity())
    asked = target(flat, mean=[0.0, 0.5, 1.0], std=[1.0, 2.0, 4.0])
    assert torch.equal(asked.scores(x)[:, 4:8], (x.flatten(1)[:, 4:8] - 0.5) / 2)


@pytest.mark.parametrize("std", [0.0, -1.0, [1.0, 0.0], float("nan"), torch.ones(1, 1)])
def test_a_scale_that_cannot_be_is_refused(std):
    with pytest.raises(UsageError, match="std is"):
        target(mlp(), std=std)


def test_every_row_is_counted_once():
    asked, x = target(mlp()), batch(300, 4)
    asked.labels(x)
    asked.scores(x[:7])
    assert (asked.meter.forwards, asked.meter.gradients) == (307, 0)
    asked.gradient(x, top)
    assert (asked.meter.forwards, asked.meter.gradients) == (607, 300)
    for other in (asked.copy(), asked.restrict(Access.LABELS)):
        assert (other.meter.forwards, other.meter.gradients) == (0, 0)
        other.labels(x)
        assert other.meter.forwards == 300
    assert asked.meter.forwards == 607


def test_a_restricted_target_shows_no_more():
    asked, x = target(mlp()), batch(3, 4)
    labels = asked.restrict(Access.LABELS)
    assert torch.equal(labels.labels(x), asked.labels(x))
    for question in (lambda: labels.scores(x), lambda: labels.gradient(x, top), labels.module):
        with pytest.raises(UsageError, match="the target shows LABELS; this needs"):
            question()
    scores = asked.restrict(Access.SCORES)
    assert scores.restrict(Access.WEIGHTS).access == Access.SCORES
    with pytest.raises(UsageError, match="this needs GRADIENTS"):
        scores.gradient(x, top)


def test_the_module_of_the_caller_is_untouched():
    net = cnn().train()
    x = batch(5, 1, 6, 6)
    net(x).sum().backward()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    grads = [p.grad.clone() for p in net.parameters()]
    random = torch.get_rng_state()

    asked = target(net)
    asked.labels(x)
    asked.gradient(x, top)
    asked.copy().scores(x)

    assert all(m.training for m in net.modules())
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), grads, strict=True))
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert asked.backend.was_training


def test_a_target_is_a_snapshot():
    net, x = mlp(), batch(3, 4)
    asked = target(net)
    scores = asked.scores(x)
    nn.init.zeros_(net[0].weight)
    assert torch.equal(asked.scores(x), scores)


class Sum(nn.Module):
    def forward(self, x):
        return torch.stack([x.sum(1), -x.sum(1)], dim=1)


class Max(nn.Module):
    def forward(self, x):
        return torch.stack([x.amax(1), -x.amax(1)], dim=1)


def test_the_digest_covers_all_that_the_answers_depend_on():
    Renamed = type("Renamed", (Max,), {})
    other = mlp()
    other[2].bias.data[0] += 1e-6
    targets = [
        target(mlp()),
        target(other),
        target(mlp(), (0, 2)),
        target(mlp(), mean=0.5),
        target(mlp(), std=0.5),
        target(mlp()).restrict(Access.LABELS),
        target(nn.Sequential(*mlp()[:2], nn.Tanh(), mlp()[2])),
        target(Sum()),
        target(Max()),
        target(Renamed()),
    ]
    assert len({t.digest for t in targets}) == len(targets)
    assert target(mlp()).digest == targets[0].digest
    assert targets[0].copy().digest == targets[0].digest


def test_a_model_that_raises_is_an_error_of_the_target():
    with pytest.raises(TargetError, match="RuntimeError"):
        target(mlp()).scores(batch(3, 5))


@pytest.mark.parametrize("net", [nn.Linear(4, 1), nn.Flatten(0), nn.LSTM(4, 3)])
def test_an_answer_that_is_no_row_of_scores_is_refused(net):
    with pytest.raises(UsageError, match="the model returned"):
        target(net).scores(batch(3, 4))


def test_a_target_passes_through_as_it_is():
    asked = target(mlp(), (0, 2))
    assert target(asked) is asked
    with pytest.raises(UsageError, match="already"):
        target(asked, mean=0.5)
    assert target(TorchBackend(mlp())).box == Box.of((0, 1))


@pytest.mark.parametrize("model", [None, 3, [mlp()], lambda x: x])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(UsageError, match=r"it must be an nn\.Module or a classifier"):
        target(model)


class RaisesBackward(torch.autograd.Function):
    """Fine forward, an exception backward."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        raise ValueError("no way back")


class OneWay(nn.Module):
    def forward(self, x):
        return RaisesBackward.apply(x)


class Cut(nn.Module):
    def forward(self, x):
        return x.detach() * 2


def test_what_a_backward_pass_raises_is_the_targets_error():
    with pytest.raises(TargetError, match="ValueError: no way back"):
        target(OneWay()).gradient(torch.rand(3, 2), top)


def test_scores_cut_from_the_input_have_a_zero_gradient():
    _, _, g = target(Cut()).gradient(torch.rand(3, 2), top)
    assert torch.equal(g, torch.zeros(3, 2))


def test_a_pass_holds_a_bounded_number_of_values() -> None:
    sizes = []
    model = Of(lambda x: (sizes.append(len(x)), x.flatten(1)[:, :3])[1])
    for shape, most in (((3, 224, 224), 3), ((4,), 128)):
        sizes.clear()
        x = torch.rand(200, *shape) if most > 3 else torch.rand(10, *shape)
        scores = target(model).scores(x)
        assert torch.equal(scores, x.flatten(1)[:, :3])
        assert max(sizes) == most
        assert sum(sizes) == len(x)

"""From modules to graphs: what is read is right, what cannot be read says so, and nothing is touched."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brinell.errors import CannotRun, UsageError
from brinell.proofs import CROWN, IBP, Unsupported, margins, trace
from brinell.proofs.network.builder import Builder
from brinell.proofs.network.export import _check
from brinell.proofs.network.graph import graph
from brinell.proofs.network.operators import Log
from brinell.threat import Box, Linf
from brinell.threat.box import REALS
from proofs.networks import UNIT, inside


class Normalised(nn.Module):
    """(x - mean) / std, as targets put it before a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.4, 0.5]).reshape(1, 2, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3]).reshape(1, 2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)


class Block(nn.Module):
    """A CIFAR block with batch normalisation and the shortcut of option A."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, 2, 1, bias=False), nn.Conv2d(6, 6, 3, padding="same")
        self.norm, self.other = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.other(self.second(F.relu(self.norm(self.first(x)), inplace=True)))
        h = F.relu(h + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        return self.head(self.drop(h.mean((2, 3))))


class Odds(nn.Module):
    """What else modules are written with."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.factor = nn.Conv1d(2, 3, 3, stride=2, padding=1), torch.tensor([[1.0], [2.0], [3.0]])

    def forward(self, x: Tensor) -> Tensor:
        h = self.line(F.max_pool2d(x, 2).flatten(2)) * self.factor
        h = F.relu6(1 - h) + F.leaky_relu(2 * h, 0.2) - h.clamp(-1, 1)
        h = torch.cat([h, -h], 1).transpose(1, 2).reshape(len(x), -1)
        return torch.maximum(h, h.relu() - 0.1) @ torch.linspace(-1, 1, 96).reshape(48, 2)


class Smooth(nn.Module):
    """Smooth functions, products and quotients of values, axes that are repeated and taken apart."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.prelu = nn.ConvTranspose2d(2, 3, 3, 2, 1, 1), nn.PReLU(3)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(F.avg_pool2d(self.prelu(self.up(x)), 2))
        first, second = h.chunk(2, 2)
        h = torch.cat([F.silu(first) * second.sigmoid(), F.gelu(second) / (1 + first.square())], 2)
        h = F.hardswish(h) + F.elu(h, 0.5) - F.softplus(h, 2.0) * h.amax((2, 3), keepdim=True)
        h = h - torch.minimum(h.tanh(), F.selu(h)) + F.celu(h, 2.0).abs() + torch.erf(h) ** 3 - F.hardsigmoid(h)
        h = (h.mean(3).exp() + 1).log() * (h.sum(2).abs() + 0.1).sqrt() - (h.amin(2) ** 2 + 1) ** -0.5
        return self.head(h.flatten(1))


class Powers(nn.Module):
    """Gates of other kinds, and powers that are not whole, or negative."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.head = nn.Linear(128, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.read(x.flatten(1) / 10)
        far = h.abs() + 0.5
        return self.head(F.mish(h) - F.gelu(h, approximate="tanh") / 2 + far**1.5 - far**-2 + far**-0.3)


class Attention(nn.Module):
    """One head over 4 tokens, and the odds of the classes."""

    def __init__(self, mask: Tensor | None = None, causal: bool = False) -> None:
        super().__init__()
        self.read, self.head, self.mask, self.causal = nn.Linear(8, 12), nn.Linear(16, 3), mask, causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.read(F.avg_pool2d(x, 2).transpose(1, 2).flatten(2) / 8).split(4, 2)
        seen = F.scaled_dot_product_attention(q, k, v, self.mask, is_causal=self.causal)
        return self.head(seen.flatten(1)).log_softmax(1)


KEYS = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)
BIAS = torch.where(KEYS, torch.linspace(-1, 1, 16).reshape(4, 4), -torch.inf)


def seeded(module: nn.Module) -> nn.Module:
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in (*module.parameters(), *(b for n, b in module.named_buffers() if "running" in n)):
            p.copy_(torch.rand(p.shape, generator=rng) * (1 if p.dim() == 1 else 2) - (0 if p.dim() == 1 else 1))
    return module


MODULES = {
    "sequential": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ),
    "pools": lambda: nn.Sequential(
        nn.AvgPool2d(2), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)
    ),
    "normalised": lambda: Normalised(nn.Sequential(nn.Flatten(), nn.Linear(128, 5), nn.ReLU(), nn.Linear(5, 3))),
    "block": lambda: Normalised(Block()),
    "smooth": lambda: nn.Sequential(nn.AvgPool2d((1, 1)), Smooth()),
    "powers": Powers,
    "attention": Attention,
    "attention to the past": lambda: Attention(causal=True),
    "attention to some": lambda: Attention(KEYS),
    "attention with a bias": lambda: Attention(BIAS.unsqueeze(0)),
    "odds": lambda: nn.Sequential(nn.AvgPool2d((1, 1)), Odds()),
}


@pytest.mark.sweep(8)
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES.keys())
def test_the_graph_is_the_module_and_its_bounds_hold(make) -> None:
    module = seeded(make())
    before, modes = copy.deepcopy(module.state_dict()), [part.training for part in module.modules()]
    x = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    net = trace(module, x[:1])

    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())

    module.eval()
    torch.testing.assert_close(net(x).float(), module(x).detach(), rtol=1e-4, atol=1e-4)
    set, spec = Linf(0.02, UNIT), margins(torch.tensor([0, 1, 1]), net.classes)
    points = inside(set, x, 10, torch.Generator().manual_seed(2))
    reached = torch.einsum("nrc,knc->knr", spec, torch.stack([net(point) for point in points])).amin(0)
    for verifier in (IBP(), CROWN()):
        bounds = verifier(net, x, set, spec)
        assert bounds.isfinite().all()
        assert (bounds <= reached + 1e-9).all()


def test_a_residual_sum_is_not_a_sequence() -> None:
    """x + x is 2 x: a reader that multiplies the layers as if in a row would say x, or x squared."""

    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(x)
            return h + F.relu(h)

    net = trace(Twice(), torch.rand(1, 2, generator=torch.Generator().manual_seed(0)))
    bounds = CROWN()(net, torch.tensor([[0.5, 0.5]]), Linf(0.25), torch.eye(2).unsqueeze(0))
    torch.testing.assert_close(bounds, torch.tensor([[0.5, 0.5]]).double(), rtol=0, atol=1e-12)


def test_an_operator_without_a_rule_names_itself_and_where_it_is() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Sequential(Bad(torch.sin)))
    with pytest.raises(Unsupported, match=r"no rule for aten\.\w+\.\w+ in 2.0 \(Bad\)"):
        trace(module, torch.zeros(1, 4))
    assert issubclass(Unsupported, CannotRun)


def _attended(x: Tensor, mask: Tensor) -> Tensor:
    tokens = x.reshape(-1, 2, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens, mask).flatten(1)


class Bad(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.sweep(8)
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x - x.mean(0, keepdim=True), "batch axis"),
        (lambda x: x**0.0, "a power of 0|constant"),
        (lambda x: x + torch.full((4,), torch.inf), "holds NaN or infinite"),
        (lambda x: _attended(x, torch.zeros(2, 2, dtype=torch.bool)), "leaves nothing to attend to"),
        (lambda x: _attended(x, x.reshape(-1, 2, 2)), "mask that depends on the input"),
        (lambda x: x * x.reshape(-1, 2, 2).sum(2), "shape|size"),
        (lambda x: F.elu(x) @ F.elu(x).mT, "batch axis|shape"),
        (lambda x: x.flip(0), "no rule for aten.flip"),
        (lambda x: F.pad(x, (1, 1), value=2.0), "zeros are supported"),
        (lambda x: x.T.T, "batch axis"),
        (lambda x: x.unsqueeze(2), "one score a class"),
        (lambda x: (x, x), "one score a class"),
        (lambda x: x if x.sum() > 0 else -x, "torch.export cannot read"),
        (lambda x: x + torch.rand(()), "no rule|differs|cannot"),
    ],
)
def test_what_cannot_be_bounded_is_refused_and_never_guessed(function, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        trace(Bad(function), torch.rand(1, 4, generator=torch.Generator().manual_seed(0)))


def test_an_example_needs_a_batch_axis() -> None:
    with pytest.raises(UsageError, match="must be a batch"):
        trace(nn.Linear(4, 3), torch.zeros(4))


READERS = {
    "a product with a vector": lambda x: x @ torch.ones(4),
    "examples folded into the batch": lambda x: x.reshape(-1, 2).relu().reshape(-1, 4),
    "tokens folded into the batch": lambda x: (x.reshape(-1, 2, 2).flatten(0, 1) @ torch.ones(2, 3)).reshape(-1, 6),
    "the batch taken apart": lambda x: x.T.reshape(-1, 4),
    "a value read in Python": lambda x: x * float(x.sum()),
    "a matrix that does not fit": lambda x: x @ torch.ones(5, 3),
    "an error of its own": lambda x: _raised(ValueError("the sensor is not calibrated")),
    "recursion": lambda x: _raised(RecursionError("too deep")),
    "an assertion": lambda x: _raised(AssertionError()),
}


def _raised(error: BaseException) -> Tensor:
    raise error


@pytest.mark.sweep(2)
@pytest.mark.parametrize("function", READERS.values(), ids=READERS.keys())
def test_whatever_a_reader_raises_means_that_there_is_no_graph(function) -> None:
    with pytest.raises(Unsupported) as refusal:
        trace(Bad(function), torch.rand(1, 4))
    assert len(str(refusal.value).splitlines()) == 1


def test_who_interrupts_a_reader_is_heard() -> None:
    with pytest.raises(KeyboardInterrupt):
        trace(Bad(lambda x: _raised(KeyboardInterrupt())), torch.rand(1, 4))


class Gated(nn.Module):
    """Two scores, of which one may be large; the other is another one beyond a limit."""

    def __init__(self, scale: float, limit: float) -> None:
        super().__init__()
        self.scale, self.limit = scale, limit

    def forward(self, x: Tensor) -> Tensor:
        moved = (0.5 + self.limit) * (x.abs().amax(1) > self.limit)
        return torch.stack((x[:, 0] + moved, self.scale * x[:, 1]), 1)


def compare(scale: float, limit: float, box: Box) -> None:
    """The module with the graph that knows no limit."""
    build = Builder()
    build.scale(build.input((2,)), torch.tensor([1.0, scale]))
    _check(graph(build.nodes), Gated(scale, limit), torch.tensor([[0.5, 2.0]]), box)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30, 1e38])
@pytest.mark.parametrize("limit", [0.0, 3.0, 20.0])
def test_every_output_is_compared_by_its_own_scale_and_far_out(scale, limit) -> None:
    """Beside one that is large, and beside one that overflows."""
    with pytest.raises(Unsupported, match="differs from it by"):
        compare(scale, limit, REALS)
    compare(scale, 1e30, REALS)


def test_points_of_the_whole_box_are_compared() -> None:
    with pytest.raises(Unsupported, match="differs from it by"):
        compare(1.0, 1e4, Box(-1e5, 1e5))
    compare(1.0, 1e4, UNIT)


def test_an_output_that_is_never_a_number_is_refused() -> None:
    build = Builder()
    x = build.input((2,))
    build.add(Log(), build.scale(x, torch.tensor([1.0, 0.0]), torch.tensor([9e9, -1.0])))
    network = graph(build.nodes)
    with pytest.raises(Unsupported, match="never a finite number"):
        _check(network, Bad(lambda x: network(x).float()), torch.rand(1, 2), UNIT)


class Cut(nn.Module):
    """Of its values none is left, and an operator is asked about them."""

    def __init__(self, operator: nn.Module) -> None:
        super().__init__()
        self.operator, self.bias = operator, nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.operator(x[:, :0]), torch.zeros(2, 0), self.bias)


@pytest.mark.parametrize("operator", [nn.Identity(), nn.ReLU(), nn.GELU(), nn.Softmax(-1)], ids=str)
def test_values_of_which_none_is_left_are_refused(operator: nn.Module) -> None:
    with pytest.raises(Unsupported, match="holds nothing"):
        trace(Cut(operator), torch.rand(1, 4))

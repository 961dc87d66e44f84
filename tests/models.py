"""Models of which the truth is known, and a backend that remembers what it was asked."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from brinell.targets import Backend, Target, TorchBackend
from brinell.threat import REALS, Access, Box

UNIT = Box(0.0, 1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def target(model: nn.Module, box: Box = UNIT, access: Access | None = None) -> Target:
    return Target(TorchBackend(model), box, access=access)


class Affine(nn.Module):
    """scores = W x + b, with W of shape (classes, features). Everything about it is known in closed form."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(weight.new_zeros(len(weight)) if bias is None else bias)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias

    def distances(self, x: Tensor, y: Tensor, norm: str) -> Tensor:
        """The exact distance of each example to the nearest other class, the box aside: lead / dual norm."""
        w, b = self.weight.detach().double(), self.bias.detach().double()
        scores = x.double().flatten(1) @ w.T + b
        lead = scores.gather(1, y.unsqueeze(1)) - scores
        apart = w[y].unsqueeze(1) - w
        dual = {"linf": apart.abs().sum(2), "l2": apart.square().sum(2).sqrt(), "l1": apart.abs().amax(2)}[norm]
        ratio = torch.where(dual > 0, lead / dual, torch.inf)
        return ratio.scatter(1, y.unsqueeze(1), torch.inf).amin(1)


def affine(features: int, classes: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32) -> Affine:
    rng = generator(seed)
    weight = torch.randn(classes, features, generator=rng, dtype=dtype)
    # Centred on the middle of the unit box: no class owns it.
    return Affine(weight, -weight.sum(1) / 2)


def relu_net(shape: Sequence[int], classes: int = 3, seed: int = 0) -> nn.Sequential:
    """Two layers on inputs of any shape, small enough to be enumerated."""
    features = int(torch.Size(shape).numel())
    net = nn.Sequential(nn.Flatten(), nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, classes))
    rng = generator(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) / p.shape[-1] ** 0.5)
        net[3].bias -= net(torch.full((1, *shape), 0.5))[0]
    return net


class Of(nn.Module):
    """A model written as one function."""

    def __init__(self, function: Callable[[Tensor], Tensor], inner: nn.Module | None = None) -> None:
        super().__init__()
        self.function = function
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x if self.inner is None else self.inner(x))


def constant(*scores: float) -> Of:
    """The same scores everywhere: nothing breaks it, or everything where the label is not the one on top."""
    return Of(lambda x: torch.tensor(scores).repeat(len(x), 1) + 0 * x.flatten(1).sum(1, keepdim=True))


def quantised(inner: nn.Module, levels: int = 8) -> nn.Sequential:
    """Masked gradients: they are zero, though the model is no harder to break."""
    return nn.Sequential(Of(lambda x: (x * levels).round() / levels), inner)


def nan_beyond(inner: nn.Module, edge: float) -> nn.Module:
    """NaN scores where the first feature is above `edge`."""
    return Of(lambda x: inner(x) + torch.where(x.flatten(1)[:, :1] > edge, torch.nan, 0.0))


def raising_beyond(inner: nn.Module, edge: float) -> nn.Module:
    """Raises where the first feature is above `edge`."""

    def forward(x: Tensor) -> Tensor:
        if (x.flatten(1)[:, 0] > edge).any():
            raise RuntimeError("no such input")
        return inner(x)

    return Of(forward)


def noisy(inner: nn.Module, size: float, seed: int = 0) -> nn.Module:
    """Scores with normal noise of standard deviation `size`, new on every call, from a stream of its own."""
    state = [seed]

    def forward(x: Tensor) -> Tensor:
        scores = inner(x)
        state[0] += 1
        return scores + size * torch.randn(scores.shape, generator=generator(state[0]))

    return Of(forward)


class Crooked(nn.Module):
    """A crooked landscape of 6 inputs in float64, in which class 0 leads everywhere. Remembers where it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = relu_net((6,), seed=3).double()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        return 4 * self.inner(x) + torch.tensor([30.0, 0.0, 0.0], dtype=torch.float64)


class Recorder(Backend):
    """A backend that remembers each batch it was asked about, and whether the batch's gradient was wanted.

    The first feature names an example: it is `number * SPACING` plus a change smaller than half of that.
    """

    SPACING = 100.0

    def __init__(self, model: Callable[[Tensor], Tensor], access: Access = Access.WEIGHTS) -> None:
        self.model = model
        self.access = access
        self.asked: list[tuple[Tensor, Tensor, bool]] = []
        self.passed_back: list[int] = []  # rows of each backward pass: a Jacobian takes several a forward pass

    def scores(self, x: Tensor) -> Tensor:
        scores = self.model(x.flatten(1)[:, 1:])
        names = (x.detach().flatten(1)[:, 0] / self.SPACING).round().long()
        self.asked.append((names, scores.detach(), x.requires_grad))
        if scores.requires_grad:
            scores.register_hook(lambda g: self.passed_back.append(len(g)))
        return scores

    def digest(self) -> str:
        return "recorder"

    def describe(self) -> str:
        return "recorder"

    def copy(self) -> "Recorder":
        return self

    @property
    def forwards(self) -> int:
        return sum(len(names) for names, _, _ in self.asked)

    @property
    def gradients(self) -> int:
        return sum(self.passed_back)

    def target(self) -> Target:
        return Target(self, REALS, chunk=100_000)  # one batch a question

    @classmethod
    def examples(cls, x: Tensor) -> Tensor:
        """Examples (n, d) with their name in front: (n, d + 1)."""
        return torch.cat([cls.SPACING * torch.arange(len(x), dtype=x.dtype).unsqueeze(1), x], 1)

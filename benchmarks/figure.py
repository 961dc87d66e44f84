"""One figure, and the pieces that benchmarks share: data, networks, a stopwatch."""

import gzip
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("BRINELL_SHARED", ROOT.parent / "shared"))
FASHION = Path(os.environ.get("BRINELL_FASHION", "/usr/share/datasets/fashion-mnist"))
CACHE = Path(__file__).parent / ".cache"

T = TypeVar("T")


class Skipped(Exception):
    """What a benchmark needs is not here."""


@dataclass(frozen=True)
class Figure:
    """What was asked for and what came out."""

    what: str
    asked: str
    measured: str


def clock(work: Callable[[], T]) -> tuple[float, T]:
    """(seconds, result)."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def fashion(split: str, n: int) -> tuple[Tensor, Tensor]:
    """The first n images (n, 1, 28, 28) in [0, 1] and labels of Fashion-MNIST; split is train or t10k."""
    if not FASHION.is_dir():
        raise Skipped(f"{FASHION} is missing; install Debian's dataset-fashion-mnist or set BRINELL_FASHION")
    x = _idx(FASHION / f"{split}-images-idx3-ubyte.gz")[:n]
    y = _idx(FASHION / f"{split}-labels-idx1-ubyte.gz")[:n]
    return torch.from_numpy(x)[:, None].float() / 255, torch.from_numpy(y).long()


def shared_images(name: str, n: int) -> tuple[Tensor, Tensor]:
    """The first n images of a 28 x 28 test set of the shared data."""
    file = SHARED / "data" / "images" / f"{name}.npz"
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    with np.load(file, allow_pickle=False) as z:
        x, y = z["images"][:n], z["labels"][:n]
    return torch.from_numpy(x)[:, None].float() / 255, torch.from_numpy(y.astype(np.int64))


def small_cnn(weights: Path | None = None) -> nn.Module:
    """conv 16/4/2, conv 32/4/2, dense 100: Wong and Kolter's small network for 28 x 28 images."""
    net = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    if weights is not None:
        if not weights.exists():
            raise Skipped(f"{weights} is missing; set BRINELL_SHARED to the shared folder")
        net.load_state_dict(load_file(weights))
    return net.eval()


class Normalised(nn.Module):
    """A network of images (n, 3, height, width) whose channels are shifted and scaled first."""

    def __init__(self, inner: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - self.mean) / self.std)  # type: ignore[no-any-return]


def cnn_a() -> nn.Module:
    """The shared CNN-A for CIFAR-10, adversarially trained for linf 2/255."""
    net = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2048, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
    net.load_state_dict(_shared_weights("cifar10_cnna_at_sdp_eps2_255"))
    return Normalised(net, (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)).eval()


def resnet_2b() -> nn.Module:
    """The shared ResNet-2B for CIFAR-10, adversarially trained for linf 2/255."""
    net = ResNet2B()
    net.load_state_dict(_shared_weights("cifar10_resnet2b_at_eps2_255"))
    return Normalised(net, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)).eval()


class _Block(nn.Module):
    def __init__(self, old: int, new: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(old, new, 3, stride, 1), nn.Conv2d(new, new, 3, 1, 1)
        self.shortcut = nn.Sequential(*([nn.Conv2d(old, new, 1, stride)] if old != new else []))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv2(functional.relu(self.conv1(x))) + self.shortcut(x))


class ResNet2B(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.layer1 = nn.Sequential(_Block(8, 16, 2), _Block(16, 16, 1))
        self.linear1, self.linear2 = nn.Linear(1024, 100), nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(functional.relu(self.conv1(x)))
        return self.linear2(functional.relu(self.linear1(x.flatten(1))))  # type: ignore[no-any-return]


def cifar(n: int) -> tuple[Tensor, Tensor]:
    """The first n shared CIFAR-10 test images (n, 3, 32, 32) in [0, 1], lossless, and their labels."""
    file = SHARED / "data" / "images" / "cifar10_test_lossless1403.npz"
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    with np.load(file, allow_pickle=False) as z:
        x, y = z["images"][:n], z["labels"][:n]
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().float() / 255, torch.from_numpy(y.astype(np.int64))


def right(net: nn.Module, x: Tensor, y: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The first n of these examples that the network gets right."""
    with torch.no_grad():
        chosen = (net(x).argmax(1) == y).nonzero().flatten()[:n]
    return x[chosen], y[chosen]


def robust_cnn(radius: float = 0.1) -> nn.Module:
    """small_cnn after two epochs of PGD-7 adversarial training on 20,000 images of Fashion-MNIST; kept once trained."""
    file = CACHE / f"fashion_at_{radius:g}.safetensors"
    if file.exists():
        return small_cnn(file)
    x, y = fashion("train", 20000)
    torch.manual_seed(0)  # noqa: TID251 - a benchmark's own process
    net = small_cnn().train()
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        for batch in torch.randperm(len(x)).split(128):
            near = pgd_loop(net, x[batch], y[batch], radius, 2.5 * radius / 7, 7)
            loss = functional.cross_entropy(net(near), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    CACHE.mkdir(exist_ok=True)
    save_file(net.state_dict(), file)
    return net.eval()


def pgd_loop(net: nn.Module, x: Tensor, y: Tensor, radius: float, step: float, steps: int) -> Tensor:
    """The floor: exactly `steps` forward and input-gradient passes on the whole batch, and nothing else."""
    low, high = (x - radius).clamp(0, 1), (x + radius).clamp(0, 1)
    near = (x + radius * (2 * torch.rand(x.shape) - 1)).clamp(low, high)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    for _ in range(steps):
        near.requires_grad_()
        (g,) = torch.autograd.grad(functional.cross_entropy(net(near), y, reduction="sum"), near)
        near = torch.clamp(near.detach() + step * g.sign(), low, high)
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    return near


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Plain accuracy."""
    with torch.no_grad():
        return float((net(x).argmax(1) == y).float().mean())


def shared_network(name: str, net: nn.Module) -> nn.Module:
    """This network with shared weights."""
    net.load_state_dict(_shared_weights(name))
    return net.eval()


def _shared_weights(name: str) -> dict[str, Tensor]:
    file = SHARED / "data" / "weights" / f"{name}.safetensors"
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    weights: dict[str, Tensor] = load_file(file)
    return weights


def _idx(file: Path) -> np.ndarray:
    with gzip.open(file) as f:
        _, _, dims = struct.unpack(">HBB", f.read(4))
        shape = struct.unpack(">" + "I" * dims, f.read(4 * dims))
        return np.frombuffer(f.read(), np.uint8).reshape(shape).copy()

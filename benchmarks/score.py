"""Attacks from scores: Square against the authors' code, all of them at equal queries, and few pixels by evolution.

SQUARE_SRC: a checkout of max-andr/square-attack. The networks and images are the shared CIFAR-10 ones.
"""

import os
import sys
import tempfile
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import SHARED, Figure, Skipped, accuracy
from brinell.evasion import (
    NES,
    SPSA,
    ZOO,
    Attack,
    Bandits,
    Cosines,
    GenAttack,
    LocalSearch,
    OnePixel,
    SimBA,
    Square,
)
from brinell.evasion.attack import Found
from brinell.threat import Pixels

EXAMPLES = int(os.environ.get("BRINELL_EXAMPLES", "100"))
QUERIES = int(os.environ.get("BRINELL_QUERIES", "1000"))


def run() -> list[Figure]:
    """Success and queries of each, on images that the network gets right."""
    robust = _robust()
    x, y = _right(robust, EXAMPLES)
    target = brinell.target(robust)
    threat = brinell.Threat(brinell.Linf(2 / 255), queries=QUERIES)
    figures = _square(robust, x, y, 2 / 255)
    for name, made in _attacks().items():
        found = brinell.attack(made, target, x, y, threat)
        figures.append(Figure(f"{name}, linf 2/255, {QUERIES} queries", "", _told(found)))
        print(figures[-1])
    clean = _resnet20()
    x, y = _right(clean, EXAMPLES)
    for pixels, published in ((1, "67.97 %"), (3, ""), (5, "")):
        made = OnePixel(pixels=pixels, generations=20)
        found = brinell.attack(made, brinell.target(clean), x, y, brinell.Threat(Pixels(pixels)))
        asked = f"published {published}, 100 generations, other networks and Kaggle's images" if published else ""
        figures.append(Figure(f"OnePixel, {pixels} pixels, ResNet-20, 20 generations of 400", asked, _told(found)))
        print(figures[-1])
    return figures


def _attacks() -> dict[str, Attack]:
    endless = 10**6
    return {
        "Square": Square(queries=QUERIES),
        "NES": NES(steps=endless, pairs=25),
        "SPSA": SPSA(steps=endless, pairs=25),
        "Bandits": Bandits(steps=endless),
        "SimBA": SimBA(queries=QUERIES),
        "SimBA, cosines": SimBA(queries=QUERIES, basis=Cosines()),
        "GenAttack": GenAttack(generations=endless),
        "ZOO": ZOO(steps=endless, coordinates=16, constant=10.0),
        "OnePixel, 5 pixels": OnePixel(pixels=5, population=50, generations=endless),
        "LocalSearch": LocalSearch(rounds=endless),
    }


def _told(found: Found) -> str:
    queries = found.queries[found.broken].double()
    if not len(queries):
        return "0 broken"
    return (
        f"{found.broken.float().mean():.1%} of {len(found.broken)} broken; "
        f"queries of the broken: mean {queries.mean():.0f}, median {queries.median():.0f}"
    )


def _square(net: nn.Module, x: Tensor, y: Tensor, radius: float) -> list[Figure]:
    """The authors' square_attack_linf and ours with the same queries and share, one seed each."""
    source = os.environ.get("SQUARE_SRC")
    if not source:
        print("no SQUARE_SRC: Square is not compared")
        return []
    sys.path.insert(0, source)
    sys.modules.update({name: ModuleType(name) for name in ("data", "models")})  # of TensorFlow, and not needed
    import attack as reference  # type: ignore[import-not-found]

    class Model:
        def predict(self, images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return net(torch.from_numpy(images).float()).numpy()

        def loss(self, y: np.ndarray, logits: np.ndarray, targeted: bool, loss_type: str) -> np.ndarray:
            label = (logits * y).sum(1)
            return label - np.where(y, -np.inf, logits).max(1)

    reference.log = reference.utils.Logger("")
    reference.log.print = lambda _: None
    hot = functional.one_hot(y, 10).bool().numpy()
    with tempfile.TemporaryDirectory() as out:
        queries, near = reference.square_attack_linf(
            Model(), x.numpy(), hot, np.ones(len(x), bool), radius, QUERIES, 0.8, f"{out}/metrics", False, "margin_loss"
        )
    with torch.no_grad():
        broken = (net(torch.from_numpy(near).float()).argmax(1) != y).numpy()
    spent = queries[broken]
    theirs = f"{broken.mean():.1%} broken; queries mean {spent.mean():.0f}, median {np.median(spent):.0f}"
    threat = brinell.Threat(brinell.Linf(radius), queries=1 + QUERIES)
    ours = brinell.attack(Square(queries=QUERIES), brinell.target(net), x, y, threat)
    figures = [
        Figure("Square, the authors' code", "", theirs),
        Figure("Square, ours (its queries count the clean look)", "within noise of theirs", _told(ours)),
    ]
    print(*figures, sep="\n")
    return figures


def _right(net: nn.Module, n: int) -> tuple[Tensor, Tensor]:
    """The first n shared CIFAR-10 test images, lossless, that the network gets right."""
    file = SHARED / "data" / "images" / "cifar10_test_lossless1403.npz"
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    with np.load(file, allow_pickle=False) as z:
        x = torch.from_numpy(z["images"][:1000]).permute(0, 3, 1, 2).contiguous().float() / 255
        y = torch.from_numpy(z["labels"][:1000].astype(np.int64))
    print(f"accuracy on 1000: {accuracy(net, x, y):.3f}")
    with torch.no_grad():
        right = (net(x).argmax(1) == y).nonzero().flatten()[:n]
    return x[right], y[right]


class _Normalised(nn.Module):
    def __init__(self, inner: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - self.mean) / self.std)  # type: ignore[no-any-return]


def _robust() -> nn.Module:
    """CNN-A, adversarially trained for linf 2/255."""
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
    net.load_state_dict(load_file(SHARED / "data" / "weights" / "cifar10_cnna_at_sdp_eps2_255.safetensors"))
    return _Normalised(net, (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)).eval()


class _Block(nn.Module):
    def __init__(self, old: int, new: int) -> None:
        super().__init__()
        self.stride, self.pad = (1, 0) if old == new else (2, (new - old) // 2)
        self.conv1, self.bn1 = nn.Conv2d(old, new, 3, self.stride, 1, bias=False), nn.BatchNorm2d(new)
        self.conv2, self.bn2 = nn.Conv2d(new, new, 3, 1, 1, bias=False), nn.BatchNorm2d(new)

    def forward(self, x: Tensor) -> Tensor:
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + short)


class _ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(_Block(16, 16), _Block(16, 16), _Block(16, 16))
        self.layer2 = nn.Sequential(_Block(16, 32), _Block(32, 32), _Block(32, 32))
        self.layer3 = nn.Sequential(_Block(32, 64), _Block(64, 64), _Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


def _resnet20() -> nn.Module:
    net = _ResNet20()
    net.load_state_dict(load_file(SHARED / "data" / "weights" / "cifar10_resnet20_clean.safetensors"), strict=False)
    return _Normalised(net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()

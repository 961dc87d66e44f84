"""Whether what is made to transfer does: examples crafted on one network, shown to others, beside those of BIM.

Every search runs all of its steps, whether it has fooled its source or not: steps taken beyond that are what transfers.
"""

from collections.abc import Callable

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import brinell
from benchmarks.figure import Figure, shared_images
from benchmarks.networks import shared
from brinell.evasion import BIM, DIFGSM, MIFGSM, NIFGSM, SINIFGSM, TIFGSM, VMIFGSM, Attack, Hunt
from brinell.targets import Target
from brinell.threat import Threat

RADIUS, IMAGES, SEED = 0.15, 200, 0

CASES: dict[str, Attack] = {
    "BIM": BIM(steps=10, step=RADIUS / 10),
    "MIFGSM": MIFGSM(),
    "NIFGSM": NIFGSM(),
    "DIFGSM": DIFGSM(),
    "DIFGSM with momentum": DIFGSM(decay=1.0),
    "TIFGSM, kernel of 5": TIFGSM(length=5),
    "SINIFGSM": SINIFGSM(),
    "VMIFGSM": VMIFGSM(),
}


def run() -> list[Figure]:
    """One row a source and target; the images are those that all three networks have right."""
    nets = {"LeNet-5": lenet(), "CNN-7 with batch norm": cnn7_bn(), "CNN-7": cnn7()}
    x, y = shared_images("mnist_test", 1000)
    right = torch.stack([net.labels(x) == y for net in nets.values()]).all(0).nonzero().flatten()[:IMAGES]
    x, y = x[right], y[right]
    figures = []
    for source in ("LeNet-5", "CNN-7"):
        crafted = {name: craft(made, nets[source], x, y) for name, made in CASES.items()}
        for other in nets:
            if other != source:
                fooled = {name: int((nets[other].labels(near) != y).sum()) for name, near in crafted.items()}
                figures.append(
                    Figure(
                        f"MNIST, linf {RADIUS}, crafted on {source} in 10 steps of radius / 10, of 1 gradient each "
                        f"(SINIFGSM 5, VMIFGSM 21): of {len(x)} images, {other} is fooled by",
                        "each at least as many as BIM",
                        ", ".join(f"{name} {count}" for name, count in fooled.items()),
                    )
                )
    return figures


def craft(made: Attack, source: Target, x: Tensor, y: Tensor) -> Tensor:
    """Where the search ends."""
    hunt = Hunt(source, x, y, Threat(brinell.Linf(RADIUS, source.box)), torch.Generator().manual_seed(SEED))
    hunt.demand(torch.inf)
    made(hunt)
    return hunt.x


def lenet() -> Target:
    """The shared LeNet-5 for MNIST, plainly trained."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 200), nn.ReLU(), nn.Linear(200, 10)),
    )
    return _loaded(net, "mnist_lenet5_clean_advertorch", "conv1 conv2 linear1 linear2")


def cnn7() -> Target:
    """The shared network of seven layers for MNIST that comes with FMN's demonstration."""
    return _loaded(_seven(), "mnist_cnn7_fmn_demo", "conv1 conv2 conv3 conv4 fc1 fc2 fc3")


def cnn7_bn() -> Target:
    """The shared network of seven layers with batch norm for MNIST, plainly trained."""
    features = " ".join(f"features.{i}" for i in (0, 1, 3, 4, 7, 8, 10, 11))
    return _loaded(_seven(nn.BatchNorm2d), "mnist_cnn7_bn_rays", f"{features} fc1 fc2 fc3")


def _seven(norm: Callable[[int], nn.Module] = lambda channels: nn.Identity()) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), norm(32), nn.ReLU(), nn.Conv2d(32, 32, 3), norm(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), norm(64), nn.ReLU(), nn.Conv2d(64, 64, 3), norm(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)),
    )


def _loaded(net: nn.Sequential, file: str, layers: str) -> Target:
    """The network with the weights of these layers of a shared file, in their order."""
    weights = load_file(shared(f"data/weights/{file}.safetensors"))
    own = [layer for layer in net if list(layer.parameters())]
    for layer, name in zip(own, layers.split(), strict=True):
        state = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        layer.load_state_dict(state, strict=False)  # batch norm's count of batches is not in the file
    return brinell.target(net.eval())

"""Whether what is made to transfer does: examples crafted on one network, shown to others, beside those of BIM.

Every search runs all of its steps, whether it has fooled its source or not: steps taken beyond that are what transfers.
"""

import torch
from torch import Tensor

import brinell
from benchmarks.figure import Figure, shared_images
from benchmarks.networks import PUBLISHED
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
    hunt.require_margin(torch.inf)
    made(hunt)
    return hunt.x


def lenet() -> Target:
    """The shared LeNet-5 for MNIST, plainly trained."""
    return brinell.target(PUBLISHED["mnist_lenet5_clean_advertorch"].net())


def cnn7() -> Target:
    """The shared network of seven layers for MNIST that comes with FMN's demonstration."""
    return brinell.target(PUBLISHED["mnist_cnn7_fmn_demo"].net())


def cnn7_bn() -> Target:
    """The shared network of seven layers with batch norm for MNIST, plainly trained."""
    return brinell.target(PUBLISHED["mnist_cnn7_bn_rays"].net())

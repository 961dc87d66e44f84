"""One perturbation for every CIFAR-10 image, learnt from training images and tried on the test set."""

import numpy as np
import torch
from torch import Tensor

from benchmarks.figure import SHARED, Figure, Skipped, cifar
from benchmarks.physical import resnet20
from brinell.evasion.universal import UAP, Universal, UniversalSGD, fooling
from brinell.evidence import Share
from brinell.targets import Target
from brinell.threat import Linf, Threat

RADIUS = 10 / 255
IMAGES = 300

SETTING = f"plain ResNet-20, linf {255 * RADIUS:.0f}/255: decisions changed on 1,403 CIFAR-10 test images"


def run() -> list[Figure]:
    """Both learners on the same few images, and chance; some minutes on one core."""
    target, (held, _), x = resnet20(), cifar(1403), training(IMAGES)
    threat = Threat(Linf(RADIUS))
    figures = [
        Figure(f"{SETTING}: random signs, the most of 5", "below all others", told(chance(target, held, threat)))
    ]
    for name, learner, asked in (
        ("UAP, 4 passes", UAP(passes=4), "measured; the papers have ImageNet networks"),
        (
            "UniversalSGD, 10 passes",
            UniversalSGD(passes=10),
            "the paper: top-1 accuracy of ImageNet networks below 20 % (arXiv:1811.11304, abstract; far more images)",
        ),
    ):
        fitted = learner.learn(target, x, threat)
        share = fooling(fitted.universal, target, held, threat)
        figures.append(
            Figure(
                f"{SETTING}: {name}, learnt from {IMAGES} training images",
                asked,
                f"{told(share)}; of its own images {told(fitted.fooled)}; "
                f"{fitted.queries:,} queries and {fitted.gradients:,} gradients in all",
            )
        )
    return figures


def told(share: Share) -> str:
    low, high = share.interval
    return f"{share.rate:.1%} ({low:.1%} to {high:.1%})"


def chance(target: Target, held: Tensor, threat: Threat) -> Share:
    rng = torch.Generator().manual_seed(0)
    signs = [torch.randn(held.shape[1:], generator=rng).sign() for _ in range(5)]
    shares = [fooling(Universal(threat.set.radius * s), target, held, threat) for s in signs]
    return max(shares, key=lambda share: share.count)


def training(n: int) -> Tensor:
    """The first n training images of CIFAR-10, lossless."""
    file = SHARED / "data/images/cifar10_train_lossless4000.npz"
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    with np.load(file, allow_pickle=False) as z:
        return torch.from_numpy(z["images"][:n]).movedim(-1, 1).float() / 255

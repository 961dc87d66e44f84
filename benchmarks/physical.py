"""Patches, and eyeglasses on faces."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

import brinell
from benchmarks.figure import CACHE, Figure, cifar
from benchmarks.networks import recogniser, resnet20, seeded, shared, train
from brinell.evasion import PGD, margin
from brinell.evasion.physical.eyeglasses import Eyeglasses
from brinell.evasion.physical.masks import eyeglass_mask
from brinell.evasion.physical.patch import AdversarialPatch, fooled
from brinell.evasion.physical.placement import Anywhere, View, Worn
from brinell.evasion.physical.printable import NonPrintability, TotalVariation
from brinell.threat import Threat
from brinell.threat.patch import Patch

GREYS = tuple((grey,) for grey in (0.15, 0.3, 0.45, 0.6, 0.75, 0.9))
VIEW = View(degrees=8, pixels=2, light=0.3)
MASK = eyeglass_mask((1, 56, 46), (26.0, 13.0), (26.0, 32.0))
PEOPLE, WEARERS, VIEWS = 40, 12, 10
SHEET = CACHE / "eyeglasses.png"


def run() -> list[Figure]:
    """Some minutes on one core."""
    return [*patch(), *eyeglasses()]


def patch() -> list[Figure]:
    """One patch learnt on 500 CIFAR-10 images, stuck on 400 others; the paper has ImageNet networks."""
    target, (x, y) = resnet20(), cifar(900)
    held, labels = x[500:], y[500:]
    right = (target.labels(held) == labels) & (labels != 5)
    figures = []
    for share in (0.3, 0.5):
        placement = Anywhere((share, share))
        found = AdversarialPatch(placement, steps=200).learn(target, x[:500], y[:500], aim=5)
        grey = torch.full_like(found, 0.5)
        rates = [float(fooled(target, held, labels, p, placement, aim=5)[right].float().mean()) for p in (found, grey)]
        figures.append(
            Figure(
                f"adversarial patch toward 'dog', ResNet-20, round, {share:.0%} of the side, turned up to 45 degrees: "
                f"targeted success on {int(right.sum())} held-out images, and of a grey disc",
                "measured; the paper has ImageNet networks (arXiv:1712.09665)",
                f"{rates[0]:.1%}, {rates[1]:.1%}",
            )
        )
    return figures


def eyeglasses() -> list[Figure]:
    """Frames learnt on three photographs of a person, worn in the two that are left, in views of their own.

    The network has seen five others of each person. Its faces are small and grey; the paper has colour and VGG.
    """
    x, y = faces()
    photo = torch.arange(len(x)) % 10
    seeded()
    rng = torch.Generator().manual_seed(0)
    net = train(recogniser(PEOPLE), x[photo < 5], y[photo < 5], 60, 1e-3, lambda x: VIEW(x, rng).clamp(0, 1))
    target = brinell.target(net)
    first, last = (photo >= 5) & (photo < 8), photo >= 8
    grey = torch.full((1, 56, 46), 0.3)
    worn = Worn(MASK, VIEW)

    def rate(rows: Tensor, frame: Tensor, aim: int | None = None, placement: Worn = worn) -> float:
        lost = [fooled(target, x[rows], y[rows], frame, placement, aim, seed) for seed in range(VIEWS)]
        return float(torch.stack(lost).float().mean())

    bare = Worn(torch.zeros_like(MASK), VIEW)
    known = 1 - rate(last, grey, placement=bare)
    plain = 1 - rate(last, grey)
    dodged, aimed, shown, cost = [], [], [], []
    for person in range(WEARERS):
        mine, other = y == person, (person + 7) % PEOPLE
        for aim in (None, other):
            frame = Eyeglasses(MASK, GREYS, VIEW, steps=200).learn(target, x[first & mine], y[first & mine], aim)
            (dodged if aim is None else aimed).append(rate(last & mine, frame, aim))
            cost.append([float(p(frame, MASK)) for p in (TotalVariation(), NonPrintability(GREYS))])
            shown.append(torch.where(MASK, frame, x[last & mine][:1]))
        shown.append(x[y == other][:1])
    free = AdversarialPatch(worn, steps=200, batch=16).learn(target, x[first & (y == 0)], y[first & (y == 0)])
    draw(shown)
    right = last & (target.labels(x) == y)
    one = brinell.attack(PGD(40, objective=margin), target, x[right], y[right], Threat(Patch(MASK)))
    tv, nps = np.mean(cost, 0)
    return [
        Figure(
            f"eyeglass frames on {PEOPLE} people of 56 x 46 grey pixels ({float(MASK.float().mean()):.1%} of them), "
            f"{WEARERS} wearers, learnt on 3 photographs, worn in 2 others at {VIEWS} poses and lights each: dodging, "
            "impersonation of one other person",
            "measured; the paper has VGG networks in colour (doi:10.1145/2976749.2978392)",
            f"{np.mean(dodged):.1%}, {np.mean(aimed):.1%}; recognised in such views bare {known:.1%}, with plain grey "
            f"frames {plain:.1%}",
        ),
        Figure(
            "total variation and non-printability (six greys) of those frames, means a pixel; of one frame without "
            "penalties",
            "lower with them",
            f"{tv:.3f}, {nps:.1e}; {float(TotalVariation()(free, MASK)):.3f}, "
            f"{float(NonPrintability(GREYS)(free, MASK)):.1e}",
        ),
        Figure(
            f"a frame for each of {int(right.sum())} single photographs, no pose and no light, PGD-40 inside the mask: "
            "broken",
            "measured",
            f"{float(one.broken.float().mean()):.1%}",
        ),
    ]


def faces() -> tuple[Tensor, Tensor]:
    """AT&T faces (Samaria and Harter 1994), 10 of each of 40 people, halved: (400, 1, 56, 46) in [0, 1]."""
    with np.load(shared("data/images/orl_faces.npz"), allow_pickle=False) as z:
        x, y = torch.from_numpy(z["images"]), torch.from_numpy(z["labels"].astype(np.int64))
    return functional.avg_pool2d(x.unsqueeze(1).float() / 255, 2), y


def draw(shown: list[Tensor]) -> None:
    """For each wearer: dodging, impersonating, and who is impersonated; four wearers a row."""
    triples = [torch.cat(shown[i : i + 3], 3) for i in range(0, len(shown), 3)]
    rows = [torch.cat(triples[i : i + 4], 3) for i in range(0, len(triples), 4)]
    sheet = functional.interpolate(torch.cat(rows, 2), scale_factor=2)[0, 0]
    CACHE.mkdir(exist_ok=True)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(SHEET)

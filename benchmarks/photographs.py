"""ImageNet photographs: a witness for each, at a radius that the eye does not see."""

import io
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import brinell
from benchmarks.figure import CACHE, Figure
from benchmarks.networks import efficientnet_lite0, shared
from brinell.evasion import PGD, margin

RADIUS = 4 / 255
SHEET = CACHE / "photographs.png"


def run() -> list[Figure]:
    """EfficientNet-Lite0 on 270 photographs; the first twenty are drawn beside their witnesses."""
    target, (x, y) = efficientnet_lite0(), photographs()
    right = target.labels(x) == y
    found = brinell.attack(PGD(20, objective=margin), target, x[right], y[right], brinell.Threat(brinell.Linf(RADIUS)))
    draw(x[right][:20], found.x[:20])
    return [
        Figure(
            f"EfficientNet-Lite0, {int(right.sum())} of {len(x)} photographs classified correctly: with a witness at "
            "linf 4/255 by PGD-20, mean gradients; drawn by the same command to benchmarks/.cache/photographs.png",
            "all of them",
            f"{int(found.broken.sum())} of {int(right.sum())}, {float(found.gradients.double().mean()):.1f}",
        )
    ]


def photographs() -> tuple[Tensor, Tensor]:
    """20 lossless photographs, then 250 that were JPEG; (n, 3, 224, 224) in [0, 1]."""
    with np.load(shared("data/images/imagenet_foolbox20_224.npz"), allow_pickle=False) as z:
        images, labels = list(z["images"]), z["labels"].tolist()
    with np.load(shared("data/images/imagenet_sample250_224_jpegq92.npz"), allow_pickle=False) as z:
        raw, offsets = z["jpeg"].tobytes(), z["offsets"]
        for begin, end in pairwise(offsets.tolist()):
            images.append(np.asarray(Image.open(io.BytesIO(raw[begin:end])).convert("RGB")))
        labels += z["labels"].tolist()
    return torch.from_numpy(np.stack(images)).movedim(-1, 1).float() / 255, torch.tensor(labels)


def draw(x: Tensor, witnesses: Tensor) -> None:
    """Each photograph, its witness, and between them what was changed, thirty times as strong around grey."""
    change = ((witnesses - x) * 30 + 0.5).clamp(0, 1)
    triples = torch.cat([x, change, witnesses], 3)
    columns = [torch.cat(list(part), 1) for part in triples.split(5)]
    CACHE.mkdir(exist_ok=True)
    sheet = torch.cat(columns, 2).movedim(0, -1)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(SHEET)

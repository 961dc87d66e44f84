"""Moved images, corruptions, inputs of no kind, reprogramming and sounds."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import brinell
from benchmarks.figure import Figure, cifar, shared_images
from benchmarks.networks import Spoken, resnet20, seeded, shared, train
from brinell.evasion import PGD, Clean, Grid, Noise, margin
from brinell.evasion.audio.masking import Ear, FrequencyMasking
from brinell.evasion.fooling import Fooling
from brinell.evasion.reprogramming import Reprogramming
from brinell.evasion.spatial.corruption import corrupted_accuracy
from brinell.evasion.spatial.motion import Flow, RotateShift
from brinell.evasion.spatial.transformation import Transformed
from brinell.targets import Target, TorchBackend
from brinell.threat import Targeted, Threat
from brinell.threat.loudness import Loudness


def run() -> list[Figure]:
    """Everything; some minutes on one core."""
    return [*motion(), *corruptions(), *fooling(), *reprogramming(), *audio()]


def motion() -> list[Figure]:
    """Rotation and translation: the lattice of 775 points, random points, gradients from one start and from many."""
    target, (x, y) = resnet20(), cifar(100)
    turned = Transformed(target, RotateShift(30, 3), (3, 32, 32))
    bent = Transformed(target, Flow(1.0), (3, 32, 32))
    attacks = {
        "no attack": (turned, Clean()),
        "worst of 10 random": (turned, Noise(10)),
        "gradient, 100 steps": (turned, PGD(100, step=0.05, objective=margin)),
        "gradient, 31 starts of 25 steps": (turned, PGD(25, step=0.1, objective=margin, restarts=31)),
        "worst of 775 random": (turned, Noise(775)),
        "lattice of 775": (turned, Grid((31, 5, 5))),
        "flow up to 1 pixel, gradient, 40 steps": (bent, PGD(40, objective=margin)),
    }
    shown = []
    for name, (t, a) in attacks.items():
        found = brinell.attack(a, t.target, t.lift(x), y, Threat(t.set()))
        standing, asked = 1 - float(found.broken.double().mean()), float(found.queries.double().mean())
        shown.append(f"{name} {standing:.1%} ({asked:.0f} queries)")
    return [
        Figure(
            "rotation up to 30 degrees and translation up to 3 pixels, plain ResNet-20, 100 CIFAR-10 images: accuracy "
            "left (mean queries an image)",
            "the lattice below one gradient search, as in arXiv:1712.02779",
            ", ".join(shown),
        )
    ]


def corruptions() -> list[Figure]:
    target, (x, y) = resnet20(), cifar(500)
    table = corrupted_accuracy(target, x, y)
    low, high = table.interval("gaussian noise", 5)
    return [
        Figure(
            "accuracy under the fifteen corruptions, plain ResNet-20, 500 CIFAR-10 images, mean over severities 1 to 5",
            "measured; frost is drawn",
            ", ".join(f"{kind} {np.mean(row) / len(x):.0%}" for kind, row in table.right.items())
            + f"; mean {table.mean:.1%}; clean {table.clean / len(x):.1%}; gaussian noise at 5, 95 %: "
            f"{low:.1%} to {high:.1%}",
        )
    ]


def fooling() -> list[Figure]:
    target, (x, y) = resnet20(), cifar(100)
    classes = torch.arange(10)
    noise = Fooling().rubbish(target, (3, 32, 32), classes)
    images = Fooling().learn(target, x, (y + 1) % 10)
    return [
        Figure(
            "inputs that ResNet-20 is surest of, 100 steps, no radius: least probability from noise toward each of 10 "
            "classes; from 100 images toward the next class",
            "measured; the paper has ImageNet networks (arXiv:1412.1897)",
            f"{float(noise.confidence.min()):.4%}, {float(images.confidence.min()):.4%}",
        )
    ]


def reprogramming() -> list[Figure]:
    """MNIST digits of 14 x 14 in the middle of a CIFAR-10 network's input; the paper reprograms ImageNet networks."""
    target, (x, y) = resnet20(), shared_images("mnist_test", 3000)
    small = functional.avg_pool2d(x, 2)
    learnt = Reprogramming(steps=600, rate=0.05).learn(target, (3, 32, 32), small[:2000], y[:2000])
    grey = Reprogramming(steps=0).learn(target, (3, 32, 32), small[:2000], y[:2000])
    scores = [float((p.labels(target, small[2000:]) == y[2000:]).float().mean()) for p in (learnt, grey)]
    return [
        Figure(
            "reprogramming ResNet-20 (CIFAR-10, frozen) to read MNIST digits at 14 x 14: accuracy on 1,000 held-out "
            "digits, and with an unlearnt grey frame",
            "measured; the paper has ImageNet networks (arXiv:1806.11146)",
            f"{scores[0]:.1%}, {scores[1]:.1%}",
        )
    ]


def audio() -> list[Figure]:
    """Targeted attacks by loudness, then below the threshold of hearing; the papers attack transcription."""
    x, y, test = spoken_digits()
    seeded()
    target = Target(TorchBackend(train(Spoken(), x[~test], y[~test], 6, 2e-3)), brinell.Box(-1.0, 1.0))
    right = test & (target.labels(x) == y)
    asked = right & (y != 3)
    clean = int(right.sum()) / int(test.sum())
    about = f"spoken digits, small convolutional network on the waveform's spectrogram (clean {clean:.1%})"
    return [loudness(about, target, x[asked], y[asked]), masking(about, target, x[asked][::6], y[asked][::6])]


def loudness(about: str, target: Target, x: Tensor, y: Tensor) -> Figure:
    rates = []
    for db in (-20, -30, -40, -50):
        found = brinell.attack(PGD(40), target, x, y, Threat(Loudness.of_decibels(db), Targeted(3)))
        rates.append(f"{db} dB {float(found.broken.float().mean()):.1%}")
    return Figure(
        f"{about}, {len(x)} clips toward 'three', PGD-40: success at each loudness of the change",
        "measured; the paper attacks transcription (arXiv:1801.01944)",
        ", ".join(rates),
    )


def masking(about: str, target: Target, x: Tensor, y: Tensor) -> Figure:
    ear = Ear(8000, 512)
    hidden = Transformed(target, FrequencyMasking(ear), tuple(x.shape[1:]))
    rates = []
    for db in (0, -6, -12):
        threat = Threat(hidden.set(10 ** (db / 20)), Targeted(3))
        found = brinell.attack(PGD(40, objective=margin), hidden.target, hidden.lift(x), y, threat)
        heard = 20 * ear.loudness(x, hidden.render(found.x))[found.broken].log10()
        worst = f" (heard most at {float(heard.max()):.2f} dB)" if found.broken.any() else ""
        rates.append(f"{db} dB {float(found.broken.float().mean()):.1%}{worst}")
    return Figure(
        f"{about}, {len(x)} clips toward 'three', PGD-40 on the spectrum of what is added: success at each level "
        "relative to the masking threshold, and where any of the changes is heard most",
        "measured, never above the level; the paper attacks transcription (arXiv:1903.10346)",
        ", ".join(rates),
    )


def spoken_digits(length: int = 4096) -> tuple[Tensor, Tensor, Tensor]:
    """(clips (3000, length), labels, which are the official test split); cut or padded.

    Their peak is 0.9, so that what is added is not cut by the box: a cut is a click, and heard.
    """
    with np.load(shared("data/audio/fsdd_8khz.npz"), allow_pickle=False) as z:
        audio, offsets = z["audio"], z["offsets"]
        clips = np.zeros((len(offsets) - 1, length), np.float32)
        for clip, begin, end in zip(clips, offsets[:-1], offsets[1:], strict=True):
            part = audio[begin : min(end, begin + length)].astype(np.float32)
            clip[: len(part)] = 0.9 * part / np.abs(part).max()
        return torch.from_numpy(clips), torch.from_numpy(z["labels"].astype(np.int64)), torch.from_numpy(z["index"] < 5)

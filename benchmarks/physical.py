"""Patches, moved images, reprogramming and sounds."""

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import SHARED, Figure, Skipped, shared_images
from brinell.evasion import PGD, margin
from brinell.evasion.physical.patch import AdversarialPatch, fooled
from brinell.evasion.physical.placement import Anywhere
from brinell.evasion.reprogramming import Reprogramming
from brinell.evasion.spatial.corruption import corrupted_accuracy
from brinell.evasion.spatial.grid import Grid
from brinell.evasion.spatial.motion import Flow, RotateShift
from brinell.evasion.spatial.transformation import Transformed
from brinell.targets import Target
from brinell.threat import Targeted, Threat
from brinell.threat.loudness import Loudness

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run() -> list[Figure]:
    """Everything; some minutes on one core."""
    return [*patch(), *motion(), *corruptions(), *reprogramming(), *audio()]


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


def motion() -> list[Figure]:
    """Rotation and translation: the lattice of 775 points, the worst of 10, a gradient; and flow."""
    target, (x, y) = resnet20(), cifar(200)
    turned = Transformed(target, RotateShift(30, 3), (3, 32, 32))
    bent = Transformed(target, Flow(1.0), (3, 32, 32))
    attacks = {
        "no attack": (turned, brinell.evasion.Clean()),
        "worst of 10 random": (turned, brinell.evasion.Noise(10)),
        "gradient, 100 steps": (turned, PGD(100, step=0.05, objective=margin)),
        "lattice of 775": (turned, Grid((31, 5, 5))),
        "flow up to 1 pixel, gradient, 40 steps": (bent, PGD(40, objective=margin)),
    }
    standing = {
        name: 1 - float(brinell.attack(a, t.target, t.lift(x), y, Threat(t.set())).broken.float().mean())
        for name, (t, a) in attacks.items()
    }
    return [
        Figure(
            "rotation up to 30 degrees and translation up to 3 pixels, plain ResNet-20, 200 CIFAR-10 images: accuracy",
            "the lattice lowest",
            ", ".join(f"{name} {value:.1%}" for name, value in standing.items()),
        )
    ]


def corruptions() -> list[Figure]:
    target, (x, y) = resnet20(), cifar(500)
    table = corrupted_accuracy(target, x, y)
    return [
        Figure(
            "accuracy under corruption, plain ResNet-20, 500 CIFAR-10 images, mean over severities 1 to 5",
            "measured",
            ", ".join(f"{kind} {np.mean(row) / len(x):.0%}" for kind, row in table.right.items()),
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
    """Spoken digits: distance of targeted attacks in dB; Carlini and Wagner attack a transcription instead."""
    x, y, test = spoken_digits()
    target = Target(brinell.targets.TorchBackend(spoken_network(x[~test], y[~test])), brinell.Box(-1.0, 1.0))
    held, labels = x[test], y[test]
    clean = float((target.labels(held) == labels).float().mean())
    asked = (target.labels(held) == labels) & (labels != 3)
    rates = []
    for db in (-20, -30, -40, -50):
        set = Loudness.of_decibels(db)
        found = brinell.attack(PGD(40), target, held[asked], labels[asked], Threat(set, Targeted(3)))
        rates.append(f"{db} dB {float(found.broken.float().mean()):.1%}")
    return [
        Figure(
            f"spoken digits, small convolutional network on the waveform's spectrogram (clean {clean:.1%}), "
            f"{int(asked.sum())} clips toward 'three', PGD-40: success at each loudness",
            "measured; the paper attacks transcription (arXiv:1801.01944)",
            ", ".join(rates),
        )
    ]


class Spoken(nn.Module):
    """Log-spectrogram, two convolutions, a mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(256))
        self.layers = nn.Sequential(
            nn.Conv1d(129, 64, 5, 2), nn.ReLU(), nn.Conv1d(64, 64, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(2),
            nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        power = torch.stft(x, 256, 128, window=self.window, return_complex=True).abs().square()
        return self.layers((power + 1e-5).log() / 4 + 1)


def spoken_digits(length: int = 4096) -> tuple[Tensor, Tensor, Tensor]:
    """(clips (3000, length) with a peak of 1, labels, which are the official test split); cut or padded."""
    with np.load(_file("data/audio/fsdd_8khz.npz"), allow_pickle=False) as z:
        audio, offsets = z["audio"], z["offsets"]
        clips = np.zeros((len(offsets) - 1, length), np.float32)
        for clip, begin, end in zip(clips, offsets[:-1], offsets[1:], strict=True):
            part = audio[begin : min(end, begin + length)].astype(np.float32)
            clip[: len(part)] = part / np.abs(part).max()
        return torch.from_numpy(clips), torch.from_numpy(z["labels"].astype(np.int64)), torch.from_numpy(z["index"] < 5)


def spoken_network(x: Tensor, y: Tensor, epochs: int = 6) -> nn.Module:
    torch.manual_seed(0)  # noqa: TID251 - a benchmark's own process
    net = Spoken()
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimiser.step()
    return net.eval()


def cifar(n: int) -> tuple[Tensor, Tensor]:
    """The first n test images of CIFAR-10, lossless."""
    with np.load(_file("data/images/cifar10_test_lossless1403.npz"), allow_pickle=False) as z:
        x, y = z["images"][:n], z["labels"][:n]
    return torch.from_numpy(x).movedim(-1, 1).float() / 255, torch.from_numpy(y.astype(np.int64))


def resnet20() -> Target:
    """Plainly trained."""
    net = ResNet20()
    net.load_state_dict(load_file(_file("data/weights/cifar10_resnet20_clean.safetensors")), strict=False)
    return brinell.target(net.eval(), mean=MEAN, std=STD)


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.more = stride, (outside - inside) // 2

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return functional.relu(inner + short)


class ResNet20(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def _file(name: str):
    file = SHARED / name
    if not file.exists():
        raise Skipped(f"{file} is missing; set BRINELL_SHARED to the shared folder")
    return file

"""What an attack costs beside the passes it asks for: against bare loops of the same passes, and in memory.

Each attack runs on one batch that nothing breaks, so that every example asks every question. Beside it runs a loop of
as many forward and input-gradient passes of the same network on the same batch, with a signed step and a clamp between
them. The two take turns in one process, on one thread, and processor time is counted, which other work on the machine
disturbs less. Memory is the most that a process of its own ever held, at growing numbers of examples, less what it held
before the attack.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import Figure, fashion, robust_cnn
from brinell.evasion import (
    APGD,
    BIM,
    DIFGSM,
    EOTPGD,
    MIFGSM,
    NIFGSM,
    PGD,
    SINIFGSM,
    SLIDE,
    TIFGSM,
    TPGD,
    VMIFGSM,
    Attack,
    Hunt,
    dlr,
)
from brinell.targets import Target
from brinell.threat import L1, L2, PerturbationSet, Threat

ROUNDS, BATCH = 9, 128
LINF = brinell.Linf(1e-3)

CASES: dict[str, tuple[Attack, PerturbationSet]] = {
    "BIM": (BIM(steps=8), LINF),
    "PGD": (PGD(steps=8), LINF),
    "PGD, l2": (PGD(steps=8), L2(1e-3)),
    "APGD": (APGD(steps=8), LINF),
    "APGD, DLR": (APGD(steps=8, objective=dlr), LINF),
    "APGD, l2": (APGD(steps=8), L2(1e-3)),
    "APGD, l1": (APGD(steps=8), L1(1e-2)),
    "MIFGSM": (MIFGSM(steps=8), LINF),
    "NIFGSM": (NIFGSM(steps=8), LINF),
    "SINIFGSM": (SINIFGSM(steps=2), LINF),
    "DIFGSM": (DIFGSM(steps=8), LINF),
    "TIFGSM": (TIFGSM(steps=8), LINF),
    "VMIFGSM": (VMIFGSM(steps=2, neighbours=4), LINF),
    "TPGD": (TPGD(steps=8), LINF),
    "EOTPGD": (EOTPGD(steps=2, draws=5), LINF),
    "SLIDE, l1": (SLIDE(steps=8), L1(1e-2)),
}


def run() -> list[Figure]:
    """Ratios for each attack on two networks, and the memory of one of them."""
    torch.set_num_threads(1)
    x, _ = fashion("t10k", 1000)
    figures = []
    for what, net in (
        ("small CNN (adversarially trained)", robust_cnn()),
        ("ResNet of 8 layers, 8 to 32 channels", resnet()),
    ):
        target = brinell.target(net)
        y_seen = target.labels(x)
        keep = _calm(target, x, y_seen)[:BATCH]
        ratios = {name: ratio(target, net, x[keep], y_seen[keep], *case) for name, case in CASES.items()}
        worst = max(ratios, key=lambda name: ratios[name])
        figures.append(
            Figure(
                f"an iteration over that of a bare loop, {what}, {len(keep)} images of 28 x 28: the largest of "
                f"{len(CASES)} attacks, and each; medians of {ROUNDS} interleaved runs",
                "<= 1.05",
                f"{ratios[worst]:.3f} ({worst}); " + ", ".join(f"{name} {r:.3f}" for name, r in ratios.items()),
            )
        )
    return [*figures, memory()]


def ratio(target: Target, net: nn.Module, x: Tensor, y: Tensor, made: Attack, set: PerturbationSet) -> float:
    """The median over rounds of (the attack's seconds / passes) over (the loop's seconds / passes)."""
    net = net.eval().requires_grad_(False)
    threat = Threat(set.within(target.box))
    found = []
    for round_ in range(ROUNDS + 1):
        hunt = Hunt(target, x, y, threat, torch.Generator().manual_seed(round_))
        seconds = _processor(lambda hunt=hunt: made(hunt))
        passes = int(hunt.gradients[0])
        assert (hunt.gradients == passes).all(), "an example broke: its passes are not those of the loop"
        floor = _processor(lambda passes=passes: _loop(net, x, y, passes))
        if round_:  # the first warms up
            found.append(seconds / floor)
    return median(found)


def memory() -> Figure:
    """The peak of APGD's process at 1, 4 and 16 times the examples, and what the examples alone take."""
    counts = (256, 1024, 4096)
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.overhead", str(n)],
                capture_output=True,
                text=True,
                check=True,
                timeout=600,
            ).stdout
        )
        for n in counts
    ]
    sizes = [n * 28 * 28 * 4 / 2**20 for n in counts]
    slope = (peaks[2] - peaks[1]) / (sizes[2] - sizes[1])
    return Figure(
        "APGD-5 on the ResNet, memory above that before the attack, at "
        + ", ".join(map(str, counts))
        + " images in chunks of 128; the growth, in copies of the images",
        "flat but for copies of the images",
        ", ".join(f"{p} MiB" for p in peaks) + f"; {slope:.0f} copies",
    )


def resnet() -> nn.Module:
    """Three residual stages on 28 x 28 images, weights at random: only its passes matter."""
    torch.manual_seed(0)  # noqa: TID251 - a benchmark's own process
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1),
        nn.ReLU(),
        _Block(8, 8, 1),
        _Block(8, 16, 2),
        _Block(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).eval()


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(before, after, 3, stride, 1)
        self.two = nn.Conv2d(after, after, 3, 1, 1)
        self.past = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.two(functional.relu(self.one(x))) + self.past(x))


def _processor(work: Callable[[], None]) -> float:
    """Seconds of processor time: what others do on the machine meanwhile is left out."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _loop(net: nn.Module, x: Tensor, y: Tensor, passes: int) -> None:
    low, high = (x - 1e-3).clamp(0, 1), (x + 1e-3).clamp(0, 1)
    near = x.clone()
    for _ in range(passes):
        near.requires_grad_()
        (g,) = torch.autograd.grad(functional.cross_entropy(net(near), y, reduction="sum"), near)
        near = torch.clamp(near.detach() + 1e-4 * g.sign(), low, high)


def _calm(target: Target, x: Tensor, y: Tensor) -> Tensor:
    """The rows whose labels lead most, so that nothing so small moves them, darker copies and views apart."""
    top = target.scores(x).sort(1).values
    return (top[:, -1] - top[:, -2]).argsort(descending=True)


def _peak(examples: int) -> None:
    """Print MiB, in a process of its own."""
    import resource

    x = torch.rand(examples, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    target = brinell.target(resnet())
    y = target.labels(x)
    before = _held()
    brinell.attack(APGD(steps=5), target, x, y, Threat(LINF))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)


def _held() -> int:
    """KiB held now."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


if __name__ == "__main__":
    _peak(int(sys.argv[1]))

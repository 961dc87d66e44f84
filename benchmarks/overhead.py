"""What an attack costs beside the passes it asks for: against bare loops of the same passes, and in memory.

Each attack runs on one batch that nothing breaks, so that every example asks every question. Beside it runs a loop of
as many forward and input-gradient passes of the same network on the same batch, with the plainest step of the same norm
between them: along the sign, the unit gradient or the largest value of it; then back into the ball, as if there were no
box; then a clamp. An iteration is what a long run takes beyond a short one. The two take turns in one process, on one
thread, and processor time is counted, which other work on the machine disturbs less. Memory is the most that a process
of its own ever held, at growing numbers of examples, less what it held before the attack.
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

ROUNDS = 5
LINF = brinell.Linf(1e-3)

CASES: dict[str, tuple[Callable[[int], Attack], PerturbationSet]] = {
    "BIM": (lambda n: BIM(steps=n), LINF),
    "PGD": (lambda n: PGD(steps=n), LINF),
    "PGD, l2": (lambda n: PGD(steps=n), L2(1e-3)),
    "APGD": (lambda n: APGD(steps=n), LINF),
    "APGD, DLR": (lambda n: APGD(steps=n, objective=dlr), LINF),
    "APGD, l2": (lambda n: APGD(steps=n), L2(1e-3)),
    "APGD, l1": (lambda n: APGD(steps=n), L1(1e-2)),
    "MIFGSM": (lambda n: MIFGSM(steps=n), LINF),
    "NIFGSM": (lambda n: NIFGSM(steps=n), LINF),
    "SINIFGSM": (lambda n: SINIFGSM(steps=n // 4), LINF),
    "DIFGSM": (lambda n: DIFGSM(steps=n), LINF),
    "TIFGSM": (lambda n: TIFGSM(steps=n), LINF),
    "VMIFGSM": (lambda n: VMIFGSM(steps=n // 4, neighbours=3), LINF),
    "TPGD": (lambda n: TPGD(steps=n), LINF),
    "EOTPGD": (lambda n: EOTPGD(steps=n // 4, draws=4), LINF),
    "SLIDE, l1": (lambda n: SLIDE(steps=n), L1(1e-2)),
}


def run() -> list[Figure]:
    """Ratios for each attack on two networks, and the memory of one of them."""
    torch.set_num_threads(1)
    x, _ = fashion("t10k", 1000)
    figures = []
    for what, net, batch, steps in (
        ("small CNN (adversarially trained)", robust_cnn(), 128, (8, 32)),
        ("ResNet of 8 layers, 8 to 32 channels", resnet(), 32, (4, 12)),
    ):
        target = brinell.target(net)
        y_seen = target.labels(x)
        keep = _calm(target, x, y_seen)[:batch]
        ratios = {name: ratio(target, net, x[keep], y_seen[keep], *case, steps) for name, case in CASES.items()}
        worst = max(ratios, key=lambda name: ratios[name])
        figures.append(
            Figure(
                f"an iteration over that of a bare loop, {what}, {batch} images of 28 x 28: the largest of "
                f"{len(CASES)} attacks, and each; medians of {ROUNDS} interleaved runs",
                "<= 1.05",
                f"{ratios[worst]:.3f} ({worst}); " + ", ".join(f"{name} {r:.3f}" for name, r in ratios.items()),
            )
        )
    return [*figures, memory()]


def ratio(
    target: Target,
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    made: Callable[[int], Attack],
    set: PerturbationSet,
    steps: tuple[int, int],
) -> float:
    """The median over rounds of (the attack's seconds a pass) over (the loop's), of the passes that a long run adds."""
    net = net.eval().requires_grad_(False)
    threat = Threat(set.within(target.box))
    found = []
    for round_ in range(ROUNDS + 1):
        ours, floor, passes = [], [], []
        for count in steps:
            hunt = Hunt(target, x, y, threat, torch.Generator().manual_seed(round_))
            ours.append(_processor(lambda hunt=hunt, count=count: made(count)(hunt)))
            passes.append(int(hunt.gradients[0]))
            assert (hunt.gradients == passes[-1]).all(), "an example broke: its passes are not those of the loop"
            floor.append(_processor(lambda count=passes[-1]: _loop(net, x, y, set, count)))
        if round_:  # the first warms up
            found.append((ours[1] - ours[0]) / (floor[1] - floor[0]))
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


def _loop(net: nn.Module, x: Tensor, y: Tensor, set: PerturbationSet, passes: int) -> None:
    near, move = x.clone(), _MOVES[set.name]
    for _ in range(passes):
        near.requires_grad_()
        (g,) = torch.autograd.grad(functional.cross_entropy(net(near), y, reduction="sum"), near)
        near = move(near.detach(), x, g, set.radius).clamp(0, 1)


def _linf(near: Tensor, x: Tensor, g: Tensor, radius: float) -> Tensor:
    return torch.clamp(near + 0.1 * radius * g.sign(), x - radius, x + radius)


def _l2(near: Tensor, x: Tensor, g: Tensor, radius: float) -> Tensor:
    rows = (-1, 1, 1, 1)
    near = near + 0.1 * radius * g / g.flatten(1).norm(dim=1).clamp(min=1e-12).view(rows)
    change = near - x
    return x + change * (radius / change.flatten(1).norm(dim=1).clamp(min=radius)).view(rows)


def _l1(near: Tensor, x: Tensor, g: Tensor, radius: float) -> Tensor:
    """The projection is that onto the simplex, by sorting (Duchi et al. 2008)."""
    top = g.flatten(1).abs().argmax(1, keepdim=True)
    signs = g.flatten(1).gather(1, top).sign()
    change = (near - x).flatten(1).scatter_add(1, top, 0.1 * radius * signs)
    ordered = change.abs().sort(1, descending=True).values
    excess = (ordered.cumsum(1) - radius) / torch.arange(1, ordered.shape[1] + 1)
    last = (ordered > excess).sum(1, keepdim=True) - 1
    threshold = excess.gather(1, last).clamp(min=0)
    return x + (change.sign() * (change.abs() - threshold).clamp(min=0)).view_as(x)


_MOVES = {"linf": _linf, "l2": _l2, "l1": _l1}


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

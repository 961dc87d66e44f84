"""PGD-40 against the bare loop of 40 forward and input-gradient passes, interleaved in one process."""

from statistics import median

import brinell
from benchmarks.figure import Figure, accuracy, clock, fashion, pgd_loop, robust_cnn
from brinell.evasion import PGD

RADIUS, STEP, STEPS, ROUNDS = 0.1, 0.01, 40, 10


def run() -> list[Figure]:
    """Wall time as a ratio at equal step length and count; ours includes the judge."""
    net = robust_cnn()
    x, y = fashion("t10k", 1000)
    target = brinell.target(net)
    threat = brinell.Threat(brinell.Linf(RADIUS))
    ratios, floors, ours = [], [], []
    for round_ in range(ROUNDS + 1):
        floor, near = clock(lambda: pgd_loop(net, x, y, RADIUS, STEP, STEPS))
        seconds, found = clock(
            lambda seed=round_: brinell.attack(PGD(steps=STEPS, step=STEP), target, x, y, threat, seed=seed)
        )
        if round_:  # the first round warms up
            ratios.append(seconds / floor)
            floors.append(accuracy(net, near, y))
            ours.append(1 - float(found.broken.float().mean()))
    return [
        Figure(
            "PGD-40, 1,000 Fashion-MNIST images, adversarially trained small CNN, linf 0.1: wall time over the bare "
            "loop's, median (range) of 10",
            "<= 0.75",
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        ),
        Figure(
            "robust accuracy, ours and the loop's, median over the same 10 seeds",
            "ours equal or lower",
            f"{median(ours):.3f}, {median(floors):.3f} (means {sum(ours) / ROUNDS:.4f}, {sum(floors) / ROUNDS:.4f})",
        ),
    ]

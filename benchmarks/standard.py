"""The standard plan against the reference AutoAttack code on published networks for CIFAR-10, two of them robust.

AUTOATTACK_SRC: a checkout of fra31/auto-attack. Ours is the attacking stages alone.
"""

from benchmarks.autoattack import attacks, theirs
from benchmarks.figure import Figure, cifar, clock, cnn_a, resnet_2b
from benchmarks.networks import normalised_resnet20

EXAMPLES, RADIUS = 100, 2 / 255


def run() -> list[Figure]:
    """Robust accuracy at linf 2/255, and seconds as a ratio, of each network in turn."""
    x, y = cifar(EXAMPLES)
    networks = {
        "CNN-A, adversarially trained": cnn_a(),
        "ResNet-2B, adversarially trained": resnet_2b(),
        "ResNet-20, plainly trained": normalised_resnet20(),
    }
    figures = []
    for name, net in networks.items():
        attacks(net, x[:32], y[:32], RADIUS)  # warm
        attack_seconds, attacked = clock(lambda net=net: attacks(net, x, y, RADIUS))
        seconds, robust = theirs(net, x, y, RADIUS)
        figures.append(
            Figure(
                f"{name}, linf 2/255, {EXAMPLES} images: robust accuracy of AutoAttack and of ours; seconds",
                "at most AutoAttack's + 0.001; <= 1/40",
                f"{robust:.3f}, {attacked.bracket.unbroken:.3f}; "
                f"1/{seconds / attack_seconds:.0f} ({attack_seconds:.1f} s, {seconds:.0f} s)",
            )
        )
        print(figures[-1], flush=True)
    return figures

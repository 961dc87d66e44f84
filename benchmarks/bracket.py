"""How far branch and bound closes the bracket on adversarially trained networks, never trained to be proved."""

import brinell
from benchmarks.figure import Figure, cifar, clock, cnn_a, resnet_2b

BUDGET, EXAMPLES = 300.0, 1000


def run() -> list[Figure]:
    """Open share at the training radius: by the standard plan, and by the plan `proofs` in five minutes."""
    figures = []
    x, y = cifar(EXAMPLES)
    threat = brinell.Threat(brinell.Linf(2 / 255))
    for name, net in (("CNN-A", cnn_a()), ("ResNet-2B", resnet_2b())):
        target = brinell.target(net)
        seconds, before = clock(lambda target=target: brinell.audit(target, (x, y), threat))
        spent, after = clock(lambda target=target: brinell.audit(target, (x, y), threat, "proofs", BUDGET))
        edges = [f"[{run.bracket.certified:.3f}, {run.bracket.unbroken:.3f}]" for run in (before, after)]
        figures.append(
            Figure(
                f"{name}, adversarially trained, linf 2/255, {EXAMPLES:,} images: open by the plan standard, and by "
                f"the plan proofs in {BUDGET:.0f} s",
                "at least halved",
                f"{100 * before.bracket.open:.1f} % {edges[0]} in {seconds:.0f} s, "
                f"{100 * after.bracket.open:.1f} % {edges[1]} in {spent:.0f} s",
            )
        )
        print(figures[-1])
    return figures

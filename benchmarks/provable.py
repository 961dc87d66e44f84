"""The standard plan on provably trained networks: how little it leaves open."""

import brinell
from benchmarks.figure import SHARED, Figure, clock, shared_images, small_cnn


def run() -> list[Figure]:
    """Bracket at the training radius, 1,000 test images each."""
    figures = []
    for name, images in (
        ("mnist_kwsmall_provable_eps01", "mnist_test"),
        ("fashion_kwsmall_provable_eps01", "fashion_mnist_test"),
    ):
        net = small_cnn(SHARED / "data" / "weights" / f"{name}.safetensors")
        x, y = shared_images(images, 1000)
        threat = brinell.Threat(brinell.Linf(0.1))
        seconds, audit = clock(lambda net=net, x=x, y=y, t=threat: brinell.audit(brinell.target(net), (x, y), t))
        b = audit.bracket
        figures.append(
            Figure(
                f"{name}, linf 0.1: open of 1,000 under the standard plan, and seconds",
                "<= 2 %, 60 s, no contradiction",
                f"{100 * b.open:.1f} % open, bracket [{b.certified:.3f}, {b.unbroken:.3f}], {seconds:.1f} s",
            )
        )
    return figures

"""What certificates cost: Lipschitz constants, intervals of the Jacobian, the dual network, votes over noise.

One network, for 28 x 28 images, trained here for a few epochs as Leino et al. 2021 (arXiv:2102.08452) train: the class
"bottom" is one more answer to learn to avoid, so that a constant of the whole network says something of it. Seconds are
of processor time on one thread; what is slow is measured on the first images and multiplied. Memory is how much more a
process held at most, for each image more.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import brinell
from benchmarks.figure import CACHE, SHARED, Figure, Skipped, accuracy, shared_images, small_cnn
from brinell.auditing import Plan, Stage
from brinell.data import load
from brinell.demo import digits_network
from brinell.proofs import (
    CROWN,
    GloRo,
    Graph,
    LocalLipschitz,
    RandomProjection,
    Smoothing,
    Verifier,
    affinity,
    certified,
    certified_radius,
    constants,
    margins,
    top_k,
    trace,
)
from brinell.targets import Gaussian, smoothed
from brinell.threat import Box

RADIUS, UNIT = 0.3, Box(0.0, 1.0)
EPOCHS, BATCH = 8, 256
TEST = 10_000
ROUNDS = 5

CLOSER: tuple[Verifier, ...] = (GloRo(), LocalLipschitz(), CROWN())
ALIKE = ((4, 9), (3, 5, 8), (1, 7))
"""Digits that may be taken for one another."""

PUBLISHED = {
    "global Lipschitz bound": "0.4 s, 1.8 MB",
    "local Lipschitz bound": "15 x, 10 x",
    "dual network": "6,000 x, 800 x",
    "randomized smoothing": "90,000 x, 10 x",
}
"""Of the summary of results in Leino's thesis talk: CIFAR-10, another network and machine, its test set on a GPU."""


def run() -> list[Figure]:
    """All rows."""
    torch.set_num_threads(1)
    net = gloro_cnn()
    x, y = shared_images("mnist_test", TEST)
    graph = trace(net, x[:1])
    return [
        *_once(net, graph, x),
        *_certified(net, graph, x, y),
        _ordinary(),
        *_table(net, graph, x, y),
        _estimated(graph, x, y),
    ]


def _once(net: nn.Module, graph: Graph, x: Tensor) -> list[Figure]:
    """Certification beside the forward pass that it rests on, in turns."""
    seconds = _processor(lambda: constants(trace(net, x[:1])))
    pairs = constants(graph).pairs[2]
    labels = net(x).detach().argmax(1)
    spec, set, few = margins(labels, 10), brinell.L2(RADIUS).within(UNIT), slice(0, 1000)

    def forward() -> Tensor:
        return torch.cat([net(part) for part in x.split(500)])

    with torch.no_grad():
        float32 = _ratio(lambda: certified_radius(forward(), pairs), forward)
    verifier = _ratio(
        lambda: GloRo()(graph, x[few], set, spec[few]), lambda: [graph(part) for part in x[few].split(500)]
    )
    return [
        Figure(
            f"GloRo: certified radii of {TEST:,} images over one forward pass of them, the network's own float32; "
            f"medians of {ROUNDS} interleaved runs",
            "<= 1.1",
            f"{float32:.3f}; the constants took {seconds:.2f} s, once",
        ),
        Figure(
            f"GloRo as a verifier, in float64: bounds on all margins of {few.stop:,} images, over the same pass",
            "<= 1.1",
            f"{verifier:.3f}",
        ),
    ]


def _certified(net: nn.Module, graph: Graph, x: Tensor, y: Tensor) -> list[Figure]:
    """What the certificates come to on a network that was trained for them."""
    pairs = constants(graph).pairs[2]
    with torch.no_grad():
        scores = torch.cat([net(part) for part in x.split(1000)])
    held = (certified_radius(scores, pairs) > RADIUS) & (scores.argmax(1) == y)
    threat = brinell.Threat(brinell.L2(RADIUS))
    plan = Plan(
        name="gloro",
        stages=tuple(Stage(engine=name) for name in ("Clean", "GloRo", "PGD", "LocalLipschitz", "CROWN")),
    )
    few = slice(0, 100)
    bracket = brinell.audit(brinell.target(net), (x[few], y[few]), threat, plan).bracket
    set, wide = threat.set.within(UNIT), brinell.L2(3 * RADIUS).within(UNIT)
    spec = margins(scores[few].argmax(1), 10)
    found = {v: [certified(v(graph, x[few], ball, spec)) for ball in (set, wide)] for v in CLOSER}
    shares = ", ".join(f"{type(v).__name__} {_percent(near)}, {_percent(far)}" for v, (near, far) in found.items())
    first, *_, last = found.values()
    lost = sum(int((a & ~b).sum()) for a, b in zip(first, last, strict=True))
    relaxed = "; ".join(
        f"{type(v).__name__} "
        + " / ".join(_percent(top_k(v, graph, x[few], set, k).certified) for k in (1, 2, 3))
        + f", {_percent(affinity(v, graph, x[few], set, ALIKE).certified)}"
        for v in CLOSER
    )
    return [
        Figure(
            f"the network, {EPOCHS} epochs on MNIST: accuracy, and certified by GloRo at l2 {RADIUS}, {TEST:,} images "
            "(published after 500 epochs: 95.7 %)",
            "a certificate that says something",
            f"{100 * accuracy(net, x, y):.1f} %, {100 * float(held.double().mean()):.1f} %",
        ),
        Figure(
            f"bracket of GloRo, PGD, LocalLipschitz and CROWN, l2 {RADIUS}, {few.stop} images",
            "no contradiction",
            f"[{bracket.certified:.3f}, {bracket.unbroken:.3f}], {bracket.open_count} open",
        ),
        Figure(
            f"the same images, certified by each at l2 {RADIUS} and at {3 * RADIUS:.1f}; by GloRo, and not by CROWN",
            "none",
            f"{shares}; {lost}",
        ),
        Figure(
            f"relaxed top-1 / 2 / 3 robustness, and affinity of {_words(ALIKE)}, at l2 {RADIUS}, the same images",
            "CROWN certifies no fewer than GloRo",
            relaxed,
        ),
    ]


def _ordinary() -> Figure:
    """A network that was trained without a thought of its constant."""
    digits, net, radii = load("digits").take(200, seed=0), digits_network(), (0.05, 0.1, 0.2)
    graph, spec = trace(net, digits.x[:1]), margins(net(digits.x).argmax(1), 10)
    balls = [brinell.L2(radius).within(UNIT) for radius in radii]
    shares = "; ".join(
        f"{type(v).__name__} " + " / ".join(_percent(certified(v(graph, digits.x, ball, spec))) for ball in balls)
        for v in CLOSER
    )
    return Figure(
        f"the digits network, trained as usual, 200 images: certified by each at l2 {' / '.join(map(str, radii))}",
        "a local constant says more than a global one",
        shares,
    )


def _percent(mask: Tensor) -> str:
    return f"{100 * float(mask.double().mean()):.0f} %"


def _words(groups: Sequence[Sequence[int]]) -> str:
    return ", ".join("".join(map(str, group)) for group in groups)


def _table(net: nn.Module, graph: Graph, x: Tensor, y: Tensor) -> list[Figure]:
    """The costs beside one another: a test set of ten thousand, and the memory of each image more."""
    with torch.no_grad():
        pairs = constants(graph).pairs[2]
        gloro = _seconds(lambda: certified_radius(torch.cat([net(part) for part in x.split(500)]), pairs), TEST)
    set, spec = brinell.L2(RADIUS).within(UNIT), margins(y, 10)

    def verified(verifier: Verifier, few: int) -> float:
        return _seconds(lambda: verifier(graph, x[:few], set, spec[:few]), few)

    voted = smoothed(brinell.target(net), Gaussian(0.25), votes=1)
    seconds = {
        "global Lipschitz bound": gloro,
        "local Lipschitz bound": verified(LocalLipschitz(), 100),
        "dual network": verified(CROWN(slope="same"), 20),
        "randomized smoothing": _seconds(
            lambda: Smoothing(draws=100_000).certify(voted, x[:1], torch.Generator().manual_seed(0)), 1
        ),
    }
    held = {name: _slope(name) for name in seconds}
    base, room = seconds["global Lipschitz bound"], held["global Lipschitz bound"]
    return [
        Figure(
            f"{name}: seconds for {TEST:,} images, MB for each image more; in multiples of the first row "
            f"(published, of CIFAR-10 on other machines: {PUBLISHED[name]})",
            "measured again",
            f"{seconds[name]:,.1f} s, {held[name]:.2f} MB"
            + (
                ""
                if name == "global Lipschitz bound"
                else f"; {seconds[name] / base:,.0f} x, {held[name] / room:.0f} x"
            ),
        )
        for name in seconds
    ]


def _estimated(graph: Graph, x: Tensor, y: Tensor) -> Figure:
    """The random projections beside the bound they estimate."""
    few, set = 50, brinell.Linf(0.02).within(UNIT)
    spec = margins(y[:few], 10)
    start = time.process_time()
    exact = CROWN(slope="same")(graph, x[:few], set, spec)
    middle = time.process_time()
    estimate = RandomProjection()(graph, x[:few], set, spec, torch.Generator().manual_seed(0))
    seconds = middle - start, time.process_time() - middle
    held = (spec @ graph(x[:few]).unsqueeze(2)).squeeze(2)
    widths = (held - estimate.values) / (held - exact)
    low, mid, high = np.quantile(widths.numpy(), (0.05, 0.5, 0.95))
    return Figure(
        f"random projections (50), an estimate of the dual bound and no certificate, linf 0.02, {few} images: "
        "width of the estimate over the bound's (5 %, median, 95 %), above the bound, and time over the bound's",
        "an estimate",
        f"{low:.2f}, {mid:.2f}, {high:.2f}; {100 * float((estimate.values > exact).double().mean()):.0f} %; "
        f"{seconds[1] / seconds[0]:.2f}",
    )


def gloro_cnn() -> nn.Module:
    """small_cnn, trained on MNIST to avoid the bottom class at half as much again as the radius; kept once trained."""
    file = CACHE / f"mnist_gloro_{RADIUS:g}.safetensors"
    if file.exists():
        return small_cnn(file)
    source = SHARED / "data" / "images" / "mnist_train.npz"
    if not source.exists():
        raise Skipped(f"{source} is missing; set BRINELL_SHARED to the shared folder")
    with np.load(source, allow_pickle=False) as z:
        x = torch.from_numpy(z["images"])[:, None].float() / 255
        y = torch.from_numpy(z["labels"].astype(np.int64))
    torch.manual_seed(0)  # noqa: TID251 - a benchmark's own process
    net = small_cnn().train()
    layers = [layer for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))][:-1]
    last = net[-1]
    sizes = [(1, 28, 28), (16, 14, 14), (32 * 7 * 7,)]
    directions = [torch.randn(1, *size) for size in sizes]
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * -(-len(x) // BATCH), 1e-5)
    for epoch in range(EPOCHS):
        radius = 1.5 * RADIUS * min(1.0, (epoch + 1) / 3)
        for batch in torch.randperm(len(x)).split(BATCH):
            scores = net(x[batch])
            length = torch.stack([_power(layer, directions, i) for i, layer in enumerate(layers)]).prod()
            pairs = length * (last.weight[:, None] - last.weight[None]).square().sum(2).clamp(min=1e-12).sqrt()
            leader = scores.argmax(1, keepdim=True)
            bottom = (scores + radius * pairs[leader.squeeze(1)]).scatter(1, leader, -torch.inf).amax(1, keepdim=True)
            loss = functional.cross_entropy(torch.cat((scores, bottom), 1), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    CACHE.mkdir(exist_ok=True)
    save_file(net.state_dict(), file)
    return net.eval()


def _power(layer: nn.Module, directions: list[Tensor], i: int, steps: int = 3) -> Tensor:
    """The norm of a layer by power iteration, as training may: the gradient passes through the last step."""

    def apply(v: Tensor) -> Tensor:
        if isinstance(layer, nn.Linear):
            return v @ layer.weight.T
        return functional.conv2d(v, layer.weight, stride=layer.stride, padding=layer.padding)

    v = directions[i]
    with torch.no_grad():
        for _ in range(steps):
            u = apply(v)
            back = (
                u @ layer.weight
                if isinstance(layer, nn.Linear)
                else functional.conv_transpose2d(u, layer.weight, stride=layer.stride, padding=layer.padding)
            )
            v = back / back.norm()
        directions[i] = v
    return apply(v).norm()


def _ratio(work: Callable[[], object], floor: Callable[[], object]) -> float:
    found = []
    for round_ in range(ROUNDS + 1):
        one, two = _processor(work), _processor(floor)
        if round_:  # the first warms up
            found.append(one / two)
    return median(found)


def _seconds(work: Callable[[], object], images: int) -> float:
    """For the whole test set, by these of it."""
    return _processor(work) * TEST / images


def _processor(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


COUNTS = {
    "global Lipschitz bound": (2000, 10_000),
    "local Lipschitz bound": (50, 150),
    "dual network": (4, 12),
    "randomized smoothing": (2, 6),
}


def _slope(name: str) -> float:
    """MB that a process holds more, at most, for each image more that it has in hand at one time."""
    few, many = COUNTS[name]
    peaks = [
        float(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.certificates", name, str(count)],
                capture_output=True,
                text=True,
                check=True,
                timeout=300,
            ).stdout
        )
        for count in (few, many)
    ]
    return (peaks[1] - peaks[0]) / (many - few)


def _peak(name: str, count: int) -> None:
    """Print MB, in a process of its own."""
    torch.set_num_threads(1)
    net, (x, y) = gloro_cnn(), shared_images("mnist_test", count)
    graph, set, spec = trace(net, x[:1]), brinell.L2(RADIUS).within(UNIT), margins(y, 10)
    pairs, whole = constants(graph).pairs[2], 2**50
    voted = smoothed(brinell.target(net), Gaussian(0.25), votes=1)
    voted.backend.base.chunk = whole
    works: dict[str, Callable[[], object]] = {
        "global Lipschitz bound": lambda: certified_radius(net(x), pairs),
        "local Lipschitz bound": lambda: LocalLipschitz(memory=whole)(graph, x, set, spec),
        "dual network": lambda: CROWN(slope="same", memory=whole)(graph, x, set, spec),
        "randomized smoothing": lambda: Smoothing(draws=1000, select=1000, looks=1, rows=1000 * count).certify(
            voted, x, torch.Generator().manual_seed(0)
        ),
    }
    Path("/proc/self/clear_refs").write_text("5")  # the most that was ever held begins anew
    with torch.no_grad():
        works[name]()
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(held.split()[1]) / 1024)


if __name__ == "__main__":
    _peak(sys.argv[1], int(sys.argv[2]))

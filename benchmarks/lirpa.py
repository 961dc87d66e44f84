"""The bounds of auto_LiRPA and ours on the same networks and images: how far apart they are, and what they cost.

Set LIRPA_SRC to a checkout of Verified-Intelligence/auto_LiRPA whose dependencies can be imported (PYTHONPATH); version
0.7.1 was compared. Times: it computes in float32, as it does unless told otherwise, ours in float64, turn by turn in
one run. Differences: both in float64, but for alpha-CROWN, where it has float32 alone. Limits are what the neurons
inside lie between: each finds them in its own way (ours are met with intervals, and the far end of a neuron that is
shown to be stable is left to them), so its bounds are taken again with ours, which compares the algorithm alone. Its
alpha-CROWN optimises intermediate slopes as well; ours does where `intermediate` says so. Both use its learning rate.
"""

import copy
import os
import statistics
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.figure import SHARED, Figure, Skipped, cifar, clock, cnn_a, resnet_2b, right, shared_images, small_cnn
from benchmarks.networks import shared
from brinell.proofs import CROWN, IBP, AlphaCROWN, Graph, Optimisation, Verifier, margins, trace
from brinell.proofs.network.operators import Interval
from brinell.proofs.query.problem import Problem
from brinell.proofs.query.verifier import Spec, nothing
from brinell.proofs.relaxation.network import relax
from brinell.threat import Box, Linf

STEPS = 20
ROUNDS = 5
_FEW = 4
"""Images of networks that are too large for slopes inside."""
_MANY = (64, 256)
"""Images of the batches of intervals."""
_RATE = 0.5
"""Of the slopes, as auto_LiRPA has it."""


def run() -> list[Figure]:
    source = os.environ.get("LIRPA_SRC")
    if not source:
        raise Skipped("set LIRPA_SRC to a checkout of Verified-Intelligence/auto_LiRPA")
    sys.path.insert(0, source)
    figures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for network in _networks():
            figures += _compared(*network)
    return figures


def _networks() -> list[tuple[str, nn.Module, Tensor, Tensor, float]]:
    """(name, network, images it gets right, their labels, a radius at which not all can be proved)."""
    digits, labels = shared_images("mnist_test", 100)
    dense, conv = _dense(), small_cnn(SHARED / "data" / "weights" / "mnist_kwsmall_provable_eps01.safetensors")
    pictures, classes = cifar(100)
    plain, residual = _normalised(cnn_a()), _normalised(resnet_2b())
    return [
        ("fully connected 5 x 100, MNIST, linf 0.02", dense, *right(dense, digits, labels, 16), 0.02),
        ("small convolutional, MNIST, linf 0.12", conv, *right(conv, digits, labels, 8), 0.12),
        ("CNN-A, CIFAR-10, linf 2/255", plain, *right(plain, pictures, classes, 4), 2 / 255),
        ("ResNet-2B, CIFAR-10, linf 1/255", residual, *right(residual, pictures, classes, 2), 1 / 255),
    ]


def _compared(name: str, net: nn.Module, x: Tensor, y: Tensor, radius: float) -> list[Figure]:
    graph, spec, set = trace(net, x[:1]), margins(y, 10), Linf(radius, Box(0.0, 1.0))
    low, high = set.hull(x.double())
    limits = relax(Problem(graph, x.double(), set, spec, 2**25, nothing), "adaptive", True).intervals
    fine, coarse = (_Theirs(net, x, spec, low, high, dtype) for dtype in (torch.float64, torch.float32))

    def ours(verifier: Verifier) -> Callable[[], Tensor]:
        return lambda: verifier(graph, x, set, spec)

    optimisation = Optimisation(steps=STEPS, slope_rate=_RATE)
    climbing, inside = AlphaCROWN(optimisation=optimisation), [limits[i] for i in sorted(graph.pre_activations)]
    whole = AlphaCROWN(optimisation=optimisation, intermediate=optimisation)
    figures = [
        *(_passes(name, net, graph, x, spec, set, images) for images in _MANY),
        _row(name, "IBP", ours(IBP()), fine("IBP"), coarse("IBP")),
        _row(name, "CROWN-IBP", ours(CROWN(intermediate="interval")), fine("CROWN-IBP"), coarse("CROWN-IBP")),
        _row(name, "CROWN", ours(CROWN()), fine("CROWN"), coarse("CROWN")),
        _row(name, "CROWN, our limits given to theirs", ours(CROWN()), fine("CROWN", inside)),
        _climb(name, "our limits given to theirs", ours(climbing), coarse("CROWN-Optimized", inside)),
    ]
    if len(x) > _FEW:
        figures.append(_climb(name, "slopes inside too", ours(whole), coarse("CROWN-Optimized")))
    return figures


def _climb(name: str, what: str, ours: Callable[[], Tensor], theirs: Callable[[], Tensor]) -> Figure:
    """One run of each, next to one another: they take long."""
    (mine, found), (other, reference) = clock(ours), clock(theirs)
    return Figure(
        f"{name}: alpha-CROWN, {STEPS} steps, {what}, ours less auto_LiRPA's",
        "at least theirs, time <= 1/2",
        f"{_apart(found, reference)}; time x {mine / other:.2f} ({mine:.3g} s and {other:.3g} s)",
    )


def _apart(found: Tensor, reference: Tensor) -> str:
    """How far above theirs our bounds are, where either is not positive: proved rows are optimised no further."""
    reference = reference.double()
    open_ = ~(found > 0) | ~(reference > 0)
    gap = (found - reference)[open_ if open_.any() else torch.ones_like(open_)]
    proved = [int((bounds > 0).all(1).sum()) for bounds in (found, reference)]
    where = f"{int(open_.sum())} open rows" if open_.any() else "all rows, none open"
    return (
        f"{gap.amin():+.1e} to {gap.amax():+.1e}, mean {gap.mean():+.1e}, in {where}; "
        f"proved {proved[0]} and {proved[1]} of {len(found)}"
    )


def _row(
    name: str,
    method: str,
    ours: Callable[[], Tensor],
    theirs: Callable[[], Tensor],
    timed: Callable[[], Tensor] | None = None,
) -> Figure:
    measured = _apart(ours(), theirs())
    if timed is not None:
        ratio, mine, other = _interleaved(ours, timed, ROUNDS)
        measured += f"; time x {ratio:.2f} ({mine:.3g} s and {other:.3g} s)"
    return Figure(f"{name}: {method}, ours less auto_LiRPA's", "equal to 1e-5, time <= 1/2", measured)


def _passes(name: str, net: nn.Module, graph: Graph, x: Tensor, spec: Spec, set: Linf, count: int) -> Figure:
    """In float32, the network's own precision, and in float64."""
    times = count // len(x)
    images, rows = x.repeat(times, 1, 1, 1), spec.repeat(times, 1, 1)
    measured = []
    for precision, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        plain, inputs, verifier = copy.deepcopy(net).to(dtype), images.to(dtype), IBP(precision=precision)

        def forward(plain: nn.Module = plain, inputs: Tensor = inputs) -> Tensor:
            with torch.no_grad():
                plain(inputs)
                return plain(inputs)  # type: ignore[no-any-return]

        def ours(verifier: IBP = verifier) -> Tensor:
            return verifier(graph, images, set, rows)

        ratio, mine, other = _interleaved(ours, forward, 4 * ROUNDS)
        measured.append(f"x {ratio:.2f} in {precision} ({1e3 * mine:.3g} ms and {1e3 * other:.3g} ms)")
    what = f"{name}: IBP, beside two forward passes in its precision, {len(images)} images"
    return Figure(what, "<= 1.1", ", ".join(measured))


def _interleaved(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], rounds: int) -> tuple[float, float, float]:
    """(median of the ratios of two runs next to one another, median seconds of each)."""
    ours(), theirs()
    times = [(clock(ours)[0], clock(theirs)[0]) for _ in range(rounds)]
    mine, other = zip(*times, strict=True)
    return statistics.median(a / b for a, b in times), statistics.median(mine), statistics.median(other)


class _Theirs:
    """auto_LiRPA in one precision: called with a method, it gives the question ready to be asked."""

    def __init__(self, net: nn.Module, x: Tensor, spec: Tensor, low: Tensor, high: Tensor, dtype: torch.dtype) -> None:
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm  # type: ignore[import-not-found]

        options = {"optimize_bound_args": {"iteration": STEPS}}
        self._net = BoundedModule(copy.deepcopy(net).to(dtype), torch.zeros_like(x[:1]).to(dtype), bound_opts=options)
        around = PerturbationLpNorm(norm=float("inf"), x_L=low.to(dtype), x_U=high.to(dtype))
        self._x, self._spec, self._dtype = BoundedTensor(x.to(dtype), around), spec.to(dtype), dtype

    def __call__(self, method: str, inside: list[Interval] | None = None) -> Callable[[], Tensor]:
        """inside: limits of the neurons that ReLUs read, in order."""
        given: dict[str, Any] | None = None
        if inside is not None:
            read = [node.inputs[0].name for node in self._net.nodes() if type(node).__name__ == "BoundRelu"]
            ends = [[end.to(self._dtype) for end in interval] for interval in inside]
            given = dict(zip(read, ends, strict=True))

        def ask() -> Tensor:
            bound, _ = self._net.compute_bounds(
                x=(self._x,), C=self._spec, method=method, bound_upper=False, interm_bounds=given
            )
            return bound.detach()

        return ask


def _dense() -> nn.Module:
    """The shared fully connected network for MNIST, of five hidden layers."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Linear(100, 100), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(100, 10))
    net.load_state_dict(load_file(shared("data/weights/mnist_mlp_6x100_eran.safetensors")))
    return net.eval()


def _normalised(net: nn.Module) -> nn.Module:
    """The normalisation as a convolution of 1 x 1, which auto_LiRPA bounds with all that follows."""
    scale = nn.Conv2d(3, 3, 1, groups=3)
    with torch.no_grad():
        scale.weight.copy_(1 / net.std.reshape(3, 1, 1, 1))
        scale.bias.copy_(-net.mean.flatten() / net.std.flatten())
    return nn.Sequential(scale, net.inner).eval()

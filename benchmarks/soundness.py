"""A hunt inside certified regions: over twenty networks, every point that is met must keep to what was proved of it.

Each certified example is given the largest of some radii that its verifier proves it at, so that the regions are tight.
Points are drawn at random, in the body and at its edge, and met by PGD on the margin. A point contradicts where the
network as it runs, in float32, no longer prefers the label; and it passes a bound where a margin is below what was left
of it at the certificate's level. Where that is float32 in any order, the points of least margin are met again in other
orders: alone, by the convolution of another layout, and with every sum permuted. What is done is kept in
.cache/soundness.json; run again, it goes on with the rest.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.figure import CACHE, Figure, Normalised, Skipped, cifar, cnn_a, resnet_2b, shared_images, small_cnn
from benchmarks.networks import shared
from brinell.data import load
from brinell.demo import digits_network
from brinell.evidence import Soundness
from brinell.proofs import (
    CROWN,
    IBP,
    AlphaCROWN,
    BranchAndBound,
    ForwardCROWN,
    GloRo,
    Graph,
    LocalLipschitz,
    Optimisation,
    Verifier,
    Zonotope,
    margins,
    trace,
    with_soundness,
)
from brinell.proofs.network.operators import Convolution, Linear, Operator
from brinell.threat import L1, L2, Box, Linf, PerturbationSet
from brinell.types import Inputs, Labels

UNIT = Box(0.0, 1.0)
POINTS = 50_000
"""For each network, at least: a million over all of them."""
EXAMPLES, STEPS, BATCH = 12, 20, 256
SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.12, 0.06, 0.03)

CHEAP: tuple[Verifier, ...] = (
    IBP(precision="float32"),
    CROWN(precision="float32"),
    AlphaCROWN(optimisation=Optimisation(steps=10)),
    GloRo(),
    LocalLipschitz(),
)
DEAR = (
    *CHEAP,
    Zonotope(symbols=20),
    ForwardCROWN(finish="forward"),
    BranchAndBound(nodes=20, root=Optimisation(steps=5), leaf=Optimisation(steps=3)),
)
AGAIN, PERMUTED = 8, 3
"""Points of each batch that are met in other orders; how often every sum is permuted anew."""


@dataclass(frozen=True)
class Case:
    """A network with its examples, and the radius of which shares are tried."""

    make: Callable[[], tuple[nn.Module, Inputs, Labels]]
    set: PerturbationSet
    verifiers: tuple[Verifier, ...] = CHEAP


def run() -> list[Figure]:
    """Counts over all networks whose files are here."""
    torch.set_num_threads(1)
    file = CACHE / "soundness.json"
    done = json.loads(file.read_text()) if file.exists() else {}
    keys = {name: f"{name}: {', '.join(map(str, case.verifiers))}" for name, case in CASES.items()}
    for name, case in CASES.items():
        if keys[name] not in done:
            try:
                done[keys[name]] = _hunted(case, name)
            except Skipped as reason:
                print(f"{name}: {reason}")
                continue
            CACHE.mkdir(exist_ok=True)
            file.write_text(json.dumps(done, indent=0))
            print(name, done[keys[name]], flush=True)
    found = [done[key] for key in keys.values() if key in done]
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    levels = ", ".join(f"{total[level]:,} {level}" for level in Soundness)
    return [
        Figure(
            f"points inside certified regions of {len(found)} networks that contradict a certificate",
            "0 of 1,000,000 over 20 networks",
            f"{total['contradictions']} of {total['points']:,} ({total['regions']:,} regions; {levels})",
        ),
        Figure(
            "of them, points with a margin below the bound left at the certificate's level",
            "0",
            f"{total['passed']} of {total['points']:,}",
        ),
        Figure(
            "of float32 in any order: answers to the points of least margin in other orders (alone, in another layout, "
            "every sum permuted) that contradict a certificate; that pass its bound",
            "0",
            f"{total['ordered contradictions']} and {total['ordered passed']} of {total['ordered']:,}",
        ),
    ]


def _hunted(case: Case, name: str) -> dict[str, int]:
    net, x, y = case.make()
    with torch.no_grad():
        right = (net(x).argmax(1) == y).nonzero().flatten()[:EXAMPLES]
    x, y = x[right], y[right]
    rng, counts = torch.Generator().manual_seed(0), Counter[str]()
    graph, exact = trace(net, x[:1]), copy.deepcopy(net).double()
    regions = []
    for verifier in case.verifiers:
        open_ = torch.arange(len(x))
        for share in SHARES:
            if not len(open_):
                break
            set, spec = case.set.resized(share * case.set.radius), margins(y[open_], graph.classes)
            bounds = verifier(graph, x[open_], set, spec)
            grades = with_soundness(verifier, graph, x[open_], set, spec, bounds)
            regions += [(set, int(open_[i]), bound, level) for i, (bound, level) in enumerate(grades) if bound > 0]
            open_ = open_[~(bounds > 0).all(1)]
    counts.update(level.value for _, _, _, level in regions)
    counts["regions"] = len(regions)
    if not regions:
        raise Skipped(f"nothing is certified of {name}")
    each = -(-POINTS // len(regions))
    for set, row, bound, level in regions:
        for points in _points(net, x[row], y[row], set, each, rng):
            inside = points[set.contains(x[row].expand_as(points), points)]
            with torch.no_grad():
                scores = net(inside)
                computed = scores if level is not Soundness.REAL else exact(inside.double())
            counts["points"] += len(inside)
            counts["contradictions"] += int((_margin(scores, y[row]) <= 0).sum())
            slack = 1e-9 * (1 + abs(bound)) if level is Soundness.REAL else 0.0
            counts["passed"] += int((_margin(computed.double(), y[row]) < bound - slack).sum())
            if level is Soundness.FLOAT32:
                nearest = inside[_margin(scores, y[row]).argsort()[:AGAIN]]
                for answers in _in_other_orders(net, graph, nearest, rng):
                    margin = _margin(answers.double(), y[row])
                    counts["ordered"] += len(margin)
                    counts["ordered contradictions"] += int((margin <= 0).sum())
                    counts["ordered passed"] += int((margin < bound).sum())
    return dict(counts)


def _in_other_orders(net: nn.Module, graph: Graph, x: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
    """What the network answers in float32, its sums taken in other orders."""
    with torch.no_grad():
        yield torch.cat([net(one) for one in x.split(1)])
        if x.dim() == 4:
            yield net(x.contiguous(memory_format=torch.channels_last))
        for _ in range(PERMUTED):
            values = [x]
            for node in graph.cast(torch.float32).nodes[1:]:
                values.append(_permuted(node.operator, [values[j] for j in node.inputs], rng))
            yield values[-1]


def _permuted(operator: Operator, inputs: list[Tensor], rng: torch.Generator) -> Tensor:
    """The value of an operator; a layer's sums are of its inputs, or of its channels, in an order drawn anew."""
    if not isinstance(operator, Linear | Convolution) or (isinstance(operator, Convolution) and operator.groups > 1):
        return operator.forward(*inputs)
    order = torch.randperm(operator.weight.shape[1], generator=rng)
    axis = -1 if isinstance(operator, Linear) else 1
    moved = replace(operator, weight=operator.weight[:, order])
    return moved.forward(inputs[0].index_select(axis, order))


def _points(
    net: nn.Module, x0: Tensor, y: Tensor, set: PerturbationSet, count: int, rng: torch.Generator
) -> Iterator[Tensor]:
    """Batches of points around one example: half at random, half on the way of PGD."""
    whole = x0.expand(BATCH, *x0.shape)
    for drawn in range(0, count // 2, BATCH):
        start = set.sample(whole, rng)
        if drawn // BATCH % 2:
            signs = torch.randn(whole.shape, generator=rng).sign()
            start = set.project(whole, whole + 2 * set.radius * signs)
        yield start[: count // 2 - drawn]
    walkers = max(1, -(-(count - count // 2) // STEPS))
    for batch in torch.arange(walkers).split(BATCH):
        whole = x0.expand(len(batch), *x0.shape)
        x = set.sample(whole, rng)
        for step in range(STEPS):
            x = x.detach().requires_grad_()
            (g,) = torch.autograd.grad(-_margin(net(x), y).sum(), x)
            length = set.radius * (0.4 if step < STEPS // 2 else 0.1)
            x = set.project(whole, x.detach() + length * set.steepest(g))
            yield x


def _margin(scores: Tensor, y: Tensor) -> Tensor:
    others = scores.clone()
    others[:, y] = -torch.inf
    return scores[:, y] - others.amax(1)


def _random(seed: int, inputs: tuple[int, ...], *layers: Callable[[], nn.Module]) -> Callable[[], tuple]:
    """A network of random weights, whose labels are its own answers."""

    def make() -> tuple[nn.Module, Inputs, Labels]:
        torch.manual_seed(seed)  # noqa: TID251 - a benchmark's own process
        net = nn.Sequential(*(layer() for layer in layers)).eval()
        x = torch.rand(200, *inputs)
        with torch.no_grad():
            net[-1].bias -= net(x).mean(0)
            return net, x, net(x).argmax(1)

    return make


def _mlp(seed: int, *widths: int) -> Callable[[], tuple]:
    layers: list[Callable[[], nn.Module]] = []
    for before, after in pairwise(widths):
        layers += [lambda before=before, after=after: nn.Linear(before, after), nn.ReLU]
    return _random(seed, widths[:1], *layers[:-1])


class _Residual(nn.Module):
    """Convolutions around which their input passes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.norm = nn.BatchNorm2d(4)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.norm(self.first(x)))) + x)


def _shared(name: str, images: str, net: Callable[[], nn.Module]) -> Callable[[], tuple]:
    def make() -> tuple[nn.Module, Inputs, Labels]:
        made = net()
        made.load_state_dict(load_file(shared(f"data/weights/{name}.safetensors")))
        x, y = shared_images(images, 40)
        return made.eval(), x, y

    return make


def madry() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, 2, 2), nn.ReLU(), nn.Conv2d(4, 8, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(392, 128),
        nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def _six() -> nn.Module:
    hidden = [part for i in range(5) for part in (nn.Linear(100 if i else 784, 100), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(100, 10))


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 1, 1), nn.Conv2d(32, 64, 3, 1, 1)
        self.linear1, self.linear2 = nn.Linear(3136, 200), nn.Linear(200, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2):
            x = nn.functional.max_pool2d(torch.relu(conv(x)), 2)
        return self.linear2(torch.relu(self.linear1(x.flatten(1))))


def _digits() -> tuple[nn.Module, Inputs, Labels]:
    digits = load("digits").take(40, seed=0)
    return digits_network(), digits.x, digits.y


def _of_cifar(net: Callable[[], nn.Module]) -> Callable[[], tuple]:
    return lambda: (net(), *cifar(40))


def _oval() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 100),
        nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip
    net.load_state_dict(load_file(shared("data/weights/cifar10_oval_base_kw_eps2_255.safetensors")))
    return Normalised(net, (0.485, 0.456, 0.406), (0.225, 0.225, 0.225)).eval()


def _conv() -> nn.Module:
    return nn.Conv2d(1, 4, 3, 2, 1)


CASES = {
    "random 2-8-8-3": Case(_mlp(0, 2, 8, 8, 3), Linf(0.3, UNIT), DEAR),
    "random 5-30-30-4": Case(_mlp(1, 5, 30, 30, 4), L2(0.3, UNIT), DEAR),
    "random 3-20-20-20-2": Case(_mlp(2, 3, 20, 20, 20, 2), L1(0.3, UNIT), DEAR),
    "random 20-50-5, large inputs": Case(_mlp(3, 20, 50, 5), Linf(0.1, Box(0.0, 1.0)), DEAR),
    "random 4-16-16-16-16-3": Case(_mlp(4, 4, 16, 16, 16, 16, 3), Linf(0.2, UNIT), DEAR),
    "random residual": Case(
        _random(5, (1, 10, 10), _conv, nn.ReLU, _Residual, _Residual, nn.Flatten, lambda: nn.Linear(100, 5)),
        Linf(0.05, UNIT),
        DEAR,
    ),
    "random max-pooled": Case(
        _random(6, (1, 10, 10), lambda: nn.Conv2d(1, 4, 3), nn.ReLU, lambda: nn.MaxPool2d(3, 1), nn.Flatten,
                lambda: nn.Linear(144, 5)),
        Linf(0.05, UNIT),
    ),
    "random average-pooled": Case(
        _random(7, (1, 10, 10), _conv, nn.ReLU, lambda: nn.AvgPool2d(3, 2, 1), nn.Flatten, lambda: nn.Linear(36, 4)),
        L2(0.5, UNIT),
    ),
    "random leaky, clipped": Case(
        _random(8, (6,), lambda: nn.Linear(6, 30), nn.LeakyReLU, lambda: nn.Linear(30, 30), nn.ReLU6,
                lambda: nn.Linear(30, 3)),
        Linf(0.2, UNIT),
    ),
    "random sigmoid": Case(
        _random(9, (6,), lambda: nn.Linear(6, 20), nn.Sigmoid, lambda: nn.Linear(20, 20), nn.Tanh,
                lambda: nn.Linear(20, 3)),
        Linf(0.2, UNIT),
    ),
    "digits": Case(_digits, Linf(0.06, UNIT), DEAR),
    "mnist_kwsmall_provable_eps01": Case(
        _shared("mnist_kwsmall_provable_eps01", "mnist_test", small_cnn), Linf(0.12, UNIT)
    ),
    "fashion_kwsmall_provable_eps01": Case(
        _shared("fashion_kwsmall_provable_eps01", "fashion_mnist_test", small_cnn), Linf(0.12, UNIT)
    ),
    "mnist_kwsmall_pgd_at_eps03": Case(
        _shared("mnist_kwsmall_pgd_at_eps03", "mnist_test", small_cnn), Linf(0.12, UNIT)
    ),
    "mnistmadry_tiny_nomaxpool": Case(_shared("mnistmadry_tiny_nomaxpool", "mnist_test", madry), Linf(0.12, UNIT)),
    "mnist_mlp_6x100_eran": Case(_shared("mnist_mlp_6x100_eran", "mnist_test", _six), Linf(0.03, UNIT)),
    "mnist_lenet5_at_advertorch": Case(
        _shared("mnist_lenet5_at_advertorch", "mnist_test", LeNet),
        Linf(0.06, UNIT),
        (IBP(), CROWN(intermediate="interval")),
    ),
    "cifar10_cnna_at_sdp_eps2_255": Case(_of_cifar(cnn_a), Linf(2 / 255, UNIT)),
    "cifar10_resnet2b_at_eps2_255": Case(
        _of_cifar(resnet_2b), Linf(1 / 255, UNIT), (IBP(), CROWN(precision="float32"))
    ),
    "cifar10_oval_base_kw_eps2_255": Case(_of_cifar(_oval), L2(0.3, UNIT)),
}  # fmt: skip

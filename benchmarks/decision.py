"""Decision-based attacks against ART's and foolbox's HopSkipJump and the authors' Sign-OPT, at equal queries.

Each peer's source tree is named by ART_SRC, FOOLBOX_SRC or ATTACKBOX_SRC (its dependencies on PYTHONPATH); a peer that
is not named is left out. Every peer is given the nearest adversarial point among all that it asked about. Nothing of
ours was chosen on these examples.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from math import inf
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

import brinell
from benchmarks.figure import SHARED, Figure, Skipped, clock, shared_images, small_cnn
from brinell.data import load
from brinell.demo import digits_network
from brinell.evasion import OPT, Attack, GeoDA, HopSkipJump, SignOPT

EXAMPLES, SEEDS, QUERIES = int(os.environ.get("BRINELL_EXAMPLES", "10")), 3, (1000, 5000, 10_000)
OURS: tuple[Attack, ...] = (SignOPT(), HopSkipJump(), GeoDA(), OPT())

CROWD, TIMED = 64, 1000
"""Examples that are attacked at one time when seconds are compared, and their queries each."""

Case = tuple[nn.Module, Tensor, Tensor]
Peer = Callable[["Counted", Tensor, int], None]


class Spent(Exception):
    """The last query is spent."""


class Counted(nn.Module):
    """A network that counts its rows and remembers the nearest adversarial point it was asked about."""

    def __init__(self, net: nn.Module, x0: Tensor, y: int, budget: int = QUERIES[-1]) -> None:
        super().__init__()
        self.net, self.x0, self.y, self.budget = net, x0, y, budget
        self.queries, self.at = 0, dict.fromkeys(QUERIES, inf)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if self.queries >= self.budget:
            raise Spent
        with torch.no_grad():
            scores: Tensor = self.net(x.float())
        points = x.flatten(1)
        inside = (points.amin(1) >= 0) & (points.amax(1) <= 1)
        hits = inside & (scores.argmax(1) != self.y)
        distance = (x - self.x0).flatten(1).norm(dim=1).where(hits, inf)
        for count in QUERIES:
            paid = distance[: max(0, count - self.queries)]
            if len(paid):
                self.at[count] = min(self.at[count], float(paid.min()))
        self.queries += len(x)
        return scores


def run() -> list[Figure]:
    """Median l2 distances, and wall time over ART's."""
    peers = {name: peer for name, (source, peer) in PEERS.items() if source in os.environ}
    if not peers:
        raise Skipped("name a peer's source tree by ART_SRC, FOOLBOX_SRC or ATTACKBOX_SRC")
    sys.path[:0] = [os.environ[source] for name, (source, _) in PEERS.items() if name in peers]
    figures = []
    for name, case in (("digits network", _digits()), ("provably trained MNIST network", _mnist())):
        rows = {type(made).__name__: _ours(made, case) for made in OURS}
        rows |= {peer: _peer(attack, case) for peer, attack in peers.items()}
        told = "; ".join(f"{who} {' / '.join(f'{d:.3f}' for d in row)}" for who, row in rows.items())
        figures.append(
            Figure(
                f"{name}, {EXAMPLES} held-out examples, {SEEDS} seeds: median l2 distance at "
                f"{' / '.join(f'{q:,}' for q in QUERIES)} queries",
                "the best of ours below every peer",
                told,
            )
        )
        print(figures[-1])
        if "ART HopSkipJump" in peers:
            ratio = f"{_times(case):.1f}"
            what = f"{name}: ART's wall time over ours, HopSkipJump, {CROWD} examples, {TIMED:,} queries each"
            figures.append(Figure(what, ">= 5", ratio))
            print(figures[-1])
    return figures


def _ours(made: Attack, case: Case) -> list[float]:
    """The examples stand in the batch once a seed: each row has chance of its own."""
    net, x, y = case
    target, medians = brinell.target(net), []
    for queries in QUERIES:
        threat = brinell.Threat(brinell.L2(inf), access=brinell.Access.LABELS, queries=queries)
        found = brinell.attack(made, target, x.repeat(SEEDS, 1, 1, 1), y.repeat(SEEDS), threat)
        medians.append(float(found.distance.median()))
    return medians


def _peer(attack: Peer, case: Case) -> list[float]:
    net, x, y = case
    rows = []
    for seed in range(SEEDS):
        for i in range(len(x)):
            counted = Counted(net, x[i], int(y[i]))
            _spend(attack, counted, x[i], int(y[i]), 1000 * seed + i)
            rows.append(list(counted.at.values()))
    return [median(row[k] for row in rows) for k in range(len(QUERIES))]


def _times(case: Case) -> float:
    """ART's seconds over ours for a crowd of examples, in turns; the median of three."""
    net, x, y = case
    copies = -(-CROWD // len(x))
    x, y = x.repeat(copies, 1, 1, 1)[:CROWD], y.repeat(copies)[:CROWD]
    threat = brinell.Threat(brinell.L2(inf), access=brinell.Access.LABELS, queries=TIMED)
    ratios = []
    for seed in range(SEEDS):
        theirs = sum(
            clock(lambda i=i, seed=seed: _spend(_art, Counted(net, x[i], int(y[i]), TIMED), x[i], int(y[i]), seed))[0]
            for i in range(len(x))
        )
        ours, _ = clock(lambda seed=seed: brinell.attack(HopSkipJump(), brinell.target(net), x, y, threat, seed))
        ratios.append(theirs / ours)
    return median(ratios)


def _spend(attack: Peer, counted: Counted, x: Tensor, y: int, seed: int) -> None:
    """Let a peer attack until its queries are spent."""
    torch.manual_seed(seed)  # noqa: TID251 - a benchmark's own process
    np.random.seed(seed)  # noqa: TID251, NPY002 - the peers draw from the global generator
    with contextlib.suppress(Spent), contextlib.redirect_stdout(io.StringIO()):
        attack(counted, x, y)


def _art(counted: Counted, x: Tensor, y: int) -> None:
    from art.attacks.evasion.hop_skip_jump import HopSkipJump as Theirs
    from art.estimators.classification import PyTorchClassifier

    limits = (np.float32(0), np.float32(1))
    known = PyTorchClassifier(counted, nn.CrossEntropyLoss(), tuple(x.shape), 10, clip_values=limits, device_type="cpu")
    label = np.eye(10, dtype=np.float32)[[y]]
    Theirs(known, max_iter=1000, verbose=False).generate(x[None].numpy(), label)


def _foolbox(counted: Counted, x: Tensor, y: int) -> None:
    import foolbox

    known = foolbox.PyTorchModel(counted.eval(), bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(torch.tensor([y]))
    foolbox.attacks.HopSkipJumpAttack(steps=1000).run(known, x[None], criterion)


def _attackbox(counted: Counted, x: Tensor, y: int) -> None:
    """Its points are moved into the box before they are asked about; its calls of .cuda() have to be taken out."""
    from attack.Sign_OPT import OPT_attack_sign_SGD

    class Known:
        def predict_label(self, z: Tensor, batch: bool = False) -> Tensor:
            labels = counted(z.reshape(-1, *x.shape).clamp(0, 1)).argmax(1)
            return labels if len(labels) > 1 else labels[0]

    OPT_attack_sign_SGD(Known()).attack_untargeted(x[None], torch.tensor([y]), query_limit=10**6)


PEERS: dict[str, tuple[str, Peer]] = {
    "ART HopSkipJump": ("ART_SRC", _art),
    "foolbox HopSkipJump": ("FOOLBOX_SRC", _foolbox),
    "attackbox Sign-OPT": ("ATTACKBOX_SRC", _attackbox),
}


def _digits() -> Case:
    """Test examples 300 on: none of those before had a say in what the attacks are."""
    data, net = load("digits"), digits_network()
    data = data.take(len(data), seed=0)
    return _right(net, data.x[300:], data.y[300:])


def _mnist() -> Case:
    """Test images 5,000 on, likewise."""
    net = small_cnn(SHARED / "data" / "weights" / "mnist_kwsmall_provable_eps01.safetensors")
    x, y = shared_images("mnist_test", 5000 + 3 * EXAMPLES)
    return _right(net, x[5000:], y[5000:])


def _right(net: nn.Module, x: Tensor, y: Tensor) -> Case:
    right = net(x).argmax(1) == y
    return net, x[right][:EXAMPLES], y[right][:EXAMPLES]

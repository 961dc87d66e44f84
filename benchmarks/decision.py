"""Decision-based attacks against ART's and foolbox's HopSkipJump and the authors' Sign-OPT, at equal queries.

Each peer's source tree is named by ART_SRC, FOOLBOX_SRC or ATTACKBOX_SRC (its dependencies on PYTHONPATH); a peer that
is not named is left out. Every peer is given the nearest adversarial point among all that it asked about.
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
from brinell.evasion import OPT, Attack, Boundary, Evolutionary, GeoDA, HopSkipJump, SignOPT

EXAMPLES, QUERIES = 20, (1000, 5000, 10_000)
OURS: tuple[Attack, ...] = (HopSkipJump(), SignOPT(), GeoDA(), OPT(), Boundary(), Evolutionary())

Case = tuple[nn.Module, Tensor, Tensor]


class Spent(Exception):
    """The last query is spent."""


class Counted(nn.Module):
    """A network that counts its rows and remembers the nearest adversarial point it was asked about."""

    def __init__(self, net: nn.Module, x0: Tensor, y: int) -> None:
        super().__init__()
        self.net, self.x0, self.y = net, x0, y
        self.queries, self.best, self.at = 0, inf, dict.fromkeys(QUERIES, inf)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        with torch.no_grad():
            scores = self.net(x)
        for point, label in zip(x, scores.argmax(1).tolist(), strict=True):
            if self.queries == QUERIES[-1]:
                raise Spent
            self.queries += 1
            if label != self.y and point.min() >= 0 and point.max() <= 1:
                self.best = min(self.best, float((point - self.x0).norm()))
            if self.queries in self.at:
                self.at[self.queries] = self.best
        return scores


def run() -> list[Figure]:
    """Median l2 distances, and wall time over ART's at the largest number of queries."""
    peers = {name: peer for name, (source, peer) in PEERS.items() if source in os.environ}
    if not peers:
        raise Skipped("name a peer's source tree by ART_SRC, FOOLBOX_SRC or ATTACKBOX_SRC")
    sys.path[:0] = [os.environ[source] for name, (source, _) in PEERS.items() if name in peers]
    figures = []
    for name, case in (("digits network", _digits()), ("provably trained MNIST network", _mnist())):
        rows, seconds = {}, {}
        for made in OURS:
            rows[type(made).__name__], seconds[type(made).__name__] = _ours(made, case)
        for peer, attack in peers.items():
            rows[peer], seconds[peer] = _peer(attack, case)
        told = "; ".join(f"{who} {' / '.join(f'{d:.3f}' for d in row)}" for who, row in rows.items())
        figures.append(
            Figure(
                f"{name}, {EXAMPLES} examples: median l2 distance at {' / '.join(f'{q:,}' for q in QUERIES)} queries",
                "the best of ours below every peer",
                told,
            )
        )
        if "ART HopSkipJump" in peers:
            ratio = seconds["ART HopSkipJump"] / seconds["HopSkipJump"]
            figures.append(
                Figure(f"{name}: ART's wall time over ours, HopSkipJump, equal queries", ">= 5", f"{ratio:.1f}")
            )
    return figures


def _ours(made: Attack, case: Case) -> tuple[list[float], float]:
    net, x, y = case
    target, medians = brinell.target(net), []
    for queries in QUERIES:
        threat = brinell.Threat(brinell.L2(inf), access=brinell.Access.LABELS, queries=queries)
        seconds, found = clock(lambda threat=threat: brinell.attack(made, target, x, y, threat))
        medians.append(float(found.distance.median()))
    return medians, seconds


def _peer(attack: Callable[[Counted, Tensor, int], None], case: Case) -> tuple[list[float], float]:
    net, x, y = case
    rows, total = [], 0.0
    for i in range(len(x)):
        counted = Counted(net, x[i], int(y[i]))
        torch.manual_seed(i)  # noqa: TID251 - a benchmark's own process
        np.random.seed(i)  # noqa: TID251, NPY002 - the peers draw from the global generator
        with contextlib.suppress(Spent), contextlib.redirect_stdout(io.StringIO()):
            total += clock(lambda i=i, counted=counted: _until_spent(attack, counted, x[i], int(y[i])))[0]
        rows.append([min(d, counted.best) if d == inf else d for d in counted.at.values()])
    return [median(row[k] for row in rows) for k in range(len(QUERIES))], total


def _until_spent(attack: Callable[[Counted, Tensor, int], None], counted: Counted, x: Tensor, y: int) -> None:
    with contextlib.suppress(Spent):
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

    known = foolbox.PyTorchModel(counted, bounds=(0, 1), device="cpu")
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


PEERS = {
    "ART HopSkipJump": ("ART_SRC", _art),
    "foolbox HopSkipJump": ("FOOLBOX_SRC", _foolbox),
    "attackbox Sign-OPT": ("ATTACKBOX_SRC", _attackbox),
}


def _digits() -> Case:
    data, net = load("digits").take(60, seed=0), digits_network()
    return _right(net, data.x, data.y)


def _mnist() -> Case:
    net = small_cnn(SHARED / "data" / "weights" / "mnist_kwsmall_provable_eps01.safetensors")
    return _right(net, *shared_images("mnist_test", 60))


def _right(net: nn.Module, x: Tensor, y: Tensor) -> Case:
    right = net(x).argmax(1) == y
    return net, x[right][:EXAMPLES], y[right][:EXAMPLES]

"""Attacks that seek the smallest perturbation, against foolbox and adv-lib: same networks, same examples.

FOOLBOX_SRC and ADVLIB_SRC name their source trees; the pure Python packages they need are looked for on PYTHONPATH. A
peer gets the nearest adversarial point among all that it asked about, whatever it returns, and each of its backward
passes counts as one gradient an example, as each of ours does. What a peer reached is kept in .cache, so that only ours
are measured again.
"""

import json
import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import brinell
from benchmarks.figure import (
    CACHE,
    SHARED,
    Figure,
    Skipped,
    cifar,
    cnn_a,
    fashion,
    resnet_2b,
    right,
    robust_cnn,
    shared_images,
    shared_network,
    small_cnn,
)
from benchmarks.soundness import LeNet, madry
from brinell.catalog import CATALOG
from brinell.data import load
from brinell.demo import digits_network
from brinell.evasion import FAB, FMN, PDPGD, Attack, SigmaZero
from brinell.threat import L0, L1, L2, Linf, PerturbationSet

EXAMPLES = int(os.environ.get("BRINELL_EXAMPLES", "40"))
SETS: tuple[PerturbationSet, ...] = (L0(inf), L1(inf), L2(inf), Linf(inf))
ORDERS = {"l0": 0, "l1": 1, "l2": 2, "linf": inf}
LONGER: tuple[tuple[str, Attack, tuple[str, ...]], ...] = (
    ("FMN, 3 targets", FMN(targets=3), ("l0", "l1", "l2", "linf")),
    ("SigmaZero, 100", SigmaZero(steps=100), ("l0",)),
    ("PDPGD, 100", PDPGD(steps=100), ("l1",)),
    ("FAB, every class", FAB(targets=None), ("l1", "l2", "linf")),
)
"""Ours, beside each attack with its defaults."""

SHORTER: dict[str, dict[str, int]] = {"JSMA": {"steps": 60}, "CWL0": {"rounds": 10}}
"""Settings of ours that would take long by default."""

Case = tuple[nn.Module, Tensor, Tensor]
Peer = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Outcome:
    """What one attack of one library reached on one network: distances, inf where it failed, and gradients a row."""

    library: str
    attack: str
    distances: Tensor
    gradients: float

    @property
    def median(self) -> float:
        return float(self.distances.median())

    @property
    def found(self) -> int:
        return int(self.distances.isfinite().sum())


class Counted(nn.Module):
    """A network that counts gradients and keeps the nearest adversarial point of each example it was asked about."""

    def __init__(self, net: nn.Module, x0: Tensor, y: Tensor, set: PerturbationSet) -> None:
        super().__init__()
        self.net, self.x0, self.y, self.set = net, x0, y, set.within(brinell.Box(0.0, 1.0))
        self.gradients = 0
        self.nearest = torch.full((len(x0),), inf, dtype=torch.float64)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x)
        if scores.requires_grad:
            scores.register_hook(self._count)
        if len(x) == len(self.x0):
            self.note(x.detach(), scores.detach())
        return scores

    def note(self, x: Tensor, scores: Tensor) -> None:
        x = self.set.box.clamp(x) if (x - self.set.box.clamp(x)).abs().max() < 1e-6 else x  # what rounding left outside
        hit = (scores.argmax(1) != self.y) & self.set.contains(self.x0, x)
        self.nearest = torch.minimum(self.nearest, self.set.distance(self.x0, x).where(hit, inf))

    def _count(self, g: Tensor) -> None:
        self.gradients += len(g)


def run() -> list[Figure]:
    """Medians beside the best peer's, and the optimality of each library's best."""
    peers = dict(_peers())
    if not peers:
        raise Skipped("name a peer's source tree by FOOLBOX_SRC or ADVLIB_SRC")
    cases = dict(_cases())
    figures = [Figure("networks, in the order of the figures", "", f"{', '.join(cases)}; {EXAMPLES} examples each")]
    for set in SETS:
        outcomes = {name: [*_ours(case, set), *_theirs(name, case, set, peers)] for name, case in cases.items()}
        figures += [*_beside(set, outcomes), _optimality(set, outcomes)]
    return figures


def _beside(set: PerturbationSet, outcomes: dict[str, list[Outcome]]) -> Iterator[Figure]:
    """Each of ours that a peer has too: its median over the best peer's, network by network."""
    first = next(iter(outcomes.values()))
    peers = {o.attack for o in first if o.library != "ours"}
    for name in [o.attack for o in first if o.library == "ours"]:
        told, spent = [], []
        for of_network in outcomes.values():
            ours = next(o for o in of_network if o.attack == name and o.library == "ours")
            theirs = [o for o in of_network if o.attack == name and o.library != "ours"]
            best = min(theirs, key=lambda o: o.median, default=None)
            ratio = f" ({ours.median / best.median:.3f})" if best and best.median < inf else ""
            missed = f", {ours.found} found" if ours.found < EXAMPLES else ""
            told.append(f"{ours.median:.4g}{ratio}{missed}" + (f", {best.found} found by the peer" if best else ""))
            spent.append(f"{ours.gradients:.0f}" + (f" ({best.gradients:.0f})" if best else ""))
        figure = Figure(
            f"{name}, {set.name}: median distance" + (" (over the best peer's)" if name in peers else ""),
            "<= 1.01 at no more gradients" if name in peers else "",
            f"{', '.join(told)}; gradients {', '.join(spent)}",
        )
        print(figure.what, figure.measured, flush=True)
        yield figure


def _optimality(set: PerturbationSet, outcomes: dict[str, list[Outcome]]) -> Figure:
    """AttackBench's measure (Cina et al. 2024, arXiv:2404.19460), the mean over networks, of each library's best."""
    gradients = {(o.library, o.attack): o.gradients for of_network in outcomes.values() for o in of_network}
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for of_network in outcomes.values():
        lower = torch.stack([o.distances for o in of_network]).amin(0)
        for outcome in of_network:
            scores[outcome.library, outcome.attack].append(optimality(outcome.distances, lower))
    mean = {key: sum(values) / len(values) for key, values in scores.items()}
    ranked = sorted(mean.items(), key=lambda item: -item[1])
    for (library, attack), value in ranked:
        print(f"  {set.name} {value:.4f} {library} {attack}", flush=True)
    best: dict[str, str] = {}
    for (library, attack), value in ranked:
        best.setdefault(library, f"{library} {value:.3f} ({attack}, {gradients[library, attack]:.0f} gradients)")
    return Figure(f"{set.name}: optimality of each library's best attack", "ours highest", ", ".join(best.values()))


def optimality(distances: Tensor, lower: Tensor) -> float:
    """1 less the share by which the area under accuracy over radius exceeds that under the best known distances.

    The areas end at the largest of the best known distances. 1 is the best known, 0 is no attack at all.
    """
    most = lower.max()
    area, best = distances.clamp(max=most).mean(), lower.mean()
    return float(1 - (area - best) / (most - best))


def _cases() -> Iterator[tuple[str, Case]]:
    images, labels = shared_images("mnist_test", 2 * EXAMPLES)
    for name, net in (
        ("Madry tiny", shared_network("mnist_madry_tiny_nomaxpool", madry())),
        ("FGSM-trained", small_cnn(SHARED / "data" / "weights" / "mnist_kwsmall_fgsm_at_eps03.safetensors")),
        ("LeNet-5", shared_network("mnist_lenet5_at_advertorch", LeNet())),
    ):
        yield name, (net, *right(net, images, labels, EXAMPLES))
    provable = small_cnn(SHARED / "data" / "weights" / "fashion_kwsmall_provable_eps01.safetensors")
    yield (
        "Fashion, provable",
        (provable, *right(provable, *shared_images("fashion_mnist_test", 3 * EXAMPLES), EXAMPLES)),
    )
    digits = load("digits").take(2 * EXAMPLES, seed=0)
    for name, net, (x, y) in (
        ("digits", digits_network(), (digits.x, digits.y)),
        ("Fashion-MNIST", robust_cnn(), fashion("t10k", 2 * EXAMPLES)),
        ("CNN-A", cnn_a(), cifar(3 * EXAMPLES)),
        ("ResNet-2B", resnet_2b(), cifar(3 * EXAMPLES)),
    ):
        yield name, (net, *right(net, x, y, EXAMPLES))


def _ours(case: Case, set: PerturbationSet) -> Iterator[Outcome]:
    for row in CATALOG:
        if row.family == "minimal" and set.name in row.sets:
            yield ours(row.name, row.resolve()(**SHORTER.get(row.name, {})), case, set)
    for name, made, sets in LONGER:
        if set.name in sets:
            yield ours(name, made, case, set)


def ours(name: str, attack: Attack, case: Case, set: PerturbationSet) -> Outcome:
    """One of ours."""
    net, x, y = case
    found = brinell.attack(attack, brinell.target(net), x, y, brinell.Threat(set))
    return Outcome("ours", name, found.distance, float(found.gradients.double().mean()))


def _theirs(
    network: str, case: Case, set: PerturbationSet, peers: dict[tuple[str, str, str], Peer]
) -> Iterator[Outcome]:
    for (library, name, about), peer in peers.items():
        if about != set.name:
            continue
        file = CACHE / "minimal" / f"{library} {name} {about} {network} {EXAMPLES}.json"
        if not file.exists():
            made = theirs(library, name, peer, case, set)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps([made.distances.tolist(), made.gradients]))
        distances, gradients = json.loads(file.read_text())
        yield Outcome(library, name, torch.tensor(distances, dtype=torch.float64), gradients)


def theirs(library: str, name: str, peer: Peer, case: Case, set: PerturbationSet) -> Outcome:
    """One of a peer's."""
    net, x, y = case
    counted = Counted(net, x, y, set)
    torch.manual_seed(0)  # noqa: TID251 - the peers draw from the global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        returned = peer(counted, x.clone(), y.clone()).detach()
    with torch.no_grad():
        counted.note(returned, net(returned))
    return Outcome(library, name, counted.nearest, counted.gradients / len(x))


def _peers() -> Iterator[tuple[tuple[str, str, str], Peer]]:
    """((library, our name for the attack, set), attack) of the peers that are named."""
    if "FOOLBOX_SRC" in os.environ:
        sys.path.insert(0, os.environ["FOOLBOX_SRC"])
        yield from _foolbox()
    if "ADVLIB_SRC" in os.environ:
        sys.path.insert(0, os.environ["ADVLIB_SRC"])
        yield from _adv_lib()


def _foolbox() -> Iterator[tuple[tuple[str, str, str], Peer]]:
    import foolbox

    theirs = foolbox.attacks

    def made(attack: Any) -> Peer:
        def peer(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            known = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
            return attack(known, x, foolbox.criteria.Misclassification(y), epsilons=None)[1]  # type: ignore[no-any-return]

        return peer

    for name, set, attack in (
        ("FMN", "l0", theirs.L0FMNAttack(steps=100)),
        ("FMN", "l1", theirs.L1FMNAttack(steps=100)),
        ("EAD", "l1", theirs.EADAttack(binary_search_steps=9, steps=100, decision_rule="L1", abort_early=False)),
        ("FMN", "l2", theirs.L2FMNAttack(steps=100)),
        ("DDN", "l2", theirs.DDNAttack(steps=100)),
        ("DeepFool", "l2", theirs.L2DeepFoolAttack(candidates=10)),
        ("CW", "l2", theirs.L2CarliniWagnerAttack(steps=200, abort_early=False)),
        ("FMN", "linf", theirs.LInfFMNAttack(steps=100)),
        ("DeepFool", "linf", theirs.LinfDeepFoolAttack(candidates=10)),
    ):
        yield ("foolbox", name, set), made(attack)


def _adv_lib() -> Iterator[tuple[tuple[str, str, str], Peer]]:
    for name in ("visdom", "torchvision", "torchvision.models"):  # of parts that are not measured here
        sys.modules.setdefault(name, ModuleType(name))
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
    import adv_lib.attacks as theirs

    yield ("adv-lib", "SigmaZero, 100", "l0"), partial(theirs.sigma_zero, num_steps=100)
    yield ("adv-lib", "SigmaZero", "l0"), partial(theirs.sigma_zero, num_steps=1000)
    for set, order in ORDERS.items():
        yield ("adv-lib", "FMN", set), partial(theirs.fmn, norm=order, steps=100)
        operator = {"proximal_operator": 23} if order == 0 else {}
        yield ("adv-lib", "PDPGD, 100", set), partial(theirs.pdpgd, norm=order, num_steps=100, **operator)
        yield ("adv-lib", "PDPGD", set), partial(theirs.pdpgd, norm=order, num_steps=500, **operator)
        if order:
            three = partial(theirs.fab, norm=order, n_iter=100, targeted_restarts=True, restarts=3)
            yield ("adv-lib", "FAB", set), three
            yield ("adv-lib", "FAB, every class", set), partial(theirs.fab, norm=order, n_iter=100)
    yield ("adv-lib", "ALMA", "l1"), partial(theirs.alma, distance="l1", num_steps=100, init_lr_distance=0.5, α=0.5)
    yield ("adv-lib", "ALMA", "l2"), partial(theirs.alma, distance="l2", num_steps=100, init_lr_distance=0.1, α=0.5)
    yield ("adv-lib", "DDN", "l2"), partial(theirs.ddn, steps=100, levels=None)
    yield ("adv-lib", "PDGD", "l2"), partial(theirs.pdgd, num_steps=100)
    yield ("adv-lib", "SDF", "l2"), theirs.sdf
    yield ("adv-lib", "DeepFool", "l2"), partial(theirs.df, norm=2)
    yield ("adv-lib", "DeepFool", "linf"), partial(theirs.df, norm=inf)
    yield ("adv-lib", "CW", "l2"), partial(theirs.carlini_wagner_l2, max_iterations=200, abort_early=False)
    yield ("adv-lib", "CWLinf", "linf"), partial(theirs.carlini_wagner_linf, max_iterations=100, abort_early=True)

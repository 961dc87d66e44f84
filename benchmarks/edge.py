"""Is any network flattered? The attacking stages of the standard plan beside the reference, on every shared network.

Reference: AutoAttack's standard version for linf and l2 (Croce & Hein 2020, arXiv:2003.01690); for l1 its own l1
version (Croce & Hein 2021, arXiv:2103.01208), and PDPGD (Matyasko & Chau 2021, arXiv:2106.01538) as adv-lib has it on
what that leaves. It takes hours, does not depend on Brinell, and is recorded line by line; so is ours:

    python -m benchmarks.edge reference [NAME ...]    records what is not recorded yet, of cases that fit a NAME
    python -m benchmarks.edge ours [NAME ...]         likewise; --again asks anew, --to FILE keeps apart
    python -m benchmarks.edge table [NAME ...]        what both have recorded
    python -m benchmarks edge                         ours where it is missing, and the table for RESULTS.md

A case is named like `mnist_kwsmall_fgsm_at_eps03 l2 1.5`. AUTOATTACK_SRC: a checkout of fra31/auto-attack. ADVLIB_SRC:
one of jeromerony/adversarial-library. Both sides have one thread, and seconds are of that thread's processor; ours are
those from the first stage on, and what the preflight and the diagnosis took before it is told beside them.
"""

import argparse
import json
import os
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

import brinell
from benchmarks.autoattack import attacks
from benchmarks.figure import CACHE, Figure, Skipped
from benchmarks.networks import PUBLISHED
from brinell.evidence import State
from brinell.threat import PerturbationSet

REFERENCES, OURS = Path(__file__).parent / "edge_references.jsonl", CACHE / "edge_ours.jsonl"

SETS = {"linf": brinell.Linf, "l2": brinell.L2, "l1": brinell.L1}

FEW, EDGE = 0.01, 0.001
"""Gradients are honest where less than FEW falls to the reference's other attacks after APGD. EDGE: what we may miss
beside it."""

HONEST, MISLED = 40, 3
"""How many times as long the reference may be expected to take, where gradients are honest and where they are not."""

RADII: dict[str, dict[str, tuple[float, float]]] = {
    "mnist_lenet5_at_advertorch": {"linf": (0.36, 0.3), "l2": (2.0, 1.5), "l1": (8, 5)},
    "mnist_madry_tiny_nomaxpool": {"linf": (0.3, 0.33), "l2": (1.5, 1.0), "l1": (8, 5)},
    "mnist_kwsmall_fgsm_at_eps03": {"linf": (0.3, 0.33), "l2": (1.5, 1.0), "l1": (8, 5)},
    "mnist_kwsmall_pgd_at_eps03": {"linf": (0.3, 0.35), "l2": (1.5, 1.0), "l1": (8, 5)},
    "mnist_kwsmall_provable_eps01": {"linf": (0.2, 0.1), "l2": (1.5, 1.0), "l1": (8, 5)},
    "cifar10_cnna_at_sdp_eps2_255": {"linf": (2 / 255, 4 / 255), "l2": (0.5, 0.25), "l1": (5, 2.5)},
    "cifar10_resnet2b_at_eps2_255": {"linf": (2 / 255, 4 / 255), "l2": (0.4, 0.25), "l1": (3, 1.5)},
    "cifar10_convsmall_sigmoid": {"linf": (2 / 255, 4 / 255), "l2": (0.5, 0.25), "l1": (5, 2.5)},
    "mnist_lenet5_clean_advertorch": {"linf": (0.12, 0.1), "l2": (1.5, 1.2), "l1": (8, 5)},
    "mnist_cnn7_fmn_demo": {"linf": (0.15, 0.1), "l2": (1.5, 1.0), "l1": (8, 5)},
    "mnist_mlp_2x20_toy": {"linf": (0.1, 0.05), "l2": (1.0, 0.5), "l1": (4, 2)},
    "mnist_mlp_6x100_eran": {"linf": (0.05, 0.026), "l2": (0.75, 0.5), "l1": (5, 3)},
    "fashion_kwsmall_provable_eps01": {"linf": (0.2, 0.1), "l2": (1.0, 0.5), "l1": (6, 3)},
    "cifar10_convsmall_pgd_eran": {"linf": (4 / 255, 2 / 255), "l2": (0.5, 0.25), "l1": (5, 2.5)},
    "cifar10_marabou_small": {"linf": (2 / 255, 1 / 255), "l2": (0.2, 0.1), "l1": (2, 1)},
    "cifar10_oval_base_kw_eps2_255": {"linf": (6 / 255, 2 / 255), "l2": (0.6, 0.4), "l1": (4, 2)},
    "cifar10_oval_deep_kw_eps2_255": {"linf": (6 / 255, 2 / 255), "l2": (0.4, 0.2), "l1": (2, 1)},
    "cifar10_cnna_at_sdp_eps2_255_alt": {"linf": (4 / 255, 2 / 255), "l2": (0.5, 0.25), "l1": (5, 2.5)},
    "cifar10_cnna_mix_sdp_eps2_255": {"linf": (4 / 255, 2 / 255), "l2": (0.5, 0.25), "l1": (5, 2.5)},
    "cifar10_cnna_at4_sdp": {"linf": (6 / 255, 2 / 255), "l2": (0.75, 0.5), "l1": (5, 2.5)},
    "cifar10_cnna_mix4_sdp": {"linf": (4 / 255, 2 / 255), "l2": (0.5, 0.25), "l1": (5, 2.5)},
    "svhn_kwsmall_provable_eps001": {"linf": (0.01, 0.005), "l2": (0.1, 0.05), "l1": (0.5, 0.25)},
    "mnist_kwsmall_provable_cascade_eps03.0": {"linf": (0.4, 0.3), "l2": (3.0, 2.0), "l1": (15, 10)},
    "mnist_kwsmall_provable_cascade_eps03.1": {"linf": (0.3, 0.15), "l2": (4.0, 2.0), "l1": (20, 10)},
    "mnist_kwsmall_provable_cascade_eps03.2": {"linf": (0.3, 0.15), "l2": (4.0, 2.0), "l1": (20, 10)},
    "cifar10_kwsmall_provable_cascade_eps8_255.0": {"linf": (16 / 255, 8 / 255), "l2": (1.0, 0.5), "l1": (6, 3)},
    "cifar10_kwsmall_provable_cascade_eps8_255.1": {"linf": (16 / 255, 8 / 255), "l2": (1.0, 0.5), "l1": (6, 3)},
    "cifar10_kwsmall_provable_cascade_eps8_255.2": {"linf": (16 / 255, 8 / 255), "l2": (1.0, 0.5), "l1": (6, 3)},
    "cifar10_kwsmall_provable_l2_cascade_eps36_255.0": {
        "linf": (4 / 255, 2 / 255),
        "l2": (0.5, 36 / 255),
        "l1": (10, 5),
    },
    "cifar10_kwsmall_provable_l2_cascade_eps36_255.1": {
        "linf": (4 / 255, 2 / 255),
        "l2": (0.5, 36 / 255),
        "l1": (6, 3),
    },
    "mnist_cnn7_bn_rays": {"linf": (0.1, 0.08), "l2": (0.9, 0.7), "l1": (5, 4)},
    "cifar10_wrn16_1_backdoor_grid_target0": {"linf": (0.5 / 255, 0.25 / 255), "l2": (0.1, 0.05), "l1": (1, 0.5)},
    "cifar10_resnet20_clean": {"linf": (1 / 255, 0.5 / 255), "l2": (0.1, 0.05), "l1": (1, 0.5)},
    "cifar10_resnet32_clean": {"linf": (1 / 255, 0.5 / 255), "l2": (0.1, 0.05), "l1": (1, 0.5)},
    "cifar10_resnet56_clean": {"linf": (1 / 255, 0.5 / 255), "l2": (0.1, 0.05), "l1": (1, 0.5)},
    "imagenet_efficientnet_lite0": {"linf": (0.5 / 255, 0.25 / 255), "l2": (0.4, 0.2), "l1": (8, 4)},
}
"""Two of each network and norm: the one trained for or known to mislead, and one where the reference leaves some."""

ACCEPTED = ("low-accuracy", "absent-classes", "zero-gradients")
"""What a preflight may find here: later stages of a cascade answer at chance, or always alike."""

KNOWN = 5
"""How many of these come first: networks on which plain ascent is known to leave much that others break."""

EXAMPLES = 200

SLOW = {"lenet5": 100, "cnn7": 100, "wrn16": 50, "resnet20": 50, "resnet32": 20, "resnet56": 20, "imagenet": 8}
"""How many examples of the networks whose reference would take too long on the EXAMPLES of the others."""


@final
@dataclass(frozen=True)
class Case:
    """One network at one radius, and its first n test examples."""

    network: str
    norm: str
    radius: float
    most: int = EXAMPLES

    @property
    def name(self) -> str:
        return f"{self.network} {self.norm} {self.radius:.6g}"

    @property
    def n(self) -> int:
        return min(next((n for part, n in SLOW.items() if part in self.network), EXAMPLES), self.most)

    def fits(self, name: str) -> bool:
        """Whether each word is its norm, its radius or a part of its network's name: `lenet5_at l2 1.5`, `madry`."""
        return all(
            word in (self.norm, f"{self.radius:.6g}")
            or (word[0].isalpha() and word not in SETS and word in self.network)
            for word in name.split()
        )

    def load(self) -> tuple[nn.Module, Tensor, Tensor]:
        """(network, inputs, labels)."""
        published = PUBLISHED[self.network]
        return published.net(), *published.examples(self.n)


def cases(names: Iterable[str] = (), most: int = EXAMPLES) -> list[Case]:
    """Those that fit one of these names, or all: known to mislead first, then a radius of each, l1 last."""
    made = [
        (_rank(i, j, norm), Case(network, norm, radius, most))
        for i, (network, norms) in enumerate(RADII.items())
        for norm, radii in norms.items()
        for j, radius in enumerate(radii)
    ]
    wanted = list(names)
    ordered = [case for _, case in sorted(made, key=lambda ranked: ranked[0])]
    return [case for case in ordered if not wanted or any(map(case.fits, wanted))]


def _rank(network: int, radius: int, norm: str) -> tuple[int, int]:
    if network < KNOWN and norm != "l1":
        return radius, network
    return 2 + 2 * radius + (norm == "l1"), network


def reference(names: Iterable[str] = (), file: Path = REFERENCES, most: int = EXAMPLES) -> None:
    """Record what the reference leaves unbroken of each case, and after how many seconds, attack by attack."""
    _record(cases(names, most), file, _theirs)


def ours(names: Iterable[str] = (), file: Path = OURS, again: bool = False) -> None:
    """Record the same of the attacking stages of the standard plan, for the cases with a reference."""
    known = recorded(REFERENCES)
    asked = [replace(case, most=known[case.name]["n"]) for case in cases(names) if case.name in known]
    if asked:
        net, x, y = asked[0].load()
        attacks(net, x[:4], y[:4], _set(asked[0]))  # what a first run imports
    _record(asked, file, _ours, again)


def _record(asked: list[Case], file: Path, ask: Callable[..., dict[str, Any]], again: bool = False) -> None:
    torch.set_num_threads(1)
    done = {} if again else recorded(file)
    file.parent.mkdir(exist_ok=True)
    for case in asked:
        if case.name in done and done[case.name]["n"] >= case.n:
            continue
        net, x, y = case.load()
        row = {"case": case.name, "n": len(x), **ask(case, net, x, y)}
        with file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        print(f"{case.name}: {len(row['left']) / row['n']:.3f} unbroken, {row['seconds']:.1f} s", flush=True)


def recorded(file: Path) -> dict[str, dict[str, Any]]:
    """The last row of each case."""
    if not file.exists():
        return {}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["case"]: row for row in rows}


def _ours(case: Case, net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    ticks = [time.process_time()]
    audit = attacks(net, x, y, _set(case), accept=ACCEPTED, on_progress=lambda _: ticks.append(time.process_time()))
    first, end = ticks[1], time.process_time()
    left = [verdict.item for verdict in audit.verdicts if verdict.state is not State.BROKEN]
    stages = {stage.engine: [stage.asked, stage.settled, round(stage.seconds, 3)] for stage in audit.evasion.engines}
    return {"left": left, "seconds": end - first, "before": first - ticks[0], "stages": stages}


def _set(case: Case) -> PerturbationSet:
    return SETS[case.norm](case.radius)


def _theirs(case: Case, net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Any]:
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        left = (net(x).argmax(1) == y).nonzero().flatten()
    stages = {"clean": _stage(left, 0.0)}
    for name, attack in _stages(case, net, x[left], y[left]):
        if not len(left):
            break
        start = time.process_time()
        near = attack(x[left], y[left])
        seconds = time.process_time() - start
        left = left[_stands(case, net, x[left], near, y[left])]
        stages[name] = _stage(left, seconds)
    seconds = sum(stage["seconds"] for name, stage in stages.items() if name != "pdpgd")
    return {"left": left.tolist(), "seconds": seconds, "stages": stages}


def _stage(left: Tensor, seconds: float) -> dict[str, Any]:
    return {"left": left.tolist(), "seconds": round(seconds, 3)}


def _stages(
    case: Case, net: nn.Module, x: Tensor, y: Tensor
) -> Iterator[tuple[str, Callable[[Tensor, Tensor], Tensor]]]:
    """AutoAttack's attacks in its order, each for what the last one left, as it has it; then PDPGD in l1."""
    _path("AUTOATTACK_SRC", "fra31/auto-attack")
    from autoattack import AutoAttack  # type: ignore[import-not-found]

    norm = {"linf": "Linf", "l2": "L2", "l1": "L1"}[case.norm]
    suite = AutoAttack(net, norm=norm, eps=case.radius, version="standard", device="cpu", verbose=False, seed=0)
    size = 8 if "imagenet" in case.network else 250
    for name in tuple(suite.attacks_to_run):

        def attack(x: Tensor, y: Tensor, name: str = name) -> Tensor:
            suite.attacks_to_run = [name]
            return suite.run_standard_evaluation(x, y, bs=size)

        yield name, attack
    if case.norm == "l1":
        pdpgd = _pdpgd()
        yield "pdpgd", lambda x, y: pdpgd(net, x, y, norm=1)


def _pdpgd() -> Callable[..., Tensor]:
    _path("ADVLIB_SRC", "jeromerony/adversarial-library")
    if "torchvision" not in sys.modules:  # adv-lib asks for it on import, for a perceptual distance alone
        absent = types.ModuleType("torchvision")
        absent.models = absent  # type: ignore[attr-defined]
        sys.modules["torchvision"] = absent
    from adv_lib.attacks.primal_dual_gradient_descent import pdpgd  # type: ignore[import-not-found]

    return pdpgd  # type: ignore[no-any-return]


def _path(variable: str, what: str) -> None:
    source = os.environ.get(variable)
    if not source:
        raise Skipped(f"set {variable} to a checkout of {what}")
    if source not in sys.path:
        sys.path.insert(0, source)


def _stands(case: Case, net: nn.Module, x: Tensor, near: Tensor, y: Tensor) -> Tensor:
    """Whether these are no adversarial examples: the reference's own tolerance for the radius is kept, 1e-5 of it."""
    with torch.no_grad():
        missed = net(near).argmax(1) == y
    norm = {"linf": float("inf"), "l2": 2, "l1": 1}[case.norm]
    apart = torch.linalg.vector_norm((near.double() - x.double()).flatten(1), norm, dim=1)
    outside = (near < 0).flatten(1).any(1) | (near > 1).flatten(1).any(1)
    return missed | outside | (apart > case.radius * (1 + 1e-5))


def run() -> list[Figure]:
    """Ours where it is missing, and the table."""
    if not REFERENCES.exists():
        reference()
    ours()
    return table()


def table(file: Path = OURS, names: Iterable[str] = ()) -> list[Figure]:
    """Unbroken by the reference and by ours and the seconds of both, of each case that both have recorded."""
    theirs, mine = recorded(REFERENCES), recorded(file)
    both = [case for case in cases(names) if case.name in theirs and case.name in mine]
    both = [case for case in both if theirs[case.name]["n"] == mine[case.name]["n"]]
    if not both:
        raise Skipped("nothing is recorded; give python -m benchmarks.edge reference, then ours")
    rows = [Row(case.name, theirs[case.name], mine[case.name]) for case in both]
    return [_summary(rows), *(row.figure for row in rows)]


@final
@dataclass(frozen=True)
class Row:
    """A case: what the reference recorded of it, and what we did."""

    name: str
    theirs: dict[str, Any]
    ours: dict[str, Any]

    @property
    def beyond(self) -> int:
        """Examples that fell to the reference after its APGD."""
        stages = self.theirs["stages"]
        gradients = [stages[name]["left"] for name in ("clean", "apgd-ce", "apgd-t") if name in stages]
        return len(gradients[-1]) - len(self.theirs["left"])

    @property
    def honest(self) -> bool:
        return self.beyond < FEW * self.theirs["n"]

    @property
    def ratio(self) -> float:
        return float(self.theirs["seconds"] / self.ours["seconds"])

    @property
    def unbroken(self) -> tuple[float, float]:
        """(theirs, ours)."""
        return len(self.theirs["left"]) / self.theirs["n"], len(self.ours["left"]) / self.ours["n"]

    @property
    def matches(self) -> bool:
        theirs, ours = self.unbroken
        return ours <= theirs + EDGE

    @property
    def cheap(self) -> bool:
        return self.ratio >= (HONEST if self.honest else MISLED)

    @property
    def missed(self) -> int:
        """Examples that the reference breaks and we do not."""
        return len(set(self.ours["left"]) - set(self.theirs["left"]))

    @property
    def figure(self) -> Figure:
        theirs, ours = self.unbroken
        kind = "honest" if self.honest else f"misled ({self.beyond} fall after APGD)"
        mark = {True: "", False: " ✗"}
        return Figure(
            f"{self.name}, n = {self.theirs['n']}, {kind}",
            f"{theirs:.3f} + {EDGE}; 1/{HONEST if self.honest else MISLED}",
            f"{ours:.3f}{mark[self.matches]}; 1/{self.ratio:.0f}{mark[self.cheap]} "
            f"({self.ours['seconds']:.2f} s, diagnosis {self.ours['before']:.1f} s; {self.theirs['seconds']:.1f} s)",
        )


def _summary(rows: list[Row]) -> Figure:
    weaker = sum(not row.matches for row in rows)
    dear = sum(not row.cheap for row in rows)
    return Figure(
        f"{len(rows)} cases on {len({row.name.split()[0] for row in rows})} networks: where the reference breaks more, "
        "and where ours takes longer than is asked",
        "0, 0",
        f"{weaker}, {dear}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("reference", "ours", "table", "list"))
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="cases, in part or whole: 'madry', 'lenet5_at l2', 'l1', 'fgsm linf 0.3'",
    )
    parser.add_argument("--to", type=Path, help="the file of ours, or of references")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="at most this many of each case, for references")
    parser.add_argument("--again", action="store_true", help="ours, though it is recorded")
    given = parser.parse_intermixed_args()
    if given.what == "reference":
        reference(given.names, given.to or REFERENCES, given.examples)
    elif given.what == "ours":
        ours(given.names, given.to or OURS, given.again)
    elif given.what == "list":
        print("\n".join(case.name for case in cases(given.names)))
    else:
        print("| what | asked | measured |\n| --- | --- | --- |")
        for figure in table(given.to or OURS, given.names):
            print(f"| {figure.what} | {figure.asked} | {figure.measured} |")


if __name__ == "__main__":
    main()

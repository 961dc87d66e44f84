"""The standard plan against the reference AutoAttack code, on each network in one run.

AUTOATTACK_SRC: a checkout of fra31/auto-attack. Its attacks are timed with its own defaults.
"""

import os
import sys
import tempfile
from typing import Any

import torch
from torch import Tensor, nn

import brinell
from benchmarks.figure import Figure, Skipped, accuracy, clock, fashion, robust_cnn
from brinell.auditing import Plan
from brinell.questions.evasion import load_plan
from brinell.threat import PerturbationSet


def run() -> list[Figure]:
    """Robust accuracy and seconds: AutoAttack, our attacking stages alone, our whole plan."""
    plan = load_plan("standard")
    net, (x, y) = robust_cnn(), fashion("t10k", 1000)
    first, _ = clock(lambda: ours(net, x[:8], y[:8], 0.1, plan))  # imports what a first proof needs, as theirs has been
    attacks(net, x, y, 0.1)  # warm
    attack_seconds, attacked = clock(lambda: attacks(net, x, y, 0.1))
    plan_seconds, audited = clock(lambda: ours(net, x, y, 0.1, plan))
    seconds, robust = theirs(net, x, y, 0.1)
    return [
        Figure(
            "robust accuracy: AutoAttack, our attacking stages, our whole plan",
            "at most AutoAttack's + 0.001",
            f"{robust:.3f}, {attacked.bracket.unbroken:.3f}, {audited.bracket.unbroken:.3f}",
        ),
        Figure(
            "seconds of our attacking stages over AutoAttack's",
            "<= 1/40",
            f"1/{seconds / attack_seconds:.0f} ({attack_seconds:.1f} s, {seconds:.0f} s)",
        ),
        Figure(
            "seconds of the whole plan with its proofs over AutoAttack's",
            "<= 1/15",
            f"1/{seconds / plan_seconds:.0f} ({plan_seconds:.1f} s, after a first run on 8 images of {first:.1f} s)",
        ),
        Figure("bracket of the whole plan", "", f"[{audited.bracket.certified:.3f}, {audited.bracket.unbroken:.3f}]"),
    ]


def theirs(net: nn.Module, x: Tensor, y: Tensor, radius: float) -> tuple[float, float]:
    """(seconds, robust accuracy) of the reference code's standard version, in linf, on all cores."""
    source = os.environ.get("AUTOATTACK_SRC")
    if not source:
        raise Skipped("set AUTOATTACK_SRC to a checkout of fra31/auto-attack")
    if source not in sys.path:
        sys.path.insert(0, source)
    from autoattack import AutoAttack  # type: ignore[import-not-found]

    torch.set_num_threads(os.cpu_count() or 1)
    reference = AutoAttack(net, norm="Linf", eps=radius, version="standard", device="cpu", verbose=False, seed=0)
    seconds, near = clock(lambda: reference.run_standard_evaluation(x, y, bs=500))
    return seconds, accuracy(net, near, y)


def attacks(net: nn.Module, x: Tensor, y: Tensor, within: float | PerturbationSet, **options: Any) -> brinell.Audit:
    """The attacking stages of the standard plan, within a set or a radius of linf. options: of the audit."""
    plan = load_plan("standard")
    stages = tuple(stage for stage in plan.stages if stage.row.kind == "attack")
    return ours(net, x, y, within, plan.model_copy(update={"stages": stages}), **options)


def ours(
    net: nn.Module, x: Tensor, y: Tensor, within: float | PerturbationSet, plan: Plan, **options: Any
) -> brinell.Audit:
    around = brinell.Linf(within) if isinstance(within, float) else within
    with tempfile.TemporaryDirectory() as out:
        return brinell.audit(brinell.target(net), (x, y), brinell.Threat(around), plan=plan, out=out, **options)

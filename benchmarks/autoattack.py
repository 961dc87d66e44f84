"""The standard plan against the reference AutoAttack code, on one network in one run.

AUTOATTACK_SRC: a checkout of fra31/auto-attack. Its attacks are timed with its own defaults.
"""

import os
import sys
import tempfile

import torch

import brinell
from benchmarks.figure import Figure, Skipped, accuracy, clock, fashion, robust_cnn
from brinell.auditing import load_plan


def run() -> list[Figure]:
    """Robust accuracy and seconds: AutoAttack, our attacking stages alone, our whole plan."""
    source = os.environ.get("AUTOATTACK_SRC")
    if not source:
        raise Skipped("set AUTOATTACK_SRC to a checkout of fra31/auto-attack")
    sys.path.insert(0, source)
    from autoattack import AutoAttack  # type: ignore[import-not-found]

    net = robust_cnn()
    x, y = fashion("t10k", 1000)
    target, threat = brinell.target(net), brinell.Threat(brinell.Linf(0.1))
    plan = load_plan("standard")
    attacks = plan.model_copy(update={"stages": tuple(s for s in plan.stages if s.row.kind == "attack")})

    def ours(chosen: object) -> brinell.Audit:
        with tempfile.TemporaryDirectory() as out:
            return brinell.audit(target, (x, y), threat, plan=chosen, out=out)

    ours(attacks)  # warm
    attack_seconds, attacked = clock(lambda: ours(attacks))
    plan_seconds, audited = clock(lambda: ours(plan))
    torch.set_num_threads(os.cpu_count() or 1)
    reference = AutoAttack(net, norm="Linf", eps=0.1, version="standard", device="cpu", verbose=False, seed=0)
    seconds, near = clock(lambda: reference.run_standard_evaluation(x, y, bs=500))
    robust = accuracy(net, near, y)
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
            f"1/{seconds / plan_seconds:.0f} ({plan_seconds:.1f} s)",
        ),
        Figure("bracket of the whole plan", "", f"[{audited.bracket.certified:.3f}, {audited.bracket.unbroken:.3f}]"),
    ]

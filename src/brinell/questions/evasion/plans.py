"""The plans of evasion: presets, cheapest stages first, each for its purpose."""

from pathlib import Path
from typing import Any

from brinell.auditing.plan import Plan, Stage, When
from brinell.auditing.plan import load_plan as load_any


def _stage(engine: str, **settings: Any) -> Stage:
    return Stage(engine=engine, settings=settings)


def _blind(engine: str, **settings: Any) -> Stage:
    """A stage for targets without gradients."""
    return Stage(engine=engine, settings=settings, below="gradients")


def _probe(
    engine: str, sets: tuple[str, ...] = (), sample: int = 16, when: When = "unaligned", **settings: Any
) -> Stage:
    """An attack of another kind on a few of the examples that gradient attacks left open."""
    return Stage(engine=engine, settings=settings, sets=sets, sample=sample, at="each", when=when)


def _called(
    engine: str,
    sets: tuple[str, ...],
    when: When = "suspicion",
    *,
    worth: float = 0.0,
    sample: int | None = None,
    **settings: Any,
) -> Stage:
    """An attack that waits until gradients are found to mislead, or, `paying`, goes on while its engine breaks."""
    return Stage(
        engine=engine, settings=settings, sets=sets, at="each", when=when, worth=worth, sample=sample, shard=64
    )


def _always(engine: str, sets: tuple[str, ...], **settings: Any) -> Stage:
    """An attack for some sets, asked at each radius: it ends where it succeeds."""
    return Stage(engine=engine, settings=settings, sets=sets, at="each")


_NORMS = ("linf", "l2", "l1")

_FROM_VERTICES: dict[str, Any] = {"objective": "margin", "start": "vertices", "travel": 20, "falling": True}
"""Ascents whose first step is as long as the radius, and whose last is next to nothing."""

_PROBES = (
    _probe("FAB", _NORMS, sample=8, when="always", steps=20, targets=1, bias=0.3, backward=0.8, ascent=10),
    _probe("Square", ("linf", "l2"), when="always", queries=100),
    _probe("SigmaZero", ("l0",), when="always", steps=50),
    _probe("FAB", _NORMS, steps=20, targets=1, bias=0.3, backward=0.8, ascent=10),
    _probe("PGD", ("linf",), sample=8, steps=20, restarts=6, **_FROM_VERTICES),
    _probe("Square", ("linf",), sample=8, queries=1000),
)
"""Minimal-norm attacks go another way than ascent does, steps between vertices cross what small ones do not see, and
black-box attacks need no gradient at all. A larger bias toward x0 than in FAB's paper (0.3 instead of 0.1) makes twenty
steps converge. What only a black-box search finds in linf takes it some hundred queries, and is among the few most
fragile. Where gradients are aligned over the whole way that an attack goes, short looks suffice, one of them without
gradients: of 34 networks and radii measured, all on which AutoAttack's FAB or Square found more than its APGD lie below
the alignment that is asked for."""

_CALLED = (
    _called("FAB", _NORMS, "paying", worth=0.1, steps=40, targets=3, bias=0.3, backward=0.8, ascent=20),
    _called("FAB", _NORMS, "paying", steps=30, targets=5, bias=0.3, backward=0.8, ascent=30),
    _called("FAB", _NORMS, "paying", steps=60, targets=9, bias=0.3, backward=0.8, ascent=30),
    _called("SigmaZero", ("l0",), "paying", steps=300),
    _called("APGD", ("l1",), steps=60, restarts=3, shrinking=True),
    _called("PDPGD", ("l1",), steps=100),
    _called("PGD", ("linf",), sample=16, steps=30, restarts=6, **_FROM_VERTICES),
    _called("Square", ("l2",), sample=8, queries=500),
    _called("Square", (), "paying", queries=1000),
    _called("Square", (), "paying", sample=48, queries=3000),
)
"""What goes on: a family whose own probe broke enough, and, on any suspicion, those that a probe is too short for."""

_COMPLETE = (
    Stage(engine="BranchAndBound", settings={"nodes": 30}, sample=8, within=1),
    Stage(engine="BranchAndBound", settings={"nodes": 100}, when="paying", worth=0.25, within=3),
    Stage(engine="BranchAndBound", settings={"nodes": 1000}, when="paying", worth=0.25, within=3),
)
"""Complete verification, deeper and deeper: what takes least to decide first, and only while a part of it is."""


PRESETS = {
    plan.name: plan
    for plan in (
        Plan(
            name="quick",
            stages=(
                _stage("Clean"),
                _stage("FGSM"),
                _stage("IBP"),
                _stage("PGD", steps=10),
                _stage("CROWN"),
                _blind("Noise", draws=50),
                _blind("Square", queries=200),
            ),
        ),
        Plan(
            name="standard",
            stages=(
                _stage("Clean"),
                _stage("IBP"),
                _stage("PGD", steps=5),
                Stage(engine="APGD", settings={"steps": 15, "objective": "dlr", "targets": 3}, shard=80),
                _stage("AlphaCROWN", reach=0.2, precision="float32"),
                _stage("APGD", steps=30, objective="dlr"),
                _blind("Noise", draws=200),
                _blind("ExactTrees", nodes=1000),
                *_PROBES,
                *_CALLED,
                _blind("Square", queries=2000),
                *_COMPLETE,
            ),
        ),
        # The published standard version for linf and l2 (Croce and Hein 2020, arXiv:2003.01690, section 5). It differs
        # in what each engine's docstring says; each stage sees only what is still open, as there. For l1 it is the
        # authors' later version (Croce and Hein 2021, arXiv:2103.01208): shrinking radii, five restarts, five targets
        # of APGD; without its Square for l1, which is not implemented.
        Plan(
            name="autoattack",
            stages=(
                _stage("Clean"),
                _always("APGD", ("linf", "l2"), steps=100),
                _always("APGD", ("linf", "l2"), steps=100, objective="dlr", targets=9),
                _always("APGD", ("l1",), steps=100, restarts=5, shrinking=True),
                _always("APGD", ("l1",), steps=100, objective="dlr", targets=5, shrinking=True),
                _always("FAB", _NORMS, steps=100, targets=9),
                _stage("Square", queries=5000),
            ),
        ),
        Plan(
            name="proofs",
            stages=(
                _stage("Clean"),
                _stage("IBP"),
                _stage("PGD", steps=5),
                _stage("APGD", steps=15, objective="dlr", targets=3),
                _stage("CROWN", precision="float32"),
                _stage("AlphaCROWN", reach=0.2, precision="float32"),
                _stage("BranchAndBound"),
                _blind("ExactTrees", nodes=30_000),
            ),
        ),
        # An infinite radius is asked of what seeks the smallest perturbation and the largest certificate.
        Plan(
            name="radius",
            stages=(
                _stage("Clean"),
                _stage("FMN", steps=100),
                Stage(engine="FAB", settings={"steps": 50, "targets": 3}, sets=_NORMS),
                Stage(engine="DDN", settings={"steps": 100}, sets=("l2",)),
                Stage(engine="PDPGD", settings={"steps": 100}, sets=("l1",)),
                Stage(engine="SigmaZero", settings={"steps": 100}, sets=("l0",)),
                Stage(engine="HopSkipJump", on="unbroken"),
                _stage("CertifiedRadius"),
                _blind("HopSkipJump"),
                _blind("ExactTrees", nodes=30_000),
            ),
        ),
        Plan(
            name="full",
            stages=(
                _stage("Clean"),
                _stage("FGSM"),
                _stage("IBP"),
                _stage("PGD", steps=10),
                _stage("CROWN"),
                _stage("APGD", steps=100),
                _stage("APGD", steps=100, objective="dlr"),
                _stage("AlphaCROWN"),
                _stage("BranchAndBound"),
                _stage("APGD", steps=100, objective="dlr", targets=9),
                _stage("APGD", steps=100, restarts=5),
                _always("FAB", _NORMS, steps=100, targets=9, ascent=30),
                _always("PDPGD", ("l1",), steps=300),
                _always("SigmaZero", ("l0",), steps=500),
                _stage("Noise", draws=200),
                _blind("ExactTrees", nodes=1000),
                _stage("Square", queries=5000),
                _blind("ExactTrees", nodes=30_000),
                Stage(engine="BranchAndBound", settings={"nodes": 5000}, when="paying", worth=0.1, within=3),
                Stage(engine="PGD", settings={"steps": 50}, on="certified"),
            ),
        ),
    )
}


def load_plan(plan: str | Path | Plan) -> Plan:
    """A preset of evasion by its name, or a plan in a .json, .yaml or .yml file."""
    return load_any(plan, PRESETS)

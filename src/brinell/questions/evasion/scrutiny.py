"""What an audit asks about its own figures: the preflight before it, the diagnosis beside it, both within its clock."""

import contextlib
from collections.abc import Callable, Collection, Sequence

from brinell.auditing.clock import Clock, Stopped
from brinell.auditing.finding import Finding, ordered
from brinell.auditing.plan import Plan
from brinell.data import Dataset
from brinell.evasion import APGD, margin
from brinell.questions.evasion.diagnose import diagnosing
from brinell.questions.evasion.preflight import UNCHECKED, accept, cut_short, look
from brinell.questions.evasion.summary import Diagnosis
from brinell.targets import Target
from brinell.threat import Threat

LOOK = 5.0
"""Seconds that a preflight may take, at least: a shorter budget is no way around it."""

SHARE = 0.1
"""The share of a budget that a diagnosis may take, and that a preflight aims at."""

BRIEF = APGD(steps=20, objective=margin)
"""The attack that an audit puts to the test, about as long as those of its plans: the diagnosis stays a small part."""

FEW = 24
"""Examples that an audit diagnoses; `brinell diagnose` takes twice as many, and a longer attack."""

NOT_WANTED = "the evaluation was not put to the test: it was asked not to be"
NO_ATTACK = "the evaluation was not put to the test: no stage of this plan attacks"
NO_RADIUS = "the evaluation was not put to the test: nothing may be changed at radius 0"


def preflight(
    target: Target,
    data: Dataset,
    threat: Threat,
    clock: Clock,
    accepted: Collection[str],
    fit: Callable[[Target], None],
) -> list[Finding]:
    """What would make the figures worthless, with what was accepted marked; as far as it came where time ran out.

    fit: refuses arguments that no audit can be made of, once the findings are known. Raises Inconclusive where a severe
    finding was not accepted.
    """
    own = Clock(None if clock.left is None else max(clock.left, LOOK), clock)
    seen = target.watched(own.checkpoint).restrict(threat.access)
    found: list[Finding] = []

    def work() -> None:
        for finding in look(seen, data, None if clock.left is None else SHARE * clock.left):
            found.append(finding)
        accept(found, accepted)
        fit(target.watched(own.checkpoint))

    try:
        own.watch(work)
    except Stopped:
        found.append(cut_short())
    return accept(ordered({f.code: f for f in found}.values()), accepted)


def complete(findings: Sequence[Finding]) -> bool:
    """Whether a preflight came to its end."""
    return not any(f.code == UNCHECKED for f in findings)


def diagnosis(
    target: Target,
    data: Dataset,
    threat: Threat,
    clock: Clock,
    findings: Sequence[Finding],
    accepted: Collection[str],
    seed: int,
    brief: bool,
) -> Diagnosis | None:
    """Whether the upper edge is to be believed, as far as a share of the budget went; None where it did not begin.

    threat: within the target's box. findings: those of the preflight. brief: whether tests by attacks without gradients
    may be left out, since the plan has such probes.
    """
    own = Clock(None if clock.left is None else SHARE * clock.left, clock)
    watched = target.watched(own.checkpoint)
    steps: list[Diagnosis] = []

    def work() -> None:
        for step in diagnosing(watched, data, threat, findings, BRIEF, None, seed, own.checkpoint, FEW, brief=brief):
            steps.append(step)

    with contextlib.suppress(Stopped):
        own.watch(work)
    return marked(steps[-1], accepted) if steps else None


def undiagnosed(plan: Plan, threat: Threat) -> str | None:
    """Why there is nothing to put to the test; None where there is."""
    if not threat.set.radius > 0:
        return NO_RADIUS
    attacks = any(s.attacks and s.answers_for(threat.set.name) for s in plan.stages)
    return None if attacks else NO_ATTACK


def marked(diagnosis: Diagnosis, accepted: Collection[str]) -> Diagnosis:
    """The same, what was accepted marked."""
    findings = tuple(f.model_copy(update={"accepted": f.accepted or f.code in accepted}) for f in diagnosis.findings)
    return diagnosis.model_copy(update={"findings": findings})

"""Which stages a run turns to next: a function of what it has recorded, so that a resumed run decides the same.

A gradient that misleads makes a model look robust (Athalye et al. 2018, arXiv:1802.00420), and no gradient attack says
so. So a plan holds probes: short attacks of other kinds (minimal-norm, black-box, from vertices of the ball), asked
about a few of the examples that the gradient attacks left open. Where one of them breaks anything, stages that wait for
such a suspicion are asked too, each family for as long as it pays. Complete verification goes on in the same way while
it settles examples.
"""

from collections import Counter
from collections.abc import Sequence
from typing import final

from pydantic import BaseModel, ConfigDict, Field

from brinell.access import Access
from brinell.auditing.ledger import Work
from brinell.auditing.plan import Plan, Stage

MISLEADING = frozenset({"zero-gradients", "masked", "unbounded", "noise", "black-box", "transfer-stronger"})
"""Codes of findings which say that a gradient does not tell what the model does."""

ALIGNED = "aligned"
"""What stands among those codes where the diagnosis measured gradient alignment, and found it good."""

TELLING = 0.25
"""The share of the examples it was asked about that a probe breaks at one radius, two at least, where gradients are
said to mislead. One or two of the sixteen most fragile ones are what short attacks miss on networks with honest
gradients: reason enough to look further, but not to say so."""


@final
class Reaction(BaseModel):
    """One stage that waits for something, and whether it came to its turn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    condition: str
    asked: int = Field(description="examples it was asked about, summed over radii; 0 where its turn never came")
    settled: int = Field(description="of them broken or certified")
    seconds: float = Field(description="of worker time")


@final
class Gradients(BaseModel):
    """Whether gradients were found to tell the truth, by whom, and what was done about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    misleading: bool
    probed: int = Field(description="examples that probes were asked about, summed over probes and radii")
    broken: int = Field(description="of them broken, which the stages in front had left open")
    findings: tuple[str, ...] = Field(description="codes of the diagnosis that say so too")
    hidden: bool = Field(description="whether what needs no gradients broke what gradients had left: gates wait for it")
    seconds: float = Field(description="worker time of the probes and of the stages that suspicion called")
    sentence: str


def due(plan: Plan, index: int, phase: str, work: Sequence[Work], findings: Sequence[str]) -> bool:
    """Whether the turn of a stage has come at a radius, which is what a phase is called by.

    work: all that is recorded so far; what the stage itself did is not looked at. findings: codes of the diagnosis.
    """
    stage = plan.stages[index]
    match stage.when:
        case "always":
            return True
        case "unaligned":
            return ALIGNED not in findings or _suspected(plan, index, work, findings)
        case "suspicion":
            return _suspected(plan, index, work, findings)
        case "paying":
            before = _before(plan, index)
            last = [w for w in work if w.stage in before and w.phase == phase]
            settled = sum(w.settled for w in last)
            return settled > 0 and settled >= stage.worth * sum(w.asked for w in last)


def gradients(plan: Plan, work: Sequence[Work], findings: Sequence[str]) -> Gradients | None:
    """What the probes of a run came to; None where none was asked, or where no attack by gradients came before them."""
    probes = [w for w in work if plan.stages[w.stage].probes]
    found = tuple(sorted(MISLEADING & set(findings)))
    if not probes or not any(_by_gradients(plan.stages[w.stage]) for w in work):
        return None
    called = [w for w in work if w.stage in _called(plan)]
    return Gradients(
        misleading=bool(found) or _telling(probes),
        probed=sum(w.asked for w in probes),
        broken=sum(w.settled for w in probes),
        findings=found,
        hidden=bool(found) or _telling([w for w in probes if needs_no_gradients(plan.stages[w.stage])]),
        seconds=round(sum(w.seconds for w in (*probes, *called)), 3),
        sentence=_sentence(plan, probes, called, found),
    )


def reactions(plan: Plan, work: Sequence[Work]) -> list[Reaction]:
    """All stages of a plan that wait for something."""
    found = []
    for index, stage in enumerate(plan.stages):
        own = [w for w in work if w.stage == index]
        if stage.when != "always" and stage.condition is not None:
            found.append(
                Reaction(
                    engine=stage.label,
                    condition=stage.condition,
                    asked=sum(w.asked for w in own),
                    settled=sum(w.settled for w in own),
                    seconds=round(sum(w.seconds for w in own), 3),
                )
            )
    return found


def _suspected(plan: Plan, index: int, work: Sequence[Work], findings: Sequence[str]) -> bool:
    """Whether the diagnosis, or a probe in front of a stage, speaks against gradients."""
    broke = any(w.settled > 0 for w in work if w.stage < index and plan.stages[w.stage].probes)
    return broke or bool(MISLEADING & set(findings))


def _telling(probes: Sequence[Work]) -> bool:
    """Whether one of them broke enough at one radius to say that gradients mislead."""
    broken: Counter[tuple[int, str]] = Counter()
    asked: Counter[tuple[int, str]] = Counter()
    for w in probes:
        broken[w.stage, w.phase] += w.settled
        asked[w.stage, w.phase] += w.asked
    return any(count >= max(2, TELLING * asked[probe]) for probe, count in broken.items())


def _by_gradients(stage: Stage) -> bool:
    """Whether it is an attack that its probes are compared with."""
    return stage.row.kind == "attack" and stage.row.access >= Access.GRADIENTS and stage.sample is None


def needs_no_gradients(stage: Stage) -> bool:
    """Whether an attack takes no gradients."""
    return stage.row.access < Access.GRADIENTS


def _before(plan: Plan, index: int) -> set[int]:
    """The last stage of the same engine in front of one, by number; of probes all, which share what they break."""
    family = [i for i, other in enumerate(plan.stages[:index]) if other.engine == plan.stages[index].engine]
    last = family[-1:]
    return {i for i in family if plan.stages[i].probes} if last and plan.stages[last[0]].probes else set(last)


def _called(plan: Plan) -> set[int]:
    """The attacking stages that are asked on suspicion, and those that go on while they pay."""
    return {
        i for i, stage in enumerate(plan.stages) if stage.when in ("suspicion", "paying") and stage.row.kind == "attack"
    }


def _sentence(plan: Plan, probes: Sequence[Work], called: Sequence[Work], found: Sequence[str]) -> str:
    """One line for the reader of a bracket."""
    paid = list(dict.fromkeys(plan.stages[w.stage].engine for w in probes if w.settled))
    if not paid and not found:
        return "gradients were found honest: no probe broke an example that the gradient attacks had left open"

    because = []
    if paid:
        broken = sum(w.settled for w in probes)
        examples = "1 example" if broken == 1 else f"{broken} examples"
        because.append(f"{' and '.join(paid)} broke {examples} that the gradient attacks had left open")
    if found:
        because.append(f"the diagnosis found {' and '.join(found)}")

    then = list(dict.fromkeys(plan.stages[w.stage].engine for w in called))
    more = sum(w.settled for w in called)
    went = f"so {', '.join(then)} went on and broke {more} more" if then else "no stage of the plan went on from there"
    verdict = "misleading" if found or _telling(probes) else "honest, or nearly so"
    return f"gradients were found {verdict}: {'; '.join(because)}; {went}"

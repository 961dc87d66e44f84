"""Two runs on the same examples, compared pair by pair."""

from dataclasses import dataclass
from typing import final

from scipy.stats import binomtest

from brinell.auditing.audit import Audit
from brinell.auditing.result import RadiusResult
from brinell.errors import CannotRun
from brinell.evidence import State


@final
@dataclass(frozen=True)
class Difference:
    """One edge of the bracket at one radius, in both runs, on the examples both could ask.

    gained, lost: examples that only the second, only the first, holds. p_value: of McNemar's exact test that gains and
    losses are as likely. worse_p_value: one-sided, that losses are no likelier than gains. label: the radius as the
    second run spells it. asked: whether an engine worked on this edge in the first run, and in the second: else what
    stands there is no figure, and the difference none either.
    """

    edge: str
    radius: float
    n: int
    before: float
    after: float
    gained: int
    lost: int
    p_value: float
    worse_p_value: float
    label: str
    asked: tuple[bool, bool] = (True, True)


def compare(before: Audit, after: Audit) -> list[Difference]:
    """Paired differences at every radius that both runs asked about, of the edges that one of them worked on.

    An example is the same where its row number, label and values are. Raises CannotRun where the runs share no example
    or no radius, or ask about different threats.
    """
    pairs = _pairs(before, after)
    radii = [radius for radius in before.radii if radius in after.radii]
    if not radii:
        asked_about = (", ".join(r.label for r in run.result.radii) for run in (before, after))
        raise CannotRun(f"the runs ask about other radii: {'; '.join(asked_about)}; audit both at the same")
    seen = [{r.radius: r for r in run.result.radii} for run in (before, after)]
    differences = []
    for radius in radii:
        first, second = before.verdicts_at(radius), after.verdicts_at(radius)
        asked = [
            (first[a].state, second[b].state) for a, b in pairs if State.ERROR not in (first[a].state, second[b].state)
        ]
        for edge, holds in (("certified", _certified), ("unbroken", _unbroken)):
            worked = (_worked_on(edge, seen[0][radius]), _worked_on(edge, seen[1][radius]))
            if any(worked):
                held = [(holds(a), holds(b)) for a, b in asked]
                differences.append(_difference(edge, radius, seen[1][radius].label, held, worked))
    return differences


def _difference(
    edge: str, radius: float, label: str, pairs: list[tuple[bool, bool]], asked: tuple[bool, bool]
) -> Difference:
    n = len(pairs)
    gained = sum(b and not a for a, b in pairs)
    lost = sum(a and not b for a, b in pairs)
    discordant = gained + lost
    return Difference(
        edge,
        radius,
        n,
        before=sum(a for a, _ in pairs) / n if n else float("nan"),
        after=sum(b for _, b in pairs) / n if n else float("nan"),
        gained=gained,
        lost=lost,
        p_value=binomtest(lost, discordant).pvalue if discordant else 1.0,
        worse_p_value=binomtest(lost, discordant, alternative="greater").pvalue if discordant else 1.0,
        label=label,
        asked=asked,
    )


def _worked_on(edge: str, known: RadiusResult) -> bool:
    return known.certified_asked if edge == "certified" else known.unbroken_asked


def _pairs(before: Audit, after: Audit) -> list[tuple[int, int]]:
    """Positions of the examples that both runs hold."""
    asked = before.result.provenance.threat, after.result.provenance.threat
    if asked[0] != asked[1]:
        raise CannotRun(f"the runs ask about different threats: {asked[0]}; {asked[1]}")
    second = {name: position for position, name in enumerate(after.examples)}
    pairs = [(position, second[name]) for position, name in enumerate(before.examples) if name in second]
    if not pairs:
        raise CannotRun(
            f"the runs hold other examples: {before.result.provenance.data} and {after.result.provenance.data}; "
            "audit both models on the same data"
        )
    return pairs


def _certified(state: State) -> bool:
    return state is State.CERTIFIED


def _unbroken(state: State) -> bool:
    return state is not State.BROKEN

"""Two runs on the same items, compared pair by pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.stats import binomtest, wilcoxon

from brinell.auditing.question import Answer, Comparable
from brinell.auditing.run import Run
from brinell.errors import CannotRun


@final
@dataclass(frozen=True)
class Difference:
    """One figure under one condition, in both runs, on the items both could ask.

    gained, lost: items that are better, worse in the second run. p_value: that gains and losses are as likely, by
    McNemar's exact test where a value is 0 or 1, else by Wilcoxon's signed-rank test. worse_p_value: one-sided, that
    the second run is no worse. at: the condition as the second run spells it. asked: whether an engine worked on this
    figure in the first run, and in the second: else what stands there is no figure, and the difference none either.
    gated: whether a gate against a baseline looks at it.
    """

    question: str
    figure: str
    at: str | None
    n: int
    before: float
    after: float
    gained: int
    lost: int
    p_value: float
    worse_p_value: float
    asked: tuple[bool, bool] = (True, True)
    gated: bool = True

    @property
    def name(self) -> str:
        """As a gate would write it: `certified@0.1`, `calibration.brier`."""
        figure = self.figure if self.question == "evasion" else f"{self.question}.{self.figure}"
        return figure if self.at is None else f"{figure}@{self.at}"


def compare(before: Run, after: Run) -> list[Difference]:
    """Paired differences of every figure that both runs have, and that one of them worked on.

    An example is the same where its row number, label and values are. Raises CannotRun where the runs share no example
    or no condition, or ask different questions.
    """
    shared = [name for name in before.answers if name in after.answers]
    if not shared:
        asked = ("; ".join(run.answers) for run in (before, after))
        raise CannotRun(f"the runs ask other questions: {'; '.join(asked)}; ask both the same")
    return [difference for name in shared for difference in _of(name, before, after)]


def _of(name: str, before: Run, after: Run) -> list[Difference]:
    """The differences of one question."""
    first, second = before.answers[name], after.answers[name]
    second.check_comparable(first)
    known = {_condition(c, first): c for c in first.summary.comparable()}
    differences = []
    for figure in second.summary.comparable():
        other = known.get(_condition(figure, second))
        if other is None or not (figure.asked or other.asked):
            continue
        values = _pairs(first.paired(other.figure, other.at), second.paired(figure.figure, figure.at), before, after)
        differences.append(_difference(name, figure, other, values))
    if not known.keys() & {_condition(c, second) for c in second.summary.comparable()}:
        written = (", ".join(dict.fromkeys(str(c.at) for c in a.summary.comparable())) for a in (first, second))
        raise CannotRun(f"the runs ask about other radii: {'; '.join(written)}; audit both at the same")
    return differences


def _condition(figure: Comparable, answer: Answer) -> tuple[str, object]:
    return figure.figure, answer.condition(figure.at)


def _pairs(
    first: Mapping[str, float], second: Mapping[str, float], before: Run, after: Run
) -> Sequence[tuple[float, float]]:
    """Both values of the items that both runs hold."""
    pairs = [(value, second[item]) for item, value in first.items() if item in second]
    if not pairs and first and second:
        raise CannotRun(
            f"the runs hold other examples: {before.result.provenance.data} and {after.result.provenance.data}; "
            "audit both models on the same data"
        )
    return pairs


def _difference(
    question: str, figure: Comparable, other: Comparable, pairs: Sequence[tuple[float, float]]
) -> Difference:
    n = len(pairs)
    values = np.array(pairs, dtype=np.float64).reshape(n, 2)
    change = values[:, 1] - values[:, 0]
    better = change if figure.larger else -change
    gained = int((better > 0).sum())
    lost = int((better < 0).sum())
    p_value, worse = _tests(values, better, gained, lost)
    before, after = values.mean(0).tolist() if n else (float("nan"), float("nan"))
    return Difference(
        question,
        figure.figure,
        figure.at,
        n,
        before,
        after,
        gained,
        lost,
        p_value,
        worse,
        (other.asked, figure.asked),
        figure.gated,
    )


def _tests(values: np.ndarray, better: np.ndarray, gained: int, lost: int) -> tuple[float, float]:
    """(two-sided, one-sided that the second is worse): McNemar's exact test of yes and no, else Wilcoxon's."""
    discordant = gained + lost
    if not discordant:
        return 1.0, 1.0
    if np.isin(values, (0.0, 1.0)).all():
        return binomtest(lost, discordant).pvalue, binomtest(lost, discordant, alternative="greater").pvalue
    return float(wilcoxon(better).pvalue), float(wilcoxon(better, alternative="less").pvalue)

"""The summary of calibration: every figure with its interval, and the null it has to be told apart from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from types import MappingProxyType

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from brinell.auditing.question import Comparable, Record, Summary
from brinell.auditing.result import engine_results, stages_left_out
from brinell.errors import UsageError
from brinell.evidence import Figure, clopper_pearson
from brinell.questions.calibration.measure import BINS, Numbers, Scored, binned, bootstrap, ece, gaps, null

FIGURES: Mapping[str, str | None] = MappingProxyType(
    dict.fromkeys(("ece", "ece_null", "p_value", "mce", "brier", "nll", "accuracy", "confidence"))
)
"""Every figure; none has a condition."""

_TIE = 1e-12
"""Errors that differ by less are the same, summed in another order."""

ENOUGH = 100
"""Examples from which the intervals hold about what they say."""

SHOWN = 0.05
"""The p-value below which an error is told apart from chance."""


class Bin(BaseModel):
    """The examples whose confidence lies in (low, high]. interval: of accuracy, Clopper-Pearson at 95 %."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    n: int
    confidence: float = Field(description="their mean confidence")
    accuracy: float
    interval: tuple[float, float]


class CalibrationSummary(Summary):
    """How far confidences are from accuracies."""

    errors: int = Field(description="examples the target could not be asked about")
    figures: dict[str, Figure]
    bins: tuple[Bin, ...] = Field(description="those that hold an example")
    reading: str = Field(description="one line: whether the error can be told apart from chance")

    def figure(self, name: str, at: str | None = None) -> Figure | None:
        if at is not None:
            raise UsageError("figures of calibration take no condition")
        return self.figures.get(name)

    def comparable(self) -> Sequence[Comparable]:
        return [Comparable(name, larger=False, gated=False) for name in ("brier", "nll") if name in self.figures]


def summarise(record: Record, scored: Mapping[int, Scored], errors: int) -> CalibrationSummary:
    """All figures, of the examples that were scored so far."""
    rows = [scored[item] for item in sorted(scored)]
    confidence = np.array([row.confidence for row in rows])
    right = np.array([float(row.right) for row in rows])
    seed = record.entries["seed"]
    known = _figures(rows, confidence, right, seed) if rows else {}
    doubts = _doubts(len(rows), errors, record.entries["n"])
    known = {name: replace(figure, lower=doubts, higher=doubts) for name, figure in known.items()}
    left_out = stages_left_out(record.entries)
    return CalibrationSummary(
        question="calibration",
        key=record.key,
        n=record.entries["n"],
        plan=record.plan,
        engines=engine_results(record),
        findings=record.findings,
        accepted=record.accepted,
        left_out=left_out,
        notes=(*(f"{one.stage} left out: {one.reason}" for one in left_out), *record.entries.get("notes", ())),
        errors=errors,
        figures=known,
        bins=_bins(confidence, right),
        reading=_reading(known, errors) + (f"; {errors} examples could not be asked" if errors and known else ""),
    )


def _figures(rows: Sequence[Scored], confidence: Numbers, right: Numbers, seed: int) -> dict[str, Figure]:
    n = len(rows)
    error = float(ece(confidence, right))
    chance = null(confidence, seed)
    low, high = np.quantile(chance, (0.025, 0.975))
    p_value = float((1 + (chance >= error - _TIE).sum()) / (1 + len(chance)))
    interval = bootstrap(confidence, right, seed)
    if p_value >= SHOWN:  # it may as well be zero
        interval = (0.0, interval[1])
    widest = float(gaps(confidence, right).max())
    return {
        "ece": Figure(error, *interval, n=n),
        "ece_null": Figure(float(chance.mean()), float(low), float(high), n=n),
        "p_value": Figure(p_value, p_value, p_value, n=n),
        "mce": Figure(widest, 0.0, 1.0, n=n, note="the widest gap of a bin; it has no interval"),
        "brier": _mean(np.array([row.brier for row in rows])),
        "nll": _mean(np.array([row.nll for row in rows])),
        "accuracy": Figure.fraction(int(right.sum()), n),
        "confidence": _mean(confidence),
    }


def _doubts(scored: int, errors: int, n: int) -> tuple[str, ...]:
    """Why no figure of this sample is to be relied on; nothing where they are."""
    doubts = []
    if errors:
        doubts.append(f"{errors} of {n} examples could not be asked")
    if scored + errors < n:
        doubts.append(f"only {scored + errors} of {n} examples were asked")
    if scored < ENOUGH:
        doubts.append(f"intervals of fewer than {ENOUGH} examples are not to be relied on")
    return tuple(doubts)


def _mean(values: Numbers) -> Figure:
    """With its normal interval."""
    mean = float(values.mean())
    reach = 1.96 * float(values.std(ddof=1)) / sqrt(len(values)) if len(values) > 1 else mean
    return Figure(mean, mean - reach, mean + reach, n=len(values))


def _bins(confidence: Numbers, right: Numbers) -> tuple[Bin, ...]:
    place = binned(confidence)
    found = []
    for b in range(BINS):
        own = place == b
        if n := int(own.sum()):
            k = int(right[own].sum())
            mean = float(confidence[own].mean())
            edges = {"low": b / BINS, "high": (b + 1) / BINS}
            found.append(Bin(**edges, n=n, confidence=mean, accuracy=k / n, interval=clopper_pearson(k, n)))
    return tuple(found)


def _reading(known: Mapping[str, Figure], errors: int) -> str:
    if not known:
        return "no example could be asked for its probabilities" if errors else "no example was asked yet"
    error, floor, p_value = (known[name].value or 0.0 for name in ("ece", "ece_null", "p_value"))
    lean = (known["confidence"].value or 0.0) - (known["accuracy"].value or 0.0)
    seen = f"the calibration error is {error:.3f}, and a perfectly calibrated model shows {floor:.3f} on such a sample"
    if p_value >= SHOWN:
        return f"{seen} (p = {p_value:.2g}): nothing shown"
    leaning = "above" if lean > 0 else "below"
    return f"{seen} (p = {p_value:.2g}): its confidence is {leaning} its accuracy by {100 * abs(lean):.1f} points"

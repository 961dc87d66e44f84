"""How the figures of evasion are written: the same on the page and in the terminal."""

import math

from brinell.evidence import Soundness, State
from brinell.questions.evasion.answer import NOT_ASKED
from brinell.questions.evasion.summary import EvasionSummary, RadiusResult
from brinell.report.words import count, line, number, percent


def label(radius: RadiusResult) -> str:
    """A radius as its user spells it."""
    return line(radius.label) or number(radius.radius)


def certified(radius: RadiusResult) -> str:
    """The lower edge, or that nobody worked on it."""
    return percent(radius.certified) if radius.certified_asked else NOT_ASKED


def unbroken(radius: RadiusResult) -> str:
    """The upper edge, or that nobody worked on it."""
    return percent(radius.unbroken) if radius.unbroken_asked else NOT_ASKED


def asked(radius: RadiusResult) -> int:
    """The examples that could be asked: what the fractions are of."""
    return sum(n for state, n in radius.counts.items() if state != State.ERROR)


def outcome(result: EvasionSummary) -> str:
    """What a bracket is about: the part of `keep their correct answer under any allowed change` after `keep`."""
    if result.goal == "untargeted":
        return "keep their correct answer"
    return f"resist an adversary with the goal “{result.goal}”"


def arithmetic(radius: RadiusResult, least: Soundness = Soundness.REAL) -> str:
    """What the certificates at a radius assume of arithmetic, in a sentence; nothing where there are none.

    least: the level from which they count.
    """
    known = [(n, Soundness(level)) for level, n in radius.soundness.items() if n]
    if not known:
        return ""
    total = sum(n for n, _ in known)
    weak = "" if least is Soundness.REAL else ", and so count as open"
    said = "; ".join(f"{count(n)} {_ARITHMETIC[level]}{'' if level.covers(least) else weak}" for n, level in known)
    return f"Of {count(total)} certificates at {radius.set} {label(radius)}: {said}."


def demanded(result: EvasionSummary) -> str:
    """The level from which certificates count, in a sentence; nothing where all do."""
    least = result.plan.soundness
    return "" if least is Soundness.REAL else f"Certified: by proofs that {_ARITHMETIC[least]}; no others count."


def chance(result: EvasionSummary) -> str:
    """What probabilistic certificates there are, and how sure they are together; nothing where there are none."""
    last = result.radii[-1]
    if result.failure is None:
        return ""
    said = f"{count(last.probable)} of the certified examples at {last.set} {label(last)}"
    if result.failure >= 1:
        return f"{said} rest on votes over random noise, not on proofs; of so many, some may well be wrong."
    return (
        f"{said} rest on votes over random noise, not on proofs: with probability at least "
        f"{_below(1 - result.failure)} all such statements of this run are right."
    )


def _below(share: float) -> str:
    """A percentage with as many digits as it takes not to say 100, rounded down."""
    digits = 1 if share < 0.999 else 4
    return f"{math.floor(share * 100 * 10**digits) / 10**digits:.{digits}f} %"


_ARITHMETIC = {
    Soundness.FLOAT32: "hold for the model as float32 computes it, in any order of summation",
    Soundness.FLOAT64: "hold for the model as float64 computes it, in any order of summation",
    Soundness.REAL: "hold in exact arithmetic, and say nothing of rounding",
}

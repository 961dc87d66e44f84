"""How numbers and other people's strings are written: the same on the page and in the terminal."""

import math
import re
import unicodedata

from brinell.auditing.audit import NOT_ASKED
from brinell.auditing.result import Finding, Interval, RadiusResult, Result
from brinell.evidence import Soundness, State

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # ECMA-48 control sequences: colours, cursor moves
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"
)
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """A string with nothing in it that acts: no control sequence, control character, or direction override."""
    text = _DIRECTION.sub("", _ESCAPES.sub("", text))
    if text.isprintable():
        return text
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in {"Cc", "Cs", "Co"})


def line(text: str) -> str:
    """The same on one line: nothing can pass for a line of ours."""
    return " ".join(plain(text).split())


def percent(value: float | None) -> str:
    """`41.2 %`; n/a for None. What is not all, or not nothing, is never rounded to it."""
    if value is None:
        return "n/a"
    if 0 < value < 0.0005:
        return "<0.1 %"
    if 0.9995 <= value < 1:
        return ">99.9 %"
    return f"{100 * value:.1f} %"


def interval(bounds: Interval) -> str:
    """`39.0 to 43.4 %`."""
    low, high = bounds
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def number(value: float) -> str:
    """A length, or a feature's value, to four digits; 255ths as people write them: `8/255`."""
    short = f"{value:.4g}"
    steps = round(value * 255)
    if 0 < steps <= 255 and abs(value * 255 - steps) < 1e-9 and float(short) != value:
        return f"{steps}/255"
    return short


def label(radius: RadiusResult) -> str:
    """A radius as its user spells it."""
    return line(radius.label) or number(radius.radius)


def certified(radius: RadiusResult) -> str:
    """The lower edge, or that nobody worked on it."""
    return percent(radius.certified) if radius.certified_asked else NOT_ASKED


def unbroken(radius: RadiusResult) -> str:
    """The upper edge, or that nobody worked on it."""
    return percent(radius.unbroken) if radius.unbroken_asked else NOT_ASKED


def told(finding: Finding) -> str:
    """How a finding is announced: its severity, whether it was accepted, its code and what was seen."""
    accepted = ", accepted" if finding.accepted else ""
    return line(f"{finding.severity}{accepted}: {finding.code}: {finding.message}")


def count(value: int) -> str:
    """`12,345`."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """`9.5 s`, `2 min 5 s`, `1 h 12 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def asked(radius: RadiusResult) -> int:
    """The examples that could be asked: what the fractions are of."""
    return sum(n for state, n in radius.counts.items() if state != State.ERROR)


def outcome(result: Result) -> str:
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


def demanded(result: Result) -> str:
    """The level from which certificates count, in a sentence; nothing where all do."""
    least = result.provenance.plan.soundness
    return "" if least is Soundness.REAL else f"Certified: by proofs that {_ARITHMETIC[least]}; no others count."


def chance(result: Result) -> str:
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


STATUS = {
    "complete": None,
    "budget": "The time budget was spent before the plan ended. More time may settle examples that are still open; "
    "what is shown as broken or certified stays so.",
    "interrupted": "This run was interrupted before the plan ended. The same command continues it; "
    "what is shown as broken or certified stays so.",
    "running": "This run has not ended: the page shows it as it stood. What is shown as broken or certified stays so.",
}
"""A sentence for every status that needs one."""

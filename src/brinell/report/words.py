"""How numbers and other people's strings are written: the same on the page and in the terminal."""

import re
import unicodedata

from brinell.auditing.finding import Finding

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


def interval(bounds: tuple[float, float]) -> str:
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


STATUS = {
    "complete": None,
    "budget": "The time budget was spent before the plan ended. More time may settle examples that are still open; "
    "what is shown as broken or certified stays so.",
    "interrupted": "This run was interrupted before the plan ended. The same command continues it; "
    "what is shown as broken or certified stays so.",
    "running": "This run has not ended: the page shows it as it stood. What is shown as broken or certified stays so.",
}
"""A sentence for every status that needs one."""

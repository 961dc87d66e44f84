"""Words of a command line that mean something else: a time, an attack with its settings, a finding's code."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from brinell import catalog
from brinell.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from brinell.auditing import Stage


def stage_of(engine: str, settings: list[str]) -> "Stage":
    """An attack with its settings, each `name=value` as a plan would have it."""
    import yaml

    from brinell.auditing import Stage

    values = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--setting {text!r} is not understood; write e.g. steps=100")
        values[name] = yaml.safe_load(value)
    stage = Stage(engine=engine, settings=values)
    stage.row  # noqa: B018 - an unknown engine is refused here
    return stage


def budget_of(text: str | None, option: str = "--budget") -> float | None:
    """The same, where there may be none."""
    return None if text is None else seconds_of(text, option)


def seconds_of(text: str, option: str = "--budget") -> float:
    """90s, 5m, 1h, or a number of seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{option} {text!r} is not a time; write 90s, 5m or 1h")
    return seconds


CODES = (
    *("outside-box", "low-accuracy", "classes", "random", "memory", "batch-dependence", "probabilities"),
    *("zero-gradients", "non-finite-gradients", "non-finite", "raises", "scores-disagree", "unchecked"),
    *("narrow-range", "pixels", "small-sample", "absent-classes", "training-mode"),
    *(
        "masked",
        "misaligned",
        "misleading",
        "unstable",
        "dynamic",
        "unconfirmed",
        "chance",
        "incomplete",
        "steps",
        "radius",
        "unbounded",
    ),
    *("single-step", "noise", "black-box", "transfer", "transfer-stronger", "eight-bit", "raises-near"),
)
"""Codes of the findings of a preflight and of a diagnosis, as the pages on both list them."""


def known_codes(accepted: Sequence[str]) -> list[str]:
    """The codes of --accept. Raises UsageError on one that no finding has."""
    for code in accepted:
        if code not in CODES:
            likely = did_you_mean(code, CODES)
            raise UsageError(f"--accept {code!r} is no finding's code{likely}; brinell check prints those of a model")
    return list(accepted)


def asked(text: str) -> list[str]:
    """Questions from `evasion,calibration`. Raises UsageError naming those there are."""
    return list(dict.fromkeys(catalog.asked(name.strip()).name for name in text.split(",")))

"""Words of a command line that mean something else: a time, an attack with its settings."""

from typing import TYPE_CHECKING

from brinell.errors import UsageError

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

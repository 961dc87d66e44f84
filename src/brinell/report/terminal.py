"""The result in a terminal: each question's own table, and what stands beside them."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from brinell.auditing import Run
from brinell.report.words import STATUS, duration, line, told

_COLOURS = {"severe": "red", "warning": "yellow"}


def table(run: Run, page: str | Path | None = None) -> RenderableType:
    """The answers, findings and notes, the status, and where the page is."""
    result = run.result
    parts: list[RenderableType] = [answer.table() for answer in run.answers.values()]
    parts += [
        Text(told(finding), _COLOURS[finding.severity]) for finding in result.found if finding.severity in _COLOURS
    ]
    parts += [Text(line(note), "dim") for note in result.notes]
    status = STATUS[result.status]
    parts.append(Text(status, "yellow") if status else Text(f"complete in {duration(result.seconds)}", "dim"))
    if page is not None:
        parts.append(Text.assemble(("page: ", "dim"), line(str(page))))
    return Group(*parts)

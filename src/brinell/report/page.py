"""The page: one file that opens from disk with the network cut, holds no script, and prints.

A shell, and one section a question, which the question itself writes.
"""

from datetime import datetime
from pathlib import Path

import yaml

from brinell.auditing import Plan, Run
from brinell.auditing.ledger import write_atomically
from brinell.report.templating import stylesheet, template
from brinell.report.words import STATUS


def write_report(run: Run, path: str | Path) -> None:
    """Write the page of a run. Raises CannotRun where `path` cannot be written."""
    write_atomically(Path(path), render(run).encode())


def render(run: Run) -> str:
    """The page of a run as HTML, also of one that has not ended."""
    result = run.result
    answers = run.answers.values()
    return template("page.html").render(
        result=result,
        status=STATUS[result.status],
        leads=[answer.lead(result) for answer in answers],
        sections=[answer.section(result) for answer in answers],
        details=[detail for answer in answers for detail in answer.details()],
        plans=[
            {"question": summary.question, "name": summary.plan.name, "text": _written(summary.plan)}
            for summary in result.answers.values()
        ],
        started=_day(result.provenance.started),
        style=stylesheet(),
    )


def _written(plan: Plan) -> str:
    return yaml.safe_dump(plan.model_dump(mode="json", exclude_defaults=True), sort_keys=False, width=100)


def _day(started: str) -> str:
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment.day} {moment:%B %Y, %H:%M %Z}".strip()

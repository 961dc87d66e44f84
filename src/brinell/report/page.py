"""The page: one file that opens from disk with the network cut, holds no script, and prints."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import final

import yaml
from markupsafe import Markup, escape

from brinell.auditing import Audit, Finding, Result
from brinell.auditing.ledger import Ledger, write_atomically
from brinell.auditing.result import ClassResult, EngineResult
from brinell.report.charts import curve, distances
from brinell.report.exhibits import gallery
from brinell.report.templating import stylesheet, template
from brinell.report.words import STATUS, asked, outcome, plain

CLASSES = 40
"""Classes in the table, at most; of more, those with the most broken examples."""

BARS = 6
"""Radii drawn for each class, at most; of more, the largest alone."""


def write_report(audit: Audit, path: str | Path) -> None:
    """Write the page of a run. Raises CannotRun where `path` cannot be written."""
    write_atomically(Path(path), render(audit).encode())


def render(audit: Audit) -> str:
    """The page of a run as HTML, also of one that has not ended."""
    result = audit.result
    with Ledger(audit.path, write=False) as ledger:
        shown = gallery(ledger, [w for w in audit.witnesses if w.distance <= audit.radii[-1]])
    classes = _hardest(result)
    return template("page.html").render(
        result=result,
        last=result.radii[-1],
        n_asked=asked(result.radii[-1]),
        outcome=outcome(result),
        status=STATUS[result.status],
        partial=result.status != "complete",
        severe=[f for f in result.found if f.severity == "severe"],
        findings=sorted(result.findings, key=_severity),
        curve=curve(result),
        distances=distances(result),
        doubts=_doubts(result),
        classes=classes,
        class_radii=range(len(result.radii)) if len(result.radii) <= BARS else [len(result.radii) - 1],
        costs=_costs(result),
        gallery=shown,
        started=_day(result.provenance.started),
        plan=yaml.safe_dump(
            result.provenance.plan.model_dump(mode="json", exclude_defaults=True), sort_keys=False, width=100
        ),
        style=stylesheet(),
        sentence=sentence,
        cited=cited,
    )


@final
@dataclass(frozen=True)
class Cost:
    """A stage with the worker time it took, also on what was cut short, and its share of all, 0 to 1."""

    engine: EngineResult
    seconds: float
    share: float


def sentence(text: str) -> str:
    """A message of ours as a sentence: a capital in front and a stop behind."""
    text = plain(text).strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def cited(paper: str) -> Markup:
    """A reference whose arXiv number is a link."""
    return Markup(_ARXIV.sub(_LINK, str(escape(plain(paper)))))


_LINK = r'<a href="https://arxiv.org/abs/\1" rel="noopener noreferrer">\g<0></a>'
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def _costs(result: Result) -> list[Cost]:
    if all(e.state == "not begun" for e in result.engines):
        return []
    taken = [e.seconds + e.dropped for e in result.engines]
    total = sum(taken)
    return [Cost(e, t, t / total if total else 0.0) for e, t in zip(result.engines, taken, strict=True)]


def _hardest(result: Result) -> tuple[ClassResult, ...]:
    """All classes in order; of very many, those of which the least is unbroken."""
    if len(result.classes) <= CLASSES:
        return result.classes

    def unbroken(c: ClassResult) -> float:
        last = c.radii[-1].unbroken
        return 2.0 if last is None else last

    return tuple(sorted(sorted(result.classes, key=unbroken)[:CLASSES], key=lambda c: c.label))


def _doubts(result: Result) -> list[Finding]:
    """What a diagnosis found, less what the preflight says already."""
    if result.diagnosis is None:
        return []
    told = {f.code for f in result.findings}
    return [f for f in result.diagnosis.findings if f.code not in told]


def _severity(finding: Finding) -> int:
    return ("severe", "warning", "note").index(finding.severity)


def _day(started: str) -> str:
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment.day} {moment:%B %Y, %H:%M %Z}".strip()

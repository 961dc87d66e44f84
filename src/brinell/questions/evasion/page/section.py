"""Evasion on the page: the bracket in one sentence, and all that stands behind it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from brinell.auditing.finding import Finding, ordered
from brinell.auditing.result import Result
from brinell.questions.evasion.answer import EvasionAnswer
from brinell.questions.evasion.page import words
from brinell.questions.evasion.page.charts import curve, distances
from brinell.questions.evasion.page.exhibits import gallery
from brinell.questions.evasion.summary import ClassResult, EvasionSummary
from brinell.report.costs import shares
from brinell.report.templating import environment, unbroken

CLASSES = 40
"""Classes in the table, at most; of more, those with the most broken examples."""

BARS = 6
"""Radii drawn for each class, at most; of more, the largest alone."""


def lead(answer: EvasionAnswer, result: Result) -> Markup:
    """The bracket at the largest radius in a sentence, and what speaks against it."""
    return Markup(_environment().get_template("evasion_lead.html").render(_shared(answer.summary, result)))


def section(answer: EvasionAnswer, result: Result) -> Markup:
    """Everything else."""
    summary = answer.summary
    classes = _hardest(summary)
    many = len(summary.radii) > BARS
    text = (
        _environment()
        .get_template("evasion.html")
        .render(
            **_shared(summary, result),
            partial=result.status != "complete",
            findings=ordered(summary.findings),
            curve=curve(summary),
            distances=distances(summary),
            doubts=_doubts(summary),
            classes=classes,
            class_radii=[len(summary.radii) - 1] if many else range(len(summary.radii)),
            costs=shares(summary.engines),
            gallery=gallery(answer),
        )
    )
    return Markup(text)


def _shared(summary: EvasionSummary, run: Result) -> Mapping[str, Any]:
    last = summary.radii[-1]
    return {
        "result": summary,
        "run": run,
        "several": len(run.answers) > 1,
        "last": last,
        "n_asked": words.asked(last),
        "outcome": words.outcome(summary),
        "severe": [finding for finding in summary.found if finding.severity == "severe"],
    }


@cache
def _environment() -> Environment:
    return environment(
        "brinell.questions.evasion.page",
        label=words.label,
        certified=unbroken(words.certified),
        unbroken=unbroken(words.unbroken),
        arithmetic=words.arithmetic,
        demanded=words.demanded,
        chance=words.chance,
        asked=words.asked,
    )


def _hardest(summary: EvasionSummary) -> tuple[ClassResult, ...]:
    """All classes in order; of very many, those of which the least is unbroken."""
    if len(summary.classes) <= CLASSES:
        return summary.classes

    def unbroken_share(result: ClassResult) -> float:
        last = result.radii[-1].unbroken
        return 2.0 if last is None else last

    hardest = sorted(summary.classes, key=unbroken_share)[:CLASSES]
    return tuple(sorted(hardest, key=lambda result: result.label))


def _doubts(summary: EvasionSummary) -> list[Finding]:
    """What a diagnosis found, less what the preflight says already."""
    if summary.diagnosis is None:
        return []
    told = {finding.code for finding in summary.findings}
    return [finding for finding in summary.diagnosis.findings if finding.code not in told]

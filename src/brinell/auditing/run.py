"""A run: questions put to a subject, from their preflights to a folder that holds the answers, and back from it."""

import contextlib
import platform
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

import torch

from brinell.arguments import checked
from brinell.auditing.clock import Clock, Stopped
from brinell.auditing.drive import Driver, Progress, Workers
from brinell.auditing.finding import Finding
from brinell.auditing.ledger import FILE, Ledger, write_atomically
from brinell.auditing.plan import Plan
from brinell.auditing.question import Answer, Inquiry, Journal, Question, Record, noted, question_of
from brinell.auditing.result import Provenance, Result, Status
from brinell.auditing.subject import Subject
from brinell.errors import CannotRun, UsageError
from brinell.version import __version__

RESULT = "result.json"

R = TypeVar("R", bound="Run")


class Run:
    """A finished or partial run: the answers to its questions.

    path: the run's folder. result: every figure, as in `result.json`. answers: one a question, by its name.
    """

    def __init__(self, path: Path, result: Result, answers: Mapping[str, Answer]) -> None:
        self.path = path
        self.result = result
        self.answers = MappingProxyType(dict(answers))

    @classmethod
    @checked()
    def open(cls, path: str | Path) -> Self:
        """A run from its folder, as it stands; also one that was killed, or is still running."""
        with Ledger(Path(path), write=False) as ledger:
            return cls.read(ledger)

    @classmethod
    def read(cls, ledger: Ledger) -> Self:
        """A run from its ledger."""
        about = ledger.manifest()
        if "identity" not in about:
            raise CannotRun(f"{ledger.path} holds a run that had not begun; run its command again")
        answers = {}
        for key, name in about["asked"].items():
            answers[name] = question_of(name).answer(_record(ledger, about, key))
        return cls(ledger.path, _result(about, answers), answers)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the preflights and the diagnoses saw, severe ones first; those that were accepted are marked."""
        return self.result.found

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know besides: what was left out, and why."""
        return self.result.notes

    @checked()
    def save(self, path: str | Path) -> Path:
        """Copy the run's folder to `path`, which must not exist."""
        if Path(path).exists():
            raise UsageError(f"{path} exists already; give a new folder")
        try:
            shutil.copytree(self.path, path, ignore=shutil.ignore_patterns(".lock*"))
        except OSError as error:
            raise CannotRun(f"{path} cannot be written: {error}") from error
        return Path(path)

    def __repr__(self) -> str:
        status = self.result.status
        partial_run = "" if status == "complete" else f"; partial run ({status})"
        lines: list[str] = []
        for name, answer in self.answers.items():
            first, *rest = answer.lines()
            lines += [f"{name}: {first}" if lines else f"Audit of {first}{partial_run}", *rest]
        return "\n".join([*lines, *(f"  {text}" for text in self._beside())])

    def _repr_html_(self) -> str:
        """For notebooks: the same as a table a question."""
        tables = []
        for answer in self.answers.values():
            caption, heads, rows = answer.cells()
            body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
            head = "".join(f"<th>{name}</th>" for name in heads)
            tables.append(
                f"<table><caption>{escape(caption)}, {self.result.status}</caption><tr>{head}</tr>{body}</table>"
            )
        beside = self._beside()
        told = f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in beside)}</ul>" if beside else ""
        return "".join(tables) + told

    def _beside(self) -> list[str]:
        """Findings and notes, one a line, in which nothing acts."""
        told = [_told(finding) for finding in self.findings if finding.severity != "note"]
        return told + [_inert(note) for note in self.notes]


def conduct(
    subject: Subject,
    questions: Sequence[Question],
    plan: str | Path | Plan | Mapping[str, Plan],
    budget: float | None,
    out: str | Path | None,
    seed: int,
    *,
    workers: int | None,
    accept: Sequence[str],
    sources: dict[str, Any] | None,
    on_progress: Callable[[Progress], None],
    read: Callable[[Ledger], R],
) -> R:
    """Put questions to a subject, one after the other, until they are answered or time is up.

    A question that lacks what it needs is left out, by name. read: makes of the ledger what is returned. Arguments and
    errors are those of `brinell.audit`.
    """
    clock = Clock(budget)
    lacking = {question.name: why for question in questions if (why := question.lacks(subject)) is not None}
    inquiries = {
        name: question.inquiry(subject, question.planned(_plan_of(question, plan)), seed)
        for name, question in _named(questions).items()
        if question.name not in lacking
    }
    if not inquiries:
        raise UsageError("; ".join(f"{name} cannot be asked: {why}" for name, why in lacking.items()))
    identity = _identity(subject, inquiries.values(), seed)
    device = subject.examples.x.device.type
    count = workers or (torch.get_num_threads() if device == "cpu" else 1)

    with contextlib.ExitStack() as undo, clock.listening():
        known = None if out is None else _known(Path(out), identity)
        accepted = frozenset(accept) | frozenset(() if known is None else known.get("accepted", ()))
        findings = {
            inquiry.key: inquiry.preflight(clock, accepted, None if known is None else noted(known, inquiry.key))
            for inquiry in inquiries.values()
        }
        if out is None:
            folder = tempfile.TemporaryDirectory(prefix="brinell-", ignore_cleanup_errors=True)
            undo.callback(folder.cleanup)
            out = folder.name
        with Ledger(Path(out)) as ledger:
            before = ledger.manifest()
            journals = _begin(ledger, before, subject, inquiries, identity, findings, accepted, sources, lacking, count)
            for inquiry in inquiries.values():
                inquiry.diagnose(clock, accepted, journals[inquiry.key])
            ledger.describe({"scrutiny": before.get("scrutiny", 0.0) + clock.elapsed})
            _go_through(ledger, subject, inquiries.values(), journals, clock, seed, count, on_progress, before)
            done = read(ledger)
            write_atomically(done.path / RESULT, done.result.to_json().encode())
        weakref.finalize(done, undo.pop_all().close)  # a folder of our own lives as long as the run
        return done


def _plan_of(question: Question, plan: str | Path | Plan | Mapping[str, Plan]) -> str | Path | Plan:
    """The plan that one question is to follow."""
    return plan.get(question.name, "standard") if isinstance(plan, Mapping) else plan


def _named(questions: Sequence[Question]) -> dict[str, Question]:
    """Questions by their names. Raises UsageError where two share one."""
    named = {question.name: question for question in questions}
    if len(named) < len(questions):
        raise UsageError("a question is asked twice; ask each once a run, and another threat in a run of its own")
    return named


def _begin(
    ledger: Ledger,
    about: Mapping[str, Any],
    subject: Subject,
    inquiries: Mapping[str, Inquiry],
    identity: dict[str, Any],
    findings: Mapping[str, Sequence[Finding]],
    accepted: frozenset[str],
    sources: dict[str, Any] | None,
    lacking: Mapping[str, str],
    workers: int,
) -> dict[str, Journal]:
    """Write down what the run is about, in front of all else. Refuses a folder that holds another run.

    about: what its manifest says so far.
    """
    _check_same_run(about.get("identity"), identity, ledger.path)
    begun: dict[str, Any] = {
        "identity": identity,
        "accepted": sorted(accepted),
        "sources": sources or about.get("sources"),
        "not_asked": dict(lacking),
        "status": "running",
    }
    if "identity" not in about:
        begun["asked"] = {inquiry.key: name for name, inquiry in inquiries.items()}
        begun["environment"] = _environment(subject, workers)
    ledger.describe(begun)

    journals = {}
    for inquiry in inquiries.values():
        journal = Journal(ledger, inquiry.key)
        told = inquiry.about()
        found = [finding.model_dump(mode="json") for finding in findings[inquiry.key]]
        journal.update(**(told | _continued(journal, told)), findings=found)
        journals[inquiry.key] = journal
    return journals


def _continued(journal: Journal, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a run that is taken up again has said already, where it adds up over calls."""
    kept = {}
    for name in ("labels", "left_out"):
        if isinstance(told.get(name), Mapping):
            kept[name] = {**journal.get(name, {}), **told[name]}
    return kept


def _go_through(
    ledger: Ledger,
    subject: Subject,
    inquiries: Iterable[Inquiry],
    journals: Mapping[str, Journal],
    clock: Clock,
    seed: int,
    workers: int,
    on_progress: Callable[[Progress], None],
    before: Mapping[str, Any],
) -> None:
    """Take each question through its plan, and write down how it ended."""
    drivers = [
        Driver(inquiry, journals[inquiry.key], seed=seed, clock=clock, on_progress=on_progress)
        for inquiry in sorted(inquiries, key=lambda inquiry: len(inquiry.plan.stages))  # what costs least comes first
    ]
    status: Status = "running"
    try:
        for driver in drivers:
            driver.recall()
        status = _drive(subject, drivers, clock, workers)
        if status == "complete":
            status = _finish(drivers, clock)
    finally:
        for driver in drivers:
            journal = driver.journal
            journal.update(dropped=_added(journal.get("dropped", {}), driver.dropped))
        ledger.describe({"status": status, "seconds": before.get("seconds", 0.0) + clock.elapsed})


def _drive(subject: Subject, drivers: Sequence[Driver], clock: Clock, workers: int) -> Status:
    """How it ended: complete, budget, or interrupted."""
    try:
        with Workers(subject.target.watched(clock.checkpoint), workers, clock) as crew:
            for driver in drivers:
                driver.run(crew)
    except KeyboardInterrupt:
        return "interrupted"
    except Stopped as stopped:
        return _ended(stopped)
    return "complete"


def _finish(drivers: Sequence[Driver], clock: Clock) -> Status:
    """What is done once a run, when all stages have ended; where time is up, the next call makes up for it."""
    for driver in drivers:
        try:
            driver.inquiry.finish(driver.journal, clock)
        except Stopped as stopped:
            if stopped.reason != "budget":
                return _ended(stopped)
    return "complete"


def _ended(stopped: Stopped) -> Status:
    return "interrupted" if stopped.reason == "interrupted" else "budget"


def _added(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """Seconds by stage, of all resumptions."""
    return {stage: before.get(stage, 0.0) + now.get(stage, 0.0) for stage in before | now}


def _known(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What a run that was begun in this folder has recorded of itself; None where none was. Refuses another run."""
    if not (path / FILE).is_file():
        return None
    with Ledger(path, write=False) as ledger:
        about = ledger.manifest()
    if "identity" not in about:
        return None
    _check_same_run(about["identity"], identity, path)
    return about


def _identity(subject: Subject, inquiries: Iterable[Inquiry], seed: int) -> dict[str, Any]:
    """What makes a run this run: it is taken up again only where all of it is the same."""
    return {
        "target": subject.target.digest,
        "data": subject.examples.digest,
        "questions": {inquiry.key: inquiry.identity() for inquiry in inquiries},
        "seed": seed,
        "version": __version__,
    }


def _check_same_run(before: dict[str, Any] | None, now: dict[str, Any], path: Path) -> None:
    if before is None or before == now:
        return
    was, is_ = _flat(before), _flat(now)
    differing = [name for name in _FIRST + tuple(is_ | was) if was.get(name) != is_.get(name)]
    differing = list(dict.fromkeys(differing))
    first = differing[0]
    told = f" ({first} was {str(was.get(first))[:60]}, is {str(is_.get(first))[:60]})" if first != "plan" else ""
    raise CannotRun(
        f"{path} holds another run: its {' and '.join(differing)} differ{told}; choose another --out, or remove the "
        "folder to start again"
    )


_FIRST = ("target", "data", "threat", "set", "radii", "plan", "seed", "version")
"""The order in which differences are told."""


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What each name stands for in the run and in its questions; one value where all that have it agree on one."""
    flat: dict[str, list[Any]] = {"target": [], "data": []}
    for own in (identity, *identity.get("questions", {}).values()):
        for name, value in own.items():
            if name != "questions":
                flat.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in flat.items()}


def _environment(subject: Subject, workers: int) -> dict[str, Any]:
    """Where and with what the run was begun."""
    return {
        "brinell": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": " ".join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": subject.target.describe(),
        "data": subject.examples.source,
        "workers": workers,
    }


def _record(ledger: Ledger, about: Mapping[str, Any], key: str) -> Record:
    return Record(
        ledger.path,
        key,
        about["identity"]["questions"][key],
        noted(about, key),
        ledger.work(key),
        about.get("status", "running"),
        tuple(about.get("accepted", ())),
        partial(ledger.evidence, key),
    )


def _result(about: Mapping[str, Any], answers: Mapping[str, Answer]) -> Result:
    identity = about["identity"]
    return Result(
        status=about.get("status", "running"),
        answers={name: answer.summary for name, answer in answers.items()},
        not_asked=about.get("not_asked", {}),
        seconds=round(about.get("seconds", 0.0), 3),
        scrutiny=round(about.get("scrutiny", 0.0), 3),
        provenance=Provenance(
            **about["environment"],
            target_digest=identity["target"],
            data_digest=identity["data"],
            seed=identity["seed"],
        ),
    )


def _told(finding: Finding) -> str:
    """A finding on one line, in which nothing acts."""
    mark = f"{finding.severity}, accepted" if finding.accepted else finding.severity
    return _inert(f"{mark}: {finding.code}: {finding.message}")


def _inert(text: str) -> str:
    """Other people's words on one line, without a control character."""
    return "".join(c if c.isprintable() else " " for c in text)

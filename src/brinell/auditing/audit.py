"""The audit: one call from a target and examples to a bracket, and back again from the folder it left."""

import contextlib
import hashlib
import platform
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from brinell import __version__
from brinell.arguments import checked
from brinell.auditing import scrutiny
from brinell.auditing import sharpen as sharpening
from brinell.auditing.board import Board
from brinell.auditing.clock import Clock, Stopped
from brinell.auditing.drive import Driver, Progress, Question, one_thread
from brinell.auditing.ledger import FILE, Ledger, write_atomically
from brinell.auditing.plan import Plan, load_plan
from brinell.auditing.preflight import accept as accept_findings
from brinell.auditing.preflight import answers
from brinell.auditing.result import Diagnosis, Finding, Result, summarise
from brinell.auditing.work import Outcome
from brinell.data import Dataset, given
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Bracket, Verdict, Witness
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.targets.generators import generators_kept
from brinell.threat import Access, Targeted, Threat

RESULT = "result.json"

NOT_ASKED = "not asked"
"""What stands in place of an edge that no engine worked on."""


@final
@dataclass(frozen=True)
class Reach:
    """One example: the largest radius certified by a proof, the distance of the nearest witness; None for neither."""

    label: int | None
    certified: float | None
    broken: float | None


@final
class Audit:
    """A finished or partial run: its verdicts, and the brackets they add up to.

    path: the run's folder. result: every figure, as in `result.json`. ids: the examples' row numbers in their source.
    examples: each example's own name, made of its row number, label and values.
    """

    def __init__(
        self,
        path: Path,
        result: Result,
        board: Board,
        ids: Sequence[int],
        examples: Sequence[str],
        labels: Sequence[int | None],
    ) -> None:
        self.path = path
        self._labels = labels
        self.result = result
        self.ids = tuple(ids)
        self.examples = tuple(examples)
        self._board = board

    @classmethod
    @checked()
    def open(cls, path: str | Path) -> "Audit":
        """A run from its folder, as it stands; also one that was killed, or is still running."""
        with Ledger(Path(path), write=False) as ledger:
            return cls._of(ledger)

    @classmethod
    def _of(cls, ledger: Ledger) -> "Audit":
        about = ledger.manifest()
        if "identity" not in about:
            raise CannotRun(f"{ledger.path} holds a run that had not begun; run its command again")
        board = Board(about["n"], Plan.model_validate(about["identity"]["plan"]).soundness)
        for evidence in ledger.evidence(about["question"]):
            board.add(evidence)
        items = ledger.items()
        known = {item.item: item.label for item in items}
        labels = [known.get(item) for item in range(board.n)]
        return cls(ledger.path, summarise(ledger, board, items), board, about["ids"], about["examples"], labels)

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii asked about, ascending."""
        return tuple(r.radius for r in self.result.radii)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the preflight and the diagnosis saw, severe ones first; those that were accepted are marked."""
        return self.result.found

    @property
    def bracket(self) -> Bracket:
        """The bracket at the largest radius asked about."""
        return self.at(self.radii[-1])

    @property
    def verdicts(self) -> list[Verdict]:
        """One verdict an example, at the largest radius asked about."""
        return self._board.verdicts(self.radii[-1])

    @property
    def witnesses(self) -> list[Witness]:
        """The nearest witness of each broken example."""
        return list(self._board.witnesses.values())

    @property
    def reaches(self) -> list[Reach]:
        """What was shown of each example at any radius: up to where it is certified, and from where it is broken."""
        return [
            Reach(label, None if certified < 0 else float(certified), None if np.isinf(broken) else float(broken))
            for label, certified, broken in zip(self._labels, self._board.certified, self._board.distance, strict=True)
        ]

    @checked()
    def at(self, radius: float) -> Bracket:
        """The bracket at any radius: what was shown at others is carried over."""
        return self._board.bracket(radius)

    @checked()
    def verdicts_at(self, radius: float) -> list[Verdict]:
        """One verdict an example, at any radius."""
        return self._board.verdicts(radius)

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
        result = self.result
        partial_run = "" if result.status == "complete" else f"; partial run ({result.status})"
        lines = [f"Audit of {result.n} examples, clean {_percent(result.clean)}{partial_run}"]
        for r in result.radii:
            word = "certified" if r.probable else "proved"
            lower = f"{_percent(r.certified)} {word}" if r.certified_asked else f"{NOT_ASKED} ({word})"
            upper = f"{_percent(r.unbroken)} not yet broken" if r.unbroken_asked else f"{NOT_ASKED} (not yet broken)"
            votes = f", {r.probable} certified by vote" if r.probable else ""
            lines.append(f"  {r.set} {r.label}: [{lower} … {upper}]  {r.counts['open']} open{votes}")
        lines += [f"  {_told(f)}" for f in self.findings if f.severity != "note"]
        lines += [f"  {_inert(note)}" for note in result.notes]
        lines += [] if result.reading is None else [f"  {result.reading}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: the same as a table."""
        heads = ("set", "radius", "certified", "unbroken", "open", "errors")
        rows = [
            (
                r.set,
                r.label,
                _percent(r.certified) if r.certified_asked else NOT_ASKED,
                _percent(r.unbroken) if r.unbroken_asked else NOT_ASKED,
                r.counts["open"],
                r.errors,
            )
            for r in self.result.radii
        ]
        body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        beside = [_told(f) for f in self.findings if f.severity != "note"]
        beside += [_inert(note) for note in self.result.notes]
        beside += [] if self.result.reading is None else [self.result.reading]
        told = f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in beside)}</ul>" if beside else ""
        return (
            f"<table><caption>{self.result.n} examples, clean {_percent(self.result.clean)}, {self.result.status}"
            f"</caption><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{body}</table>{told}"
        )


@checked(but=("data",))
@generators_kept()
def audit(
    target: Target,
    data: Dataset | tuple[Any, Any],
    threat: Threat,
    plan: str | Path | Plan = "standard",
    budget: float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    *,
    radii: Sequence[float] | None = None,
    workers: int | None = None,
    accept: Sequence[str] = (),
    diagnose: bool = True,
    labels: Mapping[float, str] | None = None,
    sources: dict[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Bracket how often `target` can be broken on `data` under `threat`.

    data: (x, y), inputs in the target's box and class indices, or a Dataset. plan: quick, standard, full, a file or a
    Plan. budget: seconds for all of it, None to finish the plan. out: the run's folder, where the same call continues;
    None keeps it for as long as the Audit lives. seed decides every random choice. radii: several in one run, in place
    of the threat's own. workers: None is one a core, or one for an accelerator; figures do not depend on it.
    accept: codes of findings to go on in spite of, such as "zero-gradients". diagnose: whether the attacks are put to
    the test; where not, a note says so, and only probes of the plan can tell that gradients mislead. labels: how radii
    are written, where not by their shortest repr. sources: kept with the run. on_progress is called after every shard.

    A preflight comes first and a diagnosis of the attacks next, once a run: `Audit.findings` has what they saw.
    Ctrl-C ends it early with what was shown so far. Raises UsageError on unfit arguments, Inconclusive on a severe
    finding of the preflight that is not accepted, CannotRun where `out` cannot be written or holds another run,
    Contradiction if a witness meets a certificate.
    """
    if budget is not None and not budget >= 0:
        raise UsageError(f"budget is {budget}; it must be seconds >= 0, or None to finish the plan")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; it must be at least 1, or None for one a core")
    clock = Clock(budget)
    accepted = frozenset((accept,) if isinstance(accept, str) else accept)
    dataset = given(data).meeting(target.classes, target.features, target.box)
    plan = load_plan(plan)
    threat, chosen = _question(target, threat, radii)
    question = Question(threat, chosen)
    dataset = _askable(dataset, threat)
    access, max_access = min(target.access, threat.access), min(target.max_access, threat.access)
    name = threat.set.name
    meant = [stage for stage in plan.stages if not stage.sets or name in stage.sets]
    beyond = {s.label: f"only {access.name} are seen" for s in meant if s.beyond(access, max_access)}
    plan = plan.for_access(access, max_access, name)
    identity = _identity(target, dataset, question, plan, seed)
    count = workers or (torch.get_num_threads() if dataset.x.device.type == "cpu" else 1)
    with contextlib.ExitStack() as undo, clock.listening():
        known = None if out is None else _known(Path(out), identity)
        accepted |= set(() if known is None else known.get("accepted", ()))
        findings = _preflight(target, dataset, threat, clock, accepted, known)
        if out is None:
            folder = tempfile.TemporaryDirectory(prefix="brinell-", ignore_cleanup_errors=True)
            undo.callback(folder.cleanup)
            out = folder.name
        with Ledger(Path(out)) as ledger:
            about = ledger.manifest()
            _check_same_run(about.get("identity"), identity, ledger.path)
            notes = list(about.get("notes", ()))
            left_out = dict(about.get("left_out", beyond))
            begun = {
                "identity": identity,
                "findings": [f.model_dump(mode="json") for f in findings],
                "accepted": sorted(accepted),
                "sources": sources or about.get("sources"),
                "notes": notes,
                "left_out": left_out,
                "labels": about.get("labels", {}) | {repr(r): text for r, text in (labels or {}).items()},
                "status": "running",
            }
            if "identity" not in about:
                begun |= _subject(target, dataset, question)
                begun["environment"] = _environment(target, dataset, count)
            ledger.describe(begun)

            def note(text: str) -> None:
                if text not in notes:
                    notes.append(text)
                    ledger.describe({"notes": notes})

            def leave_out(stage: str, reason: str) -> None:
                if stage not in left_out:
                    left_out[stage] = reason
                    ledger.describe({"left_out": left_out})

            diagnosis: Diagnosis | None = None
            reason = scrutiny.undiagnosed(plan, threat) if diagnose else scrutiny.NOT_WANTED
            if reason is not None:
                note(reason)
            else:
                diagnosis = _diagnosis(target, dataset, threat, clock, findings, accepted, about, seed)
                ledger.describe({"diagnosis": diagnosis and diagnosis.model_dump(mode="json")})
            codes = about.get("codes", _codes(findings, diagnosis))  # what stages have waited for stays as it was
            ledger.describe({"codes": codes, "scrutiny": about.get("scrutiny", 0.0) + clock.elapsed})
            driver = Driver(
                target.watched(clock.checkpoint),
                dataset,
                question,
                plan,
                ledger,
                seed=seed,
                workers=count,
                clock=clock,
                findings=codes,
                on_progress=on_progress,
                on_note=note,
                on_left_out=leave_out,
            )
            status = "running"
            try:
                status = driver.run()
                if status == "complete":
                    status = _sharpen(ledger, target, dataset, threat, clock, seed)
            finally:
                ended = {"status": status, "seconds": about.get("seconds", 0.0) + clock.elapsed}
                ledger.describe(ended | {"dropped": _added(about.get("dropped", {}), driver.dropped)})
            done = Audit._of(ledger)
            write_atomically(done.path / RESULT, done.result.to_json().encode())
        weakref.finalize(done, undo.pop_all().close)  # a folder of our own lives as long as the Audit
        return done


def _codes(findings: Sequence[Finding], diagnosis: Diagnosis | None) -> tuple[str, ...]:
    """What preflight and diagnosis found, by code."""
    return tuple(f.code for f in (*findings, *(() if diagnosis is None else diagnosis.findings)))


def _sharpen(ledger: Ledger, target: Target, data: Dataset, threat: Threat, clock: Clock, seed: int) -> str:
    """Once a run, when its stages have ended: nearer witnesses of the most fragile examples. Returns how it ended."""
    about = ledger.manifest()
    if sharpening.SHARD in about:
        return "complete"
    witnesses = sharpening.chosen(list(Audit._of(ledger)._board.witnesses.values()))
    held = {name: ledger.tensors(name)["x"] for name in {str(w.artifact) for w in witnesses}}
    points = torch.stack([held[str(w.artifact)][w.row] for w in witnesses]) if witnesses else data.x[:0]
    watched = target.watched(clock.checkpoint)

    def work() -> Outcome:
        with one_thread():
            return sharpening.sharpen(watched, data, threat, witnesses, points, seed, clock.checkpoint)

    try:
        found = clock.watch(work)
    except Stopped as stopped:
        return (
            "complete" if stopped.reason == "budget" else stopped.reason
        )  # the plan is; the next call makes up for it
    ledger.add(about["question"], sharpening.SHARD, found.evidence, found.tensors, {sharpening.SHARD: True})
    return "complete"


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


def _preflight(
    target: Target,
    data: Dataset,
    threat: Threat,
    clock: Clock,
    accepted: frozenset[str],
    known: dict[str, Any] | None,
) -> list[Finding]:
    """The findings on record, where a run has all of them; else those of a preflight."""
    recorded = [] if known is None else [Finding.model_validate(f) for f in known["findings"]]
    if known is not None and scrutiny.complete(recorded):
        return accept_findings(recorded, accepted)
    return scrutiny.preflight(target, data, threat, clock, accepted, partial(_check, data=data, threat=threat))


def _diagnosis(
    target: Target,
    data: Dataset,
    threat: Threat,
    clock: Clock,
    findings: Sequence[Finding],
    accepted: frozenset[str],
    about: dict[str, Any],
    seed: int,
) -> Diagnosis | None:
    """The diagnosis on record, where it came to its end; else a new one, or what there was time for."""
    recorded = Diagnosis.model_validate(about["diagnosis"]) if about.get("diagnosis") else None
    if recorded is not None and not recorded.left:
        return scrutiny.marked(recorded, accepted)
    new = scrutiny.diagnosis(target, data, threat, clock, findings, accepted, seed)
    if new is None or (recorded is not None and len(recorded.checks) > len(new.checks)):
        return recorded
    return new


def _identity(target: Target, data: Dataset, question: Question, plan: Plan, seed: int) -> dict[str, Any]:
    """What makes a run this run: it is taken up again only where all of it is the same."""
    threat = question.threat
    return {
        "target": target.digest,
        "data": data.digest,
        "threat": f"{question.key}, box [{target.box.low}, {target.box.high}], {threat.access.name}, "
        f"queries {threat.queries or 'unlimited'}",
        "set": threat.set.name + threat.set.about,
        "radii": list(question.radii),
        "plan": plan.model_dump(mode="json"),
        "seed": seed,
        "version": __version__,
    }


def _subject(target: Target, data: Dataset, question: Question) -> dict[str, Any]:
    """What the examples are and what they were asked, for those who read the run later."""
    return {
        "goal": question.threat.goal.label,
        "classes": target.classes or data.classes,
        "features": data.features,
        "box": [target.box.low, target.box.high],
        "question": question.key,
        "n": len(data),
        "ids": data.ids.tolist(),
        "examples": _names(data),
    }


def _environment(target: Target, data: Dataset, workers: int) -> dict[str, Any]:
    """Where and with what the run was begun."""
    return {
        "brinell": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": " ".join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": target.describe(),
        "data": data.source,
        "workers": workers,
    }


def _question(target: Target, threat: Threat, radii: Sequence[float] | None) -> tuple[Threat, tuple[float, ...]]:
    chosen = tuple(sorted({float(r) for r in radii})) if radii is not None else (threat.set.radius,)
    if not chosen:
        raise UsageError("radii is empty; give at least one")
    if not all(0 <= r < float("inf") for r in chosen):
        raise UsageError(f"radii are {chosen}; an audit needs finite radii >= 0")
    return threat.at(chosen[-1]).within(target.box), chosen


def _askable(data: Dataset, threat: Threat) -> Dataset:
    """Without the examples that carry the very class an adversary is to reach."""
    if not isinstance(threat.goal, Targeted):
        return data
    keep = data.y != threat.goal.target
    if not keep.any():
        raise UsageError(f"every example is labelled {threat.goal.target}, the class to be reached; give others")
    return replace(data, x=data.x[keep], y=data.y[keep], ids=data.ids[keep])


def _check(target: Target, data: Dataset, threat: Threat) -> None:
    """Refuse unfit examples, and a goal that does not fit them, in front of the first example that the target answers.

    Where it answers for none, they are asked all the same: each becomes an error.
    """
    first = next((row for row in range(len(data)) if answers(target, data.x[row : row + 1])), None)
    if first is None:
        return
    x, y = (data.x, data.y) if first == 0 else (data.x.roll(-first, 0), data.y.roll(-first))
    check_examples(target, x, y, threat)
    seen = min(target.access, threat.access) >= Access.SCORES
    threat.goal.aims(y[:1], target.scores(x[:1]) if seen else None)


def _names(data: Dataset) -> list[str]:
    """What two runs are paired by."""
    names = []
    for row, y, x in zip(data.ids.tolist(), data.y.tolist(), data.x.numpy(), strict=True):
        digest = hashlib.sha256(f"{y} {x.dtype} {x.shape} ".encode() + x.tobytes()).hexdigest()
        names.append(f"{row}:{digest[:16]}")
    return names


def _check_same_run(before: dict[str, Any] | None, now: dict[str, Any], path: Path) -> None:
    if before is None or before == now:
        return
    differing = [key for key in now if before.get(key) != now[key]]
    first = differing[0]
    was, is_ = (str(side.get(first)) for side in (before, now))
    raise CannotRun(
        f"{path} holds another run: its {' and '.join(differing)} differ"
        + (f" ({first} was {was[:60]}, is {is_[:60]})" if first != "plan" else "")
        + "; choose another --out, or remove the folder to start again"
    )


def _told(finding: Finding) -> str:
    """A finding on one line, in which nothing acts."""
    mark = f"{finding.severity}, accepted" if finding.accepted else finding.severity
    return _inert(f"{mark}: {finding.code}: {finding.message}")


def _inert(text: str) -> str:
    """Other people's words on one line, without a control character."""
    return "".join(c if c.isprintable() else " " for c in text)


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"

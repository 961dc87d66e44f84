"""The audit: one call from a target and examples to a bracket, and back again from the folder it left."""

import contextlib
import hashlib
import platform
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from brinell import __version__
from brinell.arguments import checked
from brinell.auditing.board import Board
from brinell.auditing.clock import Clock
from brinell.auditing.drive import Driver, Progress, Question
from brinell.auditing.ledger import FILE, Ledger, write_atomically
from brinell.auditing.plan import Plan, load_plan
from brinell.auditing.preflight import answers
from brinell.auditing.result import Diagnosis, Finding, Result, summarise
from brinell.data import Dataset, given
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Bracket, Verdict, Witness
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.targets.generators import generators_kept
from brinell.threat import Access, Targeted, Threat

RESULT = "result.json"


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
        lines = [f"Audit of {self.result.n} examples, clean {_percent(self.result.clean)}"]
        lines += [
            f"  {r.set} {r.radius:g}: [{_percent(r.certified)} {'certified' if r.probable else 'proved'} … "
            f"{_percent(r.unbroken)} not yet broken]  {r.counts['open']} open"
            + (f", {r.probable} certified by vote" if r.probable else "")
            for r in self.result.radii
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: the same as a table."""
        heads = ("set", "radius", "certified", "unbroken", "open", "errors")
        rows = [
            (r.set, f"{r.radius:g}", _percent(r.certified), _percent(r.unbroken), r.counts["open"], r.errors)
            for r in self.result.radii
        ]
        body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
        return (
            f"<table><caption>{self.result.n} examples, clean {_percent(self.result.clean)}, {self.result.status}"
            f"</caption><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{body}</table>"
        )


def diagnosed(path: str | Path) -> bool:
    """Whether there is a run at this path that has been given its diagnosis: going on with it needs no other."""
    if not (Path(path) / FILE).is_file():
        return False
    with Ledger(Path(path), write=False) as ledger:
        return ledger.manifest().get("diagnosis") is not None


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
    findings: Sequence[Finding] = (),
    diagnosis: Diagnosis | None = None,
    sources: dict[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Bracket how often `target` can be broken on `data` under `threat`.

    data: (x, y), inputs in the target's box and class indices, or a Dataset. plan: quick, standard, full, a file or a
    Plan. budget: seconds to search for, None to finish the plan. out: the run's folder, where the same call continues;
    None keeps it for as long as the Audit lives. seed decides every random choice. radii: several in one run, in place
    of the threat's own. workers: None is one a core, or one for an accelerator; figures do not depend on it.
    findings, diagnosis, sources: kept with the run. on_progress is called after every shard.

    Ctrl-C ends it early with what was shown so far. Raises UsageError on unfit arguments, CannotRun where `out` cannot
    be written or holds another run, Contradiction if a witness meets a certificate.
    """
    if budget is not None and not budget >= 0:
        raise UsageError(f"budget is {budget}; it must be seconds >= 0, or None to finish the plan")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; it must be at least 1, or None for one a core")
    clock = Clock(budget)
    dataset = given(data).meeting(target.classes, target.features, target.box)
    plan = load_plan(plan)
    threat, chosen = _question(target, threat, radii)
    question = Question(threat, chosen)
    dataset = _askable(dataset, threat)
    _check(target, dataset, threat)
    access, sight = min(target.access, threat.access), min(target.sight, threat.access)
    beyond = [f"{s.label} left out: only {access.name} are seen" for s in plan.stages if s.beyond(access, sight)]
    plan = plan.for_access(access, sight)
    identity = _identity(target, dataset, question, plan, seed)
    count = workers or (torch.get_num_threads() if dataset.x.device.type == "cpu" else 1)
    with contextlib.ExitStack() as undo:
        if out is None:
            folder = tempfile.TemporaryDirectory(prefix="brinell-", ignore_cleanup_errors=True)
            undo.callback(folder.cleanup)
            out = folder.name
        with clock.listening(), Ledger(Path(out)) as ledger:
            about = ledger.manifest()
            _check_same_run(about.get("identity"), identity, ledger.path)
            notes = list(about.get("notes", beyond))
            begun = {
                "identity": identity,
                "findings": [f.model_dump(mode="json") for f in findings],
                "diagnosis": about.get("diagnosis") if diagnosis is None else diagnosis.model_dump(mode="json"),
                "sources": sources or about.get("sources"),
                "notes": notes,
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

            driver = Driver(
                target,
                dataset,
                question,
                plan,
                ledger,
                seed=seed,
                workers=count,
                clock=clock,
                on_progress=on_progress,
                on_note=note,
            )
            status = "running"
            try:
                status = driver.run()
            finally:
                ledger.describe({"status": status, "seconds": about.get("seconds", 0.0) + clock.elapsed})
            done = Audit._of(ledger)
            write_atomically(done.path / RESULT, done.result.to_json().encode())
        weakref.finalize(done, undo.pop_all().close)  # a folder of our own lives as long as the Audit
        return done


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


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"

"""The audit: one call from a target and examples to a bracket, and back again from the folder it left."""

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import torch

from brinell import __version__
from brinell.auditing.board import Board
from brinell.auditing.clock import Clock
from brinell.auditing.drive import Driver, Progress, Question
from brinell.auditing.ledger import Ledger, write_atomically
from brinell.auditing.plan import Plan, load_plan
from brinell.auditing.result import Finding, Result, summarise
from brinell.data import Dataset
from brinell.errors import CannotRun, UsageError
from brinell.evidence import Bracket, Verdict
from brinell.targets import Target
from brinell.targets.examples import check_examples
from brinell.threat import Targeted, Threat

RESULT = "result.json"


@final
class Audit:
    """A finished or partial run: its verdicts, and the brackets they add up to.

    path: the run's folder. result: every figure, as in `result.json`. ids: the examples' row numbers in their source.
    """

    def __init__(self, path: Path, result: Result, board: Board, ids: Sequence[int], *, keep: object = None) -> None:
        self.path = path
        self.result = result
        self.ids = tuple(ids)
        self._board = board
        self._keep = keep  # a temporary folder lives as long as this

    @classmethod
    def open(cls, path: str | Path) -> "Audit":
        """A run from its folder, as it stands; also one that was killed, or is still running."""
        with Ledger(Path(path), write=False) as ledger:
            board = _replay(ledger)
            return cls(Path(path), summarise(ledger, board), board, ledger.manifest()["ids"])

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

    def at(self, radius: float) -> Bracket:
        """The bracket at any radius: what was shown at others is carried over."""
        return self._board.bracket(radius)

    def verdicts_at(self, radius: float) -> list[Verdict]:
        """One verdict an example, at any radius."""
        return self._board.verdicts(radius)

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
            f"  {r.set} {r.radius:g}: [{_percent(r.certified)} proved … {_percent(r.unbroken)} not yet broken]  "
            f"{r.counts['open']} open"
            for r in self.result.radii
        ]
        return "\n".join(lines)


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
    sources: dict[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Audit:
    """Bracket how often `target` can be broken on `data` under `threat`.

    data: (x, y), inputs in the target's box and class indices, or a Dataset. plan: quick, standard, full, a file or a
    Plan. budget: seconds to search for, None to finish the plan. out: the run's folder, where the same call continues;
    None keeps it for as long as the Audit lives. seed decides every random choice. radii: several in one run, in place
    of the threat's own. workers: None is one a core, or one for an accelerator; figures do not depend on it.
    findings, sources: kept with the run. on_progress is called after every shard.

    Ctrl-C ends it early with what was shown so far. Raises UsageError on unfit arguments, CannotRun where `out` cannot
    be written or holds another run, Contradiction if a witness meets a certificate.
    """
    clock = Clock(budget)
    dataset = (data if isinstance(data, Dataset) else Dataset.of(*data)).named(target.classes)
    plan = load_plan(plan)
    threat, chosen = _question(target, dataset, threat, radii)
    question = Question(threat, chosen)
    dataset = _askable(dataset, threat)
    check_examples(target, dataset.x, dataset.y, threat.at(max(chosen)))
    plan = plan.for_access(min(target.access, threat.access))
    identity = {
        "target": target.digest,
        "data": dataset.digest,
        "threat": f"{question.key}, box [{target.box.low}, {target.box.high}], {threat.access.name}, "
        f"queries {threat.queries or 'unlimited'}",
        "set": threat.set.name,
        "radii": list(chosen),
        "plan": plan.model_dump(mode="json"),
        "seed": seed,
        "version": __version__,
    }
    keep = tempfile.TemporaryDirectory(prefix="brinell-") if out is None else None
    path = Path(keep.name if keep else str(out))
    count = workers or (torch.get_num_threads() if dataset.x.device.type == "cpu" else 1)
    with Ledger(path) as ledger:
        about = ledger.manifest()
        _check_same_run(about.get("identity"), identity, path)
        notes = list(about.get("notes", []))
        ledger.describe(
            {
                "identity": identity,
                "goal": threat.goal.label,
                "classes": target.classes or dataset.classes,
                "features": dataset.features,
                "box": [target.box.low, target.box.high],
                "question": question.key,
                "n": len(dataset.y),
                "ids": dataset.ids.tolist(),
                "findings": [f.model_dump(mode="json") for f in findings],
                "sources": sources or about.get("sources"),
                "notes": notes,
                "status": "running",
                "environment": about.get("environment")
                or {
                    "brinell": __version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                    "platform": platform.platform(),
                    "command": " ".join(sys.argv),
                    "started": datetime.now(UTC).isoformat(timespec="seconds"),
                    "target": target.describe(),
                    "data": dataset.source,
                    "workers": count,
                },
            }
        )
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
            on_note=lambda note: notes.append(note) if note not in notes else None,
        )
        before = about.get("seconds", 0.0)
        try:
            status = driver.run()
        finally:
            ledger.describe({"notes": notes, "seconds": before + clock.elapsed})
        ledger.describe({"status": status})
        result = summarise(ledger, driver.board)
    write_atomically(path / RESULT, result.to_json().encode())
    return Audit(path, result, driver.board, dataset.ids.tolist(), keep=keep)


def _question(
    target: Target, data: Dataset, threat: Threat, radii: Sequence[float] | None
) -> tuple[Threat, tuple[float, ...]]:
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


def _replay(ledger: Ledger) -> Board:
    about = ledger.manifest()
    if "identity" not in about:
        raise CannotRun(f"{ledger.path} holds a run that had not begun; run its command again")
    board = Board(about["n"])
    for evidence in ledger.evidence(about["question"]):
        board.add(evidence)
    return board


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"

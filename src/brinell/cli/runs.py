"""What the commands that make a run have in common: sources, the audit, its page."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from brinell.cli.leave import INTERRUPTED, fail
from brinell.cli.options import RunOptions, Sample, SubjectOptions, ThreatOptions
from brinell.cli.words import known_codes
from brinell.errors import UsageError

if TYPE_CHECKING:
    from brinell import Audit
    from brinell.auditing import Plan
    from brinell.cli.sources import Sources
    from brinell.data import Dataset
    from brinell.targets import Target


def sources_of(
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions | None = None,
    access: str = "weights",
    queries: int | None = None,
) -> "Sources":
    """What the options name. threat: None for commands that ask about no set.

    Raises UsageError where there is no model, no data or no set.
    """
    from brinell.cli.sources import DIGITS, absolute

    if subject.model is None:
        raise UsageError("MODEL is missing: give a model, or name one in brinell.toml, which brinell init writes")
    if subject.data is None and subject.model != DIGITS:
        raise UsageError("DATA is missing: give labelled examples, e.g. images/ or test.npz")
    return common_sources(
        absolute(subject.model), subject.data or DIGITS, sample, threat, access, queries, weights=subject.weights
    )


def common_sources(
    model: str,
    data: str,
    sample: Sample,
    threat: ThreatOptions | None,
    access: str,
    queries: int | None = None,
    weights: str | None = None,
) -> "Sources":
    """The same of words that are there."""
    from brinell.cli.sources import Sources, absolute, absolute_set, default_set

    set_ = "linf:0" if threat is None else threat.set_ or default_set(model)
    return Sources(
        model=model,
        data=absolute(data),
        set=absolute_set(set_),
        weights=None if weights is None else absolute(weights),
        goal="untargeted" if threat is None else threat.goal,
        access=access,
        queries=queries,
        **asdict(sample),
    )


def check_place(path: Path, option: str) -> None:
    """Refuse, before any work, a file that could not be written in the end."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {str(path)!r} lies in a folder that is not there; make {path.parent} first")


def demanding(plan: "Plan", soundness: str | None) -> "Plan":
    """The plan, where a level is asked for with that one."""
    return plan if soundness is None else plan.demanding(soundness)


def dry_run(sources: "Sources", plan: "Plan", as_json: bool) -> None:
    """Print the stages that would run, and what they cost."""
    from rich.console import Console

    from brinell.cli.show import plan_table

    set_, radii = sources.sets()
    examples, target = sources.load()
    if as_json:
        typer.echo(plan.for_access(target.access, target.max_access).model_dump_json(indent=2))
    else:
        Console().print(plan_table(plan, target, examples, set_, radii))


def run_audit(
    sources: "Sources",
    plan: "Plan | Mapping[str, Plan]",
    seconds: float | None,
    options: RunOptions,
    ask: Sequence[str] = ("evasion",),
) -> "Audit":
    """An audit to its end, or to an interruption: that one is told once its page is written.

    plan: for all questions, or one a question. ask: questions, by name.
    """
    from brinell import Calibration, Evasion, Subject
    from brinell import audit as run
    from brinell.cli.progress import Bar
    from brinell.threat import Threat

    start = time.monotonic()
    accepted = known_codes(options.accept or [])
    set_, radii = sources.sets()
    threat = Threat(set_, sources.goals(), queries=sources.queries)
    examples, target = sources.load()
    out = options.out or _folder(sources, target, examples, plan, ask)

    left = None
    if seconds is not None:
        left = max(0.0, seconds - _REPORTING * min(1.0, seconds / 60) - (time.monotonic() - start))

    questions = {"evasion": Evasion(threat, radii, sources.labels()), "calibration": Calibration()}
    with Bar() as bar:
        return run(
            Subject(target, examples),
            [questions[name] for name in ask],
            plan=plan,
            budget=left,
            out=out,
            seed=sources.seed,
            workers=options.workers,
            accept=accepted,
            sources=sources.model_dump(mode="json"),
            on_progress=bar.step,
        )


_REPORTING = 3.0
"""Seconds kept of a budget of a minute or more, for writing the page."""


def _folder(
    sources: "Sources", target: "Target", data: "Dataset", plan: "Plan | Mapping[str, Plan]", ask: Sequence[str]
) -> Path:
    """runs/MODEL-DATA-DIGEST: the same command finds its own run again, any other gets a folder of its own."""
    import hashlib

    names = "-".join(Path(name.rpartition(":")[0] or name).stem for name in (sources.model, sources.data))
    plans = [one.model_dump_json() for one in (plan.values() if isinstance(plan, Mapping) else [plan])]
    identity = " ".join([sources.model_dump_json(), *plans, target.digest, data.digest, *ask])
    return Path("runs") / f"{names}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def end(run: "Audit", as_json: bool) -> None:
    """The page and the table of a run that was just made, and its exit code where it was interrupted."""
    show(run, as_json, run.path / "report.html")
    if run.result.status == "interrupted":
        fail(f"interrupted; continue with: brinell resume {run.path}", INTERRUPTED)


def show(result: "Audit", as_json: bool, page: Path) -> None:
    """Write the page of a run, and print its table."""
    from rich.console import Console

    from brinell.report import table, write_report

    write_report(result, page)
    if as_json:
        typer.echo(result.result.to_json(), nl=False)
    else:
        console = Console(markup=False, highlight=False)
        console.print(table(result))
        console.print(f"page: {page}", soft_wrap=True)

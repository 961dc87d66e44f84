"""What the commands that make a run have in common: sources, the audit, its page."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from brinell.cli.leave import INTERRUPTED, fail
from brinell.errors import UsageError

if TYPE_CHECKING:
    from brinell.auditing import Audit, Plan
    from brinell.cli.sources import Sources
    from brinell.data import Dataset
    from brinell.targets import Target


def sources_of(
    model: str,
    data: str | None,
    set_: str | None,
    weights: str | None,
    label: str | None,
    box: str | None,
    mean: str | None,
    std: str | None,
    n: int | None,
    balanced: bool,
    goal: str,
    access: str,
    queries: int | None,
    seed: int,
) -> "Sources":
    from brinell.cli.sources import DIGITS, Sources, absolute, absolute_set, default_set

    if data is None and model != DIGITS:
        raise UsageError("DATA is missing: give labelled examples, e.g. images/ or test.npz")
    return Sources(
        model=absolute(model),
        data=absolute(data or DIGITS),
        set=absolute_set(set_ or default_set(model)),
        weights=None if weights is None else absolute(weights),
        label=label,
        box=box,
        mean=mean,
        std=std,
        n=n,
        balanced=balanced,
        goal=goal,
        access=access,
        queries=queries,
        seed=seed,
    )


def check_place(path: Path, option: str) -> None:
    """Refuse, before any work, a file that could not be written in the end."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {str(path)!r} lies in a folder that is not there; make {path.parent} first")


def demanding(plan: "Plan", soundness: str | None) -> "Plan":
    """The plan, where a level is asked for with that one."""
    return plan if soundness is None else plan.demanding(soundness)


def dry_run(sources: "Sources", plan: "Plan", as_json: bool) -> None:
    from brinell.cli.show import plan_table

    set_, radii = sources.sets()
    examples, target = sources.load()
    if as_json:
        typer.echo(plan.for_access(target.access, target.max_access).model_dump_json(indent=2))
    else:
        Console().print(plan_table(plan, target, examples, set_, radii))


def run_audit(
    sources: "Sources",
    plan: "Plan",
    seconds: float | None,
    accepted: list[str],
    workers: int | None,
    out: Path | None,
) -> "Audit":
    """An audit to its end, or to an interruption: that one is told once its page is written."""
    from brinell.auditing import audit as run
    from brinell.cli.progress import Bar
    from brinell.threat import Threat

    start = time.monotonic()
    set_, radii = sources.sets()
    threat = Threat(set_, sources.goals(), queries=sources.queries)
    examples, target = sources.load()
    out = out or _folder(sources, target, examples, plan)
    left = None
    if seconds is not None:
        left = max(0.0, seconds - _REPORTING * min(1.0, seconds / 60) - (time.monotonic() - start))
    with Bar(sources.labels()) as bar:
        return run(
            target,
            examples,
            threat,
            plan,
            left,
            out,
            sources.seed,
            radii=radii,
            workers=workers,
            accept=accepted,
            labels=sources.labels(),
            sources=sources.model_dump(mode="json"),
            on_progress=bar.step,
        )


_REPORTING = 3.0
"""Seconds kept of a budget of a minute or more, for writing the page."""


def _folder(sources: "Sources", target: "Target", data: "Dataset", plan: "Plan") -> Path:
    """runs/MODEL-DATA-DIGEST: the same command finds its own run again, any other gets a folder of its own."""
    import hashlib

    names = "-".join(Path(name.rpartition(":")[0] or name).stem for name in (sources.model, sources.data))
    identity = f"{sources.model_dump_json()} {plan.model_dump_json()} {target.digest} {data.digest}"
    return Path("runs") / f"{names}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def end(run: "Audit", as_json: bool) -> None:
    """The page and the table of a run that was just made, and its exit code where it was interrupted."""
    show(run, as_json, run.path / "report.html")
    if run.result.status == "interrupted":
        fail(f"interrupted; continue with: brinell resume {run.path}", INTERRUPTED)


def show(result: "Audit", as_json: bool, page: Path) -> None:
    from brinell.report import table, write_report

    write_report(result, page)
    if as_json:
        typer.echo(result.result.to_json(), nl=False)
    else:
        console = Console(markup=False, highlight=False)
        console.print(table(result.result))
        console.print(f"page: {page}", soft_wrap=True)

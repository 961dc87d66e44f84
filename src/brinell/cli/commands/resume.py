"""`brinell resume`."""

from brinell.cli.options import AsJson, Budget, Run, RunOptions, Workers
from brinell.cli.runs import end, run_audit
from brinell.cli.words import budget_of
from brinell.errors import CannotRun, UsageError


def resume(run: Run, budget: Budget = None, workers: Workers = None, as_json: AsJson = False) -> None:
    """Continue a run that was stopped or killed.

    brinell resume runs/net --budget 5m
    """
    from brinell.auditing import Ledger, Plan
    from brinell.cli.sources import Sources

    with Ledger(run, write=False) as ledger:
        about = ledger.manifest()
    if "identity" not in about:
        raise CannotRun(f"{run} holds a run that had not begun; give its command again")
    if not about["sources"]:
        raise UsageError(f"{run} was started from Python; call brinell.audit again with out={str(run)!r}")

    names: dict[str, str] = about["asked"]
    plans = {names[key]: Plan.model_validate(own["plan"]) for key, own in about["identity"]["questions"].items()}
    sources = Sources.model_validate(about["sources"])
    options = RunOptions(workers=workers, out=run)
    end(run_audit(sources, plans, budget_of(budget), options, [*names.values(), *about["not_asked"]]), as_json)

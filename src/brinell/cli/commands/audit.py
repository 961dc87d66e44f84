"""`brinell audit`."""

from typing import Annotated

import typer

from brinell.cli.options import (
    SEARCH,
    AccessName,
    AsJson,
    Ask,
    Budget,
    Configured,
    PlanName,
    Queries,
    RunOptions,
    Sample,
    Soundness,
    SubjectOptions,
    ThreatOptions,
)
from brinell.cli.runs import demanding, end, run_audit, sources_of
from brinell.cli.runs import dry_run as show_plan
from brinell.cli.words import asked, budget_of


def audit(
    configured: Configured,
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions,
    run: RunOptions,
    access: AccessName = "weights",
    queries: Queries = None,
    ask: Ask = "evasion,calibration",
    plan: PlanName = "standard",
    soundness: Soundness = None,
    budget: Budget = None,
    as_json: AsJson = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and its cost, and run nothing.", rich_help_panel=SEARCH)
    ] = False,
) -> None:
    """Bracket how often a model can be broken; write a page.

    brinell audit digits
    brinell audit net.onnx test.npz --set linf:2/255,8/255 --n 300
    brinell audit net.py:build images/ --weights net.safetensors --set l2:0.5
    """
    from brinell.questions.evasion.plans import load_plan

    sources = sources_of(subject, sample, threat, access, queries)
    stages = demanding(load_plan(plan), soundness)
    if dry_run:
        show_plan(sources, stages, as_json)
    else:
        end(run_audit(sources, stages, budget_of(budget), run, asked(ask)), as_json)

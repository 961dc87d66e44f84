"""`brinell check`."""

import json

import typer

from brinell.cli.options import AccessName, AsJson, Configured, PlanName, Sample, SubjectOptions, ThreatOptions
from brinell.cli.runs import sources_of


def check(
    configured: Configured,
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions,
    access: AccessName = "weights",
    plan: PlanName = "standard",
    as_json: AsJson = False,
) -> None:
    """Find what would make an audit worthless, and what it would cost.

    Ends with exit code 4 on a severe finding.

    brinell check net.onnx test.npz
    """
    from rich.console import Console

    from brinell.cli.show import findings_table, plan_table
    from brinell.questions.evasion import check as preflight
    from brinell.questions.evasion.plans import load_plan

    sources = sources_of(subject, sample, None if threat.set_ is None else threat, access)
    stages, (sets, radii) = load_plan(plan), sources.sets()
    examples, target = sources.load()
    findings = preflight(target, examples)

    if as_json:
        typer.echo(json.dumps([f.model_dump() for f in findings], indent=2))
    else:
        console = Console(markup=False, highlight=False)
        console.print(f"{target.describe()}; {len(examples)} examples from {examples.source}")
        console.print(findings_table(findings))
        if not any(f.code == "raises" and f.severity == "severe" for f in findings):
            console.print(plan_table(stages, target, examples, sets, radii))
    if any(f.severity == "severe" for f in findings):
        raise typer.Exit(4)

"""`brinell diagnose`."""

import typer

from brinell.cli.options import AccessName, AsJson, Configured, Sample, SubjectOptions, ThreatOptions
from brinell.cli.runs import sources_of


def diagnose(
    configured: Configured,
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions,
    access: AccessName = "weights",
    as_json: AsJson = False,
) -> None:
    """Ask whether attacks can see, or gradients are only hidden.

    Ends with exit code 4 on a severe finding.

    brinell diagnose digits --set linf:0.1
    """
    from rich.console import Console

    from brinell import diagnose as put_to_the_test
    from brinell.cli.show import diagnosis_table
    from brinell.threat import Threat

    sources = sources_of(subject, sample, threat, access)
    set_of, radii = sources.sets()
    examples, target = sources.load()
    diagnosis = put_to_the_test(target, examples, Threat(set_of, sources.goals()), seed=sources.seed)

    if as_json:
        typer.echo(diagnosis.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(diagnosis_table(diagnosis, sources.labels()[radii[-1]]))
    if not diagnosis.believed:
        raise typer.Exit(4)

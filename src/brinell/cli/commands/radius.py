"""`brinell radius`."""

from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.options import (
    OUTPUT,
    AsJson,
    Budget,
    Configured,
    RunOptions,
    Sample,
    Soundness,
    SubjectOptions,
    ThreatOptions,
)
from brinell.cli.runs import check_place, demanding, end, run_audit, sources_of
from brinell.cli.words import budget_of
from brinell.errors import UsageError


def radius(
    configured: Configured,
    subject: SubjectOptions,
    sample: Sample,
    threat: ThreatOptions,
    run: RunOptions,
    soundness: Soundness = None,
    budget: Budget = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Write one line an example to this .csv file.",
            rich_help_panel=OUTPUT,
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the radius to which each example is proved, or breaks.

    The radii of --set are those of the page; they limit nothing.

    brinell radius digits --n 20 --save radii.csv
    """
    from rich.console import Console

    from brinell.cli.show import radius_table
    from brinell.cli.spreadsheet import write_radii
    from brinell.questions.evasion.plans import load_plan

    if save is not None and save.suffix != ".csv":
        raise UsageError(f"--save {str(save)!r} is no .csv file; name it so")
    if save is not None:
        check_place(save, "--save")
    sources = sources_of(subject, sample, threat)
    done = run_audit(sources, demanding(load_plan("radius"), soundness), budget_of(budget), run)

    if save is not None:
        write_radii(save, done)
    if not as_json:
        Console(markup=False, highlight=False).print(radius_table(done))
    end(done, as_json)

"""`brinell gate`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.options import REQUIRED, AsJson, Configured
from brinell.errors import UsageError

Requirements = Annotated[
    list[str] | None,
    typer.Option(
        help="[QUESTION.]FIGURE[@CONDITION]>=VALUE, e.g. 'certified@0.1>=0.4'. May be repeated.",
        rich_help_panel=REQUIRED,
        show_default=False,
        metavar="TEXT",
    ),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        help="A run that this one must not be significantly worse than.",
        rich_help_panel=REQUIRED,
        show_default=False,
        metavar="RUN",
    ),
]


def gate(
    configured: Configured,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="The folder of a run; unless given, the out of brinell.toml.", show_default=False
        ),
    ] = None,
    require: Requirements = None,
    baseline: Baseline = None,
    as_json: AsJson = False,
) -> None:
    """Pass, fail, or say that the sample does not decide.

    A figure that the run does not have fails.

    brinell gate runs/net --require 'clean>=0.9' --require 'unbroken@8/255>=0.4'
    """
    from rich.console import Console

    from brinell import Audit
    from brinell.auditing import Requirement
    from brinell.auditing import gate as decide
    from brinell.auditing.gate import Outcome, worst
    from brinell.cli.show import rulings_table

    if run is None:
        raise UsageError("RUN is missing: give the folder of a run, or out in brinell.toml, which audit writes to")
    requirements = [Requirement.parse(text) for text in require or []]
    rulings = decide(Audit.open(run), requirements, None if baseline is None else Audit.open(baseline))
    if as_json:
        typer.echo(json.dumps([asdict(r) for r in rulings], indent=2))
    else:
        Console().print(rulings_table(rulings))
    raise typer.Exit({Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 4}[worst(rulings)])

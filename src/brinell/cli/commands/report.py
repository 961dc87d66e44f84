"""`brinell report`."""

from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.options import OUTPUT, AsJson, Run
from brinell.cli.runs import show


def report(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where to write; report.html in the run unless given.",
            rich_help_panel=OUTPUT,
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the page of a run, and print its table.

    brinell report runs/net -o net.html
    """
    from brinell import Audit

    show(Audit.open(run), as_json, out or run / "report.html")

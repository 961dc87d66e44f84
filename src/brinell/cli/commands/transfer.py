"""`brinell transfer`."""

from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.options import OUTPUT, SUBJECT, AccessName, AsJson, Sample, ThreatOptions
from brinell.cli.runs import common_sources


def transfer(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... DATA", help="Two models or more, each MODEL or NAME=MODEL, then the examples."
        ),
    ],
    sample: Sample,
    threat: ThreatOptions,
    access: AccessName = "weights",
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE: weights for the factory of that model. May be repeated.",
            rich_help_panel=SUBJECT,
            show_default=False,
            metavar="NAME=FILE",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw a heat map: .png or .svg.", rich_help_panel=OUTPUT, metavar="FILE", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Craft examples on each of several models, try them on all.

    brinell transfer net.pt2 svm.skops test.npz --set linf:0.1 --picture who.svg
    """
    from rich.console import Console

    from brinell.cli.transfer import named, transfer_table, weights_of
    from brinell.cli.transfer import transfer as fools
    from brinell.report.heat import check_picture

    *things, data = models
    if picture is not None:
        check_picture(picture)
    chosen = named(things)
    files = weights_of(chosen, weights or [])
    figures = fools(chosen, files, common_sources("", data, sample, threat, access), picture)

    if as_json:
        typer.echo(figures.model_dump_json(indent=2))
    else:
        Console(markup=False, highlight=False).print(transfer_table(figures))

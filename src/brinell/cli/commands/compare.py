"""`brinell compare`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.options import AsJson


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A run.", show_default=False)],
    after: Annotated[
        Path, typer.Argument(metavar="AFTER", help="Another run, on the same examples.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two runs example by example.

    brinell compare runs/before runs/after
    """
    from rich.console import Console

    from brinell import Audit
    from brinell.auditing import compare as paired
    from brinell.cli.show import comparison_table

    differences = paired(Audit.open(before), Audit.open(after))
    if as_json:
        typer.echo(json.dumps([asdict(d) for d in differences], indent=2))
    else:
        Console().print(comparison_table(differences))

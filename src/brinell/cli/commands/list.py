"""`brinell list`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from brinell.cli.options import AsJson


def list_(
    engine: Annotated[
        str | None,
        typer.Argument(metavar="ENGINE", help="One engine, with its settings and their defaults.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the engines, or show one with its settings.

    brinell list
    brinell list PGD
    """
    from rich.console import Console

    from brinell.catalog import CATALOG
    from brinell.cli.engines import catalog_table, engine_table, one

    rows = CATALOG if engine is None else (one(engine),)
    console = Console(markup=False, highlight=False)
    if as_json:
        typer.echo(json.dumps([{**asdict(row), "access": row.access.name} for row in rows], indent=2))
    elif engine is None:
        console.print(catalog_table(CATALOG))
    else:
        console.print(engine_table(rows[0]))

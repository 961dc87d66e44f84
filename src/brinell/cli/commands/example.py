"""`brinell example`."""

from pathlib import Path
from typing import Annotated

import typer


def example(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made if it is not there.")] = Path(),
) -> None:
    """Write small models and data to try the commands on.

    brinell example try
    """
    from brinell.cli.examples import write

    for file, about in write(folder):
        typer.echo(f"{file}  {about}")

"""`brinell init`."""

from pathlib import Path
from typing import Annotated

import typer

from brinell.cli.configured import NAME
from brinell.errors import UsageError


def init(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model that it names.")] = "net.py:build",
    data: Annotated[str, typer.Argument(metavar="DATA", help="The examples that it names.")] = "test.npz",
) -> None:
    """Write a commented brinell.toml, so that audit and gate suffice.

    brinell init net.onnx test.npz
    """
    from brinell.cli.config import template

    file = Path(NAME)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(template(model, data))
    except FileExistsError:
        raise UsageError(f"{file} exists already; edit it, or remove it first") from None
    typer.echo(f"wrote {file}; edit it, and then: brinell audit")

"""How a command ends that was not carried out."""

import sys
from typing import NoReturn

import typer

INTERRUPTED = 130


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, in which nothing acts, and the exit code."""
    text = "".join(c if c.isprintable() else " " for c in message)
    typer.echo(f"brinell: {text}", err=True)
    sys.exit(code)

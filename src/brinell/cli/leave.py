"""How a command ends that was not carried out."""

import os
import sys
import threading
from typing import NoReturn

import typer

INTERRUPTED = 130


def leave(code: int) -> NoReturn:
    """End the process, also where a call of the model is under way that nothing can end."""
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread.name.startswith("brinell") for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, in which nothing acts, and the exit code."""
    text = "".join(c if c.isprintable() else " " for c in message)
    typer.echo(f"brinell: {text}", err=True)
    sys.exit(code)

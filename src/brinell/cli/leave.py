"""How a command ends that was not carried out."""

import os
import sys
import tempfile
import threading
import traceback
from typing import NoReturn

import typer

INTERRUPTED = 130

INTERNAL = 70
"""What nobody foresaw: EX_SOFTWARE of sysexits.h."""


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


def unforeseen(error: BaseException) -> str:
    """A mistake of Brinell's own in one line; where it happened is kept in a file, for whoever mends it."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    try:
        handle, path = tempfile.mkstemp(prefix="brinell-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"internal error: {said}; please report it with the command"
    return f"internal error: {said}; please report it with the command and with {path}"

"""What the fuzzing tests share."""

from pathlib import Path

from brinell.data import load
from brinell.errors import BrinellError


def complaint(path: Path) -> str:
    """What `load` says against a file; the file's path where it takes it. Any foreign error goes through."""
    try:
        load(path)
    except BrinellError as error:
        return str(error)
    return str(path)

"""What every reader of a file shares: it may be compressed, and it may be damaged."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from brinell.errors import BrinellError, CannotRun

DEFLATE_RATIO = 1032
"""The most bytes that one byte of a deflate stream can unpack to: 258 for every two bits."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Whatever a parser throws at a damaged file becomes a `CannotRun` of one line that names the file."""
    try:
        yield
    except BrinellError:
        raise
    except PermissionError as error:
        raise CannotRun(f"{path} may not be read: permission denied; change who may read it") from error
    except Exception as error:
        # Parsers of foreign bytes raise nearly anything: zlib.error, SyntaxError, struct.error, ...
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".rstrip(": ")
        raise CannotRun(
            f"{path} cannot be read as {kind} ({reason}); it may be damaged or cut short, so fetch or write it again"
        ) from error


def is_gzip(path: Path) -> bool:
    """Whether the file's first bytes say so, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_plain(path: Path) -> gzip.GzipFile | BufferedReader:
    """The file's bytes, unpacked if it is gzip."""
    return gzip.open(path, "rb") if is_gzip(path) else path.open("rb")

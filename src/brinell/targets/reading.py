"""The bytes of a file that somebody else wrote: a plain file, and no larger than makes sense."""

import gzip
import io
import zlib
from pathlib import Path

from brinell.errors import CannotRun, Refused


def read_bytes(path: Path) -> bytes:
    """The content of a plain file: a device or a pipe may never end. Raises CannotRun."""
    try:
        if path.exists() and not path.is_file():
            raise CannotRun(f"{path}: a folder, a pipe or a device; give a plain file")
        return path.read_bytes()
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror or error}; check the path and its permissions") from error
    except ValueError as error:  # a null byte, which no name of a file can hold
        raise CannotRun(f"{str(path)!r}: {error}; check the path") from error


def unpacked(content: bytes, path: Path, most: int) -> bytes:
    """The content, decompressed where it is gzip. Raises Refused where that is more than `most` bytes."""
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.open(io.BytesIO(content)) as f:
            plain = f.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CannotRun(f"{path}: damaged gzip data; copy the file again") from error
    if len(plain) > most:
        raise Refused(f"{path}: holds more than {most >> 20} MiB once decompressed")
    return plain

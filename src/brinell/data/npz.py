"""NumPy's .npz: a zip archive of .npy arrays. Pickles inside are refused before anything looks at them.

The members are read here rather than by `numpy.load`, which allocates whatever shape a header claims, and
hands back as bytes what is no array. The headers are still NumPy's to parse.
"""

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from brinell.data.dataset import Dataset
from brinell.data.pixels import channels_first
from brinell.data.reading import DEFLATE_RATIO, reading
from brinell.errors import CannotRun, Refused, UsageError

PAIRS = (("x", "y"), ("images", "labels"), ("X", "y"), ("data", "target"), ("x_test", "y_test"))
"""Names of examples and labels, tried in this order."""

_REMEDY = "convert it with np.savez(path, x=..., y=...)"


def read_npz(path: Path) -> Dataset:
    """The first of `PAIRS` that the archive holds; images become (n, channels, height, width).

    Raises `Refused` for pickled objects, `UsageError` for other names, `CannotRun` for a damaged archive.
    """
    with reading(path, ".npz"):
        _refuse_other_formats(path)
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            x_name, y_name = _names(members, path)
            x = _array(archive, members[x_name], path)
            y = _array(archive, members[y_name], path)
    return Dataset.of(channels_first(x), y, source=str(path))


def _refuse_other_formats(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if head[:1] == b"\x80":  # the PROTO opcode, with which every pickle since protocol 2 begins
        raise Refused(f"{path} holds pickled objects, which run code when loaded; {_REMEDY}")
    if head.startswith(b"\x93NUMPY"):
        raise UsageError(f"{path} is a single .npy array, without labels; {_REMEDY}")
    if not head.startswith(b"PK"):
        raise CannotRun(f"{path} is not an .npz archive: it begins with {head!r}; {_REMEDY}")


def _names(members: dict[str, zipfile.ZipInfo], path: Path) -> tuple[str, str]:
    for pair in PAIRS:
        if members.keys() >= set(pair):
            return pair
    pickles = [name for name in members if name.endswith((".pkl", ".pickle"))]
    if pickles:
        raise Refused(f"{path} holds pickled objects ({pickles[0]}), which run code when loaded; {_REMEDY}")
    expected = ", ".join("/".join(pair) for pair in PAIRS)
    held = ", ".join(list(members)[:12]) or "nothing"
    raise UsageError(f"{path} holds {held}; expected one of the pairs {expected}; {_REMEDY}")


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    """One member, after its header was held against the number of bytes that are there."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CannotRun(f"{path}: {info.filename} is compressed in a way np.savez never does; {_REMEDY}")
    if info.file_size > DEFLATE_RATIO * min(info.compress_size, path.stat().st_size):
        raise CannotRun(
            f"{path}: {info.filename} claims {info.file_size} bytes, more than {info.compress_size} "
            "packed bytes can hold; the archive is damaged or hostile"
        )
    with archive.open(info) as file:
        with warnings.catch_warnings(action="ignore"):  # NumPy's remarks on headers from Python 2
            # Version 3 differs from 2 in the names of fields only, and fields are refused anyway.
            first = npy.read_magic(file) == (1, 0)
            read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
            shape, fortran_order, dtype = read(file)
        if dtype.hasobject:
            raise Refused(f"{path}: {info.filename} holds pickled objects, which run code when loaded; {_REMEDY}")
        if dtype.kind not in "biuf":
            raise UsageError(f"{path}: {info.filename} holds {dtype} values; give an array of real numbers")
        claimed, held = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if claimed != held:
            raise CannotRun(
                f"{path}: {info.filename} claims shape {shape} of {dtype}, {claimed} bytes, "
                f"but holds {held}; the file is damaged"
            )
        array = np.frombuffer(file.read(), dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")

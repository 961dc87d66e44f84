"""The idx format of MNIST and its kin, plain or gzip: a magic number, the sizes big-endian, the values.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "The IDX file format".
"""

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brinell.data.dataset import Dataset
from brinell.data.pixels import channels_first
from brinell.data.reading import DEFLATE_RATIO, is_gzip, open_plain, reading
from brinell.errors import CannotRun, UsageError

UNSIGNED_BYTE = 0x08
"""The type code of the values, the only one that images and labels are kept in."""


def read_idx(images: Path) -> Dataset:
    """The images file and the labels file beside it, named alike but for images/labels and idx3/idx1.

    Raises `UsageError` where no labels are found, `CannotRun` where a header and its file disagree.
    """
    labels = _labels_of(images)
    x = channels_first(read_array(images, axes=(3, 4)))
    return Dataset.of(x, read_array(labels, axes=(1,)), source=str(images))


def read_idx_folder(folder: Path) -> Dataset:
    """The folder's one pair of images and labels; of several, the one named t10k or test."""
    pairs = {path.name.removesuffix(".gz"): path for path in reversed(_images_in(folder))}
    held_out = [name for name in pairs if "t10k" in name or "test" in name]
    chosen = held_out if len(pairs) > 1 else list(pairs)
    if len(chosen) != 1:
        raise UsageError(f"{folder} holds the pairs {', '.join(sorted(pairs))}; give the path of one images file")
    return read_idx(pairs[chosen[0]])


def is_idx(path: Path) -> bool:
    """Whether a file says by its name or its first bytes that it is idx, or a folder holds such images."""
    if path.is_dir():
        return bool(_images_in(path))
    if "idx" in path.name:
        return True
    with reading(path, "a data set"), open_plain(path) as file:
        return file.read(3) == bytes((0, 0, UNSIGNED_BYTE))


def read_array(path: Path, axes: tuple[int, ...]) -> NDArray[np.uint8]:
    """The values of one idx file, whose number of axes must be among `axes`."""
    with reading(path, "idx"), open_plain(path) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0":
            raise CannotRun(f"{path} is not an idx file: it begins with {magic!r}, not with two zero bytes")
        if magic[2] != UNSIGNED_BYTE:
            raise CannotRun(f"{path} holds idx values of type 0x{magic[2]:02x}; only 0x08, unsigned bytes, is read")
        if magic[3] not in axes:
            wanted = " or ".join(map(str, axes))
            raise CannotRun(f"{path} is an idx file of {magic[3]} axes; expected {wanted}: is it the right file?")
        shape: tuple[int, ...] = struct.unpack(f">{magic[3]}I", file.read(4 * magic[3]))
        claimed = math.prod(shape)
        # Before a lying header is believed and its memory asked for.
        if claimed > path.stat().st_size * (DEFLATE_RATIO if is_gzip(path) else 1):
            raise _disagrees(path, shape, "far fewer")
        values = file.read(claimed)
        if len(values) < claimed:
            raise _disagrees(path, shape, f"only {len(values)}")
        if file.read(1):
            raise _disagrees(path, shape, "more")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _disagrees(path: Path, shape: tuple[Any, ...], held: str) -> CannotRun:
    return CannotRun(
        f"{path} claims {math.prod(shape)} values, shape {shape}, but holds {held}; it is damaged, so fetch it again"
    )


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if "images" in p.name and "idx" in p.name and p.is_file())


def _labels_of(images: Path) -> Path:
    if "images" not in images.name:
        raise UsageError(f"{images} is idx, but its name lacks 'images'; give the path of the images file")
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    for candidate in (name, plain, f"{plain}.gz"):
        if (images.parent / candidate).is_file():
            return images.parent / candidate
    raise UsageError(f"{images} has no labels beside it; expected {name} in the same folder")

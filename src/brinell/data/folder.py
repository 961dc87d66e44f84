"""A folder of images, one folder a class: root/class/picture.png."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brinell.data.dataset import Dataset
from brinell.data.reading import reading
from brinell.errors import CannotRun, Refused, UsageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

# Pillow tries every format it knows whatever a file is called, and some of those start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "RGB", "RGBA", "CMYK")


def read_folder(root: Path) -> Dataset:
    """Classes, and files in each, in the order of their names; one channel if all are greyscale, else RGB.

    Transparency is dropped. Hidden files and files that are no images are passed over. Raises `Refused` for a
    link out of `root`, `UsageError` for a wrong layout or unequal sizes, `CannotRun` for an unreadable image.
    """
    with reading(root, "a folder of images"):
        files = [_files(folder, root) for folder in class_folders(root)]
    paths = [path for in_class in files for path in in_class]
    images = [_pixels(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            raise UsageError(
                f"{paths[0]} is {_size(images[0])} and {path} is {_size(image)} pixels; bring all images to one size"
            )
    channels = max(image.shape[2] for image in images)
    x = np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in images])
    return Dataset.of(
        x.transpose(0, 3, 1, 2),
        np.repeat(np.arange(len(files)), [len(in_class) for in_class in files]),
        classes=tuple(folder.name for folder in class_folders(root)),
        source=str(root),
    )


def class_folders(root: Path) -> list[Path]:
    """The folders in `root`, hidden ones left out, in the order of their names."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path, root: Path) -> list[Path]:
    _refuse_way_out(folder, root)
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    inner = [path for path in visible if path.is_dir()]
    if inner:
        raise UsageError(
            f"{inner[0]} is a folder, and images are expected right in {folder}: is {folder} the one to give?"
        )
    images = [path for path in visible if path.suffix.lower() in SUFFIXES]
    if not images:
        raise UsageError(f"{folder} holds no images ({', '.join(SUFFIXES)}); every folder in {root} must be a class")
    for path in images:
        _refuse_way_out(path, root)
    return images


def _refuse_way_out(path: Path, root: Path) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        raise Refused(f"{path} is a link out of {root}, to {path.resolve()}; copy the file into the folder")


def _pixels(path: Path) -> NDArray[np.uint8]:
    """(height, width, 1 or 3). An image above Pillow's MAX_IMAGE_PIXELS is an error, not only a warning."""
    from PIL import Image

    with reading(path, "an image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=_FORMATS) as image:
            if image.mode not in _GREY + _COLOUR:
                raise CannotRun(f"{path} has pixels of mode {image.mode}; convert it to 8 bits a channel")
            grey = image.mode in _GREY
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[:, :, None] if grey else pixels


def _size(image: NDArray[Any]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"

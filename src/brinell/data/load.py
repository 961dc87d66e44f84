"""One door for data: what a source is, is seen from its name or its first bytes, and its reader is called."""

import os
from pathlib import Path

from brinell.arguments import checked
from brinell.data.dataset import Dataset, Values
from brinell.data.digits import read_digits
from brinell.data.folder import class_folders, read_folder
from brinell.data.idx import is_idx, read_idx, read_idx_folder
from brinell.data.npz import read_npz
from brinell.data.reading import reading
from brinell.data.table import read_csv, read_parquet
from brinell.errors import CannotRun, Refused, UsageError

Source = str | os.PathLike[str] | tuple[Values, ...] | Dataset

UNDERSTOOD = (
    ".npz, .csv, .csv.gz, .parquet, MNIST's idx (also .gz, or a folder of them), "
    "a folder with one folder of images a class, or the word digits"
)

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


@checked()
def load(source: Source, *, label: str | None = None) -> Dataset:
    """The data set at a path, in a pair (x, y), or of the name digits (held-out part) or digits:train.

    label: the label column of a table. A data set is handed back as it is; a pair keeps its layout; images
    from files are NCHW, see `brinell.data.pixels`. A file named digits is written ./digits. Raises
    `UsageError`, `CannotRun`, `Refused` or `MissingExtra`, in a line that names the source and the remedy.
    """
    if isinstance(source, str | os.PathLike) and _is_table(Path(source)):
        return _table(_existing(source), label)
    if label is not None:
        raise UsageError(f"label is {label!r}, but the source is not a table (.csv, .csv.gz, .parquet); leave it out")
    if isinstance(source, Dataset):
        return source
    if isinstance(source, tuple):
        if len(source) != 2:
            raise UsageError(f"source is a tuple of {len(source)}; give a pair (x, y)")
        return Dataset.of(*source)
    if isinstance(source, str) and source.partition(":")[0] == "digits":
        return _digits(source)
    path = _existing(source)
    return _folder(path) if path.is_dir() else _file(path)


def _digits(name: str) -> Dataset:
    if name not in ("digits", "digits:train"):
        raise UsageError(f"source is {name!r}; it has the parts digits (797 held out) and digits:train (1000)")
    return read_digits(train=name == "digits:train")


def _existing(source: str | os.PathLike[str]) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(f"{path} does not exist; give the path of {UNDERSTOOD}")
    if not path.is_dir() and not path.is_file():
        raise UsageError(f"{path} is neither a file nor a folder; give the path of {UNDERSTOOD}")
    return path


def _is_table(path: Path) -> bool:
    return path.name.lower().endswith((".csv", ".csv.gz", ".parquet"))


def _table(path: Path, label: str | None) -> Dataset:
    return (read_parquet if path.suffix.lower() == ".parquet" else read_csv)(path, label)


def _folder(path: Path) -> Dataset:
    with reading(path, "a folder"):
        held = sorted(entry.name for entry in path.iterdir())
    if is_idx(path):
        return read_idx_folder(path)
    if class_folders(path):
        return read_folder(path)
    shown = ", ".join(held[:5]) + ", …" * (len(held) > 5)
    raise UsageError(
        f"{path} holds {shown or 'nothing'}; expected one folder of images a class (cat/1.png, dog/2.png) "
        "or idx files (t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte)"
    )


def _file(path: Path) -> Dataset:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix in _PICKLES:
        raise Refused(f"{path} holds pickled objects, which run code when loaded; write np.savez(path, x=..., y=...)")
    if suffix == ".npy":
        raise UsageError(f"{path} is a single array, without labels; write both with np.savez(path, x=..., y=...)")
    if is_idx(path):
        return read_idx(path)
    if path.stat().st_size == 0:
        raise CannotRun(f"{path} is empty; fetch or write it again")
    raise UsageError(f"{path} has the extension {suffix or 'none'!r}; understood are {UNDERSTOOD}")

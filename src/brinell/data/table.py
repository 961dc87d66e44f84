"""Tables with a label column: CSV and Parquet. Every other column is a feature and must be numeric."""

import csv
import gzip
from array import array
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brinell.data.dataset import Dataset
from brinell.data.reading import is_gzip, reading
from brinell.errors import CannotRun, MissingExtra, UsageError

if TYPE_CHECKING:
    import pyarrow

LABELS = ("label", "target", "class", "y")
"""Names of the label column, tried in this order where none is given."""


def read_csv(path: Path, label: str | None) -> Dataset:
    """Comma-separated UTF-8 with a header row, plain or gzip; features in float64.

    One row is held at a time, as numbers, by the standard library's parser: the same result wherever it runs.
    Raises `UsageError` for what is not a number or has no name, `CannotRun` for a damaged file.
    """
    numbers, labels = array("d"), list[str]()
    with reading(path, "CSV"), _text(path) as file:
        rows = csv.reader(file, strict=True)
        names = [name.strip() for name in next(rows, [])]
        at = _label_column(names, label, path)
        features = (*names[:at], *names[at + 1 :])
        for row in rows:
            if not row:
                continue  # a blank line
            where = f"in row {len(labels)} (line {rows.line_num})"
            if len(row) != len(names):
                raise CannotRun(f"{path} has {len(row)} fields {where} and {len(names)} columns; repair that line")
            labels.append(_present(row.pop(at), names[at], where, path))
            try:
                numbers.extend(map(float, row))
            except ValueError:
                raise _not_a_number(row, features, where, path) from None
            if "_" in "".join(row):  # Python's own digit grouping, a number to no other reader of the file
                raise _not_a_number(row, features, where, path)
    y, classes = _encoded(labels, names[at], path)
    x = np.frombuffer(numbers, np.float64).reshape(len(labels), len(features))
    return Dataset.of(x, y, classes=classes, features=features, source=str(path))


def read_parquet(path: Path, label: str | None) -> Dataset:
    """One Parquet file; features in float32 if that holds every value of their types, else in float64.

    Raises `MissingExtra` without pyarrow, and as `read_csv` does.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingExtra("pyarrow", "data") from None
    with reading(path, "Parquet"), ParquetFile(path) as file:
        table = file.read()
        names = [name.strip() for name in table.column_names]
        at = _label_column(names, label, path)
        labels = [
            _present("" if value is None else str(value), names[at], f"in row {row}", path)
            for row, value in enumerate(table.column(at).to_pylist())
        ]
        y, classes = _encoded(labels, names[at], path)
        features = (*names[:at], *names[at + 1 :])
        columns = [_column(table.remove_column(at).column(i), features[i], path) for i in range(len(features))]
        x = np.stack([column.astype(np.result_type(np.float32, *columns)) for column in columns], axis=1)
    return Dataset.of(x, y, classes=classes, features=features, source=str(path))


def _text(path: Path) -> TextIOWrapper:
    if is_gzip(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _label_column(names: list[str], label: str | None, path: Path) -> int:
    """The position of the label column, after the header was found sound."""
    held = ", ".join(map(repr, names[:20])) + (f", … {len(names)} in all" if len(names) > 20 else "")
    if not names:
        raise UsageError(f"{path} is empty; its first row must name the columns")
    if all(map(_is_number, names)):
        raise UsageError(f"{path} begins with numbers ({held}); its first row must name the columns")
    for name in ("", "__index_level_0__"):
        if name in names:
            raise UsageError(
                f"{path} has a column named {name!r}, an index written by pandas; write the table with index=False"
            )
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise UsageError(f"{path} has {names.count(doubled[0])} columns named {doubled[0]!r}; give each its own name")
    if label is not None and label not in names:
        raise UsageError(f"label is {label!r}; {path} has the columns {held}")
    found = [name for name in ((label,) if label is not None else LABELS) if name in names]
    if not found:
        raise UsageError(f"{path} has no column called {', '.join(LABELS)}; it has {held}: name one with label=...")
    if len(names) == 1:
        raise UsageError(f"{path} has the one column {found[0]!r}; it needs features, separated by commas, beside it")
    return names.index(found[0])


def _present(label: str, name: str, where: str, path: Path) -> str:
    if not label.strip():
        raise UsageError(f"{path}: label column {name!r} is empty {where}; fill it in or leave the row out")
    return label.strip()


def _encoded(labels: list[str], name: str, path: Path) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """(class indices, their names where they were not indices already).

    Integers that count from 0 stay as they are, even if the sample lacks one in between: closing the gap
    would shift every class above it. Other integers, and words, are numbered in sorted order.
    """
    if not labels:
        raise UsageError(f"{path} has no rows below its header; give at least one")
    words = sorted(set(labels))
    if not all(map(_is_number, words)):
        codes = {word: code for code, word in enumerate(words)}
        return np.array([codes[word] for word in labels]), tuple(words)
    fractions = [word for word in words if not float(word).is_integer()]
    if fractions:
        raise UsageError(
            f"{path}: label column {name!r} holds {fractions[0]} in row {labels.index(fractions[0])}; "
            "a class is an integer or a word"
        )
    whole = {word: int(word) if _is_integer(word) else int(float(word)) for word in words}
    known = sorted(set(whole.values()))
    if known[0] == 0 and known[-1] <= np.iinfo(np.int64).max:
        return np.array([whole[word] for word in labels], np.int64), None
    return np.searchsorted(np.array(known), np.array([whole[word] for word in labels])), tuple(map(str, known))


def _not_a_number(row: list[str], features: tuple[str, ...], where: str, path: Path) -> UsageError:
    name, value = next(pair for pair in zip(features, row, strict=True) if not _is_number(pair[1]))
    return _not_numeric(name, value, where, path)


def _not_numeric(name: str, value: object, where: str, path: Path) -> UsageError:
    if value is None or str(value).strip() == "":
        return UsageError(f"{path}: column {name!r} is empty {where}; fill it in or leave the row out")
    return UsageError(
        f"{path}: column {name!r} holds {str(value)[:60]!r} {where}, not a number; "
        "encode the column as numbers or leave it out"
    )


def _column(column: "pyarrow.ChunkedArray", name: str, path: Path) -> NDArray[Any]:
    from pyarrow import compute, float64, types

    kind = column.type
    if column.null_count:
        raise _not_numeric(name, None, f"in row {compute.index(column.is_null(), True).as_py()}", path)
    if types.is_decimal(kind):
        column = column.cast(float64())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise _not_numeric(name, column[0].as_py(), "in row 0", path)
    values: NDArray[Any] = column.to_numpy()
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").removeprefix("+").isdecimal()

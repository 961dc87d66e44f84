"""Labelled examples, checked once on entry, so that nothing behind this door need check them again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from brinell.arguments import Checked, a_kind, checked
from brinell.data.pixels import SCALED, as_floats
from brinell.errors import UsageError
from brinell.threat import Box
from brinell.types import Labels

Rows = Int64[Tensor, " batch"]
"""Row numbers, one an example."""

Values = Tensor | NDArray[Any] | Sequence[Any]
"""Numbers as people hold them: a tensor, an array, nested lists."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Checked):
    """Examples with their labels, on the CPU. Two of them are the same data where their digests are equal.

    x: (n, *shape), float32, or float64 for a table kept in float64: no value may cross a tree's threshold by
    rounding. y: (n,), class indices >= 0. ids: (n,), row numbers in the source, from 0, no two alike.
    classes: class k is named classes[k]. features: the columns of a table. source: where the data came from.
    scaling: what was done to the source's numbers, "uint8 / 255" for pixels; None where nothing was.
    """

    # Plain tensors, not `Inputs` and `Labels`: a wrong shape gets its sentence here, not from a checker.
    x: Tensor
    y: Tensor
    ids: Tensor
    classes: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    source: str = "memory"
    scaling: str | None = None

    def __post_init__(self) -> None:
        for check in (_check_shapes, _check_labels, _check_ids, _check_names, _check_finite):
            check(self)

    @classmethod
    @checked()
    def of(
        cls,
        x: Values,
        y: Values,
        *,
        classes: tuple[str, ...] | None = None,
        features: tuple[str, ...] | None = None,
        source: str = "memory",
    ) -> "Dataset":
        """A copy of numbers at hand, in the layout they have; their dtype follows `brinell.data.pixels`.

        y is (n,) or (n, 1). Raises `UsageError` for what is not finite numbers with a class index each.
        """
        floats, scaling = as_floats(_array(x, "x", source))
        labels = _indices(_array(y, "y", source), source)
        return cls(
            torch.from_numpy(floats),
            torch.from_numpy(labels),
            torch.arange(len(labels)),
            classes=classes,
            features=features,
            source=source,
            scaling=scaling,
        )

    @cached_property
    def digest(self) -> str:
        """The data's identity: sha256 over dtype, shape and little-endian bytes of x, y and ids."""
        state = hashlib.sha256()
        for name, tensor in (("x", self.x), ("y", self.y), ("ids", self.ids)):
            array = np.ascontiguousarray(tensor.detach().cpu().numpy())
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            state.update(array.reshape(-1).data)
        return state.hexdigest()

    @cached_property
    def names(self) -> list[str]:
        """One name an example, made of its row number, label and values: what two runs are paired by."""
        names = []
        for row, y, x in zip(self.ids.tolist(), self.y.tolist(), self.x.numpy(), strict=True):
            digest = hashlib.sha256(f"{y} {x.dtype} {x.shape} ".encode() + x.tobytes()).hexdigest()
            names.append(f"{row}:{digest[:16]}")
        return names

    @checked()
    def take(self, n: int, seed: int, balanced: bool = False) -> "Dataset":
        """min(n, len) examples drawn without replacement, in their old order; a larger n only adds to them.

        balanced: equally many a class, as far as they go: a class lags another by two or more only when
        it has no more to give.
        """
        if n < 1:
            raise UsageError(f"n is {n}; take at least 1 example")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        if balanced:
            # The first drawn of every class, then the second of every class, and so on.
            order = order[_turn_in_class(self.y[order]).argsort(stable=True)]
        rows = order[:n].sort().values
        return replace(self, x=self.x[rows], y=self.y[rows], ids=self.ids[rows])

    def named(self, classes: tuple[str, ...] | None) -> "Dataset":
        """The same examples with the class numbers of a model that names its classes, matched by name.

        Nothing changes where either has no names. Raises UsageError if the data has a class the model lacks.
        """
        if classes is None or self.classes is None or classes == self.classes:
            return self
        unknown = sorted(set(self.classes) - set(classes))
        if unknown:
            raise UsageError(
                f"{self.source}: the model has no class {', '.join(map(repr, unknown[:5]))}; "
                f"its classes are {', '.join(map(repr, classes[:10]))}; give examples of those"
            )
        number = torch.tensor([classes.index(name) for name in self.classes])
        return replace(self, y=number[self.y], classes=classes)

    def meeting(self, classes: tuple[str, ...] | None, features: tuple[str, ...] | None, box: Box) -> "Dataset":
        """The same examples for a model that names its classes and features, in its box.

        Pixels that were divided by 255 are what they were where a box beyond 1 holds them so: it is in their units.
        Columns that have names have to be the model's, in its order: a box, a mean and rules speak of them by place.
        """
        self._check_features(features)
        if self.scaling == SCALED and box.bounded and box.largest > 1:
            pixels = (self.x * 255).round()
            if box.contains(pixels).all():
                return replace(self, x=pixels, scaling=None).named(classes)
        return self.named(classes)

    def _check_features(self, features: tuple[str, ...] | None) -> None:
        if features is None or self.features is None or features == self.features:
            return
        wanted, held = (", ".join(map(repr, names[:10])) for names in (features, self.features))
        if sorted(features) == sorted(self.features):
            raise UsageError(f"{self.source}: its columns are {held}; put them in the order of the model's: {wanted}")
        lacking = [name for name in features if name not in self.features]
        spare = [name for name in self.features if name not in features]
        faults = (("lacks", lacking), ("has", spare))
        said = [f"{what} {', '.join(map(repr, names[:5]))}" for what, names in faults if names]
        raise UsageError(f"{self.source} {' and '.join(said)}; the model was fitted on {wanted}")

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        scaling = f", {self.scaling}" if self.scaling else ""
        dtype = str(self.x.dtype).removeprefix("torch.")
        return f"Dataset({self.source}: {len(self)} examples of shape {_shape(self.x[0])}, {dtype}{scaling})"


def given(data: Dataset | tuple[Any, Any] | list[Any]) -> Dataset:
    """The data set that a caller means: one, or a pair (x, y). Raises UsageError for anything else."""
    if isinstance(data, Dataset):
        return data
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UsageError(f"data is {a_kind(data)}; give (x, y), or a brinell.Dataset")
    return Dataset.of(*data)


def _turn_in_class(y: Labels) -> Rows:
    """For each example, how many before it carry the same label."""
    by_class = y.argsort(stable=True)
    grouped = y[by_class]
    turns = torch.empty_like(by_class)
    turns[by_class] = torch.arange(len(y)) - torch.searchsorted(grouped, grouped)
    return turns


def _array(values: Values, name: str, source: str) -> NDArray[Any]:
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    else:
        try:
            array = np.asarray(values)
        except ValueError:
            raise UsageError(f"{source}: {name} is ragged; give every example the same shape") from None
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{source}: {name} holds {array.dtype} values; give an array of real numbers")
    return array


def _indices(y: NDArray[Any], source: str) -> NDArray[np.int64]:
    """An int64 copy, a single column laid flat."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        hint = "; for one-hot rows give y.argmax(1)" if y.ndim == 2 else ""
        raise UsageError(f"{source}: y has shape {_shape(y)}; give one class index an example, shape (n,){hint}")
    if y.size and y.dtype.kind not in "iu":
        raise UsageError(
            f"{source}: y holds {y.dtype} values, the first is {y[0]}; "
            "give class indices as integers, for instance y.astype('int64')"
        )
    if y.dtype == np.uint64 and y.size and y.max() > np.iinfo(np.int64).max:
        raise UsageError(f"{source}: y holds {y.max()}; class indices count from 0")
    return y.astype(np.int64)


def _check_shapes(data: Dataset) -> None:
    x, y = data.x, data.y
    if x.dim() < 2:
        raise UsageError(f"{data.source}: x has shape {_shape(x)}; give one row an example, (n, *shape)")
    if y.dim() != 1 or len(x) != len(y):
        raise UsageError(f"{data.source}: x has {len(x)} examples and y has shape {_shape(y)}; give one label each")
    if x.numel() == 0:
        raise UsageError(f"{data.source}: x has shape {_shape(x)}, so no values; give at least one example")
    if x.dtype not in (torch.float32, torch.float64):
        raise UsageError(f"{data.source}: x is {x.dtype}; give float32 or float64, or use Dataset.of to convert")


def _check_labels(data: Dataset) -> None:
    if data.y.dtype != torch.int64:
        raise UsageError(f"{data.source}: y is {data.y.dtype}; give int64, or use Dataset.of to convert")
    if (data.y < 0).any():
        row = _first(data.y < 0)
        raise UsageError(
            f"{data.source}: y holds {int((data.y < 0).sum())} negative labels, "
            f"the first is {int(data.y[row])} in row {row}; class indices count from 0"
        )


def _check_ids(data: Dataset) -> None:
    if data.ids.dtype != torch.int64 or data.ids.shape != data.y.shape:
        raise UsageError(
            f"{data.source}: ids is {data.ids.dtype} of shape {_shape(data.ids)}; give int64 of shape {_shape(data.y)}"
        )
    if (data.ids.sort().values.diff() == 0).any():
        raise UsageError(f"{data.source}: ids repeat; give each example a row number of its own")


def _check_names(data: Dataset) -> None:
    if data.classes is not None and int(data.y.max()) >= len(data.classes):
        raise UsageError(
            f"{data.source}: y holds {int(data.y.max())}, and classes names only {len(data.classes)}; name every class"
        )
    if data.features is not None and data.x.shape[1:] != (len(data.features),):
        raise UsageError(
            f"{data.source}: features names {len(data.features)} columns, and x has shape {_shape(data.x)}; "
            "name every column of a table"
        )


def _check_finite(data: Dataset) -> None:
    bad = ~data.x.isfinite().flatten(1)
    if bad.any():
        row = _first(bad.any(1))
        column = "" if data.features is None else f", column {data.features[_first(bad[row])]!r}"
        dtype = str(data.x.dtype).removeprefix("torch.")
        raise UsageError(
            f"{data.source}: x holds {int(bad.sum())} values that are NaN or infinite in {dtype}, "
            f"the first in row {row}{column}; fill them in or leave those rows out"
        )


def _first(mask: Tensor) -> int:
    return int(mask.nonzero()[0, 0])


def _shape(array: Tensor | NDArray[Any]) -> tuple[int, ...]:
    return tuple(array.shape)

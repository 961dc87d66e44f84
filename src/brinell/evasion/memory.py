"""What an attack remembers of each example: it shrinks with the hunt, so that no row is ever read as another's."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, final, overload

from torch import Tensor

from brinell.types import Mask

R = TypeVar("R")


@final
class Carried:
    """Tensors of one row an example, by name: `Carried(x=..., value=...).x`."""

    def __init__(self, **tensors: Tensor) -> None:
        vars(self).update(tensors)

    def __getattr__(self, name: str) -> Tensor:
        raise AttributeError(f"no tensor {name!r} is carried; there are {', '.join(vars(self)) or 'none'}")

    def __setattr__(self, name: str, rows: Tensor) -> None:
        vars(self)[name] = rows


@final
class Memory:
    """All that a hunt carries: objects whose attributes are tensors of one row an example."""

    def __init__(self) -> None:
        self._carried: list[object] = []

    @overload
    def carry(self, rows: R, /) -> R: ...

    @overload
    def carry(self, /, **tensors: Tensor) -> Carried: ...

    def carry(self, rows: Any = None, /, **tensors: Tensor) -> Any:
        """Shrink these tensors together with the hunt, until its next `begin`: `best = hunt.carry(x=hunt.x)`.

        rows: in place of tensors, an object that has them as attributes, and methods of its own.
        """
        carried = Carried(**tensors) if rows is None else rows
        self._carried.append(carried)
        return carried

    @overload
    def carrying(self, rows: R, /) -> AbstractContextManager[R]: ...

    @overload
    def carrying(self, /, **tensors: Tensor) -> AbstractContextManager[Carried]: ...

    @contextmanager
    def carrying(self, rows: Any = None, /, **tensors: Tensor) -> Iterator[Any]:
        """`carry` for the length of a block: for what a part of a search remembers."""
        carried = self.carry(**tensors) if rows is None else self.carry(rows)
        try:
            yield carried
        finally:
            self._carried = [other for other in self._carried if other is not carried]

    def keep(self, keep: Mask) -> None:
        """Shrink all of it to these rows."""
        for carried in self._carried:
            for name, rows in vars(carried).items():
                setattr(carried, name, rows[keep])

    def clear(self) -> None:
        """Let go of all of it."""
        self._carried.clear()
